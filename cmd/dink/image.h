/* SPDX-License-Identifier: Apache-2.0 */
/* What the image commands share: the engine that an address means. */
#pragma once

#include "cmd/dink/cmd.h"
#include "provision/engine/image.h"
#include "provision/step/instance.h"

/* A daemon by its address. */
struct cmd_daemon {
	char *name;		    /* the address */
	struct dink_engine *engine; /* borrowed from what is below */
	struct dink_reach reach;    /* a layer */
	struct dink_place *place;   /* the host's own engine */
	struct dink_engine *own;
};

/*
 * cmd_daemon_open() - SCENARIO/LAYER..., SCENARIO (the engine that holds its first layers), "host"
 * (the host's own engine) or unix://SOCKET; @ret is zeroed by the caller
 */
int cmd_daemon_open(const char *address, struct cmd_daemon *ret, struct dink_err *err);
void cmd_daemon_close(struct cmd_daemon *d);
#define _cleanup_daemon_ _cleanup_(cmd_daemon_close)

/* cmd_image_split() - "LAYER:IMAGE"; caller frees the address, *ret_image points into word */
int cmd_image_split(const char *word, char **ret_address, const char **ret_image,
		    struct dink_err *err);

/* One side of a copy: a daemon, a docker archive, or what skopeo reads and writes. */
struct cmd_image_end {
	char *name; /* as given */
	struct cmd_daemon daemon;
	char *file;	    /* a docker archive: the user's own, or between us and skopeo */
	const char *skopeo; /* part of name; NULL = none */
	char *dir;	    /* the folder of that file, to be removed */
};
struct cmd_skopeo_opts {
	const char *authfile; /* NULL = skopeo's own default */
	bool insecure;	      /* a registry without TLS */
};

/* cmd_image_end_is_other() - whether the word names a transport and no daemon */
bool cmd_image_end_is_other(const char *word);
/* cmd_image_end_open() - @target: it is written to; @ret is zeroed by the caller */
int cmd_image_end_open(const char *word, bool target, struct cmd_image_end *ret,
		       struct dink_err *err);
/* cmd_image_end_fetch() / store: between the file and skopeo's other side; nothing without one
 * @as: the image's name in the file, NULL = what the source's address says */
int cmd_image_end_fetch(const struct cmd_image_end *e, const struct cmd_skopeo_opts *o,
			const char *as, struct dink_err *err);
int cmd_image_end_store(const struct cmd_image_end *e, const struct cmd_skopeo_opts *o,
			struct dink_err *err);
void cmd_image_end_close(struct cmd_image_end *e);

/* cmd_image_copy_store() - `image copy --store`: operands are layers (image_store.c) */
int cmd_image_copy_store(struct dink_args *args, bool force, struct dink_err *err);
