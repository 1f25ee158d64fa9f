/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tar archives by libarchive, as images need them: read within bounds (the input may come from
 * anybody), written so that the same members give the same bytes (pax only where ustar cannot,
 * owners as numbers, no time stamp newer than the epoch of images, nothing of the machine).
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/hash.h"
#include "provision/base/macro.h"

#include <archive.h>
#include <archive_entry.h>

enum { DINK_TAR_NAME_MAX = 4096, DINK_TAR_MEMBERS_MAX = 1 << 20 };

/* The reader; its fields describe the present member. */
struct dink_tar {
	struct archive *archive;
	char *what;
	uint32_t n_members;
	struct archive_entry *entry; /* libarchive's, valid until the next call */
	char *name;	/* without leading "./" or "/" and trailing "/"; "" is the root */
	char *hardlink; /* likewise; NULL = no hard link */
};
int dink_tar_open(const char *path, struct dink_tar **ret, struct dink_err *err) _must_check_;
/* dink_tar_open_member() - the present member is itself a tar; nothing else of t until it is freed */
int dink_tar_open_member(struct dink_tar *t, struct dink_tar **ret,
			 struct dink_err *err) _must_check_;
/* dink_tar_next() - 1 and the fields filled, 0 at the end, negative errno */
int dink_tar_next(struct dink_tar *t, struct dink_err *err) _must_check_;
/* dink_tar_find() - on to the regular file of that name; 0 if there is none */
int dink_tar_find(struct dink_tar *t, const char *name, struct dink_err *err) _must_check_;
/* dink_tar_text() - the present member's bytes and a NUL; EFBIG beyond max */
int dink_tar_text(struct dink_tar *t, size_t max, char **ret, size_t *ret_len,
		  struct dink_err *err) _must_check_;
void dink_tar_free(struct dink_tar *t);
DEFINE_CLEANUP_PTR(struct dink_tar, dink_tar_free);

/* The writer. Several hard links to one file are the caller's to name. */
struct dink_tar_writer;
/* dink_tar_create() - a new file. @hash: every byte is added to it; borrowed, NULL = none */
int dink_tar_create(const char *path, struct dink_hash *hash, struct dink_tar_writer **ret,
		    struct dink_err *err) _must_check_;
/* dink_tar_put() - e under that name, without data; e is changed. @hardlink: NULL = none */
int dink_tar_put(struct dink_tar_writer *w, struct archive_entry *e, const char *name,
		 const char *hardlink, struct dink_err *err) _must_check_;
/* dink_tar_put_bytes() - data of a member, in as many calls as liked */
int dink_tar_put_bytes(struct dink_tar_writer *w, const void *bytes, size_t n,
		       struct dink_err *err) _must_check_;
/* dink_tar_put_data() - the data of t's present member */
int dink_tar_put_data(struct dink_tar_writer *w, struct dink_tar *t,
		      struct dink_err *err) _must_check_;
/* dink_tar_put_file() - a whole small file of root's from memory */
int dink_tar_put_file(struct dink_tar_writer *w, const char *name, mode_t mode, const void *bytes,
		      size_t n, struct dink_err *err) _must_check_;
/* dink_tar_finish() - the archive's end; the writer is freed, also on failure */
int dink_tar_finish(struct dink_tar_writer *w, struct dink_err *err) _must_check_;
void dink_tar_writer_free(struct dink_tar_writer *w);
DEFINE_CLEANUP_PTR(struct dink_tar_writer, dink_tar_writer_free);
