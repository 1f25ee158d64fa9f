/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink image copy --store: not an image, but all that a daemon has: the disk under its store is
 * cloned in place of others'. What it costs depends on no image's size.
 */
#include "cmd/dink/image.h"

#include "loopdev/loopdev.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/step/lock.h"
#include "provision/step/store.h"

enum { STOP_S = 15, READY_MS = 180000 };

struct target {
	struct dink_layer_store store;
	struct dink_reach reach;
	bool was_running, stopped, copied;
	uint64_t ms; /* in which its disk was cloned */
};

/* An instance that takes part: no up or down of it may change what is stopped and cloned here. */
struct held {
	char *name;
	int fd;
};

struct job {
	struct dink_args *args;
	bool force;
	struct held *held;
	size_t n_held;
	struct dink_layer_store from;
	struct target *to;
	size_t n;
};

static void clear_job(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		dink_layer_store_clear(&j->to[i].store);
		dink_reach_clear(&j->to[i].reach);
	}
	free(j->to);
	dink_layer_store_clear(&j->from);
	for (size_t i = 0; i < j->n_held; i++) {
		dink_instance_unlock(j->held[i].name, j->held[i].fd);
		free(j->held[i].name);
	}
	free(j->held);
}

/* The instance of a layer, once. Nobody waits here, so the order in which they are taken is free. */
static int hold_instance(struct job *j, const char *layer, struct dink_err *err)
{
	_cleanup_free_ char *name = xstrndup(layer, strcspn(layer, "/"));
	int fd, r;

	for (size_t i = 0; i < j->n_held; i++)
		if (STREQ(j->held[i].name, name))
			return 0;
	r = dink_instance_lock(name, false, &fd, err);
	if (r == -EWOULDBLOCK)
		return dink_err_hint(err, "wait for it to end, then copy again");
	if (r < 0)
		return r;
	j->held = xreallocarray(j->held, j->n_held + 1, sizeof(*j->held));
	j->held[j->n_held++] = (struct held){TAKE_PTR(name), fd};
	return 0;
}

/* A daemon finds nothing in a store of another kind. */
static int check_kinds(const struct dink_layer_store *from, const struct dink_layer_store *to,
		       struct dink_err *err)
{
	size_t n = strlen(to->layer);

	if (STREQ(from->file, to->file))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s and %s have one store", from->layer,
				    to->layer);
	/* stopping it would end the source, too */
	if (dink_starts_with(from->layer, to->layer) && from->layer[n] == '/')
		return dink_err_set(err, DINK_E_USAGE, 0, "%s is inside of %s", from->layer,
				    to->layer);
	if (!STREQ(from->daemon, to->daemon) || !STREQ(from->driver, to->driver))
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "the store of %s is one of %s with %s, that of %s of %s with "
				    "%s",
				    from->layer, from->daemon, from->driver, to->layer, to->daemon,
				    to->driver);
	return 0;
}

/* What a running daemon has is lost, and a disk that this host has mounted cannot be taken away. */
static int check_target(const struct job *j, struct target *t, struct dink_err *err)
{
	int r = check_kinds(&j->from, &t->store, err);

	if (r == 0)
		r = dink_instance_reach(t->store.layer, &t->reach, err);
	if (r < 0)
		return r;
	t->was_running = t->reach.running;
	if (!t->store.vm) {
		dink_err_set(err, DINK_E_BUSY, 0, "the disk of %s is mounted around it, not in it",
			     t->store.layer);
		return dink_err_hint(err,
				     "only a VM's can be changed while its instance is up "
				     "(runtime: kata); else: dink down, dink disk clone --force");
	}
	if (j->force)
		return 0;
	dink_err_set(err, DINK_E_BUSY, 0, "%s has a store, and all in it would be lost",
		     t->store.layer);
	return dink_err_hint(err,
			     "--force stops the layer, replaces its store and starts it again");
}

static int open_targets(struct job *j, const char *list, struct dink_err *err)
{
	_cleanup_free_ char *copy = xstrdup(list);
	char *save = NULL;
	int r = 0;

	for (char *word = strtok_r(copy, ",", &save); r == 0 && word;
	     word = strtok_r(NULL, ",", &save)) {
		if (j->n >= DINK_COPY_TARGETS_MAX)
			return dink_err_set(err, DINK_E_USAGE, 0, "over %d targets",
					    DINK_COPY_TARGETS_MAX);
		for (size_t i = 0; i < j->n; i++)
			if (STREQ(j->to[i].store.layer, word))
				return dink_err_set(err, DINK_E_USAGE, 0, "%s is named twice",
						    word);
		j->to = xreallocarray(j->to, j->n + 1, sizeof(*j->to));
		j->to[j->n] = (struct target){};
		r = dink_layer_store_find(word, &j->to[j->n++].store, err);
	}
	if (r == 0 && j->n == 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "no target is named");
	return r;
}

