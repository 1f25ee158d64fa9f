/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images as streams: a tar archive (pax, with a map of what is data) under zstd. Holes take no room in
 * it, and any tar can read it: tar --zstd -xf.
 */
#include "loopdev/loopdev.h"

#include "loopdev/whole.h"
#include "provision/base/archive.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 20 };

static void free_entry(struct archive_entry **e)
{
	archive_entry_free(*e);
}

static int interrupted(struct dink_err *err)
{
	return dink_err_set(err, DINK_E_INTR, 0, "interrupted");
}

/* --- export --------------------------------------------------------------------------------- */

/* [*ret_from, *ret_to) is the next data at or behind at; none if they are size */
static int next_data(int fd, off_t at, off_t size, off_t *ret_from, off_t *ret_to)
{
	off_t from = lseek(fd, at, SEEK_DATA);

	if (from < 0 && errno == ENXIO)
		from = size;
	*ret_from = from;
	*ret_to = from < 0 || from >= size ? from : lseek(fd, from, SEEK_HOLE);
	if (*ret_to > size)
		*ret_to = size;
	return from < 0 || *ret_to < 0 ? -errno : 0;
}

static int map_data(int fd, off_t size, struct archive_entry *e, uint64_t *ret_total)
{
	off_t from, to = 0;
	int r;

	*ret_total = 0;
	while ((r = next_data(fd, to, size, &from, &to)) == 0 && from < size) {
		archive_entry_sparse_add_entry(e, from, to - from);
		*ret_total += (uint64_t)(to - from);
	}
	/* an empty map would mean that all is data */
	if (r == 0 && *ret_total == 0)
		archive_entry_sparse_add_entry(e, size, 0);
	return r;
}

/* The writer wants each byte in turn, and drops those of the holes. */
static int write_hole(struct archive *a, const char *zeros, off_t n)
{
	while (n > 0) {
		la_ssize_t w = archive_write_data(a, zeros, n > CHUNK ? CHUNK : (size_t)n);

		if (w <= 0)
			return -EIO;
		n -= w;
	}
	return 0;
}

struct sent {
	const struct dink_progress *progress;
	uint64_t done, total;
	char *bytes; /* CHUNK */
	char *zeros; /* CHUNK */
};

static int write_extent(struct archive *a, int fd, off_t from, off_t to, struct sent *s)
{
	while (from < to) {
		ssize_t n =
			pread(fd, s->bytes, to - from > CHUNK ? CHUNK : (size_t)(to - from), from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		if (archive_write_data(a, s->bytes, (size_t)n) != n)
			return -EIO;
		from += n;
		s->done += (uint64_t)n;
		dink_progress(s->progress, "exporting", s->done, s->total);
		if (dink_interrupted())
			return -EINTR;
	}
	return 0;
}

static int write_body(struct archive *a, int fd, off_t size, struct sent *s)
{
	off_t at = 0, from, to;
	int r;

	while ((r = next_data(fd, at, size, &from, &to)) == 0) {
		r = write_hole(a, s->zeros, from - at);
		if (r == 0 && from < size)
			r = write_extent(a, fd, from, to, s);
		if (r < 0 || from >= size)
			break;
		at = to;
	}
	return r;
}

static int write_image(struct archive *a, int fd, const char *path,
		       const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(free_entry) struct archive_entry *e = archive_entry_new();
	_cleanup_free_ char *bytes = xcalloc(1, CHUNK), *zeros = xcalloc(1, CHUNK);
	struct sent s = {.progress = progress, .bytes = bytes, .zeros = zeros};
	const char *slash = strrchr(path, '/');
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s is no file", path);
	archive_entry_set_pathname(e, slash ? slash + 1 : path);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0600);
	archive_entry_set_size(e, st.st_size);
	archive_entry_set_mtime(e, st.st_mtime, 0);
	r = map_data(fd, st.st_size, e, &s.total);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "read %s", path);
	if (archive_write_header(a, e) != ARCHIVE_OK)
		return dink_archive_failed(a, path, err);
	r = write_body(a, fd, st.st_size, &s);
	if (r == -EINTR)
		return interrupted(err);
	if (r == -EIO)
		return dink_archive_failed(a, path, err);
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "read %s", path) : 0;
}

