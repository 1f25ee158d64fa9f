/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps: the only code that changes the host. Each is {describe, apply, check, undo}.
 *
 * Intent is appended to the journal (and fsynced) before apply, identity after; undo takes only
 * the journal's record, works by identity and is idempotent, so that `dink down` needs no scenario
 * file and works after any crash. Steps that do not depend on one another run in parallel.
 *
 *	journal: STATE/instances/NAME/journal, JSON lines:
 *	{"seq":1,"event":"intent","step":7,"key":"container:a/b","kind":"container","params":{...}}
 *	{"seq":2,"event":"done","step":7,"identity":{...},"ms":412}
 *	{"seq":3,"event":"undone","step":7}
 *
 * How it fits together: plan -> dink_steps_build() -> steps with a stable key each ->
 * dink_steps_run() (threads) -> journal. The identity of a done step is also its result, which
 * later steps look up by key (dink_step_result()); so a second `up` finds in the journal all that
 * the first one found out. A step whose record is live and passes check() is not applied again.
 *
 * The order of undo is the reverse of the order of intents, which respects the dependencies. The
 * undo of a container inside a container that is being undone too has nothing to do: the outer
 * one's end is its end. Only a VM that writes to a disk which is kept is stopped in good order
 * first, so that the guest unmounts it.
 *
 * Fault runs: DINK_FAIL_AT=N[:before|:after] fails step N (counted from 1 in the order of the
 * plan) before or after its apply; DINK_KILL_AT=N[:before|:after|:done] sends SIGKILL to dink
 * itself after the intent, after apply, or once the identity is in the journal. Default: after.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/base/progress.h"
#include "provision/plan/plan.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct dink_step_ctx; /* what steps share while they run: instance folder, engines, progress */

/* A kind of step: code, found by name from the journal. */
struct dink_step_kind {
	const char *name; /* "disk-file", "loop-mount", "image-load", "container", "forward", ... */
	/* describe() - one line for people: "start proxy (runc, image docker-host)"; caller frees
	 */
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
	/*
	 * undo() - identity NULL when the crash came between intent and done: find leftovers by
	 * params. NULL if nothing is to be undone: what it made is cached, or ends with its layer.
	 */
	int (*undo)(struct dink_step_ctx *ctx, struct json_object *params,
		    struct json_object *identity, struct dink_err *err);
	bool keeps_data; /* undone only by down --volumes (disk files) */
	/* tidy() - of data that is kept: remove what a crash left half made; may be NULL */
	int (*tidy)(struct dink_step_ctx *ctx, struct json_object *params, struct dink_err *err);
};

/* dink_step_kind_register() - a kind that is not in the table (tests have such); before any run */
void dink_step_kind_register(const struct dink_step_kind *kind);
/* dink_step_kind_find() - by the name in the journal; NULL if there is none */
const struct dink_step_kind *dink_step_kind_find(const char *name);

/* One step of a run. */
struct dink_step {
	const struct dink_step_kind *kind;
	char *key;		    /* "container:NAME/proxy": the same in every run, owned */
	struct json_object *params; /* owned */
	int *deps;		    /* indexes of steps that must be done before, owned */
	size_t n_deps;
};

struct dink_steps {
	struct dink_step *v;
	size_t n, cap;
};
void dink_steps_clear(struct dink_steps *s);
#define _cleanup_steps_ _cleanup_(dink_steps_clear)
/* dink_steps_add() - takes params; returns the step's index */
int dink_steps_add(struct dink_steps *s, const struct dink_step_kind *kind,
		   struct json_object *params, const char *key_fmt, ...) _printf_(4, 5);
void dink_steps_dep(struct dink_steps *s, int step, int needs); /* needs -1: nothing */

/* --- the journal ------------------------------------------------------------------------- */

enum {
	DINK_JOURNAL_MAX = 64 << 20,
	DINK_JOURNAL_LINE_MAX = 1 << 20,
	DINK_JOURNAL_STEPS_MAX = 100000,
};

struct dink_record {
	uint32_t step; /* number in this journal, from 1, in the order of intents */
	char *key;
	char *kind;
	struct json_object *params;
	struct json_object *identity; /* NULL while only intended, or if the step has none; known to
				       * this process from apply on */
	bool done, undone;
	bool fresh; /* written by this process */
	int64_t ms;
};

struct dink_journal {
	char *path;
	int fd; /* for appending; -1 when only read */
	uint64_t seq;
	struct dink_record **records; /* by step number, records[0] is step 1 */
	size_t n_records, cap;
	pthread_mutex_t lock; /* guards the array; a record itself stays where it is */
};

/*
 * dink_journal_parse() - bounded; text may be hostile. A damaged last line is what a crash in the
 * middle of a write leaves: it is dropped, *ret_good is the length before it. Damage elsewhere is
 * DINK_E_STATE with the line's number.
 */
