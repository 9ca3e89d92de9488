// SPDX-License-Identifier: Apache-2.0

// A function for each call on sessions and files, and the status.
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Opens a session. The structs of the three calls are the same. The word is the direction, or -1 in the kernel's calls.
static int open_session(int luo, unsigned long command, const char *name, __s32 word) {
    struct liveupdate_ioctl_create_session argument = {.size = sizeof argument, .fd = word};
    if (!name) return luo__fail(EFAULT, "the session has no name\npass a name of 1 to 63 bytes");
    // A name without a NUL in its bytes is refused as the device refuses it.
    memcpy(argument.name, name, strnlen(name, sizeof argument.name));
    return luo_ioctl(luo, command, &argument) < 0 ? -1 : argument.fd;
}

int luo_create_session(int luo, const char *name) {
    return open_session(luo, LIVEUPDATE_IOCTL_CREATE_SESSION, name, -1);
}

int luo_retrieve_session(int luo, const char *name) {
    return open_session(luo, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, name, -1);
}

int luo_attach_session(int luo, const char *name, enum luo_direction direction) {
    return open_session(luo, LUO_ATTACH_SESSION, name, (__s32)direction);
}

int luo_session_name(int session, char name[LIVEUPDATE_SESSION_NAME_LENGTH]) {
    struct liveupdate_session_get_name argument = {.size = sizeof argument};
    if (!name) return luo__fail(EFAULT, "there is no room for the name\npass an array of 64 bytes");
    if (luo_ioctl(session, LIVEUPDATE_SESSION_GET_NAME, &argument) < 0) return -1;
    argument.name[sizeof argument.name - 1] = 0;
    memcpy(name, argument.name, sizeof argument.name);
    return 0;
}

static int with_file(int session, unsigned long command, int fd, uint64_t token) {
    struct luo_file argument = {sizeof argument, fd, token};
    return luo_ioctl(session, command, &argument);
}

// The descriptor of a file.
static int file(int session, unsigned long command, uint64_t token) {
    struct luo_file argument = {sizeof argument, -1, token};
    return luo_ioctl(session, command, &argument) < 0 ? -1 : argument.fd;
}

int luo_preserve(int session, int fd, uint64_t token) {
    return with_file(session, LIVEUPDATE_SESSION_PRESERVE_FD, fd, token);
}
int luo_preserve_held(int session, int fd, uint64_t token) {
    return with_file(session, LUO_PRESERVE_HELD_FD, fd, token);
}
int luo_check(int session, int fd, uint64_t token) { return with_file(session, LUO_CHECK_FD, fd, token); }
int luo_unpreserve(int session, uint64_t token) { return with_file(session, LUO_UNPRESERVE_FD, 0, token); }
int luo_get(int session, uint64_t token) { return file(session, LUO_GET_FD, token); }
int luo_retrieve(int session, uint64_t token) { return file(session, LIVEUPDATE_SESSION_RETRIEVE_FD, token); }
int luo_retrieve_as_held(int session, uint64_t token) { return file(session, LUO_RETRIEVE_AS_HELD_FD, token); }

int luo_finish(int session) {
    struct liveupdate_session_finish argument = {sizeof argument, 0};
    return luo_ioctl(session, LIVEUPDATE_SESSION_FINISH, &argument);
}

int luo_set_detached(int session, int detached) {
    struct luo_word argument = {sizeof argument, detached != 0};
    return luo_ioctl(session, LUO_SET_DETACHED, &argument);
}

// The status, page by page. The struct of an answer is the request for the next page.

struct place {
    __u32 size, boot;
    __u64 session, file;
};
enum { STATUS = 0x21, PAGE = 64 * 1024 + LUO__ROOM, STALE_TRIES = 100 };

// The text of a status under way.
struct text {
    char *bytes;
    size_t length;
};

static int append(struct text *text, const char *bytes, size_t length) {
    char *longer = realloc(text->bytes, text->length + length + 1);
    if (!longer) return luo__fail(ENOMEM, "there is no memory for the status\nfree memory, and try again");
    memcpy(longer + text->length, bytes, length);
    text->bytes = longer;
    text->length += length;
    longer[text->length] = 0;
    return 0;
}

static int read_pages(int luo, uint64_t cookie, char *buffer, struct text *text) {
    struct place place = {.size = sizeof place};
    do {
        struct luo__request request = {
            .command = LIVEUPDATE_IOCTL_TYPE << 8 | STATUS, .body = &place, .length = sizeof place, .passed = -1,
            .buffer = buffer, .room = PAGE};
        if (luo__ask(luo, cookie, &request) < 0) return -1;
        if (request.error) return luo__fail_with(request.error, request.text, request.text_length);
        if (append(text, request.text, request.text_length) < 0) return -1;
        memcpy(&place, request.answer, sizeof place);
        place.size = sizeof place;
    } while (place.boot || place.session || place.file);
    return 0;
}

char *luo_status(int luo) {
    uint64_t cookie;
    int kind = luo__kind(luo, &cookie);
    if (kind < 0) return NULL;
    struct text text = {NULL, 0};
    char *buffer = NULL;
    int result = -1;
    if (kind == LUO__DEVICE)
        luo__fail(ENOTTY, "the kernel's device cannot list its sessions and files\nuse luod, which can");
    else if (!(buffer = malloc(PAGE)))
        luo__fail(ENOMEM, "there is no memory for the status\nfree memory, and try again");
    else
        // ESTALE: an update came between two pages.
        for (int try = 0; try == 0 || (result < 0 && errno == ESTALE && try < STALE_TRIES); try++) {
            text.length = 0;
            result = read_pages(luo, cookie, buffer, &text);
        }
    int error = errno;
    free(buffer);
    if (result < 0) free(text.bytes);
    errno = error;
    return result < 0 ? NULL : text.bytes;
}
