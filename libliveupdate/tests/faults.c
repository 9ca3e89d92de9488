// SPDX-License-Identifier: Apache-2.0

// The library on a luod that answers wrongly, and in a process in which system calls fail. The luod is a thread at the
// other end of a socket pair. After each fault the connection must still be usable, unless it was closed, and no
// descriptor may be left.
//
// The functions of libc that the library calls are wrapped (-Wl,--wrap), so that each of them can fail.
#include "check.h"

#include <stdarg.h>
#include <sys/un.h>

// MARK: Functions that fail

static _Thread_local const char *failing; // the function that fails, in this thread
static _Thread_local int countdown, failing_errno;

static bool must_fail(const char *function) {
    if (!failing || strcmp(failing, function) != 0 || --countdown != 0) return false;
    errno = failing_errno;
    return true;
}

#define WRAPPED(type, name, parameters, arguments, failure)      \
    type __real_##name parameters;                               \
    type __wrap_##name parameters;                               \
    type __wrap_##name parameters {                              \
        return must_fail(#name) ? failure : __real_##name arguments; \
    }
WRAPPED(void *, malloc, (size_t size), (size), NULL)
WRAPPED(void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAPPED(void *, realloc, (void *memory, size_t size), (memory, size), NULL)
WRAPPED(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
WRAPPED(int, connect, (int fd, const struct sockaddr *to, socklen_t length), (fd, to, length), -1)
WRAPPED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1)
WRAPPED(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1)
WRAPPED(ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags), -1)
WRAPPED(ssize_t, getrandom, (void *buffer, size_t size, unsigned flags), (buffer, size, flags), -1)
WRAPPED(int, poll, (struct pollfd *polled, nfds_t count, int milliseconds), (polled, count, milliseconds), -1)

// MARK: A luod that answers wrongly

enum fault {
    RIGHT, REASON, NO_REASON_OLD, SHORT, EMPTY_RESULT, WRONG_TAG, HUGE_OTHER, HUGE, POSITIVE, TOO_MANY, NONE_CAME,
    TRUNCATED, WITH_FAILURE, CLOSES, CLOSES_AT_ONCE, REFUSES, NOTICE_FIRST, UNKNOWN_NOTICE, NO_STRUCT, LONG_REASON,
    PAGES_STALE, NO_REASON, LOWEST, LOWEST_ALONE, NO_ERRNO
};
struct luod {
    int socket;
    enum fault fault;
    bool brings;
};

static void say(int socket, const void *bytes, size_t length, int descriptors) {
    struct iovec part = {(void *)(uintptr_t)bytes, length};
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(40 * sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptors) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)descriptors * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN((size_t)descriptors * sizeof(int));
        for (int i = 0; i < descriptors; i++) memcpy(CMSG_DATA(header) + (size_t)i * sizeof(int), &socket, sizeof(int));
    }
    OK(sendmsg(socket, &message, MSG_NOSIGNAL));
}

// Sends an answer with the struct of the request.
static void answer(int socket, __s32 result, const char *request, size_t struct_length, uint64_t tag, const char *text,
                   size_t text_length, int descriptors) {
    static char bytes[200000];
    memcpy(bytes, &result, 4);
    memcpy(bytes + 4, request + 4, struct_length);
    memcpy(bytes + 4 + struct_length, &tag, 8);
    memcpy(bytes + 12 + struct_length, text, text_length);
    say(socket, bytes, 12 + struct_length + text_length, descriptors);
}

static char long_text[150000];

