// A program written for /dev/liveupdate, for the tests of `luoctl run`. It knows the device from its documentation only, and
// includes nothing of this package. Each scenario is a function; the first thing that is not as it should be ends it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE "/dev/liveupdate"
#define CREATE_SESSION _IO(0xBA, 0x00)
#define RETRIEVE_SESSION _IO(0xBA, 0x01)
#define PRESERVE_FD _IO(0xBA, 0x40)
#define RETRIEVE_FD _IO(0xBA, 0x41)
#define FINISH _IO(0xBA, 0x42)
#define GET_NAME _IO(0xBA, 0x43)

struct name {
    uint32_t size;
    int32_t fd;
    uint8_t name[64];
};
struct file {
    uint32_t size;
    int32_t fd;
    uint64_t token;
};
struct word {
    uint32_t size, reserved;
};

static void fail(const char *what, int line, long value) {
    printf("line %d: %s: %ld, errno %d (%s)\n", line, what, value, errno, strerror(errno));
    fflush(stdout);
    _exit(1);
}

// A call that works, and one that fails with an errno.
#define OK(call)                                       \
    ({                                                 \
        long value_ = (long)(call);                    \
        if (value_ < 0) fail(#call, __LINE__, value_); \
        (int)value_;                                   \
    })
#define FAILS(error, call)                                                                 \
    do {                                                                                   \
        errno = 0;                                                                         \
        long value_ = (long)(call);                                                        \
        if (value_ != -1 || errno != (error)) fail(#call " fails with " #error, __LINE__, value_); \
    } while (0)
#define IS(condition)                                         \
    do {                                                      \
        if (!(condition)) fail(#condition, __LINE__, 0);      \
    } while (0)

static int device(void) { return open(DEVICE, O_RDWR | O_CLOEXEC); }

static int session(int device, unsigned long call, const char *name) {
    struct name argument = {.size = sizeof argument, .fd = -1};
    strncpy((char *)argument.name, name, sizeof argument.name);
    return ioctl(device, call, &argument) == 0 ? argument.fd : -1;
}

static int create(int device, const char *name) { return session(device, CREATE_SESSION, name); }

static int preserve(int session, int fd, uint64_t token) {
    struct file argument = {sizeof argument, fd, token};
    return ioctl(session, PRESERVE_FD, &argument);
}

static int retrieve(int session, uint64_t token) {
    struct file argument = {sizeof argument, -1, token};
    return ioctl(session, RETRIEVE_FD, &argument) == 0 ? argument.fd : -1;
}

static int finish(int session) {
    struct word argument = {sizeof argument, 0};
    return ioctl(session, FINISH, &argument);
}

static int memory(const char *content) {
    int fd = OK(memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    OK(ftruncate(fd, 1 << 20));
    OK(pwrite(fd, content, strlen(content), 4096));
    return fd;
}

static int same(int one, int other) {
    struct stat a, b;
    OK(fstat(one, &a));
    OK(fstat(other, &b));
    return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

// MARK: What works

static void life(void) {
    int dev = OK(device());
    IS(fcntl(dev, F_GETFD) == FD_CLOEXEC);
    int s = OK(create(dev, "life"));
    IS(fcntl(s, F_GETFD) == FD_CLOEXEC);
    struct name named = {.size = sizeof named};
    OK(ioctl(s, GET_NAME, &named));
    IS(strcmp((char *)named.name, "life") == 0);
    int fd = memory("kept");
    OK(preserve(s, fd, 7));
    FAILS(EBUSY, preserve(s, fd, 8));
    OK(close(s));
    // The last close is seen at once.
    s = OK(create(dev, "life"));
    OK(preserve(s, fd, 7));
    OK(close(s));
    OK(close(dev));
    dev = OK(open(DEVICE, O_RDWR));
    IS(fcntl(dev, F_GETFD) == 0);
    for (int round = 0; round < 200; round++) {
        OK(close(OK(create(dev, "again"))));
        OK(close(dev));
        dev = OK(device());
    }
}

static void first_stage(void) {
    int dev = OK(device());
    int s = OK(create(dev, "stages"));
    int fd = memory("over the update");
    OK(preserve(s, fd, 1));
    // Becomes a daemon that holds the session.
    if (OK(fork()) > 0) _exit(0);
    OK(setsid());
    sigset_t wake;
    sigemptyset(&wake);
    sigaddset(&wake, SIGUSR1);
    sigprocmask(SIG_BLOCK, &wake, NULL);
    printf("daemon %d\n", getpid());
    fflush(stdout);
    int number;
    sigwait(&wake, &number);
    // The boot that this belongs to has ended: that is said before anything else.
    FAILS(ENODEV, preserve(s, fd, 2));
    FAILS(ENODEV, ioctl(s, PRESERVE_FD, NULL));
    FAILS(ENODEV, ioctl(s, _IO(0xBA, 0xFF), NULL));
    FAILS(ENODEV, create(dev, "other"));
    printf("ok\n");
    fflush(stdout);
    sigwait(&wake, &number);
    _exit(0);
}

static void second_stage(void) {
    int dev = OK(device());
    FAILS(ENOENT, session(dev, RETRIEVE_SESSION, "none"));
    int s = OK(session(dev, RETRIEVE_SESSION, "stages"));
    FAILS(EINVAL, session(dev, RETRIEVE_SESSION, "stages"));
    FAILS(EINVAL, preserve(s, s, 1));
    FAILS(ENOENT, retrieve(s, 2));
    int fd = OK(retrieve(s, 1));
    IS(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    char content[16] = "";
    OK(pread(fd, content, 15, 4096));
    IS(strcmp(content, "over the update") == 0);
    IS(same(fd, OK(retrieve(s, 1))));
    OK(finish(s));
    OK(finish(s));
    OK(close(s));
    FAILS(ENOENT, session(dev, RETRIEVE_SESSION, "stages"));
}

// MARK: What fails

// A struct that ends where nothing can be read any more, or begins after it could.
static char *edge;

static void make_edge(void) {
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IS(pages != MAP_FAILED);
    OK(mprotect(pages + 8192, 4096, PROT_NONE));
    edge = pages + 8192;
}

// With a size, and as many bytes behind it as fit before the edge.
static void *at_edge(uint32_t size, size_t there) {
    memset(edge - 8192, 0, 8192);
    memcpy(edge - there, &size, there < 4 ? there : 4);
    return edge - there;
}

static void order(void) {
    make_edge();
    int dev = OK(device());
    int s = OK(create(dev, "order"));
    struct file file = {sizeof file, -1, 1};
    struct name name = {.size = sizeof name};
    struct word word = {sizeof word, 0};

    // The number, whatever else there is; the other kind of descriptor has other numbers.
    FAILS(EINVAL, ioctl(dev, _IO(0xBA, 0x1F), NULL));
    FAILS(EINVAL, ioctl(s, _IO(0xBA, 0x5F), NULL));
    FAILS(EINVAL, ioctl(s, _IO(0xBA, 0xFF), &file));
    FAILS(EINVAL, ioctl(dev, PRESERVE_FD, &file));
    FAILS(EINVAL, ioctl(dev, PRESERVE_FD, NULL));
    FAILS(EINVAL, ioctl(s, CREATE_SESSION, &name));
    FAILS(EINVAL, ioctl(s, CREATE_SESSION, at_edge(72, 3)));
    // A size that cannot be read, before the other bits of the command.
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, NULL));
    FAILS(EFAULT, ioctl(s, RETRIEVE_FD, (void *)-8L));
    FAILS(EFAULT, ioctl(s, _IOR(0xBA, 0x41, int), NULL));
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(16, 3)));
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, edge));
    // The other bits of the command, before the direction.
    FAILS(ENOTTY, ioctl(s, _IOR(0xBA, 0x41, int), &file));
    FAILS(ENOTTY, ioctl(s, _IOWR(0xBA, 0x40, struct file), at_edge(4, 4)));
    FAILS(ENOTTY, ioctl(dev, _IOW(0xBA, 0x00, int), &name));
    // The direction, before the size.
    file.size = 3;
    FAILS(EINVAL, ioctl(s, RETRIEVE_FD, &file));
    FAILS(EINVAL, ioctl(s, FINISH, at_edge(9999, 4)));
    // The size.
    for (uint32_t size = 0; size < 16; size++) FAILS(EINVAL, ioctl(s, PRESERVE_FD, at_edge(size, 4)));
    FAILS(EINVAL, ioctl(dev, CREATE_SESSION, at_edge(71, 4)));
    FAILS(EINVAL, ioctl(s, GET_NAME, at_edge(71, 4)));
    // Longer, and set, before what cannot be read.
    uint8_t longer[4096 + 16] = {0};
    *(struct file *)longer = (struct file){sizeof longer, -1, 1};
    longer[16] = 1;
    FAILS(E2BIG, ioctl(s, PRESERVE_FD, longer));
    longer[16] = 0;
    longer[sizeof longer - 1] = 1;
    FAILS(E2BIG, ioctl(s, PRESERVE_FD, longer));
    longer[sizeof longer - 1] = 0;
    FAILS(EBADF, ioctl(s, PRESERVE_FD, longer));
    char *set = at_edge(4096, 24);
    set[16] = 1;
    FAILS(E2BIG, ioctl(s, PRESERVE_FD, set));
    // Not all there.
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(4096, 24)));
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(UINT32_MAX, 4096)));
    for (size_t there = 4; there < 16; there++) FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(16, there)));
    // What is reserved.
    struct name asked = {.size = sizeof asked, .fd = 1};
    FAILS(EINVAL, ioctl(s, GET_NAME, &asked));
    // Of what the call is about: the token, then the descriptor, then its kind.
    int fd = memory("");
    OK(preserve(s, fd, 1));
    FAILS(EEXIST, preserve(s, -1, 1));
    FAILS(EBADF, preserve(s, -1, 2));
    FAILS(EBADF, preserve(s, 12345, 2));
    int only_path = OK(open("/", O_PATH));
    FAILS(EBADF, preserve(s, only_path, 2));
    FAILS(ENOENT, preserve(s, OK(open("/", O_RDONLY)), 2));
    FAILS(ENOENT, preserve(s, s, 2));
    FAILS(EBUSY, preserve(s, fd, 2));
    FAILS(EBUSY, preserve(s, OK(dup(fd)), 2));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    FAILS(EBUSY, preserve(s, OK(open(path, O_RDWR)), 2));
    // Closed descriptors, and those of others.
    FAILS(EBADF, ioctl(-1, PRESERVE_FD, &file));
    FAILS(EBADF, ioctl(only_path, PRESERVE_FD, &file));
    FAILS(ENOTTY, ioctl(fd, PRESERVE_FD, &file));
    int pair[2];
    OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    FAILS(ENOTTY, ioctl(pair[0], FINISH, &word));
    char byte;
    FAILS(EAGAIN, recv(pair[1], &byte, 1, MSG_DONTWAIT));
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    FAILS(ENOTTY, ioctl(pair[0], FINISH, &word));
}

