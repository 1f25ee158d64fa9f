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
