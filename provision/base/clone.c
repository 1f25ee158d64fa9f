/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/clone.h"

#include "provision/base/mem.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 18, PAGE = 4096, FLUSH = 32 << 20 };

struct copied {
	const struct dink_progress *progress;
	uint64_t done, total;
	bool flushing;
	off_t flushed; /* up to there */
	char *buf;     /* CHUNK; NULL = not needed so far */
};

static void free_copied(struct copied *c)
{
	free(c->buf);
}

static bool is_zero(const char *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static int write_at(int out, const char *buf, size_t n, off_t at)
{
	while (n > 0) {
		ssize_t w = pwrite(out, buf, n, at);

		if (w < 0 && errno != EINTR)
			return -1;
		if (w > 0) {
			buf += w;
			n -= (size_t)w;
			at += w;
		}
	}
	return 0;
}

/* What is zero stays a hole: out has its length already, and nothing in it. */
static ssize_t write_data(int out, const char *buf, size_t n, off_t at)
{
	size_t from = 0, to = 0; /* data that is still to be written */

	while (to < n) {
		size_t page = n - to > PAGE ? PAGE : n - to;
		bool zero = is_zero(buf + to, page);

		if (zero && write_at(out, buf + from, to - from, at + (off_t)from) < 0)
			return -1;
		to += page;
		if (zero)
			from = to;
	}
	if (write_at(out, buf + from, to - from, at + (off_t)from) < 0)
		return -1;
	return (ssize_t)n;
}

/* Up to a chunk at from; how much, -errno in errno, 0 = a file that ends too early */
static ssize_t copy_chunk(int in, int out, off_t from, size_t want, struct copied *c)
{
	off_t at = from, there = from;
	ssize_t n = c->buf ? -1 : copy_file_range(in, &at, out, &there, want, 0);

	if (n > 0)
		return n;
	/* through memory, where the two file systems cannot, or zeros are looked for */
	if (!c->buf)
		c->buf = xcalloc(1, CHUNK);
	n = pread(in, c->buf, want, from);
	if (n <= 0)
		return n;
	return c->flushing ? write_data(out, c->buf, (size_t)n, from)
			   : pwrite(out, c->buf, (size_t)n, from);
}

static int copy_extent(int in, int out, off_t from, off_t to, struct copied *c)
{
	while (from < to) {
		ssize_t n = copy_chunk(in, out, from,
				       to - from > CHUNK ? CHUNK : (size_t)(to - from), c);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		/* only begun, and only a matter of time */
		if (c->flushing && (from == to || from - c->flushed >= FLUSH)) {
			(void)sync_file_range(out, c->flushed, from - c->flushed,
					      SYNC_FILE_RANGE_WRITE);
			c->flushed = from;
		}
		c->done += (uint64_t)n;
		dink_progress(c->progress, "copying", c->done, c->total);
		if (dink_interrupted())
			return -EINTR;
	}
	return 0;
}

static int clone_all(int in, int out, const char *what, struct copied *c, struct dink_err *err)
{
	struct stat st;
	off_t from = 0, to = 0;
	int r = 0;

	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	if (fstat(in, &st) < 0 || ftruncate(out, st.st_size) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "copy %s", what);
	c->total = (uint64_t)st.st_blocks * 512;
	while (r == 0 && to < st.st_size) {
		from = lseek(in, to, SEEK_DATA);
		if (from < 0 && errno == ENXIO)
			break; /* a hole to the end */
		to = from < 0 ? -1 : lseek(in, from, SEEK_HOLE);
		r = from < 0 || to < 0 ? -errno : copy_extent(in, out, from, to, c);
	}
	if (r == 0)
		return 0;
	return dink_err_set(err, r == -EINTR ? DINK_E_INTR : DINK_E_HOST, -r, "copy %s", what);
}

int dink_clone_fd(int in, int out, const char *what, const struct dink_progress *progress,
		  struct dink_err *err)
{
	_cleanup_(free_copied) struct copied c = {.progress = progress};

	return clone_all(in, out, what, &c, err);
}

int dink_clone_fd_flushing(int in, int out, const char *what, const struct dink_progress *progress,
			   struct dink_err *err)
{
	_cleanup_(free_copied) struct copied c = {
		.progress = progress, .flushing = true, .buf = xcalloc(1, CHUNK)};

	return clone_all(in, out, what, &c, err);
}
