/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking inside an image. libguestfs reads it in a VM of its own, booted with our guest kernel: the
 * host's kernel never parses what a guest wrote, and neither root nor a loop device is needed.
 * guestfs(3); the library is loaded when it is asked for.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"
#include "provision/base/progress.h"

#include <stdbool.h>
#include <stdint.h>

struct dink_look;

struct dink_look_how {
	const char *bzimage; /* the kernel of the appliance, and its release */
	const char *release;
	const char *key; /* names this kernel's folder in the cache */
	bool writable;
	bool discards;	  /* blocks that the filesystem gives up are given back to the host */
	bool leased;	  /* the caller holds the image's lease */
	const char *name; /* what errors call the image; NULL = by its path */
	const struct dink_progress *progress; /* may be NULL */
};

/*
 * dink_look_open() - start the appliance (seconds; the first of a kernel builds it) and mount the
 * image's filesystem in it. DINK_E_BUSY if the image has a writer, or any user where it is to be
 * written; DINK_E_HOST with what to install
 */
int dink_look_open(const char *image, const struct dink_look_how *how, struct dink_look **ret,
		   struct dink_err *err) _must_check_;
/* All of these: paths inside are absolute. */
int dink_look_names(struct dink_look *i, const char *path, struct dink_strv *ret,
		    struct dink_err *err) _must_check_;
/* dink_look_listing() - as `ls -la` prints it; caller frees */
int dink_look_listing(struct dink_look *i, const char *path, char **ret,
		      struct dink_err *err) _must_check_;
/* dink_look_download() - a file's content to a path on the host, /dev/stdout among them */
int dink_look_download(struct dink_look *i, const char *path, const char *to,
		       struct dink_err *err) _must_check_;
/* Files and folders, owners and modes kept, into a folder that is there. */
int dink_look_copy_out(struct dink_look *i, const char *path, const char *dir,
		       struct dink_err *err) _must_check_;
/* dink_look_copy_in() - see dink_disk_copy_in(), which does it whole or not at all */
int dink_look_copy_in(struct dink_look *i, const char *file, const char *dir,
		      struct dink_err *err) _must_check_;
/* dink_look_resize_btrfs() - the filesystem to so many bytes; the file is as long already */
int dink_look_resize_btrfs(struct dink_look *i, uint64_t bytes, struct dink_err *err) _must_check_;
/* dink_look_trim() - gives up all blocks that the filesystem does not use */
int dink_look_trim(struct dink_look *i, struct dink_err *err) _must_check_;
/*
 * dink_look_read() - a small file, NUL-terminated
 * @max_bytes: refused with EFBIG beyond
 * Returns 0 with *ret NULL if there is no such file.
 */
int dink_look_read(struct dink_look *i, const char *path, size_t max_bytes, char **ret,
		   size_t *ret_len, struct dink_err *err) _must_check_;
/* dink_look_has_folder() - 1 or 0 */
int dink_look_has_folder(struct dink_look *i, const char *path, struct dink_err *err) _must_check_;
/* dink_look_end() - writes out what was changed; an error here means that some of it may be lost */
int dink_look_end(struct dink_look *i, struct dink_err *err) _must_check_;
void dink_look_free(struct dink_look *i);
DEFINE_CLEANUP_PTR(struct dink_look, dink_look_free);