int dink_disk_export(const char *path, int out, const struct dink_progress *progress,
		     struct dink_err *err)
{
	_cleanup_(dink_archive_write_freep) struct archive *a = archive_write_new();
	_cleanup_close_ int in = -1;
	int r = dink_disk_lease(path, false, &in, err);

	if (r < 0)
		return r;
	if (!a || archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
	    archive_write_add_filter_zstd(a) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
	    archive_write_open_fd(a, out) != ARCHIVE_OK)
		return dink_archive_failed(a, "libarchive", err);
	r = write_image(a, in, path, progress, err);
	if (r == 0 && archive_write_close(a) != ARCHIVE_OK)
		r = dink_archive_failed(a, path, err);
	return r < 0 ? dink_err_push(err, "exporting %s", path) : 0;
}

/* --- import --------------------------------------------------------------------------------- */

static int read_body(struct archive *a, int fd, int64_t size, const struct dink_progress *progress,
		     struct dink_err *err)
{
	const void *bytes;
	la_int64_t at;
	size_t n;
	int r;

	while ((r = archive_read_data_block(a, &bytes, &n, &at)) == ARCHIVE_OK) {
		if (at < 0 || at > size || (uint64_t)n > (uint64_t)(size - at))
			return dink_err_set(err, DINK_E_HOST, EBADMSG,
					    "the archive has data beyond the image's end");
		while (n > 0) {
			ssize_t w = pwrite(fd, bytes, n, at);

			if (w < 0 && errno != EINTR)
				return dink_err_set(err, DINK_E_HOST, errno, "write the image");
			if (w <= 0)
				continue;
			bytes = (const char *)bytes + w;
			n -= (size_t)w;
			at += w;
		}
		dink_progress(progress, "importing", (uint64_t)at, (uint64_t)size);
		if (dink_interrupted())
			return interrupted(err);
	}
	return r == ARCHIVE_EOF ? 0 : dink_archive_failed(a, "the archive", err);
}

static int read_image(struct archive *a, int fd, const struct dink_progress *progress,
		      struct dink_err *err)
{
	struct archive_entry *e;
	int r = archive_read_next_header(a, &e);

	if (r == ARCHIVE_EOF)
		return dink_err_set(err, DINK_E_HOST, EBADMSG, "the archive is empty");
	if (r < ARCHIVE_WARN)
		return dink_archive_failed(a, "the archive", err);
	if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e) ||
	    !archive_entry_size_is_set(e) || archive_entry_size(e) <= 0) {
		dink_err_set(err, DINK_E_HOST, EBADMSG, "the archive does not begin with an image");
		return dink_err_hint(err, "dink disk export makes such archives");
	}
	if (ftruncate(fd, archive_entry_size(e)) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a file of %lld bytes",
				    (long long)archive_entry_size(e));
	r = read_body(a, fd, archive_entry_size(e), progress, err);
	if (r == 0 && archive_read_next_header(a, &e) != ARCHIVE_EOF)
		r = dink_err_set(err, DINK_E_HOST, EBADMSG,
				 "the archive has more in it than one image");
	return r;
}

int dink_disk_import(int in, const char *path, bool force, const struct dink_progress *progress,
		     struct dink_err *err)
{
	_cleanup_(dink_archive_read_freep) struct archive *a = archive_read_new();
	_cleanup_(dink_whole_clear) struct dink_whole w = {};
	int r;

	if (!a || archive_read_support_format_tar(a) < ARCHIVE_WARN ||
	    archive_read_support_filter_zstd(a) < ARCHIVE_WARN ||
	    archive_read_support_filter_gzip(a) < ARCHIVE_WARN ||
	    archive_read_open_fd(a, in, CHUNK) != ARCHIVE_OK) {
		(void)dink_archive_failed(a, "the archive", err);
		return dink_err_push(err, "importing %s", path);
	}
	r = dink_whole_begin(&w, path, force, err);
	if (r < 0)
		return r;
	r = dink_whole_end(&w, read_image(a, w.fd, progress, err), err);
	return r < 0 ? dink_err_push(err, "importing %s", path) : 0;
}
