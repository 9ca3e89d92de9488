#define _GNU_SOURCE
#include "stuck_file_system.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static void *close_it(void *file) {
    close((int)(intptr_t)file);
    return NULL;
}

pid_t stuck_file_system_user(const char *path, int closing_thread) {
    pid_t child = fork();
    if (child != 0) return child;
    int file = open(path, O_RDWR | O_CLOEXEC);
    pthread_t thread;
    if (file == -1 || (closing_thread && pthread_create(&thread, NULL, close_it, (void *)(intptr_t)file) != 0)) _exit(1);
    for (;;) pause();
}
