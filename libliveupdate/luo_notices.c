// SPDX-License-Identifier: Apache-2.0

// The notices of luod before and after an update.
//
// A notice can come before the answer to a request. The call sets it aside in memory that the subscription has
// allocated, so that no call fails for lack of memory after its request was sent. Only the last notice of each kind
// is stored: a later question, or a later result, makes the earlier one worthless.
#include "internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct subscription {
    struct subscription *next;
    uint64_t cookie;
    int count;
    struct luo_notice notices[2]; // the oldest first
};
static struct subscription *subscriptions;

static struct subscription **find(uint64_t cookie) {
    struct subscription **link = &subscriptions;
    while (*link && (*link)->cookie != cookie) link = &(*link)->next;
    return link;
}

// Makes room for the notices of a socket, below the lock. Null: there is no memory.
static struct subscription *begin(uint64_t cookie) {
    struct subscription *subscription = calloc(1, sizeof *subscription);
    if (!subscription) return NULL;
    *subscription = (struct subscription){.next = subscriptions, .cookie = cookie};
    return subscriptions = subscription;
}

int luo__expect_notices(uint64_t cookie) {
    luo__lock();
    bool is_there = *find(cookie) || begin(cookie);
    luo__unlock();
    return is_there ? 0 : luo__fail(ENOMEM, "there is no memory for the notices of luod\nfree memory, and try again");
}

void luo__forget_notices(uint64_t cookie) {
    luo__lock();
    struct subscription **link = find(cookie), *found = *link;
    if (found) *link = found->next;
    luo__unlock();
    free(found);
}

static void add(struct subscription *subscription, const struct luo_notice *notice) {
    int count = 0;
    for (int i = 0; i < subscription->count; i++)
        if (subscription->notices[i].kind != notice->kind) subscription->notices[count++] = subscription->notices[i];
    subscription->notices[count++] = *notice;
    subscription->count = count;
}

static bool take(uint64_t cookie, struct luo_notice *notice) {
    luo__lock();
    struct subscription *subscription = *find(cookie);
    bool is_there = subscription && subscription->count > 0;
    if (is_there) {
        *notice = subscription->notices[0];
        subscription->notices[0] = subscription->notices[1];
        subscription->count--;
    }
    luo__unlock();
    return is_there;
}

bool luo__set_aside(uint64_t cookie, const char *message, size_t length) {
    struct {
        __s32 kind;
        __u32 size;
        __u64 value, question;
    } words;
    if (length < sizeof words) return false;
    memcpy(&words, message, sizeof words);
    // The first word of an answer is not positive.
    if (words.kind <= 0 || words.size != length) return false;
    if (words.kind != LUO_FREEZE_SOON && words.kind != LUO_OVER) return true;
    luo__lock();
    struct subscription *subscription = *find(cookie);
    struct luo_notice notice = {(enum luo_notice_kind)words.kind, words.value, words.question};
    // luo_close() of another descriptor of the socket has forgotten the subscription, or another process has made it.
    if (!subscription) subscription = begin(cookie);
    if (subscription) add(subscription, &notice);
    luo__unlock();
    return true;
}

// Sets all notices in the queue aside. Returns whether luod still has the connection.
static bool read_notices(int session, uint64_t cookie) {
    char buffer[LUO__ROOM];
    for (;;) {
        // A repeated answer is dropped; the kernel drops its descriptors, because there is no room for them.
        ssize_t length = recv(session, buffer, sizeof buffer, MSG_DONTWAIT);
        if (length > 0) luo__set_aside(cookie, buffer, (size_t)length);
        else if (length == 0) return false;
        else if (errno == EAGAIN) return true;
        else if (errno != EINTR && errno != ECONNRESET) return false;
    }
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

// The longest wait in one poll(2), because a call of another thread may set the awaited notice aside.
enum { SLICE = 50 };

int luo_next_notice(int session, struct luo_notice *notice, int milliseconds) {
    uint64_t cookie;
    int kind = luo__kind(session, &cookie);
    if (kind < 0) return -1;
    if (!notice) return luo__fail(EFAULT, "there is no room for the notice\npass a pointer to a struct");
    if (kind == LUO__DEVICE) return luo__fail(ENOTTY, "the kernel's device sends no notices\nuse luod, which does");
    if (luo__expect_notices(cookie) < 0) return -1;
    int64_t end = milliseconds < 0 ? INT64_MAX : now() + milliseconds;
    for (bool is_connected = true;;) {
        if (take(cookie, notice)) return 1;
        if (!is_connected) return luo__fail(ENOTCONN, "luod has ended\nstart it again, and connect again");
        int64_t left = end == INT64_MAX ? SLICE : end - now();
        struct pollfd polled = {.fd = session, .events = POLLIN};
        int count = poll(&polled, 1, (int)(left < 0 ? 0 : left < SLICE ? left : SLICE));
        if (count < 0 && errno != EINTR) return luo__fail(errno, "waiting for a notice failed");
        if (count > 0) {
            struct luo__turn turn;
            if (luo__begin(&turn, cookie) < 0) return -1;
            is_connected = read_notices(session, cookie);
            luo__end(&turn);
            if (is_connected && left <= 0) return take(cookie, notice);
        } else if (left <= 0) {
            return take(cookie, notice);
        }
    }
}

int luo_ready(int session, uint64_t question) {
    struct luo_question argument = {sizeof argument, 0, question};
    return luo_ioctl(session, LUO_READY, &argument);
}

int luo_subscribe(int session, int wanted) {
    struct luo_word argument = {sizeof argument, (__u32)wanted};
    return luo_ioctl(session, LUO_SUBSCRIBE, &argument);
}
