/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of images/: building a recipe, reading archives. Others use images.h. */
#pragma once

#include "images/images.h"
#include "images/recipe.h"
#include "provision/base/json.h"

/* Bump when the same recipe would give another image: it is part of every cache key. */
#define DINK_IMAGE_BUILDER "dink-image-3"
/* Newest time stamp in an image, so that the same packages give the same bytes: 2025-01-01. */
#define DINK_IMAGE_EPOCH     1735689600
#define DINK_IMAGE_EPOCH_ISO "2025-01-01T00:00:00Z"

struct dink_image_paths {
	char *archive, *block_root, *erofs, *manifest;
};
void dink_image_paths_init(struct dink_image_paths *p, const char *dir);
void dink_image_paths_clear(struct dink_image_paths *p);

/* dink_image_build() - everything of a recipe's image into dir, which exists and is empty */
int dink_image_build(const struct dink_recipe *r, const char *name, const char *key,
		     const char *dir, const struct dink_progress *p,
		     struct dink_err *err) _must_check_;

/* dink_image_discard() - what a build left in dir, and dir; 0 if there is none */
int dink_image_discard(const char *dir, struct dink_err *err) _must_check_;

/* dink_image_seal() - notes size and digest of a finished file, to know it by later */
int dink_image_seal(const char *path, struct json_object *files, struct dink_err *err) _must_check_;

/* dink_image_rewrite() - mmdebstrap's tar to the image's layer: removals and files/ applied */
int dink_image_rewrite(const struct dink_recipe *r, const char *base, const char *layer,
		       char ret_diff_id[65], struct dink_err *err) _must_check_;

/*
 * dink_image_archive() - a docker archive of one layer
 * @layer: path of the layer's tar
 * @ret_id: "sha256:..." owned by the caller
 */
int dink_image_archive(const struct dink_recipe *r, const char *path, const char *ref,
		       const char *layer, const char *diff_id, char **ret_id,
		       struct dink_err *err) _must_check_;

/* dink_archive_identify() - id and first name (NULL if it has none) of a docker archive */
int dink_archive_identify(const char *path, char **ret_id, char **ret_ref,
			  struct dink_err *err) _must_check_;
