// SPDX-License-Identifier: Apache-2.0

// The library on a service that is really there: client luod | device | kernel.
//
// luod: luo_open() with LUO_STATE. device: /dev/liveupdate below `luoctl run`. kernel: /dev/liveupdate of a kernel with
// LUO. Prints a line for each test.
#include "check.h"

static bool is_kernel, is_device;

static int luo_place(void) { return is_kernel || is_device ? luo_open_device(NULL) : luo_open(); }

// Updates luod. Needs root, or the user of luod.
static void update(int luo) {
    static struct luo_change change;
    memset(&change, 0, sizeof change);
    change.size = sizeof change;
    OK(luo_ioctl(luo, LUO_UPDATE, &change));
}

static void files_of_a_session(void) {
    int luo = OK(luo_place()), session = OK(luo_create_session(luo, "life"));
    char name[LIVEUPDATE_SESSION_NAME_LENGTH];
    OK(luo_session_name(session, name));
    IS(strcmp(name, "life") == 0);
    IS(fcntl(luo, F_GETFD) == FD_CLOEXEC && fcntl(session, F_GETFD) == FD_CLOEXEC);
    int file = memory("life");
    OK(luo_preserve(session, file, 7));
    FAILS(EEXIST, luo_preserve(session, file, 7));
    FAILS(EBUSY, luo_preserve(session, file, 8));
    FAILS(EINVAL, luo_retrieve(session, 7));
    FAILS(EINVAL, luo_finish(session));
    FAILS(EEXIST, luo_create_session(luo, "life"));
    FAILS(ENOENT, luo_retrieve_session(luo, "nowhere"));
    OK(luo_close(session));
    // The close has released the file and the name.
    session = OK(luo_create_session(luo, "life"));
    OK(luo_preserve(session, file, 7));
    OK(close(session));
    OK(close(file));
    OK(luo_close(luo));
}

