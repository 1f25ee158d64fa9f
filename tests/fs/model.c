/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file and what it has to hold, in memory: random reads, writes, maps, truncations, holes, opens
 * and closes, each checked. In the manner of fsx.
 */
#include "tests/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, PIECE_MAX = 128 << 10, PAGE = 4096, WHOLE_EVERY = 200 };

struct model {
	char path[4096];
	uint64_t seed;
	unsigned long step;
	int fd, direct; /* -1: the file system has no O_DIRECT */
	size_t size;
	uint8_t *want, *got; /* beyond size, want is zeros */
};

static void check(struct model *m, const char *what, const uint8_t *got, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (got[i] != m->want[at + i]) {
			errno = 0;
			fs_die("model: step %lu, %s of %zu bytes at %zu: byte %zu is %#x, not %#x, "
			       "the "
			       "size is %zu",
			       m->step, what, n, at, at + i, got[i], m->want[at + i], m->size);
		}
	}
}

/* A range that a read may have: within the file, or beyond its end. */
static size_t pick(struct model *m, size_t *ret_n, size_t limit)
{
	size_t at = fs_below(&m->seed, limit);
	size_t most = limit - at < PIECE_MAX ? limit - at : PIECE_MAX;

	*ret_n = 1 + fs_below(&m->seed, most);
	return at;
}

static void fill(struct model *m, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)fs_rand(&m->seed);
}

static void grow(struct model *m, size_t end)
{
	if (end > m->size)
		m->size = end;
}

static bool do_write(struct model *m)
{
	size_t n, at = pick(m, &n, FILE_MAX);

	fill(m, m->want + at, n);
	if (pwrite(m->fd, m->want + at, n, (off_t)at) != (ssize_t)n)
		fs_die("model: step %lu, write %zu bytes at %zu", m->step, n, at);
	grow(m, at + n);
	return true;
}

