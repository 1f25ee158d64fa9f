/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk image files: what is in one, making one. No loop device, no mount and no root: mkfs works
 * on the file. A file appears under its name only when it is whole.
 */
#include "loopdev/loopdev.h"

#include "provision/base/file.h"
#include "provision/base/macro.h"
#include "provision/base/mem.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { EXT4_LABEL_MAX = 16, BTRFS_LABEL_MAX = 255 };

void dink_disk_probe_clear(struct dink_disk_probe *p)
{
	free(p->type);
	free(p->usage);
	free(p->label);
	free(p->uuid);
	free(p->partition_table);
	*p = (struct dink_disk_probe){};
}

static void free_probe(blkid_probe *pr)
{
	if (*pr)
		blkid_free_probe(*pr);
}

static char *probe_value(blkid_probe pr, const char *name)
{
	const char *value = NULL;

	return blkid_probe_lookup_value(pr, name, &value, NULL) == 0 && value ? xstrdup(value)
									      : NULL;
}

/* Size of a file or block device; other kinds are refused. */
static int measure(int fd, const char *path, struct dink_disk_probe *p, struct dink_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
	p->allocated_bytes = (uint64_t)st.st_blocks * 512;
	if (S_ISREG(st.st_mode)) {
		p->size_bytes = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s is neither a file nor a disk", path);
	if (ioctl(fd, BLKGETSIZE64, &p->size_bytes) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "size of %s", path);
	return 0;
}

int dink_disk_probe(const char *path, struct dink_disk_probe *ret, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_(free_probe) blkid_probe pr = NULL;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	int r = measure(fd, path, &p, err);
	if (r < 0)
		return r;
	pr = blkid_new_probe();
	/* libblkid refuses an empty file; there is nothing in one */
	if (p.size_bytes && (!pr || blkid_probe_set_device(pr, fd, 0, 0) != 0))
		return dink_err_set(err, DINK_E_HOST, EIO, "probe %s", path);
	if (p.size_bytes) {
		blkid_probe_enable_superblocks(pr, 1);
		blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
							      BLKID_SUBLKS_LABEL |
							      BLKID_SUBLKS_UUID);
		blkid_probe_enable_partitions(pr, 1);
		r = blkid_do_safeprobe(pr);
		p.ambiguous = r == -2;
		/* several signatures: name the first, the caller sees that it is not the only one
		 */
		if (p.ambiguous) {
			blkid_reset_probe(pr);
			r = blkid_do_probe(pr);
		}
		if (r < 0)
			return dink_err_set(err, DINK_E_HOST, EIO, "probe %s", path);
		p.type = probe_value(pr, "TYPE");
		p.usage = probe_value(pr, "USAGE");
		p.label = probe_value(pr, "LABEL");
		p.uuid = probe_value(pr, "UUID");
		p.partition_table = probe_value(pr, "PTTYPE");
	}
	*ret = p;
	p = (struct dink_disk_probe){};
	return 0;
}

const char *dink_disk_mount_options(const char *filesystem, const char *compression)
{
	if (!STREQ(filesystem, "btrfs"))
		return "noatime";
	if (!compression)
		return "noatime";
	/* level 1: the default of 3 costs twice the time for a few percent, most of all in a guest
	 */
	if (STREQ(compression, "zstd"))
		return "noatime,compress=zstd:1";
	if (STREQ(compression, "zlib"))
		return "noatime,compress=zlib:1";
	if (STREQ(compression, "lzo"))
		return "noatime,compress=lzo";
	return NULL;
}

static int check_make(const struct dink_disk_make *m, struct dink_err *err)
{
	bool btrfs = STREQ(m->filesystem, "btrfs");

	if (!btrfs && !STREQ(m->filesystem, "ext4")) {
		dink_err_set(err, DINK_E_USAGE, 0, "unknown filesystem '%s'", m->filesystem);
		return dink_err_hint(err, "btrfs or ext4");
	}
	if (m->compression && !btrfs)
		return dink_err_set(err, DINK_E_USAGE, 0, "%s does not compress; btrfs does",
				    m->filesystem);
	if (!dink_disk_mount_options(m->filesystem, m->compression)) {
		dink_err_set(err, DINK_E_USAGE, 0, "unknown compression '%s'", m->compression);
		return dink_err_hint(err, "zstd, zlib or lzo");
	}
	size_t max = btrfs ? BTRFS_LABEL_MAX : EXT4_LABEL_MAX;
	if (m->label && (strlen(m->label) > max || strpbrk(m->label, "\n/\\")))
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "label '%s': at most %zu bytes without '/', '\\' and newline",
				    m->label, max);
	/* the smallest that mkfs.btrfs 6.2 takes with one copy of metadata, and room to live in */
	uint64_t min = btrfs ? 128ULL << 20 : 8ULL << 20;
	if (m->size_bytes < min) {
		_cleanup_free_ char *least = dink_format_size(min);
		return dink_err_set(err, DINK_E_USAGE, 0, "a %s disk needs at least %s",
				    m->filesystem, least);
	}
	return 0;
}

