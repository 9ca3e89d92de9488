// SPDX-License-Identifier: Apache-2.0

// Failing calls: the order of the checks, and the answers.
#include "probe.h"

// The address after which nothing can be read. Structs end there, or begin behind it.
static char *edge;

static void make_edge(void) {
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IS(pages != MAP_FAILED);
    OK(mprotect(pages + 8192, 4096, PROT_NONE));
    edge = pages + 8192;
}

// Makes a struct that states `size`, and has only `there` bytes before the edge.
static void *at_edge(uint32_t size, size_t there) {
    memset(edge - 8192, 0, 8192);
    memcpy(edge - there, &size, there < 4 ? there : 4);
    return edge - there;
}

void order(void) {
    make_edge();
    int dev = OK(device());
    int s = OK(create(dev, "order"));
    struct file file = {sizeof file, -1, 1};
    struct name name = {.size = sizeof name};
    struct word word = {sizeof word, 0};

    // The number is checked first. Each kind of descriptor has its own numbers.
    FAILS(EINVAL, ioctl(dev, _IO(0xBA, 0x1F), NULL));
    FAILS(EINVAL, ioctl(s, _IO(0xBA, 0x5F), NULL));
    FAILS(EINVAL, ioctl(s, _IO(0xBA, 0xFF), &file));
    FAILS(EINVAL, ioctl(dev, PRESERVE_FD, &file));
    FAILS(EINVAL, ioctl(dev, PRESERVE_FD, NULL));
    FAILS(EINVAL, ioctl(s, CREATE_SESSION, &name));
    FAILS(EINVAL, ioctl(s, CREATE_SESSION, at_edge(72, 3)));
    // A size that cannot be read is found before the other bits of the command.
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, NULL));
    FAILS(EFAULT, ioctl(s, RETRIEVE_FD, (void *)-8L));
    FAILS(EFAULT, ioctl(s, _IOR(0xBA, 0x41, int), NULL));
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(16, 3)));
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, edge));
    // The other bits of the command are checked before the direction.
    FAILS(ENOTTY, ioctl(s, _IOR(0xBA, 0x41, int), &file));
    FAILS(ENOTTY, ioctl(s, _IOWR(0xBA, 0x40, struct file), at_edge(4, 4)));
    FAILS(ENOTTY, ioctl(dev, _IOW(0xBA, 0x00, int), &name));
    // The direction is checked before the size.
    file.size = 3;
    FAILS(EINVAL, ioctl(s, RETRIEVE_FD, &file));
    FAILS(EINVAL, ioctl(s, FINISH, at_edge(9999, 4)));
    // Then the size is checked.
    for (uint32_t size = 0; size < 16; size++) FAILS(EINVAL, ioctl(s, PRESERVE_FD, at_edge(size, 4)));
    FAILS(EINVAL, ioctl(dev, CREATE_SESSION, at_edge(71, 4)));
    FAILS(EINVAL, ioctl(s, GET_NAME, at_edge(71, 4)));
    // Nonzero bytes behind the struct are found before bytes that cannot be read.
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
    // Some bytes of the struct cannot be read.
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(4096, 24)));
    FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(UINT32_MAX, 4096)));
    for (size_t there = 4; there < 16; there++) FAILS(EFAULT, ioctl(s, PRESERVE_FD, at_edge(16, there)));
    // Reserved fields must be zero.
    struct name asked = {.size = sizeof asked, .fd = 1};
    FAILS(EINVAL, ioctl(s, GET_NAME, &asked));
    // The content is checked last: the token, then the descriptor, then its kind.
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
    // The descriptor of the call is closed, or is not one of the device.
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

void names(void) {
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
    // A name is any bytes, and different bytes are different names.
    int latin = OK(create(dev, "caf\xe9"));
    OK(create(dev, "caf\xc3\xa9"));
    OK(create(dev, "cafe\xcc\x81"));
    FAILS(EEXIST, create(dev, "caf\xe9"));
    name = (struct name){.size = sizeof name};
    OK(ioctl(latin, GET_NAME, &name));
    IS(strcmp((char *)name.name, "caf\xe9") == 0);
}

void answers(void) {
    make_edge();
    int dev = OK(device());
    // The reply is as long as the struct, even if the argument is longer.
    struct {
        struct name name;
        uint8_t behind[40];
    } longer = {.name = {.size = sizeof longer, .fd = -1, .name = "answers"}};
    OK(ioctl(dev, CREATE_SESSION, &longer));
    int s = longer.name.fd;
    IS(longer.name.size == sizeof longer);
    // If the result cannot be written, no session is made, and no descriptor stays.
    struct name *constant = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *constant = (struct name){.size = sizeof *constant, .fd = -1, .name = "constant"};
    OK(mprotect(constant, 4096, PROT_READ));
    int next = OK(dup(0));
    OK(close(next));
    FAILS(EFAULT, ioctl(dev, CREATE_SESSION, constant));
    IS(OK(dup(0)) == next);
    OK(create(dev, "constant"));
    // This struct lies across two pages.
    struct name *across = (struct name *)(edge - 4096 - 30);
    *across = (struct name){.size = sizeof *across};
    OK(ioctl(s, GET_NAME, across));
    IS(strcmp((char *)across->name, "answers") == 0);
}
