// SPDX-License-Identifier: Apache-2.0

// Many calls at once, and calls that are interrupted.
#include "probe.h"

static int shared;

static void *work(void *argument) {
    long number = (long)argument;
    for (int round = 0; round < 20; round++) {
        char name[32];
        snprintf(name, sizeof name, "thread %ld", number);
        int s = OK(create(shared, name));
        int fd = memory(name);
        OK(preserve(s, fd, (uint64_t)round));
        FAILS(EBUSY, preserve(s, fd, 1000));
        OK(close(s));
        OK(close(fd));
    }
    return NULL;
}

void threads(void) {
    shared = OK(device());
    pthread_t all[8];
    for (long index = 0; index < 8; index++) IS(pthread_create(&all[index], NULL, work, (void *)index) == 0);
    for (int index = 0; index < 8; index++) IS(pthread_join(all[index], NULL) == 0);
}

static void *again_and_again(void *argument) {
    for (;;) {
        work(argument);
        OK(write(1, ".", 1));
    }
}

// Makes the same calls as busy, in threads that share the device.
void crowd(void) {
    shared = OK(device());
    pthread_t all[4];
    for (long index = 0; index < 4; index++) IS(pthread_create(&all[index], NULL, again_and_again, (void *)index) == 0);
    for (int index = 0; index < 4; index++) pthread_join(all[index], NULL);
}

// Opens 2,000 sessions at once, and preserves 500 files in one of them.
void many(void) {
    enum { SESSIONS = 2000, FILES = 500 };
    struct rlimit most = {SESSIONS + FILES + 100, SESSIONS + FILES + 100};
    OK(setrlimit(RLIMIT_NOFILE, &most));
    int dev = OK(device());
    static int sessions[SESSIONS], files[FILES];
    char numbered[32];
    for (int number = 0; number < SESSIONS; number++) {
        snprintf(numbered, sizeof numbered, "session %d", number);
        sessions[number] = OK(create(dev, numbered));
    }
    for (int token = 0; token < FILES; token++) {
        snprintf(numbered, sizeof numbered, "file %d", token);
        files[token] = memory(numbered);
        OK(preserve(sessions[0], files[token], (uint64_t)token));
    }
    // Each session has its own names, tokens and files, and they do not get mixed up.
    for (int number = 0; number < SESSIONS; number++) {
        struct name named = {.size = sizeof named};
        OK(ioctl(sessions[number], GET_NAME, &named));
        snprintf(numbered, sizeof numbered, "session %d", number);
        IS(strcmp((char *)named.name, numbered) == 0);
        FAILS(EEXIST, create(dev, numbered));
    }
    for (int token = 0; token < FILES; token++) {
        FAILS(EBUSY, preserve(sessions[1], files[token], 0));
        FAILS(EEXIST, preserve(sessions[0], files[(token + 1) % FILES], (uint64_t)token));
    }
    OK(close(sessions[0]));
    for (int token = 0; token < FILES; token++) OK(preserve(sessions[1], files[token], (uint64_t)token));
    for (int number = 1; number < SESSIONS; number++) OK(close(sessions[number]));
    OK(create(dev, "session 1"));
}

// A signal with a handler does not make a call happen twice.
static void handled(int number) { (void)number; }

void interrupted(void) {
    struct sigaction action = {.sa_handler = handled, .sa_flags = SA_RESTART};
    OK(sigaction(SIGALRM, &action, NULL));
    int dev = OK(device());
    ualarm(1, 500);
    for (int round = 0; round < 200; round++) {
        int s = OK(create(dev, "interrupted"));
        int fd = OK(memfd_create("probe", 0));
        OK(preserve(s, fd, 1));
        OK(close(s));
        OK(close(fd));
    }
    ualarm(0, 0);
}

static void *waiting(void *argument) {
    (void)argument;
    OK(create(shared, "waiting"));
    return NULL;
}

// Opens other files while its calls wait. Bytes on descriptor 3 tell it to continue.
void foreign(void) {
    char byte;
    pthread_t other;
    shared = OK(device());
    OK(close(OK(create(shared, "waiting"))));
    printf("ready\n");
    fflush(stdout);
    IS(read(3, &byte, 1) == 1);
    IS(pthread_create(&other, NULL, waiting, NULL) == 0);
    for (int round = 0; round < 1000; round++) {
        OK(close(OK(open("/etc/passwd", O_RDONLY))));
        FAILS(ENOENT, open("/nowhere", O_RDONLY));
    }
    printf("opened\n");
    fflush(stdout);
    IS(read(3, &byte, 1) == 1);
    IS(pthread_join(other, NULL) == 0);
}

// Makes calls until it is killed.
void busy(void) {
    int dev = OK(device());
    int s = OK(create(dev, "busy"));
    for (uint64_t round = 0;; round++) {
        int fd = memory("busy");
        OK(preserve(s, fd, round));
        OK(close(OK(create(dev, "other"))));
        OK(close(fd));
        if (round % 100 == 99) {
            OK(close(s));
            s = OK(create(dev, "busy"));
        }
        OK(close(OK(open("/etc/passwd", O_RDONLY))));
        OK(write(1, ".", 1));
    }
}

// Another process that has the session reads the answer to a call from its socket. The caller then waits. When it is
// killed, the session is free again.
void stolen(void) {
    int dev = OK(device());
    int s = OK(create(dev, "stolen"));
    volatile unsigned *calls = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t caller = OK(fork());
    if (caller == 0) {
        for (struct name name = {.size = sizeof name};; (*calls)++) ioctl(s, GET_NAME, &name);
    }
    char answer[256];
    unsigned before = 0;
    for (int taken = 0, same = 0; taken == 0 || same < 200; before = *calls) {
        for (int look = 0; look < 1000; look++) taken += recv(s, answer, sizeof answer, MSG_DONTWAIT) > 0;
        usleep(1000);
        same = before == *calls ? same + 1 : 0;
    }
    OK(kill(caller, SIGKILL));
    OK(waitpid(caller, NULL, 0));
    struct name name = {.size = sizeof name};
    OK(ioctl(s, GET_NAME, &name));
    IS(strcmp((char *)name.name, "stolen") == 0);
}