// The table of docs/c-library.md.
static void bad_input(void) {
    int luo = OK(luo_place()), session = OK(luo_create_session(luo, "bad")), file = memory("bad");
    struct liveupdate_session_preserve_fd preserve = {sizeof preserve, file, 1};
    // Descriptors.
    FAILS(EBADF, luo_ioctl(-1, LIVEUPDATE_SESSION_PRESERVE_FD, &preserve));
    FAILS(EBADF, luo_close(-1));
    FAILS(ENOTTY, luo_ioctl(file, LIVEUPDATE_SESSION_PRESERVE_FD, &preserve));
    int pair[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    FAILS(ENOTTY, luo_preserve(pair[0], file, 1));
    OK(close(pair[0]));
    OK(close(pair[1]));
    FAILS(EBADF, luo_preserve(session, -1, 1));
    FAILS(EBADF, luo_preserve(session, 1 << 20, 1));
    IS(is_kernel || strstr(luo_reason(), "descriptor 1048576, the file to preserve, is not open"));
    int null = OK(open("/dev/null", O_RDWR | O_CLOEXEC));
    FAILS(ENOENT, luo_preserve(session, null, 1));
    OK(close(null));
    FAILS(EINVAL, luo_preserve(luo, file, 1));
    FAILS(EINVAL, luo_create_session(session, "other"));
    // Names.
    char name[80];
    memset(name, 'n', sizeof name);
    name[64] = 0;
    FAILS(EINVAL, luo_create_session(luo, name));
    FAILS(EINVAL, luo_create_session(luo, ""));
    FAILS(EFAULT, luo_create_session(luo, NULL));
    FAILS(ENOENT, luo_retrieve_session(luo, name));
    name[63] = 0;
    OK(luo_close(OK(luo_create_session(luo, name))));
    // Commands and structs.
    FAILS(EINVAL, luo_ioctl(session, _IO(0xBA, 0x5F), &preserve));
    FAILS(ENOTTY, luo_ioctl(session, _IOR(0xBA, 0x40, int), &preserve));
    FAILS(EFAULT, luo_ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, NULL));
    for (__u32 size = 0; size < 16; size++) {
        preserve.size = size;
        FAILS(EINVAL, luo_ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &preserve));
    }
    struct {
        struct liveupdate_session_preserve_fd known;
        char rest[8192];
    } longer = {.known = {sizeof longer, file, 1}};
    longer.rest[8191] = 1;
    FAILS(E2BIG, luo_ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &longer));
    longer.rest[8191] = 0;
    OK(luo_ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &longer));
    IS(longer.known.fd == file && longer.known.token == 1);
    FAILS(EEXIST, luo_preserve(session, -1, 1)); // the token is checked before the descriptor
    struct liveupdate_session_finish finish = {sizeof finish, 1};
    FAILS(EINVAL, luo_ioctl(session, LIVEUPDATE_SESSION_FINISH, &finish));
    // Calls that only luod has.
    if (is_kernel) {
        FAILS(ENOTTY, luo_get(session, 1));
        FAILS(ENOTTY, luo_unpreserve(session, 1));
        FAILS(ENOTTY, luo_set_detached(session, 1));
        FAILS(ENOTTY, luo_attach_session(luo, "bad", LUO_EITHER));
        FAILS(ENOTTY, luo_subscribe(session, 1));
        struct luo_notice notice;
        FAILS(ENOTTY, luo_next_notice(session, &notice, 0));
        errno = 0;
        IS(luo_status(luo) == NULL && errno == ENOTTY);
    } else {
        FAILS(ENOENT, luo_get(session, 2));
        FAILS(ENOENT, luo_unpreserve(session, 2));
        FAILS(EINVAL, luo_attach_session(luo, "bad", (enum luo_direction)3));
        FAILS(EBUSY, luo_attach_session(luo, "bad", LUO_EITHER));
        FAILS(ENOENT, luo_attach_session(luo, "nowhere", LUO_EITHER));
        FAILS(EINVAL, luo_ioctl(luo, _IO(0xBA, 0x21), &preserve));
        IS(luo_status(session) == NULL && errno == EINVAL);
        struct luo_change change = {.size = sizeof change};
        strcpy((char *)change.text, "/nowhere/luod");
        errno = 0;
        IS(luo_ioctl(luo, LUO_LOAD, &change) == -1 && errno != 0 && strstr(luo_reason(), "/nowhere/luod"));
        IS(strstr((char *)change.text, "/nowhere/luod"));
    }
    OK(luo_close(session));
    OK(luo_close(luo));
    OK(close(file));
}

static void over_an_update(void) {
    int luo = OK(luo_place()), session = OK(luo_create_session(luo, "over")), file = memory("over");
    OK(luo_preserve(session, file, 1));
    OK(luo_preserve_held(session, 0, 2));
    FAILS(EBUSY, luo_check(session, file, 3));
    update(luo);
    FAILS(ENODEV, luo_preserve(session, file, 4));
    OK(luo_close(session));
    OK(luo_close(luo));
    luo = OK(luo_place());
    session = OK(luo_retrieve_session(luo, "over"));
    FAILS(EINVAL, luo_retrieve_session(luo, "over"));
    FAILS(EINVAL, luo_preserve(session, file, 4));
    FAILS(EINVAL, luo_get(session, 1));
    FAILS(ENOENT, luo_retrieve(session, 4));
    int retrieved = OK(luo_retrieve(session, 1)), held = OK(luo_retrieve_as_held(session, 1));
    IS(is_same(file, retrieved) && is_same(file, held) && has_content(retrieved, "over"));
    IS(fcntl(retrieved, F_GETFD) == FD_CLOEXEC);
    OK(luo_finish(session));
    OK(luo_finish(session));
    OK(luo_close(session));
    OK(luo_close(luo));
    OK(close(file));
    OK(close(retrieved));
    OK(close(held));
}