static void *serve(void *argument) {
    struct luod *luod = argument;
    char request[8192];
    for (ssize_t length; (length = recv(luod->socket, request, sizeof request, 0)) > 0;) {
        __u32 size;
        uint64_t tag;
        memcpy(&size, request + 4, 4);
        memcpy(&tag, request + 4 + size, 8);
        int socket = luod->socket, own = luod->brings;
        struct {
            __s32 kind;
            __u32 size;
            uint64_t value, question;
            char rest[8];
        } notice = {LUO_FREEZE_SOON, 24, 5000, 77, ""};
        __s32 result = -EIO;
        switch (luod->fault) {
        case RIGHT: answer(socket, 0, request, size, tag, "", 0, own); break;
        case REASON: answer(socket, -ENOENT, request, size, tag, "the reason\nthe remedy", 21, 0); break;
        case NO_REASON_OLD: answer(socket, -ENOENT, request, 0, tag, "", 0, 0); break;
        case SHORT: say(socket, "abcdefg", 7, 1); break;
        case EMPTY_RESULT: say(socket, "\0\0\0\0", 4, 0); break;
        case WRONG_TAG:
            answer(socket, 0, request, size, tag + 1, "", 0, 1);
            answer(socket, 0, request, size, tag, "", 0, own);
            break;
        case HUGE_OTHER:
            answer(socket, 0, request, size, tag + 1, long_text, sizeof long_text, 1);
            answer(socket, 0, request, size, tag, "", 0, own);
            break;
        case HUGE: answer(socket, 0, request, size, tag, long_text, sizeof long_text, own); break;
        case POSITIVE: answer(socket, 1, request, size, tag, "", 0, own); break;
        case TOO_MANY: answer(socket, 0, request, size, tag, "", 0, own + 1); break;
        case NONE_CAME: answer(socket, 0, request, size, tag, "", 0, 0); break;
        case TRUNCATED: answer(socket, 0, request, size, tag, "", 0, 40); break;
        case WITH_FAILURE: answer(socket, -ENOENT, request, size, tag, "a failure", 9, 1); break;
        case CLOSES: answer(socket, 0, request, size, tag + 1, "", 0, 1); // and
        // fallthrough
        case CLOSES_AT_ONCE: shutdown(socket, SHUT_RDWR); return NULL;
        case REFUSES:
            result = -EMFILE;
            say(socket, &result, 4, 0);
            shutdown(socket, SHUT_RDWR);
            return NULL;
        case NOTICE_FIRST:
            say(socket, &notice, 24, 0);
            answer(socket, 0, request, size, tag, "", 0, own);
            break;
        case UNKNOWN_NOTICE:
            notice.kind = 9;
            notice.size = 32;
            say(socket, &notice, 32, 1);
            answer(socket, 0, request, size, tag, "", 0, own);
            break;
        case NO_STRUCT: answer(socket, 0, request, 0, tag, "", 0, own); break;
        case LONG_REASON: answer(socket, -ENOENT, request, size, tag, long_text, 6000, 0); break;
        case PAGES_STALE: answer(socket, -ESTALE, request, size, tag, "stale", 5, 0); break;
        case NO_REASON: answer(socket, -ENOENT, request, size, tag, "", 0, 0); break;
        case LOWEST: answer(socket, INT_MIN, request, size, tag, "", 0, 0); break;
        case LOWEST_ALONE:
            result = INT_MIN;
            say(socket, &result, 4, 0);
            break;
        case NO_ERRNO: answer(socket, -4096, request, size, tag, "", 0, 0); break;
        default: abort();
        }
    }
    return NULL;
}

// A luod with a client.
static pthread_t start(struct luod *luod, enum fault fault, bool brings, int *client) {
    int pair[2];
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    *luod = (struct luod){pair[0], fault, brings};
    *client = pair[1];
    pthread_t thread;
    IS(pthread_create(&thread, NULL, serve, luod) == 0);
    return thread;
}

static void end(struct luod *luod, pthread_t thread, int client) {
    OK(luo_close(client));
    IS(pthread_join(thread, NULL) == 0);
    OK(close(luod->socket));
}

