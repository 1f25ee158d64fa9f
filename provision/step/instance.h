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
	char *address;		    /* "docker-in-kata/proxy"; of hop 0 "docker-in-kata" */
	char *container;	    /* id in the engine of the hop before; NULL for the host */
	struct dink_place *place;   /* its inside; NULL if it does not run */
	struct dink_engine *engine; /* its daemon; NULL if it has none or it does not run */
	char *socket;  /* the daemon's socket inside the layer (on the host: its path) */
	char *offered; /* the forwarded socket on the host; NULL if none */
};

struct dink_reach {
	struct dink_reach_hop *hops;
	size_t n_hops; /* at least 1; the layer itself is the last */

	/* Short cuts into the last two hops; NULL/empty where the address is the instance only. */
	struct dink_engine *parent; /* the engine that runs the layer */
	const char *container;	    /* its id there */
	bool running;
	bool tty;	 /* Config.Tty of the container */
	bool is_vm;	 /* dink-vm or official kata */
	bool block_root; /* its files are a disk of the guest: not seen by the engine's cp */
};

/*
 * dink_instance_reach() - @ret is zeroed by the caller; free with dink_reach_clear()
 * Unknown instance or layer: -ENOENT with the nearest name as hint. A layer that does not run is no
 * error (running = false, place and engine NULL), unless it is an ancestor of the one asked for.
 */
int dink_instance_reach(const char *address, struct dink_reach *ret,
			struct dink_err *err) _must_check_;
void dink_reach_clear(struct dink_reach *r);
#define _cleanup_reach_ _cleanup_(dink_reach_clear)

/*
 * dink_reach_from() - the same, from a journal at hand (steps use it while the instance is being
 * made); @ret is zeroed by the caller
 */
struct dink_journal;
int dink_reach_from(const struct dink_journal *j, const char *instance, const char *address,
		    struct dink_reach *ret, struct dink_err *err) _must_check_;

/* One layer of an instance, as its journal has it. */
struct dink_layer_state {
	char *address;
	char *parent;	 /* address, NULL = on the host */
	char *container; /* name in the parent's engine */
	char *image;
	char *runtime;
	char *daemon;	   /* "docker", NULL = none */
	char *offered;	   /* its daemon's socket on the host, NULL = none */
	const char *state; /* "running", "exited", "gone", "unreachable" */
	bool tty;
};
struct dink_instance {
	char *name;
	const char *state; /* "up", "partial" (a failed or interrupted run), "down" (disks kept) */
	struct dink_layer_state *layers;
	size_t n_layers;
	struct dink_strv disks; /* paths of kept disk files */
};
/* dink_instance_list() - names of all instances, sorted */
int dink_instance_list(struct dink_strv *ret, struct dink_err *err) _must_check_;
/* dink_instance_load() - -ENOENT with the nearest name as hint */
int dink_instance_load(const char *name, struct dink_instance **ret,
		       struct dink_err *err) _must_check_;
void dink_instance_free(struct dink_instance *i);
DEFINE_CLEANUP_PTR(struct dink_instance, dink_instance_free);

/*
 * dink_instance_plan() - the plan.json that `up` left: what dink_plan_to_json() made; caller puts
 * @address: the instance, or a layer of it; -ENOENT with an error where the instance is not up
 */
struct json_object;
int dink_instance_plan(const char *address, struct json_object **ret,
		       struct dink_err *err) _must_check_;

/*
 * dink_instance_proof() - what each level says of itself, host first, as
 * [{"layer","kernel","hostname","pid1","cgroup","storage_driver","engine"}]; caller puts
 */
struct json_object *dink_instance_proof(const char *name, struct dink_err *err);
/* dink_instance_deepest() - the address of the layer furthest in; caller frees; NULL if none */
char *dink_instance_deepest(const struct dink_instance *i);
