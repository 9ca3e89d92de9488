/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Memory files that stay while their program, luod or the kernel is replaced: the calls of /dev/liveupdate, on luod's
 * sockets and on the kernel's own device.
 *
 * 1. luo_open() connects to luod, or opens the device.
 * 2. luo_create_session() makes a session, and luo_preserve() puts files into it, each under a token.
 * 3. luod or the kernel is updated; or the program ends, after luo_set_detached().
 * 4. luo_retrieve_session() and luo_retrieve() return the files; or luo_attach_session() and luo_get(), without an
 *    update.
 * 5. luo_finish() releases a session that was handed over.
 *
 * Failures. Each function returns -1 (or a null pointer) and sets errno. luo_reason() returns the reason as text.
 *
 * Descriptors. Connections and sessions are plain descriptors with O_CLOEXEC. Close them with luo_close() or
 * close(2). The last close of a session in all processes ends it, unless it is detached.
 *
 * Signals. A signal does not interrupt a call: the call goes on. No call raises SIGPIPE.
 *
 * Threads. Any thread may use any descriptor. Calls on one socket of luod wait for each other.
 *
 * Processes. A session has one request at a time. Two processes that share a session after fork(2) must not make
 * calls on it at the same time, because one of them could read the answer for the other. A child of a program with
 * threads may call all functions. In a program under `luoctl run`, do not mix ioctl(2) and luo_ioctl() on one
 * descriptor at the same time.
 */
#ifndef LIBLIVEUPDATE_LIVEUPDATE_H
#define LIBLIVEUPDATE_LIVEUPDATE_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <stdint.h>

#if defined(__has_include)
#if __has_include(<linux/liveupdate.h>)
#include <linux/liveupdate.h>
#endif
#endif

/* The kernel's calls, for systems without <linux/liveupdate.h>, and the call that its first version lacks. */

#ifndef LIVEUPDATE_IOCTL_TYPE
#define LIVEUPDATE_IOCTL_TYPE 0xBA
#define LIVEUPDATE_SESSION_NAME_LENGTH 64

/* Makes an outgoing session. fd is the result. */
struct liveupdate_ioctl_create_session {
    __u32 size;
    __s32 fd;
    __u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};
#define LIVEUPDATE_IOCTL_CREATE_SESSION _IO(LIVEUPDATE_IOCTL_TYPE, 0x00)

/* Opens a session that the last update handed over. fd is the result. */
struct liveupdate_ioctl_retrieve_session {
    __u32 size;
    __s32 fd;
    __u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};
#define LIVEUPDATE_IOCTL_RETRIEVE_SESSION _IO(LIVEUPDATE_IOCTL_TYPE, 0x01)

/* Preserves the file of the descriptor fd. */
struct liveupdate_session_preserve_fd {
    __u32 size;
    __s32 fd;
    __aligned_u64 token;
};
#define LIVEUPDATE_SESSION_PRESERVE_FD _IO(LIVEUPDATE_IOCTL_TYPE, 0x40)

/* Retrieves a file that was handed over. fd is the result. */
struct liveupdate_session_retrieve_fd {
    __u32 size;
    __s32 fd;
    __aligned_u64 token;
};
#define LIVEUPDATE_SESSION_RETRIEVE_FD _IO(LIVEUPDATE_IOCTL_TYPE, 0x41)

/* Finishes a session that was handed over. */
struct liveupdate_session_finish {
    __u32 size;
    __u32 reserved;
};
#define LIVEUPDATE_SESSION_FINISH _IO(LIVEUPDATE_IOCTL_TYPE, 0x42)
#endif

#ifndef LIVEUPDATE_SESSION_GET_NAME
/* Returns the name of a session. */
struct liveupdate_session_get_name {
    __u32 size;
    __u32 reserved;
    __u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};
#define LIVEUPDATE_SESSION_GET_NAME _IO(LIVEUPDATE_IOCTL_TYPE, 0x43)
#endif