static void wrong_answers(void) {
    static const struct {
        enum fault fault;
        int of_word, of_file; // 0, or the errno of a call that brings nothing, and of a call that brings a descriptor
    } rows[] = {
        {RIGHT, 0, 0}, {REASON, ENOENT, ENOENT}, {NO_REASON_OLD, ENOENT, ENOENT}, {SHORT, EPROTO, EPROTO},
        {EMPTY_RESULT, EPROTO, EPROTO}, {WRONG_TAG, 0, 0}, {HUGE_OTHER, 0, 0}, {HUGE, EPROTO, EPROTO},
        {POSITIVE, EPROTO, EPROTO}, {TOO_MANY, EPROTO, EPROTO}, {NONE_CAME, 0, EPROTO}, {TRUNCATED, EMFILE, EMFILE},
        {WITH_FAILURE, EPROTO, EPROTO}, {CLOSES, ENOTCONN, ENOTCONN}, {CLOSES_AT_ONCE, ENOTCONN, ENOTCONN},
        {REFUSES, EMFILE, EMFILE}, {NOTICE_FIRST, 0, 0}, {UNKNOWN_NOTICE, 0, 0}, {NO_STRUCT, EPROTO, EPROTO},
        {LONG_REASON, ENOENT, ENOENT}, {PAGES_STALE, ESTALE, ESTALE},
        {LOWEST, EPROTO, EPROTO}, {LOWEST_ALONE, EPROTO, EPROTO}, {NO_ERRNO, EPROTO, EPROTO}};
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int brings = 0; brings < 2; brings++) {
            int before = open_descriptors(), client, wanted = brings ? rows[i].of_file : rows[i].of_word;
            struct luod luod;
            pthread_t thread = start(&luod, rows[i].fault, brings, &client);
            for (int round = 0; round < 3; round++) {
                errno = 0;
                int result = brings ? luo_get(client, 5) : luo_finish(client);
                if (wanted ? result != -1 || errno != wanted : result < 0)
                    fail("the fault", (int)rows[i].fault, result);
                if (wanted && strlen(luo_reason()) < 5) fail("the reason of the fault", (int)rows[i].fault, result);
                if (rows[i].fault == REASON) IS(strcmp(luo_reason(), "the reason\nthe remedy") == 0);
                if (rows[i].fault == REFUSES) break; // it is said once
                if (!wanted && brings) OK(close(result));
            }
            end(&luod, thread, client);
            if (open_descriptors() != before)
                fail("descriptors after the fault", (int)rows[i].fault, open_descriptors());
        }
    }
}

// A subscription keeps the last notice of each kind.
static void notices_before_answers(void) {
    int client;
    struct luod luod;
    struct luo_notice notice = {0};
    pthread_t thread = start(&luod, NOTICE_FIRST, false, &client);
    OK(luo_subscribe(client, 1));
    for (int i = 0; i < 5; i++) OK(luo_finish(client));
    IS(OK(luo_next_notice(client, &notice, -1)) == 1);
    IS(notice.kind == LUO_FREEZE_SOON && notice.question == 77 && notice.value == 5000);
    IS(OK(luo_next_notice(client, &notice, 60)) == 0);
    end(&luod, thread, client);
    // The end of luod is reported after the last notice.
    thread = start(&luod, CLOSES_AT_ONCE, false, &client);
    FAILS(ENOTCONN, luo_finish(client));
    FAILS(ENOTCONN, luo_next_notice(client, &notice, -1));
    end(&luod, thread, client);
}

// A duplicate that is closed leaves the other descriptor its notices.
static void notices_of_a_duplicate(void) {
    int client;
    struct luod luod;
    struct luo_notice notice = {0};
    pthread_t thread = start(&luod, NOTICE_FIRST, false, &client);
    OK(luo_subscribe(client, 1));
    OK(luo_close(OK(dup(client))));
    OK(luo_finish(client));
    IS(OK(luo_next_notice(client, &notice, 0)) == 1);
    IS(notice.kind == LUO_FREEZE_SOON && notice.question == 77);
    end(&luod, thread, client);
}

// A struct that is too short gets nothing behind its end, although luod accepts it or explains a failure.
static void short_structs(void) {
    int before = open_descriptors(), client;
    struct luod luod;
    pthread_t thread = start(&luod, RIGHT, true, &client);
    __u32 *file = malloc(sizeof *file); // the sanitizer knows its end
    IS(file);
    *file = sizeof *file;
    FAILS(EPROTO, luo_ioctl(client, LUO_GET_FD, file));
    free(file);
    luod.fault = NO_REASON;
    struct luo_change *change = calloc(1, 60);
    IS(change);
    change->size = 60;
    FAILS(ENOENT, luo_ioctl(client, LUO_UPDATE, change));
    IS(strstr(luo_reason(), "no reason"));
    free(change);
    end(&luod, thread, client);
    IS(open_descriptors() == before);
}