static bool do_append(struct model *m)
{
	size_t n = 1 + fs_below(&m->seed, 3000);
	int fd = m->size + n <= FILE_MAX ? open(m->path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;

	if (fd < 0)
		return false;
	fill(m, m->want + m->size, n);
	if (write(fd, m->want + m->size, n) != (ssize_t)n)
		fs_die("model: step %lu, append %zu bytes", m->step, n);
	close(fd);
	grow(m, m->size + n);
	return true;
}

static void read_with(struct model *m, int fd, const char *what, size_t at, size_t n)
{
	ssize_t k = pread(fd, m->got, n, (off_t)at);
	size_t left = at < m->size ? m->size - at : 0;

	if (k != (ssize_t)(n < left ? n : left))
		fs_die("model: step %lu, %s of %zu bytes at %zu gave %zd, the size is %zu", m->step,
		       what, n, at, k, m->size);
	check(m, what, m->got, at, (size_t)k);
}

static bool do_read(struct model *m)
{
	size_t n, at = pick(m, &n, FILE_MAX);

	read_with(m, m->fd, "read", at, n);
	return true;
}

static bool do_read_again(struct model *m)
{
	size_t n, at = pick(m, &n, FILE_MAX);
	int fd = open(m->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fs_die("model: step %lu, open", m->step);
	read_with(m, fd, "read by another open", at, n);
	close(fd);
	return true;
}

static uint8_t *map(struct model *m, size_t at, size_t n, int prot, int flags)
{
	size_t from = at / PAGE * PAGE;
	uint8_t *p = mmap(NULL, n + at - from, prot, flags, m->fd, (off_t)from);

	if (p == MAP_FAILED)
		fs_die("model: step %lu, map %zu bytes at %zu", m->step, n, from);
	return p;
}

static bool do_map_write(struct model *m)
{
	size_t n, at = pick(m, &n, FILE_MAX);

	if (at + n > m->size && ftruncate(m->fd, (off_t)(at + n)) < 0)
		fs_die("model: step %lu, grow for a map", m->step);
	grow(m, at + n);
	uint8_t *p = map(m, at, n, PROT_READ | PROT_WRITE, MAP_SHARED);
	fill(m, m->want + at, n);
	memcpy(p + at % PAGE, m->want + at, n);
	if (fs_below(&m->seed, 2) && msync(p, n + at % PAGE, MS_SYNC) < 0)
		fs_die("model: step %lu, msync", m->step);
	munmap(p, n + at % PAGE);
	return true;
}

static bool do_map_read(struct model *m)
{
	size_t n, at = pick(m, &n, m->size);
	bool shared = fs_below(&m->seed, 2);

	if (m->size == 0)
		return false;
	uint8_t *p = map(m, at, n, PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE);
	check(m, shared ? "shared map" : "private map", p + at % PAGE, at, n);
	/* the last page ends in zeros */
	size_t end = (at + n + PAGE - 1) / PAGE * PAGE;
	if (at + n == m->size && end <= FILE_MAX)
		check(m, "map beyond the end", p + at % PAGE + n, at + n, end - at - n);
	munmap(p, n + at % PAGE);
	return true;
}

static bool do_truncate(struct model *m)
{
	size_t to = fs_below(&m->seed, 4) ? fs_below(&m->seed, FILE_MAX) : 0;
	int r = fs_below(&m->seed, 2) ? truncate(m->path, (off_t)to) : ftruncate(m->fd, (off_t)to);

	if (r < 0)
		fs_die("model: step %lu, truncate to %zu", m->step, to);
	if (to < m->size)
		memset(m->want + to, 0, m->size - to);
	m->size = to;
	return true;
}

static bool allocate(struct model *m, int mode, size_t at, size_t n)
{
	if (fallocate(m->fd, mode, (off_t)at, (off_t)n) == 0)
		return true;
	if (errno != EOPNOTSUPP)
		fs_die("model: step %lu, fallocate %#x, %zu bytes at %zu", m->step, (unsigned)mode,
		       n, at);
	return false;
}

static bool do_allocate(struct model *m)
{
	size_t n, at = pick(m, &n, FILE_MAX);
	bool keep = fs_below(&m->seed, 2);

	if (!allocate(m, keep ? FALLOC_FL_KEEP_SIZE : 0, at, n))
		return false;
	if (!keep)
		grow(m, at + n);
	return true;
}

static bool do_punch(struct model *m)
{
	size_t n, at = pick(m, &n, FILE_MAX);

	if (!allocate(m, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n))
		return false;
	memset(m->want + at, 0, n);
	return true;
}

static bool do_zero(struct model *m)
{
	size_t n, at = pick(m, &n, FILE_MAX);

	if (!allocate(m, FALLOC_FL_ZERO_RANGE, at, n))
		return false;
	memset(m->want + at, 0, n);
	grow(m, at + n);
	return true;
}

static bool do_sync(struct model *m)
{
	if ((fs_below(&m->seed, 2) ? fsync(m->fd) : fdatasync(m->fd)) < 0)
		fs_die("model: step %lu, fsync", m->step);
	return true;
}

static bool do_reopen(struct model *m)
{
	if (close(m->fd) < 0)
		fs_die("model: step %lu, close", m->step);
	m->fd = open(m->path, O_RDWR | O_CLOEXEC);
	if (m->fd < 0)
		fs_die("model: step %lu, open", m->step);
	return true;
}

static bool do_size(struct model *m)
{
	struct stat a, b;

	if (fstat(m->fd, &a) < 0 || stat(m->path, &b) < 0)
		fs_die("model: step %lu, stat", m->step);
	errno = 0;
	if ((size_t)a.st_size != m->size || a.st_size != b.st_size || a.st_ino != b.st_ino)
		fs_die("model: step %lu, the sizes are %lld and %lld, not %zu", m->step,
		       (long long)a.st_size, (long long)b.st_size, m->size);
	return true;
}

/* Within the file, pieces that do not overlap. */
static bool do_copy(struct model *m)
{
	size_t half = m->size / 2, n, from;
	off_t in, out;

	if (half < 2)
		return false;
	from = pick(m, &n, half);
	in = (off_t)from;
	out = (off_t)(half + fs_below(&m->seed, half - 1));
	if ((size_t)out + n > FILE_MAX)
		n = FILE_MAX - (size_t)out;
	size_t to = (size_t)out;
	ssize_t k = copy_file_range(m->fd, &in, m->fd, &out, n, 0);
	if (k < 0 && (errno == EXDEV || errno == EOPNOTSUPP || errno == ENOSYS))
		return false;
	if (k <= 0)
		fs_die("model: step %lu, copy_file_range gave %zd of %zu", m->step, k, n);
	memmove(m->want + to, m->want + from, (size_t)k);
	grow(m, to + (size_t)k);
	return true;
}

/* What is called a hole has to read as zeros. */
static bool do_hole(struct model *m)
{
	size_t at = fs_below(&m->seed, m->size);
	off_t hole, data;

	if (m->size == 0)
		return false;
	hole = lseek(m->fd, (off_t)at, SEEK_HOLE);
	if (hole < (off_t)at || hole > (off_t)m->size)
		fs_die("model: step %lu, a hole at %lld after %zu", m->step, (long long)hole, at);
	data = lseek(m->fd, (off_t)at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		data = (off_t)m->size;
	errno = 0;
	for (off_t i = (off_t)at; i < data; i++) {
		if (m->want[i])
			fs_die("model: step %lu, byte %lld is in a hole", m->step, (long long)i);
	}
	return true;
}

/* O_DIRECT beside the page cache: whole pages. */
static bool do_direct(struct model *m)
{
	size_t n = PAGE * (1 + fs_below(&m->seed, 16)), at = PAGE * fs_below(&m->seed, 200);
	void *buf = NULL;

	if (m->direct < 0 || at + n > FILE_MAX || posix_memalign(&buf, PAGE, n))
		return false;
	if (fs_below(&m->seed, 2)) {
		fill(m, m->want + at, n);
		memcpy(buf, m->want + at, n);
		if (pwrite(m->direct, buf, n, (off_t)at) != (ssize_t)n)
			fs_die("model: step %lu, write directly %zu at %zu", m->step, n, at);
		grow(m, at + n);
	} else {
		ssize_t k = pread(m->direct, buf, n, (off_t)at);
		size_t left = at < m->size ? m->size - at : 0;

		if (k != (ssize_t)(n < left ? n : left))
			fs_die("model: step %lu, read directly %zu at %zu gave %zd", m->step, n, at,
			       k);
		check(m, "direct read", buf, at, (size_t)k);
	}
	free(buf);
	return true;
}

static const struct {
	const char *name;
	bool (*fn)(struct model *m); /* false: not possible here */
	unsigned weight;
} kinds[] = {
	{"write", do_write, 6},		{"append", do_append, 2},
	{"read", do_read, 6},		{"read_again", do_read_again, 3},
	{"map_write", do_map_write, 6}, {"map_read", do_map_read, 4},
	{"truncate", do_truncate, 2},	{"allocate", do_allocate, 1},
	{"punch", do_punch, 2},		{"zero", do_zero, 1},
	{"sync", do_sync, 1},		{"reopen", do_reopen, 2},
	{"size", do_size, 2},		{"copy", do_copy, 1},
	{"hole", do_hole, 1},		{"direct", do_direct, 2},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static unsigned choose(struct model *m)
{
	unsigned total = 0, i = 0;

	for (unsigned k = 0; k < KINDS; k++)
		total += kinds[k].weight;
	uint64_t r = fs_below(&m->seed, total);
	while (r >= kinds[i].weight)
		r -= kinds[i++].weight;
	return i;
}

int fs_model(const char *dir, uint64_t seed, unsigned long steps)
{
	struct model m = {
		.seed = seed, .want = calloc(1, FILE_MAX + PAGE), .got = malloc(FILE_MAX)};
	unsigned long done[KINDS] = {}, not [KINDS] = {};

	snprintf(m.path, sizeof(m.path), "%s/model", dir);
	m.fd = open(m.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	m.direct = open(m.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (m.fd < 0 || !m.want || !m.got)
		fs_die("model: make %s", m.path);
	printf("model: %lu steps, seed %llu%s\n", steps, (unsigned long long)seed,
	       m.direct < 0 ? ", no O_DIRECT" : "");
	for (m.step = 0; m.step < steps; m.step++) {
		unsigned k = choose(&m);

		(kinds[k].fn(&m) ? done : not )[k]++;
		if (m.step % WHOLE_EVERY == 0)
			read_with(&m, m.fd, "whole file", 0, FILE_MAX);
	}
	read_with(&m, m.fd, "whole file", 0, FILE_MAX);
	printf("model: as it should be;");
	for (unsigned k = 0; k < KINDS; k++)
		printf(done[k] ? " %s %lu" : " %s never", kinds[k].name, done[k]);
	printf("\n");
	close(m.fd);
	close(m.direct);
	free(m.want);
	free(m.got);
	return 0;
}
