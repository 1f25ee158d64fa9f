/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images: create, look, attach to a loop device, mount. libblkid looks before every write. */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/progress.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What a file or device carries, by libblkid. Strings owned, NULL = none. */
struct dink_disk_probe {
	char *type;  /* "btrfs", "ext4", "erofs", "crypto_LUKS", ... */
	char *usage; /* "filesystem", "raid", "crypto" */
	char *label;
	char *uuid;
	char *partition_table;	  /* "gpt", "dos" */
	bool ambiguous;		  /* there are other signatures beside `type`: do not touch */
	uint64_t size_bytes;	  /* apparent */
	uint64_t allocated_bytes; /* blocks really there */
};
int dink_disk_probe(const char *path, struct dink_disk_probe *ret,
		    struct dink_err *err) _must_check_;
void dink_disk_probe_clear(struct dink_disk_probe *p);

struct dink_look_how;

struct dink_disk_make {
	uint64_t size_bytes;
	const char *filesystem;	 /* "btrfs", "ext4" */
	const char *label;	 /* NULL = none */
	const char *compression; /* "zstd", "lzo", "zlib", NULL: checked here, applied by every
				    mount (dink_disk_mount_options()): mkfs.btrfs 6.2 cannot
				    store it */
	bool force;		 /* overwrite a foreign signature */
};
/*
 * dink_disk_create() - sparse file + mkfs on the file (no loop device, no root needed)
 * An existing file with a signature is refused (DINK_E_BUSY, what was found) unless force; a
 * half-made file is removed on failure (made as PATH.partial, renamed).
 */
int dink_disk_create(const char *path, const struct dink_disk_make *make,
		     struct dink_err *err) _must_check_;

struct dink_disk_clone_how {
	bool force;   /* replace what is there, unless it is in use */
	bool at_rest; /* it has a writer, and the caller has seen to it that it writes nothing */
	const struct dink_progress *progress; /* may be NULL */
};
/*
 * dink_disk_clone() - the image from as a new image to: shared blocks where the file system has
 * them, else a copy of what is data. A btrfs or ext4 gets a UUID of its own, so that both can be
 * mounted at once. DINK_E_BUSY if from has a writer, or if something is at to (unless force).
 */
int dink_disk_clone(const char *from, const char *to, const struct dink_disk_clone_how *how,
		    struct dink_err *err) _must_check_;

/*
 * dink_disk_check() - the filesystem's own checker, which changes nothing
 * DINK_E_STATE with its words if it finds faults; DINK_E_BUSY if the image has a writer
 */
int dink_disk_check(const char *path, struct dink_err *err) _must_check_;

/*
 * dink_disk_resize() - the file and its btrfs or ext4; smaller only if what is in it fits
 * @how: for a btrfs, which only a kernel can resize: it is done in a VM (loopdev/look.h)
 */
int dink_disk_resize(const char *path, uint64_t bytes, const struct dink_look_how *how,
		     struct dink_err *err) _must_check_;

/*
 * Snapshots: whole images beside the image, in the folder PATH.snapshots, with the UUID it has.
 * dink_disk_snapshot() - DINK_E_BUSY if the image has a writer, or such a snapshot already
 * dink_disk_rollback() - the image as it was then; whole or not at all. DINK_E_BUSY if it is in use
 * dink_disk_snapshots() - an array of {name, path, size_bytes, allocated_bytes, made_at (seconds)},
 *                         oldest first; the caller's
 */
int dink_disk_snapshot(const char *path, const char *name, const struct dink_progress *progress,
		       struct dink_err *err) _must_check_;
int dink_disk_rollback(const char *path, const char *name, const struct dink_progress *progress,
		       struct dink_err *err) _must_check_;
int dink_disk_snapshot_remove(const char *path, const char *name,
			      struct dink_err *err) _must_check_;
struct json_object *dink_disk_snapshots(const char *path);
/* dink_disk_snapshots_remove() - all of them */
int dink_disk_snapshots_remove(const char *path, struct dink_err *err) _must_check_;