static void without_room(void) {
    int client, pair[2];
    struct luod luod;
    pthread_t thread = start(&luod, RIGHT, false, &client);
    FAILS(EFAULT, luo_session_name(client, NULL));
    FAILS(EFAULT, luo_next_notice(client, NULL, 0));
    end(&luod, thread, client);
    // A command of another type is not passed on to a file that knows it.
    OK(pipe2(pair, O_CLOEXEC));
    int bytes = -1;
    FAILS(ENOTTY, luo_ioctl(pair[0], FIONREAD, &bytes));
    IS(bytes == -1);
    OK(close(pair[0]));
    OK(close(pair[1]));
}

static void stale_status(void) {
    int client, before = open_descriptors();
    struct luod luod;
    pthread_t thread = start(&luod, PAGES_STALE, false, &client);
    IS(luo_status(client) == NULL && errno == ESTALE);
    luod.fault = RIGHT; // with the zeros of the request, and so without a further page
    char *status = luo_status(client);
    IS(status && !*status);
    free(status);
    luod.fault = HUGE;
    IS(luo_status(client) == NULL && errno == EPROTO);
    end(&luod, thread, client);
    IS(open_descriptors() == before);
}

// Each wrapped function fails once, at its first and second call.
static void failing_calls(void) {
    static const struct {
        const char *function;
        int error, wanted; // 0: the call goes on
    } rows[] = {
        {"sendmsg", EINTR, 0}, {"sendmsg", EAGAIN, 0}, {"sendmsg", ENOBUFS, ENOBUFS}, {"sendmsg", ENOMEM, ENOMEM},
        {"sendmsg", ETOOMANYREFS, ETOOMANYREFS}, {"recvmsg", EINTR, 0}, {"recvmsg", EAGAIN, 0},
        {"recvmsg", ECONNRESET, 0}, {"recvmsg", ENOMEM, ENOMEM}, {"getrandom", EINTR, 0}, {"getrandom", ENOSYS, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int before = open_descriptors(), client;
        struct luod luod;
        pthread_t thread = start(&luod, RIGHT, true, &client);
        failing = rows[i].function;
        failing_errno = rows[i].error;
        countdown = 1;
        errno = 0;
        int file = luo_get(client, 1);
        bool has_failed = countdown < 1;
        failing = NULL;
        IS(has_failed);
        if (rows[i].wanted ? file != -1 || errno != rows[i].wanted : file < 0) fail(rows[i].function, (int)i, file);
        if (file >= 0) OK(close(file));
        // The connection is usable, also when an answer that was not received is still in the queue.
        OK(close(OK(luo_get(client, 1))));
        end(&luod, thread, client);
        IS(open_descriptors() == before);
    }
}

static void no_memory(void) {
    int before = open_descriptors(), client;
    struct luod luod;
    struct luo_notice notice;
    pthread_t thread = start(&luod, RIGHT, false, &client);
    OK(luo_finish(client));
    failing_errno = ENOMEM;
    failing = "calloc", countdown = 1;
    FAILS(ENOMEM, luo_subscribe(client, 1));
    failing = "calloc", countdown = 1;
    FAILS(ENOMEM, luo_next_notice(client, &notice, 0));
    for (int i = 0; i < 2; i++) {
        failing = i ? "realloc" : "malloc", countdown = 1;
        errno = 0;
        IS(luo_status(client) == NULL && errno == ENOMEM);
    }
    failing = "poll", countdown = 1;
    FAILS(ENOMEM, luo_next_notice(client, &notice, 0));
    failing = NULL;
    end(&luod, thread, client);
    IS(open_descriptors() == before);
}

// A luod that listens, and ends its first connections before it answers.
struct listening {
    int socket, closed_first;
    enum fault then;
};

static void *accept_connections(void *argument) {
    struct listening *listening = argument;
    for (int i = 0;; i++) {
        int connection = accept4(listening->socket, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0) return NULL;
        struct luod luod = {connection, i < listening->closed_first ? CLOSES_AT_ONCE : listening->then, false};
        serve(&luod);
        OK(close(connection));
    }
}

static void connections(void) {
    const char *place = getenv("TMPDIR"); // of tests/run, which removes it also when a test fails
    char state[80];
    snprintf(state, sizeof state, "%s/liveupdate-XXXXXX", place ? place : "/tmp");
    IS(mkdtemp(state));
    int before = open_descriptors();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/liveupdate", state);
    FAILS(ENOENT, luo_open_state(state));
    struct listening listening = {OK(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)), 3, RIGHT};
    OK(bind(listening.socket, (struct sockaddr *)&address, sizeof address));
    FAILS(ECONNREFUSED, luo_open_state(state));
    OK(listen(listening.socket, 8));
    pthread_t thread;
    IS(pthread_create(&thread, NULL, accept_connections, &listening) == 0);
    // luod died three times before it answered.
    OK(luo_close(OK(luo_open_state(state))));
    failing = "socket", failing_errno = EMFILE, countdown = 1;
    OK(luo_close(OK(luo_open_state(state)))); // the other socket is tried
    failing = "connect", failing_errno = EINTR, countdown = 1;
    OK(luo_close(OK(luo_open_state(state))));
    failing = NULL;
    listening.then = REASON; // as a luod that cannot read its state
    FAILS(ENOENT, luo_open_state(state));
    listening.then = REFUSES;
    FAILS(EMFILE, luo_open_state(state));
    listening.then = CLOSES_AT_ONCE;
    FAILS(ENOTCONN, luo_open_state(state));
    OK(shutdown(listening.socket, SHUT_RDWR));
    IS(pthread_join(thread, NULL) == 0);
    OK(close(listening.socket));
    IS(open_descriptors() == before);
    OK(unlink(address.sun_path));
    OK(rmdir(state));
}

