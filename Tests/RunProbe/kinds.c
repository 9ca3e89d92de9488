// SPDX-License-Identifier: Apache-2.0

// Preserves a file of each kind, and checks its properties after an update.
#include "probe.h"

enum { HUGE_PAGES = 2, SPARSE, SEALED, EMPTY, READ_ONLY };
enum { HUGE_PAGE = 2 << 20 };
static const off_t places[] = {0, 512l << 30, (1l << 40) - 4096};
static const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

static char *huge_page(int fd, off_t offset) {
    char *page = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    IS(page != MAP_FAILED);
    return page;
}

// Makes a file of three huge pages, of which only the second one exists.
static int huge(void) {
    int fd = OK(memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | 21u << 26));
    OK(ftruncate(fd, 3 * HUGE_PAGE));
    strcpy(huge_page(fd, HUGE_PAGE), "huge");
    return fd;
}

static int sparse(void) {
    int fd = OK(memfd_create("sparse", MFD_CLOEXEC));
    OK(ftruncate(fd, 1l << 40));
    for (int index = 0; index < 3; index++) OK(pwrite(fd, "page", 4, places[index]));
    return fd;
}

static int sealed(void) {
    int fd = memory("sealed");
    OK(fcntl(fd, F_ADD_SEALS, seals));
    return fd;
}

static int read_only(void) {
    char path[64];
    int fd = memory("read only");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int only = OK(open(path, O_RDONLY | O_CLOEXEC));
    OK(lseek(only, 4096, SEEK_SET));
    OK(close(fd));
    return only;
}

void preserve_kinds(int session) {
    OK(preserve(session, huge(), HUGE_PAGES));
    OK(preserve(session, sparse(), SPARSE));
    OK(preserve(session, sealed(), SEALED));
    OK(preserve(session, OK(memfd_create("empty", MFD_CLOEXEC)), EMPTY));
    OK(preserve(session, read_only(), READ_ONLY));
    FAILS(EBADF, preserve(session, OK(open("/dev/null", O_RDONLY | O_PATH)), READ_ONLY + 1));
    FAILS(ENOENT, preserve(session, OK(open("/dev/null", O_RDONLY)), READ_ONLY + 1));
}

static struct stat status(int fd) {
    struct stat found;
    OK(fstat(fd, &found));
    return found;
}

// Retrieves the files in another order.
void find_kinds(int session) {
    char content[16] = "";
    int fd = OK(retrieve(session, EMPTY));
    IS(status(fd).st_size == 0);
    fd = OK(retrieve(session, HUGE_PAGES));
    IS(status(fd).st_size == 3 * HUGE_PAGE && status(fd).st_blocks == HUGE_PAGE / 512);
    IS(strcmp(huge_page(fd, HUGE_PAGE), "huge") == 0);
    fd = OK(retrieve(session, SEALED));
    IS(OK(fcntl(fd, F_GET_SEALS)) == seals);
    FAILS(EPERM, write(fd, "x", 1));
    fd = OK(retrieve(session, READ_ONLY));
    IS((OK(fcntl(fd, F_GETFL)) & O_ACCMODE) == O_RDONLY);
    // The open file is the same: its offset has not changed.
    OK(read(fd, content, sizeof content));
    IS(strcmp(content, "read only") == 0);
    fd = OK(retrieve(session, SPARSE));
    IS(status(fd).st_size == 1l << 40 && status(fd).st_blocks == 3 * 4096 / 512);
    for (int index = 0; index < 3; index++) {
        IS(lseek(fd, index ? places[index - 1] + 4096 : 0, SEEK_DATA) == places[index]);
        OK(pread(fd, content, 4, places[index]));
        IS(memcmp(content, "page", 4) == 0);
    }
}
