/* SPDX-License-Identifier: Apache-2.0 */
#include "loopdev/whole.h"

#include "loopdev/loopdev.h"
#include "provision/base/clone.h"
#include "provision/base/file.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

/* loopdev/loop.c waits as long */
enum { LEASE_TIMEOUT_MS = 1000 };

/* "a btrfs filesystem 'store'", "a dos partition table" */
static char *describe_probe(const struct dink_disk_probe *p)
{
	_cleanup_str_ struct dink_str s = {};
	/* libblkid's "other" says nothing to people */
	bool plain = !p->usage || STREQ(p->usage, "other");

	if (p->type)
		dink_str_addf(&s, "%s %s %s", strchr("aeiou", p->type[0]) ? "an" : "a", p->type,
			      plain ? "signature" : p->usage);
	if (p->label)
		dink_str_addf(&s, " '%s'", p->label);
	if (p->partition_table)
		dink_str_addf(&s, "%sa %s partition table", s.len ? " and " : "",
			      p->partition_table);
	if (p->ambiguous)
		dink_str_add(&s, " and other signatures");
	if (!s.len)
		dink_str_add(&s, "data that libblkid does not know");
	return dink_str_take(&s);
}

/* A loop device that somebody else made holds no lock. */
static bool has_other_loop(const char *path, bool exclusive, struct dink_loop_id *ret)
{
	struct dink_loop_id ids[16];
	int n = dink_loop_find(path, ids, ARRAY_SIZE(ids));

	for (int i = 0; i < n; i++) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_free_ char *ro =
			xasprintf("/sys/block/%s/ro", strrchr(ids[i].path, '/') + 1);
		_cleanup_free_ char *text = NULL;

		*ret = ids[i];
		if (exclusive || dink_file_read(ro, 16, &text, NULL, &ignored) < 0 ||
		    text[0] != '1')
			return true;
	}
	return false;
}

/*
 * After umount(8) a device is there until its last opener has gone, who may be there for a moment
 * only: udev, or another dink that looks whose device it is.
 */
static bool other_loop_stays(const char *path, bool exclusive, uint32_t ms,
			     struct dink_loop_id *ret)
{
	const uint64_t deadline = dink_now_ms() + ms;

	while (has_other_loop(path, exclusive, ret)) {
		if (dink_now_ms() >= deadline)
			return true;
		usleep(20000);
	}
	return false;
}

/*
 * QEMU locks bytes of its own in an image: 100 and up for what it does, 101 for writing, 200 and up
 * for what others may not. So those are seen that nobody of ours waits for any more: the one that a
 * dink left that was killed, which lives for two seconds, and other people's.
 */
