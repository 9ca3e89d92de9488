// SPDX-License-Identifier: Apache-2.0

// CRC32C (Castagnoli), reflected, as in iSCSI (RFC 3720). It uses the CRC32 instruction on four streams at once, which
// hides the latency of three cycles. Tables that advance a CRC over a fixed number of zero bytes join the streams.
#include "CLiveUpdate.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82F63B78u  // 0x1EDC6F41 with its bits reversed

static uint32_t by_byte[256];
static pthread_once_t bytes_once = PTHREAD_ONCE_INIT;

static void make_bytes(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
        by_byte[byte] = crc;
    }
}

static uint32_t portable(uint32_t crc, const unsigned char *bytes, size_t count) {
    while (count--) crc = by_byte[(crc ^ *bytes++) & 0xFF] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#define HARDWARE __attribute__((target("sse4.2")))
#define STEP(crc, word) _mm_crc32_u64(crc, word)
#if __has_include(<sys/platform/x86.h>)
// glibc has queried the processor already. __builtin_cpu_supports would query it again in a constructor, and so at
// every start of a program. That takes eight cpuid instructions, each of which traps in a virtual machine (6
// microseconds).
#include <sys/platform/x86.h>
static int have_hardware(void) { return CPU_FEATURE_ACTIVE(SSE4_2); }
#else
static int have_hardware(void) { return __builtin_cpu_supports("sse4.2"); }
#endif
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define HARDWARE __attribute__((target("+crc")))
#define STEP(crc, word) __crc32cd((uint32_t)(crc), word)
static int have_hardware(void) { return (getauxval(AT_HWCAP) >> 7) & 1; }
#endif

#ifdef HARDWARE
#define AHEAD 2048  // prefetch distance: the hardware's own prefetcher reaches half of the memory's speed

// The four streams lie one lane apart. The lane is long, so that each stream stays in its pages long enough to be
// prefetched. Shorter lanes would serve inputs no longer than an arena's trees, but would save less time than their
// table takes to make (about 200,000 instructions).
#define LANE (256 * 1024)  // bytes; a power of two
static uint32_t lane[4][256];  // lane[i][b]: byte i of a CRC, with the value b, advanced over LANE zero bytes
static pthread_once_t lane_once = PTHREAD_ONCE_INIT;

static uint32_t apply(const uint32_t map[32], uint32_t crc) {
    uint32_t result = 0;
    for (int bit = 0; bit < 32; bit++)
        if (crc >> bit & 1) result ^= map[bit];
    return result;
}

// Advancing a CRC over zero bytes is linear, so it is a matrix. Squaring the matrix doubles the number of bytes.
static void make_lane(void) {
    uint32_t map[32], squared[32];
    for (int bit = 0; bit < 32; bit++) map[bit] = by_byte[1u << bit & 0xFF] ^ ((1u << bit) >> 8);
    for (size_t bytes = 1; bytes < LANE; bytes *= 2) {
        for (int bit = 0; bit < 32; bit++) squared[bit] = apply(map, map[bit]);
        memcpy(map, squared, sizeof map);
    }
    for (int index = 0; index < 4; index++)
        for (uint32_t byte = 0; byte < 256; byte++) lane[index][byte] = apply(map, byte << (8 * index));
}

static uint32_t skip(uint64_t crc) {
    return lane[0][crc & 0xFF] ^ lane[1][crc >> 8 & 0xFF] ^ lane[2][crc >> 16 & 0xFF] ^ lane[3][crc >> 24 & 0xFF];
}

static inline uint64_t word_at(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

HARDWARE static uint32_t four_streams(uint64_t crc, const unsigned char *a) {
    const unsigned char *b = a + LANE, *c = b + LANE, *d = c + LANE;
    uint64_t crc_b = 0, crc_c = 0, crc_d = 0;
    for (size_t at = 0; at < LANE; at += 8) {
        if (at % 64 == 0) {
            __builtin_prefetch(a + at + AHEAD);
            __builtin_prefetch(b + at + AHEAD);
            __builtin_prefetch(c + at + AHEAD);
            __builtin_prefetch(d + at + AHEAD);
        }
        crc = STEP(crc, word_at(a + at));
        crc_b = STEP(crc_b, word_at(b + at));
        crc_c = STEP(crc_c, word_at(c + at));
        crc_d = STEP(crc_d, word_at(d + at));
    }
    return skip(skip(skip(crc) ^ crc_b) ^ crc_c) ^ (uint32_t)crc_d;
}

HARDWARE static uint32_t hardware(uint32_t start, const unsigned char *bytes, size_t count) {
    uint64_t crc = start;
    if (count >= 4 * LANE) {
        pthread_once(&lane_once, make_lane);
        for (; count >= 4 * LANE; bytes += 4 * LANE, count -= 4 * LANE) crc = four_streams(crc, bytes);
    }
    for (; count >= 8; bytes += 8, count -= 8) crc = STEP(crc, word_at(bytes));
    return portable((uint32_t)crc, bytes, count);
}
#endif

uint32_t cshims_crc32c(uint32_t crc, const void *bytes, size_t count) {
    pthread_once(&bytes_once, make_bytes);
#ifdef HARDWARE
    if (have_hardware()) return ~hardware(~crc, bytes, count);
#endif
    return ~portable(~crc, bytes, count);
}
