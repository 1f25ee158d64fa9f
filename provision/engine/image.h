/* SPDX-License-Identifier: Apache-2.0 */
/* Images in engines: what there is, what an engine has of one, copying, removing. */
#pragma once

#include "provision/engine/engine.h"

enum { DINK_IMAGES_MAX = 4096 };

/* One image as its engine describes it. */
struct dink_image_info {
	char *id;		   /* "sha256:HEX" */
	struct dink_strv diff_ids; /* of its layers, the lowest first */
	struct dink_strv tags;
	uint64_t size;
};
/* dink_engine_image() - -ENOENT with err empty if the engine has none of that name */
int dink_engine_image(struct dink_engine *e, const char *ref, struct dink_image_info *ret,
		      struct dink_err *err) _must_check_;
void dink_image_info_clear(struct dink_image_info *i);

/* dink_ref_check() - NAME[:TAG][@DIGEST] or an id, in plain characters; an error else */
int dink_ref_check(const char *ref, struct dink_err *err) _must_check_;
/* dink_ref_with_tag() - "debian" is "debian:latest"; ids and digests as they are; caller frees */
char *dink_ref_with_tag(const char *ref, const struct dink_image_info *i) _must_check_;

/* dink_engine_images() - the engine's own list (GET /images/json), an array; caller puts */
int dink_engine_images(struct dink_engine *e, struct json_object **ret,
		       struct dink_err *err) _must_check_;

/*
 * dink_engine_has_layers() - which layers of an image the engine has already, under just those
 * below them; so it is the first *ret_n, and the rest is missing
 */
int dink_engine_has_layers(struct dink_engine *e, const struct dink_strv *diff_ids, size_t *ret_n,
			   struct dink_err *err) _must_check_;
/* dink_engine_is_podman() - which wants each layer's name in an archive, with or without data */
int dink_engine_is_podman(struct dink_engine *e, bool *ret, struct dink_err *err) _must_check_;

/* dink_engine_image_tag() / remove / prune */
int dink_engine_image_tag(struct dink_engine *e, const char *id, const char *ref,
			  struct dink_err *err) _must_check_;
/* @ret: the engine's list of what it untagged and deleted; may be NULL */
int dink_engine_image_remove(struct dink_engine *e, const char *ref, bool force,
			     struct json_object **ret, struct dink_err *err) _must_check_;
/* @all: every image that no container uses, not only those without a name */
int dink_engine_image_prune(struct dink_engine *e, bool all, struct json_object **ret,
			    struct dink_err *err) _must_check_;

/* Where a copy goes, and what became of it. */
struct dink_copy_to {
	const char *name;	    /* "host", "kata/proxy": for messages */
	struct dink_engine *engine; /* borrowed; NULL: a file */
	const char *file;	    /* a docker archive is made there */

	bool done;	    /* it has the image now */
	bool was_there;	    /* and had it before: nothing was sent */
	uint64_t sent;	    /* bytes into its channel, all tries together */
	size_t layers_sent; /* of the last try */
	size_t layers_had;
	uint64_t ms;
	struct dink_err err; /* why not; the caller clears it */
};

struct dink_image_copy {
	struct dink_engine *from; /* borrowed; NULL: a file */
	const char *file;	  /* a docker archive */
	const char *ref;	  /* with `from`: which image */
	bool whole;		  /* send layers that a target has, too */
	const char *as;		  /* what the targets call it; NULL: as the source does */
	const struct dink_progress *progress;
	/* results */
	char *id;
	char *name; /* under which the targets have it */
	uint64_t read_bytes;
	size_t layers;
	char *source_name, *export; /* what the source is asked for; private, as is */
	struct dink_strv members;   /* what a file calls the layers */
};

/*
 * dink_image_copy() - one image from one engine to many at once, with no temporary file
 *
 * One read feeds all. What a target has of the image does not travel to it. A target that fails
 * stops nobody; one that holds the others up for DINK_COPY_PATIENCE_MS is taken off and served
 * after them. A cut-off load leaves no image: the engine drops it. After it the image's id there
 * must be that of the source.
 * Return: 0 if every target has it now, else -EREMOTEIO with to[i].err; another error, with err
 * set, is of the source
 */
enum { DINK_COPY_PATIENCE_MS = 15000, DINK_COPY_BUFFER = 8 << 20, DINK_COPY_TARGETS_MAX = 256 };
int dink_image_copy(struct dink_image_copy *c, struct dink_copy_to *to, size_t n,
		    struct dink_err *err) _must_check_;
void dink_image_copy_clear(struct dink_image_copy *c);
