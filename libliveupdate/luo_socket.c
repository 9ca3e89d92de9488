// SPDX-License-Identifier: Apache-2.0

// The client's side of luod's sockets (docs/protocol.md).
//
// 1. The request has a new tag, so that luod does it once even if its processes die meanwhile.
// 2. Answers with other tags are dropped, whatever their length: after the death of a process of luod the next one
//    may repeat an answer. Notices are set aside.
// 3. Every descriptor that comes is either returned or closed.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

int luo__kind(int fd, uint64_t *cookie) {
    int domain = 0, type = 0;
    socklen_t length = sizeof *cookie, word = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &length) < 0) {
        if (errno != EBADF) return LUO__DEVICE;
        return luo__fail(
            EBADF, "descriptor %d is not open\nuse a descriptor of luo_open() or of a session", fd);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &word) == 0 && domain == AF_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &word) == 0 && type == SOCK_SEQPACKET)
        return LUO__SOCKET;
    return luo__fail(
        ENOTTY, "descriptor %d is a socket, but not of luod\nuse a descriptor of luo_open() or of a session", fd);
}

// A number other than 0, and other than that of the previous request.
static uint64_t new_tag(void) {
    uint64_t tag = 0;
    while (tag == 0) {
        if (getrandom(&tag, sizeof tag, 0) < 0 && errno != EINTR) {
            // Without random numbers, the address and the process make the tags of this thread different.
            static _Thread_local uint64_t count;
            tag = ((uint64_t)getpid() << 40) ^ (uint64_t)(uintptr_t)&count ^ ++count;
        }
    }
    return tag;
}

// Room for more descriptors than luod sends, so that too many of them are noticed.
union control {
    struct cmsghdr aligned;
    char bytes[CMSG_SPACE(8 * sizeof(int))];
};

static void wait_for(int fd, short events) {
    struct pollfd polled = {.fd = fd, .events = events};
    poll(&polled, 1, -1); // The next try finds out how the wait ended.
}

// Sends a request. A connection that luod has closed is no failure here: luod may have sent the reason before.
static int send_request(int fd, const struct luo__request *request, uint64_t tag) {
    struct {
        __u64 tag;
        __u32 flags;
    } __attribute__((packed)) tail = {tag, 1 /* the answer to a failure has the reason */};
    __u32 command = request->command;
    struct iovec parts[] = {
        {&command, sizeof command}, {(void *)(uintptr_t)request->body, request->length}, {&tail, sizeof tail}};
    union control control = {.bytes = {0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    // A descriptor that is not open does not travel. luod reports it after its other checks, as the device does.
    if (request->passed >= 0 && fcntl(request->passed, F_GETFD) >= 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &request->passed, sizeof(int));
    }
    for (;;) {
        if (sendmsg(fd, &message, MSG_NOSIGNAL) >= 0) return 0;
        if (errno == EPIPE || errno == ECONNRESET) return 0;
        if (errno == EAGAIN) {
            wait_for(fd, POLLOUT);
        } else if (errno == EBADF && message.msg_control) {
            // Another thread has closed the descriptor.
            message.msg_control = NULL;
            message.msg_controllen = 0;
        } else if (errno != EINTR) {
            return luo__fail(errno, "sending the request to luod failed: %s\ntry again", strerror(errno));
        }
    }
}

// Counts the descriptors of a message, and closes all but the first `spared`.
static int descriptors(struct msghdr *message, int spared, int *first) {
    int count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        int in_this = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < in_this; i++, count++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + (size_t)i * sizeof(int), sizeof(int));
            if (count < spared) *first = descriptor;
            else close(descriptor);
        }
    }
    return count;
}

static int unexpected(void) {
    return luo__fail(EPROTO, "luod sent an unexpected answer\nuse a client and a luod of the same version");
}

// The kernel has no larger errno.
static bool is_failure(__s32 result) { return -4095 <= result && result < 0; }

static bool has_tag(const char *place, uint64_t tag) { return memcmp(place, &tag, sizeof tag) == 0; }

// The meaning of a message: the answer to the request (1), another message (0), or a failure (-1).
static int understand(struct luo__request *request, uint64_t tag, size_t length, bool is_cut) {
    __s32 result;
    if (length < sizeof result) return is_cut ? 0 : unexpected();
    memcpy(&result, request->buffer, sizeof result);
    if (length == sizeof result) {
        if (!is_failure(result)) return unexpected();
        return luo__fail(
            -result, "luod refused the connection: it holds as many descriptors as it may, for this user or at all\n"
                     "close connections, finish sessions, or start luod with a larger --max-user-descriptors");
    }
    size_t end = sizeof result + request->length;
    const char *rest;
    if (length >= end + sizeof tag && has_tag(request->buffer + end, tag)) {
        request->answer = request->buffer + sizeof result;
        rest = request->buffer + end + sizeof tag;
    } else if (length == sizeof result + sizeof tag && has_tag(request->buffer + sizeof result, tag)) {
        request->answer = NULL; // the failure of a luod that does not know reasons
        rest = request->buffer + length;
        if (result == 0) return unexpected();
    } else {
        return length < sizeof result + sizeof tag && !is_cut ? unexpected() : 0;
    }
    if (is_cut || (result != 0 && !is_failure(result))) return unexpected();
    request->error = -result;
    request->text = rest;
    request->text_length = (size_t)(request->buffer + length - rest);
    return 1;
}

// Accepts the descriptors of an answer, and closes those that do not belong to it.
static int accept_descriptors(struct luo__request *request, struct msghdr *message) {
    int first = -1, wanted = request->error == 0 && request->brings;
    int count = descriptors(message, 1, &first);
    if (count == wanted && !(message->msg_flags & MSG_CTRUNC)) {
        request->received = first;
        return 0;
    }
    if (first >= 0) close(first);
    if (message->msg_flags & MSG_CTRUNC)
        return luo__fail(
            EMFILE, "the descriptor of the answer did not arrive, because this process has too many open files\n"
                    "raise the limit on open files (ulimit -n, LimitNOFILE=), and repeat the call: nothing is lost");
    return unexpected();
}

// Receives a message. Returns 1 for the answer, 0 for another message, or -1.
static int receive(int fd, uint64_t cookie, struct luo__request *request, uint64_t tag) {
    union control control;
    struct iovec part = {request->buffer, request->room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (length < 0) {
        if (errno == EAGAIN) wait_for(fd, POLLIN);
        // The kernel reports ECONNRESET once. The messages that luod sent before are still in the queue.
        else if (errno != EINTR && errno != ECONNRESET)
            return luo__fail(errno, "receiving the answer of luod failed: %s\ntry again", strerror(errno));
        return 0;
    }
    int ignored, meaning = 0;
    if (length == 0) {
        meaning = luo__fail(
            ENOTCONN, "luod has ended\nstart it again, and connect again; files without a name went with it");
    } else if (!luo__set_aside(cookie, request->buffer, (size_t)length)) {
        meaning = understand(request, tag, (size_t)length, message.msg_flags & MSG_TRUNC);
    }
    if (meaning == 1) return accept_descriptors(request, &message) < 0 ? -1 : 1;
    int error = errno;
    descriptors(&message, 0, &ignored);
    errno = error;
    return meaning;
}

int luo__ask(int fd, uint64_t cookie, struct luo__request *request) {
    struct luo__turn turn;
    if (luo__begin(&turn, cookie) < 0) return -1;
    uint64_t tag = new_tag();
    int result = send_request(fd, request, tag);
    request->received = -1;
    while (result == 0) result = receive(fd, cookie, request, tag);
    luo__end(&turn);
    return result == 1 ? 0 : -1;
}
