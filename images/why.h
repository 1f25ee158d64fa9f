/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers of an image have a path, and which one's is seen: union, whiteouts, opaque folders. */
#pragma once

#include "provision/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum dink_why_kind {
	DINK_WHY_NOTHING,  /* the layer says nothing of the path */
	DINK_WHY_THERE,	   /* it has it */
	DINK_WHY_WHITEOUT, /* it hides what is below: .wh.NAME, of it or of a folder above */
	DINK_WHY_OPAQUE,   /* it hides all that lower layers have in a folder above: .wh..wh..opq */
};

struct dink_why_layer {
	char *diff_id; /* "sha256:HEX" */
	enum dink_why_kind kind;
	const char *type; /* of what is there: "file", "folder", "link", "device", "other" */
	char *target;	  /* of a symbolic or hard link; NULL = none */
	uint32_t mode;
	int64_t uid, gid, size;
};

struct dink_why {
	struct dink_why_layer *layers; /* the lowest first */
	size_t n;
	int owner;   /* index of the layer whose entry is seen; -1 = there is no such path */
	char *via;   /* where a folder above is a symbolic link: that folder */
	char *moved; /* and the path it leads to; NULL else */
};

/*
 * dink_image_why() - of a docker archive (what `docker save` makes)
 * @path: absolute, as in the image; links in it are not followed but told (via, moved)
 */
int dink_image_why(const char *archive, const char *path, struct dink_why *ret,
		   struct dink_err *err) _must_check_;
void dink_why_clear(struct dink_why *w);
const char *dink_why_text(enum dink_why_kind kind);