/* The calls that only luod has. The kernel's device answers ENOTTY. */

/* A struct of one word. Its meaning is with the call. */
struct luo_word {
    __u32 size;
    __u32 word;
};
/* A session by its name. */
struct luo_name {
    __u32 size;
    __u32 direction; /* LUO_EITHER, LUO_OUTGOING or LUO_INCOMING; in the answer, the descriptor of the session */
    __u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};
/* A file by its token. fd is the file to preserve, or the result. */
struct luo_file {
    __u32 size;
    __s32 fd;
    __aligned_u64 token;
};
/* A change of luod itself. The answer's text explains the result, also that of a failure. */
struct luo_change {
    __u32 size;
    __u32 flags;
    __aligned_u64 times[6]; /* nanoseconds of CLOCK_MONOTONIC */
    __u8 text[4096];        /* the path of an image, or the name of a session */
};
/* The answer to the notice LUO_FREEZE_SOON. */
struct luo_question {
    __u32 size;
    __u32 reserved;
    __aligned_u64 question;
};

/* On a connection. docs/protocol.md lists the flags of luo_change and the rights. */
#define LUO_ATTACH_SESSION _IO(LIVEUPDATE_IOCTL_TYPE, 0x20) /* luo_name */
#define LUO_LOAD _IO(LIVEUPDATE_IOCTL_TYPE, 0x22)           /* luo_change: starts the next luod ahead of an update */
#define LUO_UPDATE _IO(LIVEUPDATE_IOCTL_TYPE, 0x23)         /* luo_change: updates luod */
#define LUO_RELOAD _IO(LIVEUPDATE_IOCTL_TYPE, 0x24)         /* luo_change: replaces luod's program in the same boot */
#define LUO_AS_USER _IO(LIVEUPDATE_IOCTL_TYPE, 0x28)        /* luo_word: the user ID to act as */
#define LUO_REMOVE_SESSION _IO(LIVEUPDATE_IOCTL_TYPE, 0x29) /* luo_change: removes a session */
#define LUO_STOP _IO(LIVEUPDATE_IOCTL_TYPE, 0x2A)           /* luo_change: ends luod */
#define LUO_PING _IO(LIVEUPDATE_IOCTL_TYPE, 0x2B)           /* luo_word: 0 */
#define LUO_KERNEL_UPDATE _IO(LIVEUPDATE_IOCTL_TYPE, 0x2C)  /* luo_change: publishes for the next kernel */
/* On a session. */
#define LUO_UNPRESERVE_FD _IO(LIVEUPDATE_IOCTL_TYPE, 0x60)       /* luo_file */
#define LUO_GET_FD _IO(LIVEUPDATE_IOCTL_TYPE, 0x61)              /* luo_file */
#define LUO_CHECK_FD _IO(LIVEUPDATE_IOCTL_TYPE, 0x62)            /* luo_file */
#define LUO_SET_DETACHED _IO(LIVEUPDATE_IOCTL_TYPE, 0x63)        /* luo_word: 0 or 1 */
#define LUO_PRESERVE_HELD_FD _IO(LIVEUPDATE_IOCTL_TYPE, 0x64)    /* luo_file */
#define LUO_RETRIEVE_AS_HELD_FD _IO(LIVEUPDATE_IOCTL_TYPE, 0x65) /* luo_file */
#define LUO_SUBSCRIBE _IO(LIVEUPDATE_IOCTL_TYPE, 0x66)           /* luo_word: 0 or 1 */
#define LUO_READY _IO(LIVEUPDATE_IOCTL_TYPE, 0x67)               /* luo_question */

/* The direction of a session for luo_attach_session(). */
enum luo_direction {
    LUO_EITHER = 0,   /* the outgoing session if both exist */
    LUO_OUTGOING = 1, /* made since the last update */
    LUO_INCOMING = 2  /* handed over by the last update */
};

/* The kinds of notices. */
enum luo_notice_kind {
    LUO_FREEZE_SOON = 1, /* an update comes: stop changing the files, and call luo_ready() */
    LUO_OVER = 2         /* the update was made or called off */
};

