// SPDX-License-Identifier: Apache-2.0

// The calls by their numbers, on luod's sockets and on the kernel's device.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

// The properties of a call. All structs with a descriptor have it behind the size.
struct call {
    size_t length; // of its struct; 0: there is no such call
    enum { NOTHING, PASSES, BRINGS } with;
    bool is_explained; // by the text of its struct, also in a failure
};
static const struct call calls[0x100] = {
    [0x00] = {sizeof(struct liveupdate_ioctl_create_session), BRINGS, false},
    [0x01] = {sizeof(struct liveupdate_ioctl_retrieve_session), BRINGS, false},
    [0x20] = {sizeof(struct luo_name), BRINGS, false},
    [0x22] = {sizeof(struct luo_change), NOTHING, true},
    [0x23] = {sizeof(struct luo_change), NOTHING, true},
    [0x24] = {sizeof(struct luo_change), NOTHING, true},
    [0x28] = {sizeof(struct luo_word), NOTHING, false},
    [0x29] = {sizeof(struct luo_change), NOTHING, true},
    [0x2A] = {sizeof(struct luo_change), NOTHING, true},
    [0x2B] = {sizeof(struct luo_word), NOTHING, false},
    [0x2C] = {sizeof(struct luo_change), NOTHING, true},
    [0x40] = {sizeof(struct liveupdate_session_preserve_fd), PASSES, false},
    [0x41] = {sizeof(struct liveupdate_session_retrieve_fd), BRINGS, false},
    [0x42] = {sizeof(struct liveupdate_session_finish), NOTHING, false},
    [0x43] = {sizeof(struct liveupdate_session_get_name), NOTHING, false},
    [0x60] = {sizeof(struct luo_file), NOTHING, false},
    [0x61] = {sizeof(struct luo_file), BRINGS, false},
    [0x62] = {sizeof(struct luo_file), PASSES, false},
    [0x63] = {sizeof(struct luo_word), NOTHING, false},
    [0x64] = {sizeof(struct luo_file), PASSES, false},
    [0x65] = {sizeof(struct luo_file), BRINGS, false},
    [0x66] = {sizeof(struct luo_word), NOTHING, false},
    [0x67] = {sizeof(struct luo_question), NOTHING, false},
};
_Static_assert(sizeof(struct luo_change) == 4152 && sizeof(struct luo_file) == 16, "the structs of docs/protocol.md");

// The reasons of the kernel's device, which gives only an errno.
struct words {
    int number, error; // number -1: every call
    const char *text;
};
static const struct words words_of_kernel[] = {
    {0x00, EINVAL, "a name has 1 to 63 bytes\nuse another name"},
    {0x00, EEXIST, "a session of that name exists\nuse another name"},
    {0x01, EINVAL, "the session is open already\nclose it first"},
    {0x01, ENOENT, "the previous kernel handed over no session of that name\nuse the name that it was created with"},
    {0x40, EEXIST, "the token is in use\nuse another token"},
    {0x40, ENOENT, "the kernel cannot preserve this kind of file\nuse a memory file of ordinary pages, or luod"},
    {0x40, EBUSY, "the file is preserved already\npreserve each file once"},
    {0x40, EINVAL, "the session is incoming\npreserve in an outgoing session"},
    {0x40, EBADF, "the descriptor is not open\nuse the descriptor of a memory file"},
    {0x41, ENOENT, "the session has no such token\nuse the token of the preserve"},
    {0x41, EINVAL, "the session is outgoing\nretrieve from an incoming session"},
    {0x42, EINVAL, "the session is outgoing\nfinish an incoming session"},
    {0x42, EBUSY, "a file cannot be finished yet\nfinish again later; nothing has changed"},
    {0x43, EINVAL, "this kernel has no GET_NAME, which came with Linux 7.2\nkeep the name yourself"},
    {-1, ENOTTY, "the descriptor is no device and no session\nuse a descriptor of luo_open() or of a session"},
    {-1, ENODEV, "the session is of a boot that has ended\nretrieve it in this one"},
};

static int fail_in_kernel(unsigned number, int error) {
    for (size_t i = 0; i < sizeof words_of_kernel / sizeof *words_of_kernel; i++) {
        const struct words *words = &words_of_kernel[i];
        if ((words->number == (int)number || words->number < 0) && words->error == error)
            return luo__fail(error, "%s", words->text);
    }
    return luo__fail(error, "the kernel refused call 0x%02x: %s", number, strerror(error));
}

static int call_kernel(int fd, unsigned long command, unsigned number, void *argument) {
    // The kernel's answer to a number that it does not know is the same as its answer to a wrong argument.
    if ((0x20 <= number && number < 0x40) || (0x60 <= number && number < 0x80))
        return luo__fail(
            ENOTTY, "the kernel's device does not have call 0x%02x, which only luod has\nconnect to luod", number);
    int result;
    do result = ioctl(fd, command, argument);
    while (result < 0 && errno == EINTR);
    return result < 0 ? fail_in_kernel(number, errno) : 0;
}

