/* SPDX-License-Identifier: Apache-2.0 */
/* Images into daemons: what `up` does for one, and `image sync` for all of an instance. */
#pragma once

#include "provision/engine/image.h"

/* dink_image_give() - one archive into one engine; nothing is sent of what it has */
int dink_image_give(struct dink_engine *e, const char *archive,
		    const struct dink_progress *progress, struct dink_err *err) _must_check_;
/* dink_image_pull() - the engine fetches it itself, unless it has it */
int dink_image_pull(struct dink_engine *e, const char *ref, struct dink_err *err) _must_check_;

/* One image that one daemon of the instance is to have. */
struct dink_sync_item {
	char *engine; /* address; the instance's name: the host's */
	char *ref;
	char *archive; /* in the cache; NULL: from a registry */
	bool taken;    /* private */
	bool done, was_there;
	uint64_t sent, ms;
	struct dink_err err; /* why not */
};
struct dink_sync {
	struct dink_sync_item *items;
	size_t n;
};

/*
 * dink_sync_images() - every daemon of an instance gets the images that its layers were made of
 *
 * Each archive is read once for all daemons that lack it.
 * Return: 0, or -EREMOTEIO with the items' errors where some failed; @ret is to be cleared in any
 * case
 */
int dink_sync_images(const char *instance, const struct dink_progress *progress,
		     struct dink_sync *ret, struct dink_err *err) _must_check_;
void dink_sync_clear(struct dink_sync *s);
