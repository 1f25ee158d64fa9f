/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps: the only code that changes the host. Each is {describe, apply, check, undo}.
 *
 * Intent is appended to the journal (and fsynced) before apply, identity after; undo takes only
 * the journal's record, works by identity and is idempotent, so that `dink down` needs no scenario
 * file and works after any crash. Steps that do not depend on one another run in parallel.
 *
 *	journal: STATE/instances/NAME/journal, JSON lines:
 *	{"seq":1,"event":"intent","step":7,"kind":"container","params":{...}}
 *	{"seq":2,"event":"done","step":7,"identity":{...},"ms":412}
 *	{"seq":3,"event":"undone","step":7}
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/progress.h"

#include <stdbool.h>
#include <stdint.h>

struct dink_step_ctx; /* what steps share while they run: instance folder, engines, progress */

/* A kind of step: code, found by name from the journal. */
struct dink_step_kind {
	const char *name; /* "disk-file", "loop-mount", "image-load", "container", "forward", ... */
	/* describe() - one line for people: "start proxy (runc, image docker-host)"; caller frees */
	char *(*describe)(struct json_object *params);
	/*
	 * apply() - do it. *ret_identity is what undo will need beyond params (owned by the
	 * executor), may be left NULL.
	 */
	int (*apply)(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object **ret_identity, struct dink_err *err);
	/* check() - 1 done and intact, 0 not (any more), <0 error; lets a second `up` do nothing */
	int (*check)(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object *identity, struct dink_err *err);
	/* undo() - identity NULL when the crash came between intent and done: find leftovers by
	 * params */
	int (*undo)(struct dink_step_ctx *ctx, struct json_object *params,
		    struct json_object *identity, struct dink_err *err);
	bool keeps_data; /* undone only by down --volumes (disk files) */
};

/* One step of a run. */
struct dink_step {
	const struct dink_step_kind *kind;
	struct json_object *params; /* owned */
	int deps[8];                /* indexes of steps that must be done before, -1 ends */
	const char *layer;          /* path it belongs to, NULL = the instance */
};
