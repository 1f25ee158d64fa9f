/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk image files: what is in one, making one. No loop device, no mount and no root: mkfs works
 * on the file.
 */
#include "loopdev/loopdev.h"

#include "loopdev/tools.h"
#include "loopdev/whole.h"

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
	return dink_disk_tool(&cmd, btrfs ? "btrfs-progs" : "e2fsprogs", err);
}

static int fill(const struct dink_whole *w, const struct dink_disk_make *m, struct dink_err *err)
{
	if (ftruncate(w->fd, (off_t)m->size_bytes) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "set the size of %s", w->partial);
	return run_mkfs(w->partial, m, err);
}

int dink_disk_create(const char *path, const struct dink_disk_make *make, struct dink_err *err)
{
	_cleanup_(dink_whole_clear) struct dink_whole w = {};

	int r = check_make(make, err);
	if (r == 0)
		r = dink_whole_begin(&w, path, make->force, err);
	if (r < 0)
		return r;
	r = dink_whole_end(&w, fill(&w, make, err), err);
	return r < 0 ? dink_err_push(err, "making the disk %s", path) : 0;
}
