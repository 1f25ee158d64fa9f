/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a layer's address to what reaches it.
 *
 * An address is "INSTANCE/LAYER/LAYER", or just "INSTANCE" for the host's engine that the instance
 * uses. Resolved from the instance's state (STATE/instances/NAME) and by asking each engine on the
 * way for the container's present pid, so that a layer that was restarted is still found.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"
#include "provision/engine/engine.h"

#include <stdbool.h>

/* One level on the way, the host (index 0) first. */
struct dink_reach_hop {
	char *address;             /* "docker-in-kata/proxy"; of hop 0 "docker-in-kata" */
	char *container;           /* id in the engine of the hop before; NULL for the host */
	struct dink_place *place;  /* its inside; NULL if it does not run */
	struct dink_engine *engine; /* its daemon; NULL if it has none or it does not run */
	char *socket;              /* the daemon's socket inside the layer (on the host: its path) */
	char *offered;             /* the forwarded socket on the host; NULL if none */
};

struct dink_reach {
	struct dink_reach_hop *hops;
	size_t n_hops; /* at least 1; the layer itself is the last */

	/* Short cuts into the last two hops; NULL/empty where the address is the instance only. */
	struct dink_engine *parent; /* the engine that runs the layer */
	const char *container;      /* its id there */
	bool running;
	bool tty;                   /* Config.Tty of the container */
	bool is_vm;                 /* dink-vm or official kata */
	bool block_root;            /* its files are a disk of the guest: not seen by the engine's cp */
};

/*
 * dink_instance_reach() - @ret is zeroed by the caller; free with dink_reach_clear()
 * Unknown instance or layer: -ENOENT with the nearest name as hint. A layer that does not run is no
 * error (running = false, place and engine NULL), unless it is an ancestor of the one asked for.
 */
int dink_instance_reach(const char *address, struct dink_reach *ret, struct dink_err *err)
	_must_check_;
void dink_reach_clear(struct dink_reach *r);
#define _cleanup_reach_ _cleanup_(dink_reach_clear)