/* A notice of luod to a client that has subscribed. */
struct luo_notice {
    enum luo_notice_kind kind;
    uint64_t value;    /* LUO_FREEZE_SOON: the milliseconds that luod waits. LUO_OVER: 1 made, 0 called off */
    uint64_t question; /* LUO_FREEZE_SOON: for luo_ready(). LUO_OVER: 0 */
};

#if defined(__GNUC__)
#define LUO_API __attribute__((visibility("default")))
#else
#define LUO_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Opens luod or the kernel's device, and returns a descriptor for calls.
 *
 * If LUO_STATE is set and not empty, it names luod's state directory, and nothing else is tried. Programs with more
 * rights than their caller, such as set-user-ID programs, ignore it (secure_getenv(3)). Otherwise this tries
 * /run/luo, and then /dev/liveupdate if /run/luo has no socket (ENOENT). Any other failure of /run/luo is the result.
 * Errors: those of luo_open_state() and luo_open_device().
 */
LUO_API int luo_open(void);

/*
 * Connects to the luod of a state directory, and waits until luod has answered a ping.
 *
 * A null pointer stands for LUO_STATE, or /run/luo without it. Errors: ENOENT, ENOTDIR or ECONNREFUSED no luod runs
 * there; EACCES this user may not connect; ENAMETOOLONG the path is longer than 96 bytes; EMFILE, ENFILE too many
 * descriptors, here or in luod; EIO luod cannot read its state; ENOTCONN luod has ended; EPROTO another program
 * answers.
 */
LUO_API int luo_open_state(const char *path);

/*
 * Opens the kernel's device, or luod's device in a program under `luoctl run`. A null pointer stands for
 * /dev/liveupdate.
 *
 * Errors: ENOENT, ENXIO, ENODEV the kernel has no such device; EBUSY another program has it open; EACCES only root
 * may open it; EIO the state from before the update cannot be read; EMFILE, ENFILE.
 */
LUO_API int luo_open_device(const char *path);

/*
 * Closes a descriptor and forgets its subscription, with the notices that were set aside, also for duplicates of the
 * descriptor. After close(2) the few bytes of a subscription stay. Errors: EBADF, and those of close(2).
 */
LUO_API int luo_close(int fd);

/*
 * Makes one of the calls above, as ioctl(2) does on the device, and returns 0. The argument is the call's struct. Its
 * first member is its size, and all these bytes must be readable.
 *
 * Errors: EBADF fd is not open; ENOTTY fd is neither luod's nor a device's, the command is not of type 0xBA, or the
 * kernel's device lacks the call; EINVAL unknown number, a struct that is too short, or a session of the wrong
 * direction; EFAULT a null pointer; E2BIG a longer struct with a nonzero byte behind the known part; ENODEV the boot
 * of the session has ended; EMFILE the descriptor of the answer did not arrive (nothing is lost: raise the limit and
 * repeat); ENOTCONN luod has ended; EPROTO an answer that no luod gives; ECANCELED luod died several times during
 * this call; ETOOMANYREFS, ENOBUFS, ENOMEM a shortage; and the errors of the call.
 */
LUO_API int luo_ioctl(int fd, unsigned long command, void *argument);

/*
 * Returns the reason of the last failure in this thread: a line, and a second line with the remedy if there is one.
 *
 * The text of a call with luo_change may have more lines. The text is empty before the first failure. It is valid until
 * the thread's next failure.
 */
LUO_API const char *luo_reason(void);

/*
 * The three calls that open a session return its descriptor. A name has 1 to 63 bytes. On luod, each user has names of
 * its own. Errors: those of luo_ioctl(), and those that each call names.
 */

