/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Larger and smaller images, those that give back what they do not use, and those that get files. A
 * btrfs is resized by a kernel, which can be cut off at any moment; its file is never shorter than it:
 * it grows first and is cut off last. resize2fs moves blocks about and cannot be cut off, and who
 * copies files leaves some; so that is done in a copy, which takes the image's name when it is whole.
 */
#include "loopdev/loopdev.h"

#include "loopdev/look.h"
#include "loopdev/tools.h"
#include "loopdev/whole.h"
#include "provision/base/clone.h"
#include "provision/base/units.h"

#include <endian.h>
#include <fcntl.h>
#include <unistd.h>

static int set_length(const char *path, uint64_t bytes, struct dink_err *err)
{
	return truncate(path, (off_t)bytes) < 0
		       ? dink_err_set(err, DINK_E_HOST, errno, "set the size of %s", path)
		       : 0;
}

static int run_resize2fs(const char *path, const char *name, uint64_t bytes, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	/* it takes KiB */
	_cleanup_free_ char *size = xasprintf("%lluK", (unsigned long long)(bytes >> 10));
	int r = dink_ext4_settle(path, name, err);

	if (r < 0)
		return r;
	dink_cmd_argv(&cmd, "resize2fs", path, size, NULL);
	return dink_disk_tool(&cmd, "e2fsprogs", err);
}

static int resize_copy(const struct dink_whole *w, uint64_t old_bytes, uint64_t bytes,
		       struct dink_err *err)
{
	int r = bytes > old_bytes ? set_length(w->partial, bytes, err) : 0;

	if (r == 0)
		r = run_resize2fs(w->partial, w->path, bytes, err);
	if (r == 0 && bytes < old_bytes)
		r = set_length(w->partial, bytes, err);
	return r;
}

static int resize_ext4(const char *path, uint64_t old_bytes, uint64_t bytes,
		       const struct dink_progress *progress, struct dink_err *err)
{
	_cleanup_(dink_whole_clear) struct dink_whole w = {};
	int r = dink_whole_begin_copy(&w, path, progress, err);

	return r < 0 ? r : dink_whole_end(&w, resize_copy(&w, old_bytes, bytes, err), err);
}

static int ask_kernel(const char *path, uint64_t bytes, const struct dink_look_how *how,
		      struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *look = NULL;
	struct dink_look_how leased = *how;
	int r;

	leased.leased = leased.writable = true;
	r = dink_look_open(path, &leased, &look, err);
	if (r == 0)
		r = dink_look_resize_btrfs(look, bytes, err);
	return r < 0 ? r : dink_look_end(look, err);
}

/* What the superblock says that the kernel goes by; btrfs has one at 64 KiB. */
static int btrfs_bytes(const char *path, uint64_t *ret, struct dink_err *err)
{
	enum { TOTAL_BYTES_AT = 65536 + 0x70 };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t le;

	if (fd < 0 || pread(fd, &le, sizeof(le), TOTAL_BYTES_AT) != sizeof(le))
		return dink_err_set(err, DINK_E_HOST, errno, "read the superblock of %s", path);
	*ret = le64toh(le);
	return 0;
}

/* Not larger after all: room that the filesystem has not begun to use goes again. */
static void take_room_back(const char *path, uint64_t old_bytes)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	uint64_t used;

	if (btrfs_bytes(path, &used, &ignored) == 0 && used <= old_bytes)
		(void)set_length(path, old_bytes, &ignored);
}

static int resize_btrfs(const char *path, uint64_t old_bytes, uint64_t bytes,
			const struct dink_look_how *how, struct dink_err *err)
{
	int r = bytes > old_bytes ? set_length(path, bytes, err) : 0;

	if (r == 0)
		r = ask_kernel(path, bytes, how, err);
	if (r == 0 && bytes < old_bytes)
		r = set_length(path, bytes, err);
	if (r < 0 && bytes > old_bytes)
		take_room_back(path, old_bytes);
	return r;
}

/* A file has its size also where a kernel was cut off before its btrfs had: not so then. */
static int has_size(const char *type, const char *path, uint64_t file_bytes, uint64_t bytes,
		    struct dink_err *err)
{
	uint64_t used = bytes;
	int r = STREQ(type, "btrfs") ? btrfs_bytes(path, &used, err) : 0;

	return r < 0 ? r : file_bytes == bytes && used == bytes;
}

static int check_size(const char *type, const char *path, uint64_t bytes, struct dink_err *err)
{
	if (!STREQ(type, "btrfs") && !STREQ(type, "ext4")) {
		dink_err_set(err, DINK_E_USAGE, 0, "%s holds %s", path,
			     *type ? type : "nothing that libblkid knows");
		return dink_err_hint(err, "btrfs and ext4 can be resized");
	}
	if (bytes == 0 || bytes % 4096 != 0)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "the size is 0, or no multiple of 4096 bytes");
	/* btrfs_ioctl_resize() in the kernel */
	if (STREQ(type, "btrfs") && bytes < 256ULL << 20)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "no kernel resizes a btrfs to less than 256 MiB");
	return 0;
}

int dink_disk_resize(const char *path, uint64_t bytes, const struct dink_look_how *how,
		     struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	_cleanup_close_ int lease = -1;
	int r = dink_disk_lease(path, true, &lease, err);
	const char *type;

	if (r == 0)
		r = dink_disk_probe(path, &p, err);
	type = p.type ? p.type : "";
	if (r == 0)
		r = check_size(type, path, bytes, err);
	if (r == 0)
		r = has_size(type, path, p.size_bytes, bytes, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (STREQ(type, "btrfs")) {
		r = resize_btrfs(path, p.size_bytes, bytes, how, err);
	} else {
		close(TAKE_FD(lease)); /* the copy's own is as strong */
		r = resize_ext4(path, p.size_bytes, bytes, how->progress, err);
	}
	return r < 0 ? dink_err_push(err, "resizing %s", path) : 0;
}

int dink_disk_trim(const char *path, const struct dink_look_how *how, struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *look = NULL;
	struct dink_look_how trims = *how;
	int r;

	trims.writable = trims.discards = true;
	r = dink_look_open(path, &trims, &look, err);
	if (r == 0)
		r = dink_look_trim(look, err);
	return r < 0 ? r : dink_look_end(look, err);
}

static int put_files(const char *image, char *const *files, size_t n, const char *dir,
		     const struct dink_look_how *how, struct dink_err *err)
{
	_cleanup_(dink_look_freep) struct dink_look *look = NULL;
	int r = dink_look_open(image, how, &look, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = dink_look_copy_in(look, files[i], dir, err);
	return r < 0 ? r : dink_look_end(look, err);
}

int dink_disk_copy_in(const char *path, char *const *files, size_t n, const char *dir,
		      const struct dink_look_how *how, struct dink_err *err)
{
	_cleanup_(dink_whole_clear) struct dink_whole w = {};
	_cleanup_free_ char *real = realpath(path, NULL); /* what has the name is replaced */
	struct dink_look_how changes = *how;
	int r;

	if (!real)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	changes.writable = changes.leased = true;
	changes.name = path;
	r = dink_whole_begin_copy(&w, real, how->progress, err);
	return r < 0 ? r
		     : dink_whole_end(&w, put_files(w.partial, files, n, dir, &changes, err), err);
}