static void *open_state(void *argument) {
    luo_open_state(argument);
    return NULL;
}

// A thread that waits for the connection to a luod that accepts none can be canceled, and leaves no descriptor.
static void canceled_connections(void) {
    const char *place = getenv("TMPDIR");
    char state[80];
    snprintf(state, sizeof state, "%s/liveupdate-XXXXXX", place ? place : "/tmp");
    IS(mkdtemp(state));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/root", state);
    int listening = OK(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    OK(bind(listening, (struct sockaddr *)&address, sizeof address));
    OK(listen(listening, 0));
    int only = OK(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); // the queue has room for one connection
    OK(connect(only, (struct sockaddr *)&address, sizeof address));
    int before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        IS(pthread_create(&thread, NULL, open_state, state) == 0);
        OK(usleep(50000));
        IS(pthread_cancel(thread) == 0);
        IS(pthread_join(thread, NULL) == 0);
    }
    IS(open_descriptors() == before);
    OK(close(only));
    OK(close(listening));
    OK(unlink(address.sun_path));
    OK(rmdir(state));
}

static void *call_often(void *argument) {
    int client = *(int *)argument;
    for (int i = 0; i < 2000; i++) luo_finish(client);
    return NULL;
}

// A thread that is canceled ends its call first, so that other threads can still use the socket.
static void canceled_threads(void) {
    int client;
    struct luod luod;
    pthread_t server = start(&luod, RIGHT, false, &client), threads[20];
    for (int i = 0; i < 20; i++) {
        IS(pthread_create(&threads[i], NULL, call_often, &client) == 0);
        OK(luo_finish(client));
        IS(pthread_cancel(threads[i]) == 0);
    }
    for (int i = 0; i < 20; i++) IS(pthread_join(threads[i], NULL) == 0);
    OK(luo_finish(client));
    end(&luod, server, client);
}

int main(void) {
    alarm(100); // a call that does not return
    TEST(wrong_answers);
    TEST(notices_before_answers);
    TEST(notices_of_a_duplicate);
    TEST(short_structs);
    TEST(without_room);
    TEST(stale_status);
    TEST(failing_calls);
    TEST(no_memory);
    TEST(connections);
    TEST(canceled_connections);
    TEST(canceled_threads);
    return 0;
}