static int stop_targets(struct job *j, struct dink_err *err)
{
	for (size_t i = 0; i < j->n; i++) {
		struct target *t = &j->to[i];

		if (!t->was_running)
			continue;
		dink_progress(&j->args->progress, "stopping what gets the store", i, j->n);
		t->stopped = true;
		int r = dink_engine_stop(t->reach.parent, t->reach.container, STOP_S, err);
		if (r < 0)
			return dink_err_push(err, "stopping %s", t->store.layer);
	}
	return 0;
}

/* The source stands still for as long as this takes. */
static int clone_to_all(struct job *j, struct dink_err *err)
{
	_cleanup_close_ int held = -1;
	int r = dink_disk_rest(j->from.file, &held, err);

	for (size_t i = 0; r == 0 && i < j->n; i++) {
		const struct dink_disk_clone_how how = {
			.force = true, .at_rest = held >= 0, .progress = &j->args->progress};
		const uint64_t start = dink_now_ms();

		r = dink_disk_clone(j->from.file, j->to[i].store.file, &how, err);
		j->to[i].copied = r == 0;
		j->to[i].ms = dink_now_ms() - start;
	}
	return r;
}

static int await_ready(const struct target *t, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	int r = dink_instance_reach(t->store.layer, &reach, err);
	struct dink_engine *engine;

	if (r < 0 || !reach.hops)
		return r;
	engine = reach.hops[reach.n_hops - 1].engine;
	if (!engine)
		return dink_err_set(err, DINK_E_CHILD, ESRCH, "%s ended", t->store.layer);
	return dink_engine_wait_ready(engine, READY_MS, err);
}

/* Also after a failure: what was stopped here runs again. The first error counts. */
static int start_targets(struct job *j, int r, struct dink_err *err)
{
	for (int wait = 0; wait < 2; wait++) {
		for (size_t i = 0; i < j->n; i++) {
			_cleanup_(dink_err_clear) struct dink_err later = {};
			struct target *t = &j->to[i];
			int rc;

			if (!t->stopped)
				continue;
			rc = wait ? await_ready(t, r < 0 ? &later : err)
				  : dink_engine_start(t->reach.parent, t->reach.container, 0,
						      r < 0 ? &later : err);
			if (rc < 0 && r == 0)
				r = dink_err_push(err, "starting %s again", t->store.layer);
		}
	}
	return r;
}

static void print_json(const struct job *j)
{
	struct json_object *o = dink_json_new(), *list = json_object_new_array();

	dink_json_set_str(o, "store", j->from.layer);
	dink_json_set_str(o, "file", j->from.file);
	for (size_t i = 0; i < j->n; i++) {
		struct json_object *t = dink_json_new();

		dink_json_set_str(t, "target", j->to[i].store.layer);
		dink_json_set_str(t, "file", j->to[i].store.file);
		dink_json_set_bool(t, "copied", j->to[i].copied);
		dink_json_set_bool(t, "started", j->to[i].stopped);
		dink_json_set_int(t, "clone_ms", (int64_t)j->to[i].ms);
		json_object_array_add(list, t);
	}
	dink_json_set(o, "targets", list);
	cmd_print_json(o);
}

static void print_table(const struct job *j)
{
	for (size_t i = 0; i < j->n; i++)
		printf("%s has the store of %s: cloned in %.2f s%s\n", j->to[i].store.layer,
		       j->from.layer, (double)j->to[i].ms / 1000,
		       j->to[i].stopped ? ", and runs again" : "");
	printf("what ran in %s was of the store before: dink up puts the scenario's layers back\n",
	       j->n > 1 ? "them" : "it");
}

int cmd_image_copy_store(struct dink_args *args, bool force, struct dink_err *err)
{
	_cleanup_(clear_job) struct job j = {.args = args, .force = force};
	int r = dink_layer_store_find(args->v[0], &j.from, err);

	if (r == 0)
		r = open_targets(&j, args->v[1], err);
	if (r == 0)
		r = hold_instance(&j, j.from.layer, err);
	for (size_t i = 0; r == 0 && i < j.n; i++)
		r = hold_instance(&j, j.to[i].store.layer, err);
	for (size_t i = 0; r == 0 && i < j.n; i++)
		r = check_target(&j, &j.to[i], err);
	if (r < 0)
		return r;
	r = stop_targets(&j, err);
	if (r == 0)
		r = clone_to_all(&j, err);
	r = start_targets(&j, r, err);
	if (r == 0 && args->json)
		print_json(&j);
	else if (r == 0 && !args->quiet)
		print_table(&j);
	return r;
}