static bool has_qemu(int fd, bool exclusive)
{
	struct flock l = {.l_type = F_WRLCK,
			  .l_whence = SEEK_SET,
			  .l_start = exclusive ? 100 : 101,
			  .l_len = exclusive ? 200 : 1};

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/* What stands at path may be replaced? 1 it exists and may (leased), 0 nothing there. */
static int check_target(const char *path, bool force, int *ret_lease, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	struct dink_loop_id loop;
	struct stat st;

	if (lstat(path, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
	}
	if (!S_ISREG(st.st_mode))
		return dink_err_set(err, DINK_E_BUSY, 0, "%s is no regular file", path);
	if (other_loop_stays(path, true, LEASE_TIMEOUT_MS, &loop)) {
		dink_err_set(err, DINK_E_BUSY, 0, "%s is in use: %s", path, loop.path);
		return dink_err_hint(err, "losetup --list %s", loop.path);
	}
	_cleanup_close_ int lease = -1;
	int r = dink_disk_lease(path, true, &lease, err);
	if (r == 0)
		r = dink_disk_probe(path, &p, err);
	if (r < 0)
		return r;
	bool empty = !p.type && !p.partition_table && p.allocated_bytes == 0;
	if (!empty && !force) {
		_cleanup_free_ char *what = describe_probe(&p);
		dink_err_set(err, DINK_E_BUSY, 0, "%s holds %s", path, what);
		return dink_err_hint(err, "--force overwrites it");
	}
	*ret_lease = TAKE_FD(lease);
	return 1;
}

/*
 * PATH.partial, locked: whoever holds the lock makes the file. A leftover of a crash is taken
 * over. The inode is checked after locking, for it may have been renamed to PATH meanwhile.
 */
static int open_partial(const char *partial, int *ret_fd, struct dink_err *err)
{
	for (int i = 0; i < 16; i++) {
		_cleanup_close_ int fd =
			open(partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		struct stat mine, there;
		if (fd < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "create %s", partial);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0 || has_qemu(fd, true))
			return dink_err_set(err, DINK_E_BUSY, EBUSY, "%s is being made", partial);
		if (fstat(fd, &mine) < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "stat %s", partial);
		if (stat(partial, &there) == 0 && there.st_dev == mine.st_dev &&
		    there.st_ino == mine.st_ino) {
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
	}
	return dink_err_set(err, DINK_E_BUSY, EBUSY, "%s is being made by others", partial);
}

/* With no loop device to be seen: a VM, another dink, or a device that the kernel is letting go of. */
static bool lock_within(int fd, int how, uint32_t ms)
{
	const uint64_t deadline = dink_now_ms() + ms;

	while (flock(fd, how | LOCK_NB) < 0 || has_qemu(fd, how == LOCK_EX)) {
		if (dink_now_ms() >= deadline)
			return false;
		usleep(5000);
	}
	return true;
}

static int take_lease(const char *path, bool exclusive, uint32_t ms, int *ret_fd,
		      struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct dink_loop_id loop;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	if (other_loop_stays(path, exclusive, ms, &loop) ||
	    !lock_within(fd, exclusive ? LOCK_EX : LOCK_SH, ms)) {
		dink_err_set(err, DINK_E_BUSY, 0, "%s is in use: a VM or a loop device has it%s",
			     path, exclusive ? "" : " for writing");
		return dink_err_hint(err, "end what uses it first (dink status, losetup --list)");
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int dink_disk_lease(const char *path, bool exclusive, int *ret_fd, struct dink_err *err)
{
	return take_lease(path, exclusive, LEASE_TIMEOUT_MS, ret_fd, err);
}

bool dink_disk_has_writer(const char *path)
{
	_cleanup_(dink_err_clear) struct dink_err why = {};
	_cleanup_close_ int lease = -1;

	return take_lease(path, false, 0, &lease, &why) < 0 && why.code == DINK_E_BUSY;
}

/* What takes the place of a file is as accessible as it was; only root can give files away. */
static int keep_access(int fd, int old, const char *partial, struct dink_err *err)
{
	struct stat st;

	if (fstat(old, &st) < 0 || (fchown(fd, st.st_uid, st.st_gid) < 0 && errno != EPERM) ||
	    fchmod(fd, st.st_mode & 0777) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "set the owner of %s", partial);
	return 0;
}

int dink_whole_begin(struct dink_whole *w, const char *path, bool force, struct dink_err *err)
{
	_cleanup_free_ char *partial = xasprintf("%s.partial", path);
	_cleanup_close_ int old = -1;
	int exists = check_target(path, force, &old, err);

	if (exists < 0)
		return exists;
	int r = open_partial(partial, &w->fd, err);
	if (r < 0)
		return r;
	r = exists ? keep_access(w->fd, old, partial, err) : 0;
	w->path = xstrdup(path);
	w->partial = TAKE_PTR(partial);
	w->replaces = exists;
	w->old = TAKE_FD(old);
	/* no block of a leftover must show through */
	if (r == 0 && ftruncate(w->fd, 0) < 0)
		r = dink_err_set(err, DINK_E_HOST, errno, "empty %s", w->partial);
	return r < 0 ? dink_whole_end(w, r, err) : 0;
}

int dink_whole_begin_copy(struct dink_whole *w, const char *path,
			  const struct dink_progress *progress, struct dink_err *err)
{
	int r = dink_whole_begin(w, path, true, err);

	if (r < 0)
		return r;
	r = dink_clone_fd_flushing(w->old, w->fd, path, progress, err);
	return r < 0 ? dink_whole_end(w, r, err) : 0;
}

int dink_whole_end(struct dink_whole *w, int r, struct dink_err *err)
{
	if (r == 0 && fsync(w->fd) < 0)
		r = dink_err_set(err, DINK_E_HOST, errno, "write %s", w->partial);
	/* a file that appeared meanwhile is not ours to replace */
	if (r == 0 && renameat2(AT_FDCWD, w->partial, AT_FDCWD, w->path,
				w->replaces ? 0 : RENAME_NOREPLACE) < 0)
		r = dink_err_set(err, errno == EEXIST ? DINK_E_BUSY : DINK_E_HOST, errno,
				 "rename %s to %s", w->partial, w->path);
	if (r < 0 && unlink(w->partial) < 0 && errno != ENOENT)
		return dink_err_push(err, "%s could not be removed", w->partial);
	return r;
}

void dink_whole_clear(struct dink_whole *w)
{
	free(w->path);
	free(w->partial);
	if (w->path)
		close(w->fd);
	if (w->path && w->old >= 0)
		close(w->old);
}
