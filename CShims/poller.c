// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <sys/epoll.h>

int cshims_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int cshims_epoll_control(int poller, int fd, int change, int reading, int writing, int once) {
    static const int changes[] = {EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
    struct epoll_event event = {.data.fd = fd};
    event.events = EPOLLRDHUP | (reading ? EPOLLIN : 0) | (writing ? EPOLLOUT : 0) | (once ? EPOLLET : 0);
    return epoll_ctl(poller, changes[change], fd, &event);
}

int cshims_epoll_wait(int poller, struct cshims_event *found, int room, int milliseconds) {
    struct epoll_event events[1024];
    if (room > 1024) room = 1024;
    int count = epoll_wait(poller, events, room, milliseconds);
    for (int index = 0; index < count; index++) {
        unsigned bits = events[index].events;
        found[index] = (struct cshims_event){
            .fd = events[index].data.fd,
            .readable = (bits & EPOLLIN) != 0,
            .writable = (bits & EPOLLOUT) != 0,
            .ended = (bits & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0};
    }
    return count;
}