/* EEXIST the name is in use; EINVAL the name is empty or too long; EMFILE, EUSERS, ENOSPC the limits of the user. */
LUO_API int luo_create_session(int luo, const char *name);
/* ENOENT the last update handed over no such session; EINVAL it was retrieved already, and is open or detached. */
LUO_API int luo_retrieve_session(int luo, const char *name);
/* luod only. ENOENT no such session; EBUSY a client has it; EINVAL another direction than the three. */
LUO_API int luo_attach_session(int luo, const char *name, enum luo_direction direction);

/* Stores the name of a session with its NUL, and returns 0. Errors: those of luo_ioctl(); EFAULT a null pointer. */
LUO_API int luo_session_name(int session, char name[LIVEUPDATE_SESSION_NAME_LENGTH]);

/*
 * The functions for files return 0 or the descriptor of a file. Errors: those of luo_ioctl(); EINVAL a session of the
 * other direction; and those that each function names.
 */

/*
 * Preserves a file in an outgoing session. The caller still owns the descriptor, and the file stays in use. EEXIST
 * the token is in use; EBADF fd is not open, or O_PATH; ENOENT no handler takes this kind of file; EBUSY the file is
 * preserved already; EMFILE, EDQUOT, ENOSPC the limits.
 */
LUO_API int luo_preserve(int session, int fd, uint64_t token);
/*
 * Holds any descriptor open without knowing its state. luod only. Errors: as luo_preserve(); ELOOP a socket of luod.
 */
LUO_API int luo_preserve_held(int session, int fd, uint64_t token);
/* Checks whether a file can be preserved, and changes nothing. luod only. Errors: as luo_preserve(). */
LUO_API int luo_check(int session, int fd, uint64_t token);
/* Removes a file from an outgoing session. luod only. ENOENT no such token. */
LUO_API int luo_unpreserve(int session, uint64_t token);
/* Returns a descriptor of a file of an outgoing session. luod only. ENOENT no such token; EBADF the file was lost. */
LUO_API int luo_get(int session, uint64_t token);
/* Returns a descriptor of a file that was handed over. ENOENT no such token; the error of the file's handler. */
LUO_API int luo_retrieve(int session, uint64_t token);
/*
 * Returns a descriptor of a file that an update left out. luod only. ENOENT no such token; EBADF the file was lost.
 */
LUO_API int luo_retrieve_as_held(int session, uint64_t token);
/*
 * Finishes a session that was handed over, and releases its files. A detached session stays, without files. EBUSY a
 * file cannot be finished yet.
 */
LUO_API int luo_finish(int session);
/* Makes a session stay after its last close (1), or end with it (0). luod only. ENOSPC no room in luod's arena. */
LUO_API int luo_set_detached(int session, int detached);

/*
 * Returns luod's status as lines of JSON, in memory that the caller frees with free(3). luod only.
 *
 * Each line is an object with one member: `luod` in the first line, `session` before the lines of its files, and
 * `file`. A session can have a second line with the same `number`. Ignore lines with other members. Errors: those of
 * luo_ioctl(); ENOMEM; ESTALE an update came during each of 100 tries.
 */
LUO_API char *luo_status(int luo);

/*
 * Subscribes (1), so that luod asks this client before each update, or ends the subscription (0). luod only.
 *
 * A client that has subscribed must read its notices. Errors: those of luo_ioctl(); ENOMEM.
 */
LUO_API int luo_subscribe(int session, int wanted);
/*
 * Waits for the next notice on a session. Returns 1 with a notice, or 0 if none came within the milliseconds (-1: no
 * limit).
 *
 * An event loop polls the session, and calls this with 0 when the session is readable and after each call on it,
 * because a call sets notices aside. Errors: ENOTCONN luod has ended; ENOTTY fd is not luod's; EBADF; ENOMEM.
 */
LUO_API int luo_next_notice(int session, struct luo_notice *notice, int milliseconds);
/*
 * Says that the update may begin. Errors: those of luo_ioctl(); ESTALE luod does not wait for this answer any longer.
 */
LUO_API int luo_ready(int session, uint64_t question);

#ifdef __cplusplus
}
#endif
#endif
