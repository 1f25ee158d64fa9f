/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fs/fs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t fs_rand(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint64_t fs_below(uint64_t *seed, uint64_t n)
{
	return n ? fs_rand(seed) % n : 0;
}

uint64_t fs_hash(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 1099511628211ULL;
	return h;
}

void fs_die(const char *fmt, ...)
{
	int e = errno;
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, e ? ": %s\n" : "\n", strerror(e));
	exit(1);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "", *dir = argc > 2 ? argv[2] : "";
	unsigned long n = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : (uint64_t)time(NULL);
	int processes = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 4;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(what, "model") == 0)
		return fs_model(dir, seed, n ? n : 10000);
	if (strcmp(what, "tree") == 0)
		return fs_tree(dir, seed, n ? n : 2000, processes);
	if (strcmp(what, "cases") == 0)
		return fs_cases(dir, argc > 3 ? argv[3] : "");
	if (strcmp(what, "digest") == 0)
		return fs_digest(dir);
	if (strcmp(what, "watch") == 0)
		return fs_watch(dir, (unsigned)n);
	fprintf(stderr, "exerciser model|tree DIR [STEPS [SEED [PROCESSES]]]\n"
			"exerciser cases DIR [WORD]\n"
			"exerciser digest DIR\n"
			"exerciser watch DIR SECONDS\n");
	return 2;
}