static void detached(void) {
    int luo = OK(luo_place()), session = OK(luo_create_session(luo, "detached")), file = memory("detached");
    OK(luo_preserve(session, file, 1));
    OK(luo_set_detached(session, 1));
    OK(luo_close(session));
    session = OK(luo_attach_session(luo, "detached", LUO_OUTGOING));
    int same = OK(luo_get(session, 1));
    IS(is_same(file, same));
    char *status = luo_status(luo);
    IS(status && strstr(status, "{\"luod\"") && strstr(status, "\"detached\""));
    free(status);
    OK(luo_unpreserve(session, 1));
    FAILS(ENOENT, luo_get(session, 1));
    OK(luo_set_detached(session, 0));
    OK(luo_close(session));
    FAILS(ENOENT, luo_attach_session(luo, "detached", LUO_EITHER));
    OK(luo_close(luo));
    OK(close(same));
    OK(close(file));
}

// Many sessions make a status of several pages.
static void long_status(void) {
    enum { SESSIONS = 600 };
    int luo = OK(luo_place()), sessions[SESSIONS];
    char name[80];
    for (int i = 0; i < SESSIONS; i++) {
        snprintf(name, sizeof name, "long-%048d", i);
        sessions[i] = OK(luo_create_session(luo, name));
    }
    char *status = luo_status(luo);
    IS(status && strlen(status) > 1 << 16);
    for (int i = 0; i < SESSIONS; i++) {
        snprintf(name, sizeof name, "\"long-%048d\"", i);
        IS(strstr(status, name));
        OK(luo_close(sessions[i]));
    }
    IS(status[strlen(status) - 1] == '\n');
    free(status);
    OK(luo_close(luo));
}

// Threads that share a session get the answers to their own requests.
enum { THREADS = 8, ROUNDS = 200 };
static int shared, shared_files[THREADS];

static void *use_shared(void *number) {
    uint64_t token = (uint64_t)(uintptr_t)number;
    int session = token % 2 ? OK(dup(shared)) : shared;
    for (int i = 0; i < ROUNDS; i++) {
        int file = OK(luo_get(session, token));
        IS(is_same(file, shared_files[token]));
        OK(close(file));
        FAILS(ENOENT, luo_get(session, 1000 + token));
        char wanted[40];
        snprintf(wanted, sizeof wanted, "%d", (int)(1000 + token));
        IS(strstr(luo_reason(), wanted)); // the reason is this thread's
    }
    if (session != shared) OK(close(session));
    return NULL;
}

static void start_threads(pthread_t threads[THREADS], int luo, const char *name) {
    shared = OK(luo_create_session(luo, name));
    for (uintptr_t i = 0; i < THREADS; i++) {
        shared_files[i] = memory("threads");
        OK(luo_preserve(shared, shared_files[i], i));
    }
    for (uintptr_t i = 0; i < THREADS; i++) IS(pthread_create(&threads[i], NULL, use_shared, (void *)i) == 0);
}

static void end_threads(pthread_t threads[THREADS]) {
    for (int i = 0; i < THREADS; i++) IS(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < THREADS; i++) OK(close(shared_files[i]));
    OK(luo_close(shared));
}

static void eight_threads(void) {
    pthread_t threads[THREADS];
    int luo = OK(luo_place());
    start_threads(threads, luo, "threads");
    end_threads(threads);
    OK(luo_close(luo));
}