static void names(void) {
    int dev = OK(device());
    FAILS(EINVAL, create(dev, ""));
    struct name name = {.size = sizeof name};
    memset(name.name, 'x', sizeof name.name);
    FAILS(EINVAL, ioctl(dev, CREATE_SESSION, &name));
    FAILS(ENOENT, ioctl(dev, RETRIEVE_SESSION, &name));
    name.name[63] = 0;
    OK(ioctl(dev, CREATE_SESSION, &name));
    FAILS(EEXIST, ioctl(dev, CREATE_SESSION, &name));
    FAILS(ENOENT, ioctl(dev, RETRIEVE_SESSION, &name));
    FAILS(ENOENT, session(dev, RETRIEVE_SESSION, ""));
}

static void answers(void) {
    make_edge();
    int dev = OK(device());
    // The reply is as long as the struct, however long the argument is.
    struct {
        struct name name;
        uint8_t behind[40];
    } longer = {.name = {.size = sizeof longer, .fd = -1, .name = "answers"}};
    OK(ioctl(dev, CREATE_SESSION, &longer));
    int s = longer.name.fd;
    IS(longer.name.size == sizeof longer || longer.name.size == sizeof longer.name);
    // Where nothing can be written the session is not made, and no descriptor stays.
    struct name *constant = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *constant = (struct name){.size = sizeof *constant, .fd = -1, .name = "constant"};
    OK(mprotect(constant, 4096, PROT_READ));
    int next = OK(dup(0));
    OK(close(next));
    FAILS(EFAULT, ioctl(dev, CREATE_SESSION, constant));
    IS(OK(dup(0)) == next);
    OK(create(dev, "constant"));
    // Across two pages.
    struct name *across = (struct name *)(edge - 4096 - 30);
    *across = (struct name){.size = sizeof *across};
    OK(ioctl(s, GET_NAME, across));
    IS(strcmp((char *)across->name, "answers") == 0);
}

