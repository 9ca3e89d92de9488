// SPDX-License-Identifier: Apache-2.0

// The turns of threads on sockets.
//
// A thread that makes a call puts a turn with the socket's cookie into a list, and waits first while the list has one
// with this cookie. The kernel gives each socket another cookie, and duplicates of a descriptor have the same one. So
// the list needs no memory and no end of a session.
//
// A child of fork(2) has only the thread that called fork. It begins with an empty list and a new lock.
#include "internal.h"

#include <errno.h>
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static struct luo__turn *turns;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static int fork_error;

void luo__lock(void) { pthread_mutex_lock(&mutex); }
void luo__unlock(void) { pthread_mutex_unlock(&mutex); }

static void begin_again_in_child(void) {
    static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t without_waiters = PTHREAD_COND_INITIALIZER;
    mutex = unlocked;
    ended = without_waiters;
    turns = NULL;
}

static void prepare(void) { fork_error = pthread_atfork(luo__lock, luo__unlock, begin_again_in_child); }

static bool has_turn(uint64_t cookie) {
    for (const struct luo__turn *turn = turns; turn; turn = turn->next)
        if (turn->cookie == cookie) return true;
    return false;
}

int luo__begin(struct luo__turn *turn, uint64_t cookie) {
    pthread_once(&prepared, prepare);
    if (fork_error)
        return luo__fail(fork_error, "preparing for fork(2) failed\nfree memory, and start the program again");
    // A thread that is canceled in its turn would never end it.
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &turn->cancel_state);
    luo__lock();
    while (has_turn(cookie)) pthread_cond_wait(&ended, &mutex);
    turn->cookie = cookie;
    turn->next = turns;
    turns = turn;
    luo__unlock();
    return 0;
}

void luo__end(struct luo__turn *turn) {
    int error = errno;
    luo__lock();
    for (struct luo__turn **link = &turns; *link; link = &(*link)->next) {
        if (*link != turn) continue;
        *link = turn->next;
        break;
    }
    pthread_cond_broadcast(&ended);
    luo__unlock();
    pthread_setcancelstate(turn->cancel_state, NULL);
    errno = error;
}
