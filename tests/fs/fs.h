/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file-system exerciser: what programs do to files, compared with a model in memory (model.c), by
 * many processes at once (tree.c), and POSIX rule by rule (cases.c). It runs on the host's own file
 * system and on a volume in a guest, linked statically and with nothing of dink's in it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* fs_rand() - the next number of a sequence that the seed alone determines (splitmix64) */
uint64_t fs_rand(uint64_t *seed);
uint64_t fs_below(uint64_t *seed, uint64_t n);
uint64_t fs_hash(uint64_t h, const void *data, size_t n); /* FNV-1a; begin with FS_HASH */
#define FS_HASH 14695981039346656037ULL

/* fs_die() - what went wrong, with errno if it is set, to standard error; exits with 1 */
__attribute__((noreturn, format(printf, 1, 2))) void fs_die(const char *fmt, ...);

int fs_model(const char *dir, uint64_t seed, unsigned long steps);
int fs_tree(const char *dir, uint64_t seed, unsigned long steps, int processes);
int fs_cases(const char *dir, const char *only);
/* fs_digest() - one line a file: what it is, who may do what, times, contents */
int fs_digest(const char *dir);
/* fs_watch() - inotify: says "ready", then the names that something happens to */
int fs_watch(const char *dir, unsigned seconds);