// MARK: The device

static void opens(void) {
    int dev = OK(device());
    FAILS(EBUSY, device());
    int other = OK(dup(dev));
    OK(close(dev));
    FAILS(EBUSY, device());
    // A child shares it, and its end counts.
    int ready[2];
    OK(pipe(ready));
    pid_t child = OK(fork());
    if (child == 0) {
        OK(create(other, "of a child"));
        OK(write(ready[1], "", 1));
        pause();
    }
    char byte;
    IS(read(ready[0], &byte, 1) == 1);
    OK(close(other));
    FAILS(EBUSY, device());
    OK(kill(child, SIGKILL));
    OK(waitpid(child, NULL, 0));
    dev = OK(device());
    OK(create(dev, "of a child"));
    OK(close(dev));
    FAILS(EEXIST, open(DEVICE, O_RDWR | O_CREAT | O_EXCL, 0600));
    FAILS(ENOTDIR, open(DEVICE, O_RDONLY | O_DIRECTORY));
    // Closed on exec, and not.
    dev = OK(open(DEVICE, O_RDWR));
    child = OK(fork());
    if (child == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", dev);
        execl("/proc/self/exe", "probe", "inherited", number, NULL);
        _exit(2);
    }
    int status;
    OK(waitpid(child, &status, 0));
    IS(status == 0);
}