/* "btrfs filesystem 'store'", "dos partition table" */
static char *describe_probe(const struct dink_disk_probe *p)
{
	_cleanup_str_ struct dink_str s = {};

	if (p->type)
		dink_str_addf(&s, "%s %s", p->type, p->usage ? p->usage : "signature");
	if (p->label)
		dink_str_addf(&s, " '%s'", p->label);
	if (p->partition_table)
		dink_str_addf(&s, "%s%s partition table", s.len ? " and a " : "",
			      p->partition_table);
	if (p->ambiguous)
		dink_str_add(&s, " and other signatures");
	if (!s.len)
		dink_str_add(&s, "data that libblkid does not know");
	return dink_str_take(&s);
}

/* What stands at path may be replaced? 1 it exists and may, 0 nothing there. */
static int check_target(const char *path, bool force, struct dink_err *err)
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
	if (dink_loop_find(path, &loop, 1) > 0) {
		dink_err_set(err, DINK_E_BUSY, 0, "%s is in use: %s", path, loop.path);
		return dink_err_hint(err, "losetup --list %s", loop.path);
	}
	int r = dink_disk_probe(path, &p, err);
	if (r < 0)
		return r;
	bool empty = !p.type && !p.partition_table && p.allocated_bytes == 0;
	if (!empty && !force) {
		_cleanup_free_ char *what = describe_probe(&p);
		dink_err_set(err, DINK_E_BUSY, 0, "%s holds a %s", path, what);
		return dink_err_hint(err, "--force overwrites it");
	}
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
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return dink_err_set(err, DINK_E_BUSY, errno, "%s is being made", partial);
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

static int run_mkfs(const char *path, const struct dink_disk_make *m, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	bool btrfs = STREQ(m->filesystem, "btrfs");

	/* one copy of metadata: the image file is the unit of redundancy, and guests write less */
	if (btrfs)
		dink_strv_addl(&cmd.argv, "mkfs.btrfs", "--quiet", "--force", "--metadata",
			       "single", NULL);
	else
		dink_strv_addl(&cmd.argv, "mkfs.ext4", "-q", "-F", "-m", "0", "-E",
			       "assume_storage_prezeroed=1,root_owner=0:0", NULL);
	if (m->label)
		dink_strv_addl(&cmd.argv, "-L", m->label, NULL);
	dink_strv_add(&cmd.argv, path);
	int r = dink_cmd_run(&cmd, err);
	if (r == -ENOENT)
		return dink_err_hint(err, "apt-get install %s",
				     btrfs ? "btrfs-progs" : "e2fsprogs");
	return r;
}

static int fill_partial(int fd, const char *partial, const struct dink_disk_make *m,
			struct dink_err *err)
{
	/* to nothing first, so that no block of a leftover shows through */
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)m->size_bytes) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "set the size of %s", partial);
	int r = run_mkfs(partial, m, err);
	if (r < 0)
		return r;
	if (fsync(fd) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "write %s", partial);
	return 0;
}

int dink_disk_create(const char *path, const struct dink_disk_make *make, struct dink_err *err)
{
	_cleanup_free_ char *partial = xasprintf("%s.partial", path);
	_cleanup_close_ int fd = -1;

	int r = check_make(make, err);
	if (r < 0)
		return r;
	int exists = check_target(path, make->force, err);
	if (exists < 0)
		return exists;
	r = open_partial(partial, &fd, err);
	if (r < 0)
		return r;
	r = fill_partial(fd, partial, make, err);
	/* a file that appeared meanwhile is not ours to replace */
	if (r == 0 &&
	    renameat2(AT_FDCWD, partial, AT_FDCWD, path, exists ? 0 : RENAME_NOREPLACE) < 0)
		r = dink_err_set(err, errno == EEXIST ? DINK_E_BUSY : DINK_E_HOST, errno,
				 "rename %s to %s", partial, path);
	if (r < 0) {
		if (unlink(partial) < 0 && errno != ENOENT)
			return dink_err_push(err, "%s could not be removed", partial);
		return dink_err_push(err, "making the disk %s", path);
	}
	return 0;
}
