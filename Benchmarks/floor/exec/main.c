// exec start FIRST COUNT: the floor of replacing a process that keeps its memory files.
//
// Takes the time and becomes itself by execve, with the descriptors FIRST ... FIRST + COUNT - 1 inherited; then it reads
// one word of each and prints the nanoseconds since.
#include "floor.h"

int main(int argc, char **argv) {
    if (argc < 4) return fputs("usage: exec start FIRST COUNT\n", stderr), 64;
    if (strcmp(argv[1], "start") == 0) {
        char time[32];
        char *arguments[] = {argv[0], "go", argv[2], argv[3], time, NULL};
        snprintf(time, sizeof time, "%llu", (unsigned long long)now());
        execv("/proc/self/exe", arguments);
        check(0, "execv");
    }
    int first = atoi(argv[2]), count = atoi(argv[3]);
    for (int fd = first; fd < first + count; fd++) check_word(fd);
    printf("%llu\n", (unsigned long long)now() - strtoull(argv[4], NULL, 10));
    return 0;
}