static void inherited(const char *number) {
    int dev = atoi(number);
    OK(create(dev, "inherited"));
    FAILS(EBUSY, device());
}

static void paths(const char *directory) {
    OK(chdir(directory));
    const char *same[] = {"/dev/../dev/./liveupdate", "//dev//liveupdate", "link", "./link", "far", "dev/liveupdate"};
    OK(symlink("/dev/liveupdate", "link"));
    OK(symlink("link", "far"));
    OK(symlink("/dev", "dev"));
    for (size_t index = 0; index < sizeof same / sizeof *same; index++) {
        int fd = OK(open(same[index], O_RDWR));
        FAILS(EBUSY, open(same[index], O_RDWR));
        OK(close(fd));
    }
    int dev = OK(open("/dev", O_RDONLY | O_DIRECTORY));
    int fd = OK(openat(dev, "liveupdate", O_RDWR | O_CLOEXEC));
    IS(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    OK(close(fd));
    struct open_how how = {.flags = O_RDWR | O_CLOEXEC};
    fd = OK(syscall(SYS_openat2, dev, "liveupdate", &how, sizeof how));
    OK(close(fd));
    OK(chdir("/dev"));
    OK(close(OK(open("liveupdate", O_RDWR))));
    OK(chdir(directory));
    FAILS(ELOOP, open("link", O_RDWR | O_NOFOLLOW));
    // Others of that name, and what is no file at all.
    FAILS(ENOENT, open("liveupdate", O_RDWR));
    OK(close(OK(open("liveupdate", O_RDWR | O_CREAT, 0600))));
    FAILS(ENOENT, open("", O_RDWR));
    FAILS(EFAULT, open((char *)1, O_RDWR));
    FAILS(EBADF, openat(12345, "liveupdate", O_RDWR));
    OK(symlink("loop", "loop"));
    FAILS(ELOOP, open("loop", O_RDWR));
    OK(unlink("liveupdate"));
    const char *made[] = {"link", "far", "dev", "loop"};
    for (size_t index = 0; index < sizeof made / sizeof *made; index++) OK(unlink(made[index]));
}

// MARK: Many

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

static void threads(void) {
    shared = OK(device());
    pthread_t all[8];
    for (long index = 0; index < 8; index++) IS(pthread_create(&all[index], NULL, work, (void *)index) == 0);
    for (int index = 0; index < 8; index++) IS(pthread_join(all[index], NULL) == 0);
}

// Signals that are handled do not make a call happen twice.
static void handled(int number) { (void)number; }

static void interrupted(void) {
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

// While its calls wait it opens other files. What is to happen next it reads from descriptor 3.
static void foreign(void) {
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
static void busy(void) {
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

// MARK: Older kernels

static void kernel(const char *version) {
    int old = strcmp(version, "7.0") == 0;
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    int dev = OK(device());
    int s = OK(create(dev, "kernel"));
    struct name name = {.size = sizeof name};
    struct word word = {sizeof word, 1};
    if (old) FAILS(EINVAL, ioctl(s, GET_NAME, &name));
    else OK(ioctl(s, GET_NAME, &name));
    // Extensions are luod's only.
    FAILS(EINVAL, ioctl(s, _IO(0xBA, 0x63), &word));
    FAILS(EINVAL, ioctl(dev, _IO(0xBA, 0x21), &word));
    int huge = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    if (huge >= 0) FAILS(ENOENT, preserve(s, huge, 1000));
    for (uint64_t token = 0; token < 128; token++) OK(preserve(s, OK(memfd_create("probe", MFD_CLOEXEC)), token));
    int more = OK(memfd_create("probe", MFD_CLOEXEC));
    if (old) FAILS(ENOSPC, preserve(s, more, 128));
    else OK(preserve(s, more, 128));
    char numbered[16];
    for (int number = 1; number < 819; number++) {
        snprintf(numbered, sizeof numbered, "%d", number);
        OK(create(dev, numbered));
    }
    if (old) FAILS(ENOMEM, create(dev, "more"));
    else OK(create(dev, "more"));
}

int main(int count, char **arguments) {
    const char *name = count > 1 ? arguments[1] : "";
    const char *value = count > 2 ? arguments[2] : "";
    if (strcmp(name, "life") == 0) life();
    else if (strcmp(name, "first-stage") == 0) first_stage();
    else if (strcmp(name, "second-stage") == 0) second_stage();
    else if (strcmp(name, "order") == 0) order();
    else if (strcmp(name, "names") == 0) names();
    else if (strcmp(name, "answers") == 0) answers();
    else if (strcmp(name, "opens") == 0) opens();
    else if (strcmp(name, "inherited") == 0) inherited(value);
    else if (strcmp(name, "paths") == 0) paths(value);
    else if (strcmp(name, "threads") == 0) threads();
    else if (strcmp(name, "interrupted") == 0) interrupted();
    else if (strcmp(name, "foreign") == 0) foreign();
    else if (strcmp(name, "busy") == 0) busy();
    else if (strcmp(name, "kernel") == 0) kernel(value);
    else if (strcmp(name, "exit") == 0) return atoi(value);
    else if (strcmp(name, "signal") == 0) raise(atoi(value));
    else return 64;
    printf("ok\n");
    return 0;
}
