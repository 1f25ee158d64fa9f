/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no journal owns: found by our own names and labels, and only below this user's state and run
 * folders. Finding changes nothing; removing is asked for one by one.
 */
#pragma once

#include "loopdev/loopdev.h"
#include "provision/base/err.h"
#include "provision/base/json.h"

enum dink_leftover_kind {
	DINK_LEFT_CONTAINER, /* has our label, its instance is gone */
	DINK_LEFT_PROCESS,   /* a forwarder of an instance that is gone */
	DINK_LEFT_MOUNT,
	DINK_LEFT_LOOP,
	DINK_LEFT_ENGINE,  /* the private engine, kept for an instance that is gone or for none */
	DINK_LEFT_SOCKETS, /* RUN/NAME */
	DINK_LEFT_FOLDER,  /* STATE/instances/NAME without a journal, or with a damaged one */
	DINK_LEFT_MAX_,
};
const char *dink_leftover_kind_name(enum dink_leftover_kind k);

struct dink_leftover {
	enum dink_leftover_kind kind;
	char *instance;
	char *what;  /* container id, mount point, device, folder */
	char *where; /* container: the engine's socket; loop device: its file */
	struct dink_loop_id loop;
	int64_t pid, start;
	bool has_disks; /* of FOLDER */
};
struct dink_leftovers {
	struct dink_leftover *v; /* in the order in which they can be removed */
	size_t n;
};
/* An engine that cannot be asked is skipped: it is no leftover of ours. */
int dink_gc_find(struct dink_leftovers *ret, struct dink_err *err) _must_check_;
/* dink_gc_remove() - @volumes: a folder with disks in it, too; else that is DINK_E_BUSY */
int dink_gc_remove(const struct dink_leftover *l, bool volumes, struct dink_err *err) _must_check_;
void dink_leftovers_clear(struct dink_leftovers *l);