static void end_children(int count) {
    for (int i = 0; i < count; i++) {
        int status;
        OK(wait(&status));
        IS(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

// Children that are forked while threads are in calls make calls of their own, on a session of their own and, when the
// threads have ended, on the inherited one.
static void forked_children(void) {
    enum { CHILDREN = 8 };
    pthread_t threads[THREADS];
    int luo = OK(luo_place()), sessions[CHILDREN], go[2];
    OK(pipe2(go, O_CLOEXEC));
    for (int i = 0; i < CHILDREN; i++) {
        char name[40];
        snprintf(name, sizeof name, "child-%d", i);
        sessions[i] = OK(luo_create_session(luo, name));
    }
    start_threads(threads, luo, "fork");
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = OK(fork());
        if (child > 0) continue;
        alarm(60); // a lock that a thread of the parent had would stay locked
        char wanted[40], name[LIVEUPDATE_SESSION_NAME_LENGTH], byte;
        snprintf(wanted, sizeof wanted, "child-%d", i);
        for (int round = 0; round < 50; round++) {
            OK(luo_session_name(sessions[i], name));
            IS(strcmp(name, wanted) == 0);
        }
        OK(read(go[0], &byte, 1));
        if (i == 0) use_shared(NULL);
        _exit(0);
    }
    for (int i = 0; i < THREADS; i++) IS(pthread_join(threads[i], NULL) == 0);
    IS(write(go[1], "12345678", CHILDREN) == CHILDREN);
    end_children(CHILDREN);
    for (int i = 0; i < CHILDREN; i++) OK(luo_close(sessions[i]));
    for (int i = 0; i < THREADS; i++) OK(close(shared_files[i]));
    OK(luo_close(shared));
    OK(luo_close(luo));
    OK(close(go[0]));
    OK(close(go[1]));
}

static void ignore_signal(int signal) { (void)signal; }

// Signal handlers that do not restart system calls.
static void many_signals(void) {
    struct sigaction action = {.sa_handler = ignore_signal}, before;
    OK(sigaction(SIGALRM, &action, &before));
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    int luo = OK(luo_place()), session = OK(luo_create_session(luo, "signals")), file = memory("signals");
    OK(setitimer(ITIMER_REAL, &often, NULL));
    for (uint64_t i = 0; i < 200; i++) {
        OK(luo_preserve(session, file, i));
        int same = OK(luo_get(session, i));
        IS(is_same(file, same));
        OK(close(same));
        OK(luo_unpreserve(session, i));
    }
    OK(setitimer(ITIMER_REAL, &never, NULL));
    OK(sigaction(SIGALRM, &before, NULL));
    OK(luo_close(session));
    OK(luo_close(luo));
    OK(close(file));
}

// Without room for a descriptor nothing is lost and nothing leaks.
static void too_many_descriptors(void) {
    int luo = OK(luo_place()), session = OK(luo_create_session(luo, "room")), file = memory("room");
    OK(luo_preserve(session, file, 1));
    struct rlimit before, low;
    OK(getrlimit(RLIMIT_NOFILE, &before));
    int used = open_descriptors(), next = OK(dup(file));
    OK(close(next));
    low = before;
    low.rlim_cur = (rlim_t)next;
    OK(setrlimit(RLIMIT_NOFILE, &low));
    for (int i = 0; i < 50; i++) {
        FAILS(EMFILE, luo_get(session, 1));
        FAILS(EMFILE, luo_create_session(luo, "other"));
        FAILS(EBUSY, luo_check(session, file, 9));
    }
    OK(setrlimit(RLIMIT_NOFILE, &before));
    IS(open_descriptors() == used);
    int same = OK(luo_get(session, 1));
    IS(is_same(file, same));
    OK(close(same));
    OK(luo_close(session));
    OK(luo_close(luo));
    OK(close(file));
}

static void *update_in_thread(void *result) {
    int luo = OK(luo_place());
    struct luo_change *change = result;
    *change = (struct luo_change){.size = sizeof *change, .times = {0, 60000000000}};
    int outcome = luo_ioctl(luo, LUO_UPDATE, change);
    luo_close(luo);
    return outcome == 0 ? NULL : result;
}

static void notices(void) {
    int luo = OK(luo_place()), session = OK(luo_create_session(luo, "notices")), file = memory("notices");
    OK(luo_preserve(session, file, 1));
    OK(luo_close(luo)); // the device can be open once
    struct luo_notice notice;
    OK(luo_subscribe(session, 1));
    IS(OK(luo_next_notice(session, &notice, 0)) == 0);
    FAILS(ESTALE, luo_ready(session, 4711));
    pthread_t thread;
    static struct luo_change change;
    void *failed;
    IS(pthread_create(&thread, NULL, update_in_thread, &change) == 0);
    // Calls set a notice aside, whether it comes before or after them.
    char name[LIVEUPDATE_SESSION_NAME_LENGTH];
    int has_notice = 0;
    while (!has_notice) {
        for (int i = 0; i < 20; i++) OK(luo_session_name(session, name));
        has_notice = OK(luo_next_notice(session, &notice, 0));
    }
    IS(notice.kind == LUO_FREEZE_SOON && notice.value > 0);
    OK(luo_ready(session, notice.question));
    IS(OK(luo_next_notice(session, &notice, -1)) == 1);
    IS(notice.kind == LUO_OVER && notice.value == 1 && notice.question == 0);
    IS(pthread_join(thread, &failed) == 0 && failed == NULL);
    FAILS(ENODEV, luo_ready(session, 1));
    OK(luo_close(session));
    luo = OK(luo_place());
    session = OK(luo_retrieve_session(luo, "notices"));
    OK(luo_subscribe(session, 1));
    OK(luo_subscribe(session, 0));
    OK(luo_finish(session));
    OK(luo_close(session));
    OK(luo_close(luo));
    OK(close(file));
}

// ioctl(2) and the library make the same calls on the same descriptors.
static void beside_ioctl(void) {
    int luo = OK(luo_place());
    struct liveupdate_ioctl_create_session create = {.size = sizeof create, .name = "beside"};
    OK(ioctl(luo, LIVEUPDATE_IOCTL_CREATE_SESSION, &create));
    int file = memory("beside");
    OK(luo_preserve(create.fd, file, 1));
    struct liveupdate_session_preserve_fd preserve = {sizeof preserve, file, 1};
    IS(ioctl(create.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &preserve) == -1 && errno == EEXIST);
    struct liveupdate_session_get_name name = {.size = sizeof name};
    OK(ioctl(create.fd, LIVEUPDATE_SESSION_GET_NAME, &name));
    IS(strcmp((char *)name.name, "beside") == 0);
    FAILS(EBUSY, luo_open_device(NULL));
    OK(luo_close(create.fd));
    OK(luo_close(luo));
    OK(close(file));
}

// luo_open() and its failures, without a device.
static void openings(void) {
    char state[4096], path[200];
    snprintf(state, sizeof state, "%s", getenv("LUO_STATE"));
    OK(luo_close(OK(luo_open_state(state))));
    OK(luo_close(OK(luo_open_state(NULL))));
    FAILS(ENOENT, luo_open_state("/nowhere/state"));
    IS(strstr(luo_reason(), "/nowhere/state") && strchr(luo_reason(), '\n'));
    FAILS(ENOTDIR, luo_open_state("/dev/null"));
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[199] = 0;
    FAILS(ENAMETOOLONG, luo_open_state(path));
    FAILS(ENOENT, luo_open_device("/nowhere/device"));
    // A state that is named and has no luod is a failure, also where a device would be.
    OK(setenv("LUO_STATE", "/nowhere/state", 1));
    FAILS(ENOENT, luo_open());
    IS(strstr(luo_reason(), "/nowhere/state"));
    OK(setenv("LUO_STATE", "", 1));
    if (access("/run/luo", F_OK) != 0 && access("/dev/liveupdate", F_OK) != 0) {
        FAILS(ENOENT, luo_open());
        IS(strstr(luo_reason(), "/run/luo") && strstr(luo_reason(), "/dev/liveupdate"));
    }
    OK(setenv("LUO_STATE", state, 1));
}

int main(int count, char **arguments) {
    const char *place = count > 1 ? arguments[1] : "";
    is_kernel = strcmp(place, "kernel") == 0;
    is_device = strcmp(place, "device") == 0;
    if (!is_kernel && !is_device && strcmp(place, "luod") != 0) return 64;
    struct rlimit limit; // long_status() has many sessions
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    int before = open_descriptors();
    TEST(files_of_a_session);
    TEST(bad_input);
    if (is_kernel || is_device) TEST(beside_ioctl);
    if (!is_kernel) {
        TEST(over_an_update);
        TEST(detached);
        TEST(long_status);
        TEST(eight_threads);
        TEST(forked_children);
        TEST(many_signals);
        TEST(too_many_descriptors);
        if (!is_device) TEST(openings);
        TEST(notices);
    }
    test = "descriptors that are left";
    IS(open_descriptors() == before);
    return 0;
}
