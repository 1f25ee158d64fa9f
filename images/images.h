/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: recipes -> archives in a content-keyed cache.
 *
 * Cache: CACHE/images/KEY/{image.tar,block-root.tar,root.erofs,manifest.json}. image.tar is a
 * docker archive (what POST /images/load takes), root.erofs the same root filesystem as a
 * read-only disk for VM layers with a block root. KEY = SHA-256 over the name, the recipe's files
 * and the builder's version.
 *
 * A VM layer with a block root never reads the root filesystem that its engine unpacks for it.
 * block-root.tar is for such layers: the same config over a layer of names, 5 KiB instead of
 * hundreds of MiB to load, under a name of its own.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"
#include "provision/base/progress.h"

#include <stdbool.h>
#include <stdint.h>

struct dink_image {
	char *name;    /* "docker-host" */
	char *ref;     /* what it is called in engines: "docker-host:latest" */
	char *id;      /* "sha256:..." image id (digest of its config) */
	char *archive; /* docker archive */
	char *erofs;   /* NULL for an archive: such a layer has a shared root */
	uint64_t archive_bytes;
	char *block_root_ref; /* "docker-host:block-root"; these three NULL for an archive */
	char *block_root_id;
	char *block_root_archive; /* docker archive of the config over /etc/passwd and group */
};
/*
 * dink_image_get() - from the cache or built (a minute)
 * @recipe: folder of the recipe (images/NAME), or the path of a docker archive. A relative path
 *          that is not there is looked for among the files that ship with dink.
 */
int dink_image_get(const char *name, const char *recipe, const struct dink_progress *p,
		   struct dink_image *ret, struct dink_err *err) _must_check_;
/* dink_image_lookup() - from the cache only; -ENOENT with err empty if it was not built yet */
int dink_image_lookup(const char *name, const char *recipe, struct dink_image *ret,
		      struct dink_err *err) _must_check_;
void dink_image_clear(struct dink_image *i);

/* What a docker archive of one image holds. */
struct dink_archive_info {
	char *id;		   /* "sha256:HEX" */
	char *ref;		   /* its first name; NULL if it has none */
	struct dink_strv diff_ids; /* of the layers, the lowest first */
	struct dink_strv members;  /* what each layer is called in the archive */
};
int dink_archive_read(const char *path, struct dink_archive_info *ret,
		      struct dink_err *err) _must_check_;
void dink_archive_info_clear(struct dink_archive_info *i);