// The bytes that travel. luod checks the size after the direction of the session, so a wrong size travels, too: a
// short struct as it is, a longer one without its zeros, and one with a set byte behind the known part as one byte
// more.
static size_t shorten(const char *argument, __u32 size, size_t known, char *body) {
    size_t length = size < known ? size : known;
    if (length < sizeof size) length = sizeof size;
    memcpy(body, argument, length);
    for (size_t i = known; i < size; i++) {
        if (argument[i] == 0) continue;
        body[known] = 1;
        length = known + 1;
        break;
    }
    __u32 sent = (__u32)length;
    memcpy(body, &sent, sizeof sent);
    return length;
}

enum { DESCRIPTOR = 4 }; // the place of a descriptor in each struct that has one

// Changes the caller's struct as the device would.
static void store(const struct luo__request *request, const struct call *call, char *argument) {
    if (call->with == BRINGS) memcpy(argument + DESCRIPTOR, &request->received, sizeof(int));
    // A struct that passes a descriptor does not change. In the other structs all bytes behind the size may be new.
    else if (call->with == NOTHING && request->answer && request->length >= call->length)
        memcpy(argument + sizeof(__u32), request->answer + sizeof(__u32), call->length - sizeof(__u32));
}

static int call_luod(int fd, uint64_t cookie, unsigned long command, const struct call *call, char *argument) {
    char body[LUO__LONGEST_STRUCT + 1], buffer[LUO__ROOM];
    struct luo__request request = {
        .command = (__u32)command, .body = body, .passed = -1, .brings = call->with == BRINGS, .buffer = buffer,
        .room = sizeof buffer};
    __u32 size;
    memcpy(&size, argument, sizeof size);
    request.length = shorten(argument, size, call->length, body);
    if (call->with == PASSES && request.length >= DESCRIPTOR + sizeof(int))
        memcpy(&request.passed, body + DESCRIPTOR, sizeof(int));
    if (luo__ask(fd, cookie, &request) < 0) return -1;
    if (request.error == 0 && request.length < call->length) {
        // The caller's struct may have no room for the result. luod never accepts a struct that is too short.
        if (request.received >= 0) close(request.received);
        return luo__fail(
            EPROTO, "luod accepted a struct that is too short\nuse a client and a luod of the same version");
    }
    if (request.error == 0 || call->is_explained) store(&request, call, argument);
    if (request.error == 0) return 0;
    // luod knows only that no descriptor came.
    if (request.error == EBADF && call->with == PASSES && fcntl(request.passed, F_GETFD) < 0)
        return luo__fail(
            EBADF, "descriptor %d, the file to preserve, is not open\npass an open descriptor", request.passed);
    if (request.text_length == 0 && call->is_explained && request.answer && request.length >= call->length) {
        const size_t place = offsetof(struct luo_change, text);
        return luo__fail_with(request.error, request.answer + place, call->length - place);
    }
    return luo__fail_with(request.error, request.text, request.text_length);
}

static int fail_by_type(unsigned long command) {
    return luo__fail(ENOTTY, "command 0x%lx is not of type 0xBA\nuse the commands of liveupdate.h", command);
}

int luo_ioctl(int fd, unsigned long command, void *argument) {
    uint64_t cookie;
    unsigned number = command & 0xFF;
    int kind = luo__kind(fd, &cookie);
    if (kind < 0) return -1;
    bool is_of_type = (command >> 8) == LIVEUPDATE_IOCTL_TYPE;
    // A file that is no device may know a command of another type, and do it.
    if (kind == LUO__DEVICE) return is_of_type ? call_kernel(fd, command, number, argument) : fail_by_type(command);
    const struct call *call = &calls[number];
    if (call->length == 0)
        return luo__fail(
            EINVAL, "there is no call 0x%02x\nliveupdate.h has the calls; luo_status() gets the status", number);
    if (!argument) return luo__fail(EFAULT, "call 0x%02x has no struct\npass a pointer to its struct", number);
    if (!is_of_type) return fail_by_type(command);
    bool is_subscribe = number == (LUO_SUBSCRIBE & 0xFF);
    // The memory for notices must be there before the request is sent.
    if (is_subscribe && luo__expect_notices(cookie) < 0) return -1;
    int result = call_luod(fd, cookie, command, call, argument);
    if (is_subscribe && result == 0 && ((struct luo_word *)argument)->word == 0) luo__forget_notices(cookie);
    return result;
}

int luo_close(int fd) {
    uint64_t cookie;
    int kind = luo__kind(fd, &cookie);
    if (kind == LUO__SOCKET) luo__forget_notices(cookie);
    return close(fd) < 0 ? luo__fail(errno, "closing descriptor %d failed: %s", fd, strerror(errno)) : 0;
}