/*
 * dink_disk_export() - the image to a descriptor, as a tar archive that keeps holes, under zstd
 * dink_disk_import() - such an archive (or one under gzip, or bare) to an image that keeps its UUID
 * @force: replace what is at path, unless it is in use
 */
int dink_disk_export(const char *path, int out, const struct dink_progress *progress,
		     struct dink_err *err) _must_check_;
int dink_disk_import(int in, const char *path, bool force, const struct dink_progress *progress,
		     struct dink_err *err) _must_check_;

/*
 * dink_disk_trim() - gives the blocks that its filesystem does not use back to the host
 * @how: it is done in a VM (loopdev/look.h)
 */
int dink_disk_trim(const char *path, const struct dink_look_how *how,
		   struct dink_err *err) _must_check_;

/*
 * dink_disk_copy_in() - files and folders, owners and modes kept, into a folder of an image that
 * nothing uses: all of them or none
 * @how: it is done in a VM (loopdev/look.h)
 */
int dink_disk_copy_in(const char *path, char *const *files, size_t n, const char *dir,
		      const struct dink_look_how *how, struct dink_err *err) _must_check_;

/*
 * dink_disk_remove() - an image that nothing uses
 * @force: also a file that carries no filesystem, and its snapshots
 */
int dink_disk_remove(const char *path, bool force, struct dink_err *err) _must_check_;

/*
 * dink_disk_mount_options() - what to mount such a disk with ("noatime,compress=zstd:1"), on the
 * host or in a guest. NULL if the filesystem has no such compression; static storage.
 */
const char *dink_disk_mount_options(const char *filesystem, const char *compression);

/* A loop device by identity: device number, disk sequence number (LOOP_CONFIGURE kernel >= 5.8,
 * BLKGETDISKSEQ >= 5.15) and the inode behind it. */
struct dink_loop_id {
	char path[32]; /* "/dev/loop3" */
	dev_t rdev;
	uint64_t diskseq; /* 0 where the kernel has none */
	dev_t file_dev;
	ino_t file_ino;
};
/*
 * dink_loop_attach() - file to a free loop device, autoclear, direct I/O where it can
 * The descriptor keeps it alive until something mounts it; close it then.
 */
int dink_loop_attach(const char *file, bool read_only, struct dink_loop_id *ret, int *ret_fd,
		     struct dink_err *err) _must_check_;
/* dink_loop_detach() - only if it is still that identity; gone already is success */
int dink_loop_detach(const struct dink_loop_id *id, struct dink_err *err) _must_check_;
/*
 * dink_loop_await_free() - up to 20 s: whoever has the device open for a moment (losetup --list, another
 * dink that looks for users of a file) puts its end off, as does what is still to be written to the
 * file, which is in use until then. For callers that have no descriptor of it themselves.
 */
void dink_loop_await_free(const struct dink_loop_id *id);
/* dink_loop_is() - 1 if the device still is that identity (opened, if wanted), 0 if not, -errno */
int dink_loop_is(const struct dink_loop_id *id, int *ret_fd);
/* dink_loop_identify() - of an attached device by its number; -ENXIO if it is free */
int dink_loop_identify(int number, struct dink_loop_id *ret);
/* dink_loop_find() - loop devices whose backing file is this inode; returns how many (max n) */
int dink_loop_find(const char *file, struct dink_loop_id *ret, size_t n);
struct json_object *dink_loop_id_to_json(const struct dink_loop_id *id);
int dink_loop_id_from_json(struct json_object *o, struct dink_loop_id *ret, struct dink_err *err);

/* dink_disk_mount() - attach and mount; for layers that are no VM */
int dink_disk_mount(const char *file, const char *target, const char *options, bool read_only,
		    struct dink_loop_id *ret, struct dink_err *err) _must_check_;
/* dink_disk_unmount_at() - the same by the folder alone; DINK_E_USAGE if no loop device is there */
int dink_disk_unmount_at(const char *target, struct dink_err *err) _must_check_;
/* dink_disk_unmount() - unmount what is mounted at target if it is that loop device, and detach */
int dink_disk_unmount(const char *target, const struct dink_loop_id *id,
		      struct dink_err *err) _must_check_;
