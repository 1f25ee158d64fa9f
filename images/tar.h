/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tar archives as images need them: read member by member with pread() (nothing is unpacked),
 * and write ustar with pax headers for what ustar cannot hold. Input may come from anybody, so
 * every length is bounded and every number checked.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/hash.h"
#include "provision/base/macro.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { DINK_TAR_BLOCK = 512, DINK_TAR_NAME_MAX = 4096, DINK_TAR_EXT_MAX = 1 << 20 };

enum dink_tar_type {
	DINK_TAR_FILE = '0',
	DINK_TAR_HARDLINK = '1',
	DINK_TAR_SYMLINK = '2',
	DINK_TAR_CHAR = '3',
	DINK_TAR_BLOCK_DEV = '4',
	DINK_TAR_DIR = '5',
	DINK_TAR_FIFO = '6',
};

struct dink_tar_member {
	char *name; /* without leading "./" or "/" and trailing "/"; "" is the root */
	char *link; /* target of a symlink (as it is) or hard link (like name), else NULL */
	char type;  /* enum dink_tar_type */
	uint32_t mode, uid, gid;
	uint64_t size; /* of the data */
	int64_t mtime;
	bool has_xattrs;
	off_t start, data, end; /* offsets: first header block, data, next member */
};

/* Reading. */
struct dink_tar;
/* dink_tar_open() - fd is borrowed and must be a regular file */
int dink_tar_open(int fd, const char *what, struct dink_tar **ret,
		  struct dink_err *err) _must_check_;
/* dink_tar_next() - 1 and *ret filled (valid until the next call), 0 at the end, negative errno */
int dink_tar_next(struct dink_tar *t, const struct dink_tar_member **ret,
		  struct dink_err *err) _must_check_;
void dink_tar_free(struct dink_tar *t);
DEFINE_CLEANUP_PTR(struct dink_tar, dink_tar_free);

/* Writing. */
struct dink_tar_writer;
/* @fd: borrowed, at its end. @hash: every byte written is added to it; borrowed, NULL = none */
struct dink_tar_writer *dink_tar_writer_new(int fd, const char *what, struct dink_hash *hash);
/* dink_tar_put() - header of a member; m->size bytes must follow by _data() or _copy() */
int dink_tar_put(struct dink_tar_writer *w, const struct dink_tar_member *m,
		 struct dink_err *err) _must_check_;
int dink_tar_put_data(struct dink_tar_writer *w, const void *bytes, size_t n,
		      struct dink_err *err) _must_check_;
/* dink_tar_put_copy() - n bytes of `from` at offset */
int dink_tar_put_copy(struct dink_tar_writer *w, int from, off_t offset, uint64_t n,
		      struct dink_err *err) _must_check_;
/* dink_tar_put_member() - a member of another archive as it stands, extended headers included */
int dink_tar_put_member(struct dink_tar_writer *w, int from, const struct dink_tar_member *m,
			struct dink_err *err) _must_check_;
/* dink_tar_put_file() - a whole small member from memory: mode 0644, root's, mtime */
int dink_tar_put_file(struct dink_tar_writer *w, const char *name, const void *bytes, size_t n,
		      int64_t mtime, struct dink_err *err) _must_check_;
/* dink_tar_finish() - the two zero blocks; the writer is freed, also on failure */
int dink_tar_finish(struct dink_tar_writer *w, struct dink_err *err) _must_check_;
void dink_tar_writer_free(struct dink_tar_writer *w);
DEFINE_CLEANUP_PTR(struct dink_tar_writer, dink_tar_writer_free);
