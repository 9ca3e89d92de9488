#include "CShims.h"

#include <fcntl.h>

int cshims_fcntl(int fd, int command, long argument) { return fcntl(fd, command, argument); }

int cshims_ofd_lock(int fd) {
    struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole_file);
}
