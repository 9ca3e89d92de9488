// SPDX-License-Identifier: Apache-2.0

// The parts of the library that the files share. Nothing here is exported.
#pragma once
#include "liveupdate.h"

#include <stdbool.h>
#include <stddef.h>

// luo_reason.c

// Sets errno and the reason, and returns -1. The format has a second line with the remedy.
__attribute__((format(printf, 2, 3))) int luo__fail(int error, const char *format, ...);
// Sets errno and the reason to text that need not end with a NUL, and returns -1. Without text it says that there is
// none.
int luo__fail_with(int error, const char *text, size_t length);

// luo_socket.c

// The kind of a descriptor.
enum luo__kind { LUO__DEVICE, LUO__SOCKET };
// Returns the kind, and the cookie of a socket. -1: EBADF; ENOTTY for a socket that luod cannot have made.
int luo__kind(int fd, uint64_t *cookie);

// A request to luod, and its answer.
struct luo__request {
    __u32 command;
    const void *body; // the struct
    size_t length;    // the length of the struct: 4 to LUO__LONGEST_STRUCT + 1
    int passed;       // the descriptor that the request is about, or -1
    bool brings;      // whether the answer of a success has a descriptor

    char *buffer; // for the answer; the caller owns it
    size_t room;

    int error;            // 0, or the errno of the failure
    int received;         // the descriptor of a success, or -1
    const char *answer;   // the struct in the buffer; null if the answer has none
    const char *text;     // the text behind the tag
    size_t text_length;
};
enum { LUO__LONGEST_STRUCT = sizeof(struct luo_change), LUO__ROOM = 8192 };
// Makes a request and waits for its answer. -1: no answer came.
int luo__ask(int fd, uint64_t cookie, struct luo__request *request);

// luo_turns.c

// Waits until no other thread uses the socket with the cookie. The turn is on the caller's stack. -1: ENOMEM.
struct luo__turn {
    uint64_t cookie;
    struct luo__turn *next;
    int cancel_state;
};
int luo__begin(struct luo__turn *turn, uint64_t cookie);
// Ends a turn. errno stays the same.
void luo__end(struct luo__turn *turn);
// Locks and unlocks the state that threads share: the turns and the notices.
void luo__lock(void);
void luo__unlock(void);

// luo_notices.c

// Makes room for the notices of a socket. -1: ENOMEM.
int luo__expect_notices(uint64_t cookie);
void luo__forget_notices(uint64_t cookie);
// Sets a message aside if it is a notice. Returns whether it is one.
bool luo__set_aside(uint64_t cookie, const char *message, size_t length);
