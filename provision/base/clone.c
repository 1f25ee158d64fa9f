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

enum { CHUNK = 1 << 20 };

struct copied {
	const struct dink_progress *progress;
	uint64_t done, total;
	bool flushing;
};

/* copy_extent() - [from, to) by copy_file_range, or through memory where the two cannot */
static int copy_extent(int in, int out, off_t from, off_t to, struct copied *c)
{
	_cleanup_free_ char *buf = NULL;

	while (from < to) {
		off_t at = from, there = from;
		size_t want = to - from > CHUNK ? CHUNK : (size_t)(to - from);
		ssize_t n = buf ? -1 : copy_file_range(in, &at, out, &there, want, 0);

		if (n <= 0) {
			if (!buf)
				buf = xcalloc(1, CHUNK);
			n = pread(in, buf, want, from);
			if (n > 0)
				n = pwrite(out, buf, (size_t)n, from);
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		/* only begun, and only a matter of time */
		if (c->flushing)
			(void)sync_file_range(out, from, n, SYNC_FILE_RANGE_WRITE);
		from += n;
		c->done += (uint64_t)n;
		dink_progress(c->progress, "copying", c->done, c->total);
		if (dink_interrupted())
			return -EINTR;
	}
	return 0;
}

static int clone_all(int in, int out, const char *what, struct copied c, struct dink_err *err)
{
	struct stat st;
	off_t from = 0, to = 0;
	int r = 0;

	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	if (fstat(in, &st) < 0 || ftruncate(out, st.st_size) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "copy %s", what);
	c.total = (uint64_t)st.st_blocks * 512;
	while (r == 0 && to < st.st_size) {
		from = lseek(in, to, SEEK_DATA);
		if (from < 0 && errno == ENXIO)
			break; /* a hole to the end */
		to = from < 0 ? -1 : lseek(in, from, SEEK_HOLE);
		r = from < 0 || to < 0 ? -errno : copy_extent(in, out, from, to, &c);
	}
	if (r == 0)
		return 0;
	return dink_err_set(err, r == -EINTR ? DINK_E_INTR : DINK_E_HOST, -r, "copy %s", what);
}

int dink_clone_fd(int in, int out, const char *what, const struct dink_progress *progress,
		  struct dink_err *err)
{
	return clone_all(in, out, what, (struct copied){.progress = progress}, err);
}

int dink_clone_fd_flushing(int in, int out, const char *what, const struct dink_progress *progress,
			   struct dink_err *err)
{
	return clone_all(in, out, what, (struct copied){.progress = progress, .flushing = true},
			 err);
}