int dink_journal_parse(const char *text, size_t len, const char *what, struct dink_journal **ret,
		       size_t *ret_good, struct dink_err *err) _must_check_;
/* dink_journal_load() - read only; -ENOENT with err empty if there is none */
int dink_journal_load(const char *path, struct dink_journal **ret,
		      struct dink_err *err) _must_check_;
/* dink_journal_open() - to append; made if missing, a damaged tail cut off */
int dink_journal_open(const char *path, struct dink_journal **ret,
		      struct dink_err *err) _must_check_;
void dink_journal_free(struct dink_journal *j);
DEFINE_CLEANUP_PTR(struct dink_journal, dink_journal_free);
/* dink_journal_live() - the newest record of that key which is not undone; NULL if none */
struct dink_record *dink_journal_live(const struct dink_journal *j, const char *key);
/* dink_journal_is_live() - whether any record is still to be undone, kept data aside */
bool dink_journal_is_live(const struct dink_journal *j);

/* Appending; each is on disk when it returns. Not for several threads at once. */
int dink_journal_intent(struct dink_journal *j, const char *key, const char *kind,
			struct json_object *params, struct dink_record **ret,
			struct dink_err *err) _must_check_;
int dink_journal_done(struct dink_journal *j, struct dink_record *r, struct json_object *identity,
		      int64_t ms, struct dink_err *err) _must_check_;
int dink_journal_undone(struct dink_journal *j, struct dink_record *r,
			struct dink_err *err) _must_check_;

/* --- the executor ------------------------------------------------------------------------ */

enum dink_step_event {
	DINK_STEP_START,
	DINK_STEP_PROGRESS, /* done of total */
	DINK_STEP_DONE,
	DINK_STEP_THERE, /* was done already */
	DINK_STEP_FAILED,
	DINK_STEP_UNDO,
	DINK_STEP_UNDONE,
};

/* What a caller may show. Called by one thread at a time. */
struct dink_step_report {
	enum dink_step_event event;
	size_t number, total; /* from 1 */
	const char *key;
	const char *text; /* describe() */
	int64_t ms;
	const char *what; /* of PROGRESS: "building kernel" */
	uint64_t done, of;
};

struct dink_step_watch {
	void (*report)(void *ctx, const struct dink_step_report *r);
	void *ctx;
};

/* Opens the instance's folder and journal under its lock. */
struct dink_step_open {
	const char *instance;
	bool wait;   /* for the lock; else DINK_E_BUSY */
	bool create; /* the folder and journal; else -ENOENT where there are none */
	const struct dink_step_watch *watch; /* NULL = silence */
	uint32_t timeout_ms;		     /* for a daemon to come up; 0 = the default */
};
int dink_step_open(const struct dink_step_open *o, struct dink_step_ctx **ret,
		   struct dink_err *err) _must_check_;
/* dink_step_close() - removes the instance's folders where nothing is left in them */
void dink_step_close(struct dink_step_ctx *ctx);
DEFINE_CLEANUP_PTR(struct dink_step_ctx, dink_step_close);

/* dink_steps_build() - the plan as steps; writes seccomp profiles and plan.json in the instance */
int dink_steps_build(struct dink_step_ctx *ctx, const struct dink_plan *p, struct dink_steps *ret,
		     struct dink_err *err) _must_check_;

/* dink_steps_run() - apply what is not there; the first failure (or signal) stops new ones */
int dink_steps_run(struct dink_step_ctx *ctx, const struct dink_steps *s,
		   struct dink_err *err) _must_check_;

/* dink_steps_undo() - in reverse. @fresh_only: what this process did; @volumes: kept data too */
int dink_steps_undo(struct dink_step_ctx *ctx, bool fresh_only, bool volumes,
		    struct dink_err *err) _must_check_;

/* --- for step kinds ---------------------------------------------------------------------- */

const char *dink_step_instance(const struct dink_step_ctx *ctx); /* name */
const char *dink_step_dir(const struct dink_step_ctx *ctx);	 /* STATE/instances/NAME */
const char *dink_step_run_dir(const struct dink_step_ctx *ctx);	 /* RUN/NAME */
uint32_t dink_step_timeout_ms(const struct dink_step_ctx *ctx);
/* dink_step_progress() - of the step that the calling thread runs */
const struct dink_progress *dink_step_progress(struct dink_step_ctx *ctx);
/* dink_step_result() - a string of the identity of a done step; NULL if none; caller frees */
char *dink_step_result(struct dink_step_ctx *ctx, const char *key, const char *member);
/* dink_step_journal() - look-ups by dink_journal_live() may run while other steps write */
const struct dink_journal *dink_step_journal(const struct dink_step_ctx *ctx);
/* dink_step_takes_data() - in undo: whether kept data is to go, too */
bool dink_step_takes_data(const struct dink_step_ctx *ctx);
/* dink_step_is_ending() - in undo: whether that key's record is being undone in this run too */
bool dink_step_is_ending(struct dink_step_ctx *ctx, const char *key);
