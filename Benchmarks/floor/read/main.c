// SPDX-License-Identifier: Apache-2.0

// read FD...: the floor of verifying, which is only reading the memory.
//
// Maps each file completely and touches it. Then, for every line on standard input, it sums all words of all files and
// prints the nanoseconds. The files must have no holes: touching a hole of a hugetlb file would fill it.
#include "floor.h"

struct view {
    const uint64_t *words;
    size_t bytes;
};

static volatile uint64_t sink;  // so that the sums are not optimized away

// Vectors and independent sums, so that loads do not wait for additions. Four streams, because the prefetcher keeps
// the memory busier with four than with one. The streams are near each other: far apart they were slower.
typedef uint64_t vector __attribute__((vector_size(16)));
enum { STREAMS = 4, STREAM_BYTES = 16 << 10 };

static uint64_t sum(struct view view) {
    vector sums[STREAMS][2] = {0}, total = {0};
    for (size_t block = 0; block < view.bytes; block += STREAMS * STREAM_BYTES)
        for (size_t at = block; at < block + STREAM_BYTES; at += 64)
            for (int stream = 0; stream < STREAMS; stream++) {
                const vector *line = (const vector *)((const char *)view.words + at + (size_t)stream * STREAM_BYTES);
                sums[stream][0] += line[0] + line[2];
                sums[stream][1] += line[1] + line[3];
            }
    for (int stream = 0; stream < STREAMS; stream++) total += sums[stream][0] + sums[stream][1];
    return total[0] + total[1];
}

int main(int argc, char **argv) {
    char line[256];
    struct view *views = calloc((size_t)argc, sizeof *views);
    check(views != NULL, "calloc");
    for (int i = 1; i < argc; i++) {
        struct stat status;
        int fd = atoi(argv[i]);
        check(fstat(fd, &status) == 0, argv[i]);
        views[i].bytes = (size_t)status.st_size / (STREAMS * STREAM_BYTES) * (STREAMS * STREAM_BYTES);
        if (views[i].bytes == 0) continue;
        void *mapping = mmap(NULL, views[i].bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE | MAP_POPULATE, fd, 0);
        check(mapping != MAP_FAILED, "mmap");
        views[i].words = mapping;
    }
    while (fgets(line, sizeof line, stdin)) {
        uint64_t start = now(), total = 0;
        for (int i = 1; i < argc; i++) total += sum(views[i]);
        sink = total;
        printf("%llu\n", (unsigned long long)(now() - start));
        fflush(stdout);
    }
    return 0;
}
