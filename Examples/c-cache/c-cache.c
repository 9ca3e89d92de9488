// SPDX-License-Identifier: Apache-2.0

// A cache in a memory file that outlives its program, and updates of luod.
//
//     c-cache NAME [WORD]...    puts the words into the cache, and prints all words that are in it
//
// The cache is a file in a detached session. A program that starts finds the file in one of four states: there is
// none; an earlier program preserved it (outgoing); an update of luod has handed it over since (incoming); or the file
// was lost, because luod has ended since.
#include <errno.h>
#include <liveupdate.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 1 << 20, TOKEN = 1 };

// Ends the program with the reason of the last failed call, and its remedy.
static void fail(const char *what) {
    fprintf(stderr, "c-cache: %s: %s\n", what, luo_reason());
    exit(1);
}

// Makes a memory file for the cache, which is empty: all its bytes are zero.
static int make_file(const char *name) {
    int file = memfd_create(name, MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, SIZE) < 0) {
        perror("c-cache: making a memory file");
        exit(1);
    }
    return file;
}

// Puts a file into a session, which stays when this program ends.
static void put_file(int session, int file) {
    if (luo_preserve(session, file, TOKEN) < 0) fail("preserving the cache");
    if (luo_set_detached(session, true) < 0) fail("detaching the session");
}

// Puts a file into a new session.
static void preserve(int luo, const char *name, int file) {
    int session = luo_create_session(luo, name);
    if (session < 0) fail("making a session");
    put_file(session, file);
    luo_close(session);
}

// Makes a file in place of the one that a session has lost (EBADF): luod held it, and has ended since.
static int replace_file(const char *name) {
    fprintf(stderr, "c-cache: the cache was lost when luod ended; a new one begins\n");
    return make_file(name);
}

// Returns the file of an outgoing session.
static int get_file(int session, const char *name) {
    int file = luo_get(session, TOKEN);
    if (file >= 0 || errno != EBADF) return file;
    if (luo_set_detached(session, false) < 0) fail("attaching the session to this program");
    if (luo_unpreserve(session, TOKEN) < 0) fail("unpreserving the lost file");
    file = replace_file(name);
    put_file(session, file);
    return file;
}

// Returns the file of an incoming session. The session is finished, so that the file can be preserved again.
static int take_file(int luo, int session, const char *name) {
    int file = luo_retrieve(session, TOKEN);
    if (file < 0 && errno == EBADF) file = replace_file(name);
    if (file < 0) fail("retrieving the cache");
    if (luo_finish(session) < 0) fail("finishing the session");
    if (luo_set_detached(session, false) < 0) fail("ending the session");
    preserve(luo, name, file);
    return file;
}

// Returns the file of the cache.
static int find_file(int luo, const char *name) {
    int session = luo_attach_session(luo, name, LUO_EITHER);
    if (session < 0 && errno != ENOENT) fail("attaching the session");
    if (session < 0) {
        int file = make_file(name);
        preserve(luo, name, file);
        return file;
    }
    int file = get_file(session, name);
    if (file < 0 && errno == EINVAL) file = take_file(luo, session, name); // the session is incoming
    if (file < 0) fail("getting the cache");
    luo_close(session);
    return file;
}

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: c-cache NAME [WORD]...\n");
        return 64;
    }
    int luo = luo_open();
    if (luo < 0) fail("opening luod");
    int file = find_file(luo, arguments[1]);
    char *words = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (words == MAP_FAILED) {
        perror("c-cache: mapping the cache");
        return 1;
    }
    for (int i = 2; i < count; i++) {
        size_t used = strnlen(words, SIZE), length = strlen(arguments[i]);
        if (used + length + 2 > SIZE) {
            fprintf(stderr, "c-cache: the cache is full\n");
            return 1;
        }
        memcpy(words + used, arguments[i], length);
        words[used + length] = '\n';
    }
    fwrite(words, 1, strnlen(words, SIZE), stdout);
    luo_close(luo);
    return 0;
}
