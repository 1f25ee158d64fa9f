/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor: threads take steps whose dependencies are done, apply them, and write the journal.
 *
 * One mutex guards the journal and the schedule; apply(), check() and undo() run outside of it.
 * The first failure stops new steps, those that run are waited for.
 */
#include "provision/step/run.h"

#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <signal.h>

enum step_state { STEP_WAITS, STEP_RUNS, STEP_IS_DONE, STEP_FAILED };

struct schedule {
	struct dink_step_ctx *ctx;
	const struct dink_steps *steps;
	enum step_state *state;
	size_t *missing; /* dependencies that are not done yet */
	size_t first;	 /* every step before it was started */
	size_t running, done;
	bool stop;
	struct dink_err err; /* the first failure */
	pthread_cond_t wake;
};

static _Thread_local struct step_worker *current_worker;

void dink_step_set_worker(struct step_worker *w)
{
	current_worker = w;
}

void dink_step_say(struct dink_step_ctx *ctx, const struct dink_step_report *r)
{
	if (!ctx->watch.report)
		return;
	pthread_mutex_lock(&ctx->lock);
	ctx->watch.report(ctx->watch.ctx, r);
	pthread_mutex_unlock(&ctx->lock);
}

static void report_progress(void *p, const char *what, uint64_t done, uint64_t of)
{
	struct step_worker *w = p;
	uint64_t now = dink_now_ms();

	if (now - w->reported_ms < 100 && done != of)
		return;
	w->reported_ms = now;
	dink_step_say(w->ctx, &(struct dink_step_report){
				      .event = DINK_STEP_PROGRESS,
				      .number = w->number,
				      .total = w->ctx->total,
				      .key = w->key,
				      .text = w->text,
				      .what = what,
				      .done = done,
				      .of = of,
			      });
}

const struct dink_progress *dink_step_progress(struct dink_step_ctx *ctx)
{
	(void)ctx;
	return current_worker ? &current_worker->progress : NULL;
}

static void say(struct step_worker *w, enum dink_step_event event, int64_t ms)
{
	dink_step_say(w->ctx, &(struct dink_step_report){.event = event,
							 .number = w->number,
							 .total = w->ctx->total,
							 .key = w->key,
							 .text = w->text,
							 .ms = ms});
}

static bool fault_hits(long long at, const char *when, size_t number, const char *now)
{
	return at == (long long)number && STREQ(when, now);
}

/* Fault runs only: see step.h. */
static int inject_fault(struct dink_step_ctx *ctx, size_t number, const char *now,
			struct dink_err *err)
{
	if (fault_hits(ctx->kill_at, ctx->kill_when, number, now))
		raise(SIGKILL);
	if (fault_hits(ctx->fail_at, ctx->fail_when, number, now))
		return dink_err_set(err, DINK_E_CHILD, EIO,
				    "step %zu was told to fail (DINK_FAIL_AT)", number);
	return 0;
}

/* 1: the record stands for this very step and it is intact. Its params were compared before. */
static int check_record(struct dink_step_ctx *ctx, const struct dink_step *s,
			struct dink_record *rec, struct dink_err *err)
{
	if (!rec->done)
		return 0;
	if (!s->kind->check)
		return 1;
	return s->kind->check(ctx, s->params, rec->identity, err);
}

static int record_done(struct dink_step_ctx *ctx, struct dink_record *rec,
		       struct json_object *identity, uint64_t begun, struct dink_err *err)
{
	int r;

	pthread_mutex_lock(&ctx->lock);
	r = dink_journal_done(ctx->journal, rec, identity, (int64_t)(dink_now_ms() - begun), err);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

static int apply_step(struct dink_step_ctx *ctx, const struct dink_step *s, size_t number,
		      struct dink_err *err)
{
	_cleanup_json_ struct json_object *identity = NULL;
	uint64_t begun = dink_now_ms();
	struct dink_record *rec;
	int r;

	pthread_mutex_lock(&ctx->lock);
	r = dink_journal_intent(ctx->journal, s->key, s->kind->name, s->params, &rec, err);
	pthread_mutex_unlock(&ctx->lock);
	if (r == 0)
		r = inject_fault(ctx, number, "before", err);
	if (r == 0)
		r = s->kind->apply(ctx, s->params, &identity, err);
	if (r >= 0) {
		/* from here on this process undoes it by identity, journal or not */
		pthread_mutex_lock(&ctx->lock);
		rec->identity = json_object_get(identity);
		pthread_mutex_unlock(&ctx->lock);
		r = inject_fault(ctx, number, "after", err);
	}
	if (r >= 0)
		r = record_done(ctx, rec, identity, begun, err);
	if (r >= 0)
		r = inject_fault(ctx, number, "done", err);
	return r;
}

/* Does what the step needs: nothing, or undo of a broken one, and apply. */
static int do_step(struct dink_step_ctx *ctx, const struct dink_step *s, struct step_worker *w,
		   struct dink_err *err)
{
	uint64_t begun = dink_now_ms();
	struct dink_record *rec;
	int r;

	pthread_mutex_lock(&ctx->lock);
	rec = dink_journal_live(ctx->journal, s->key);
	pthread_mutex_unlock(&ctx->lock);
	r = rec ? check_record(ctx, s, rec, err) : 0;
	if (r < 0)
		return r;
	/* A question that a signal cut short is no "no": nothing is removed for it. */
	if (r == 0 && rec && dink_interrupted())
		return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
	if (r == 1) {
		say(w, DINK_STEP_THERE, (int64_t)(dink_now_ms() - begun));
		return 0;
	}
	say(w, DINK_STEP_START, 0);
	if (rec) {
		r = dink_step_undo_record(ctx, rec, err);
		if (r < 0)
			return dink_err_push(err, "removing what an earlier run left of it");
	}
	r = apply_step(ctx, s, w->number, err);
	if (r >= 0)
		say(w, DINK_STEP_DONE, (int64_t)(dink_now_ms() - begun));
	return r;
}

/* Called with the lock held; the index of a step that can start now, -1 if there is none. */
static long pick_step(struct schedule *q)
{
	while (q->first < q->steps->n && q->state[q->first] != STEP_WAITS)
		q->first++;
	for (size_t i = q->first; i < q->steps->n; i++)
		if (q->state[i] == STEP_WAITS && q->missing[i] == 0)
			return (long)i;
	return -1;
}

static void finish_step(struct schedule *q, size_t i, int r, struct dink_err *err)
{
	q->running--;
	if (r < 0) {
		q->state[i] = STEP_FAILED;
		q->stop = true;
		if (!dink_err_is_set(&q->err))
			dink_err_move(&q->err, err);
		return;
	}
	q->state[i] = STEP_IS_DONE;
	q->done++;
	for (size_t k = i + 1; k < q->steps->n; k++)
		for (size_t d = 0; d < q->steps->v[k].n_deps; d++)
			if (q->steps->v[k].deps[d] == (int)i)
				q->missing[k]--;
}

static int run_step(struct schedule *q, size_t i, struct dink_err *err)
{
	const struct dink_step *s = &q->steps->v[i];
	_cleanup_free_ char *text = s->kind->describe(s->params);
	struct step_worker w = {.ctx = q->ctx, .number = i + 1, .key = s->key, .text = text};
	int r;

	w.progress = (struct dink_progress){report_progress, &w};
	dink_step_set_worker(&w);
	r = do_step(q->ctx, s, &w, err);
	if (r < 0) {
		dink_err_push(err, "%s", text);
		say(&w, DINK_STEP_FAILED, 0);
	}
	dink_step_set_worker(NULL);
	return r;
}

static void *work(void *p)
{
	struct schedule *q = p;
	struct dink_step_ctx *ctx = q->ctx;

	pthread_mutex_lock(&ctx->lock);
	while (!q->stop && q->done < q->steps->n) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		long i = pick_step(q);
		int r;

		if (dink_interrupted()) {
			q->stop = true;
			break;
		}
		if (i < 0) {
			if (q->running == 0)
				break; /* what is left waits for what failed */
			pthread_cond_wait(&q->wake, &ctx->lock);
			continue;
		}
		q->state[i] = STEP_RUNS;
		q->running++;
		pthread_mutex_unlock(&ctx->lock);
		r = run_step(q, (size_t)i, &err);
		pthread_mutex_lock(&ctx->lock);
		finish_step(q, (size_t)i, r, &err);
		pthread_cond_broadcast(&q->wake);
	}
	pthread_cond_broadcast(&q->wake);
	pthread_mutex_unlock(&ctx->lock);
	return NULL;
}

/*
 * A live record that differs from what is wanted now: the scenario was changed while up. A kept
 * record (a disk) that differs was checked by its own kind instead.
 */
static int compare_params(struct dink_step_ctx *ctx, const struct dink_steps *s,
			  struct dink_err *err)
{
	for (size_t i = 0; i < s->n; i++) {
		struct dink_record *rec = dink_journal_live(ctx->journal, s->v[i].key);

		if (!rec || !rec->done || s->v[i].kind->keeps_data ||
		    json_object_equal(rec->params, s->v[i].params))
			continue;
		dink_err_set(
			err, DINK_E_BUSY, 0,
			"%s is up as another version of the scenario described it (%s differs)",
			ctx->instance, s->v[i].key);
		return dink_err_hint(err, "dink down %s, then dink up again", ctx->instance);
	}
	return 0;
}

int dink_steps_run(struct dink_step_ctx *ctx, const struct dink_steps *s, struct dink_err *err)
{
	struct schedule q = {.ctx = ctx, .steps = s, .wake = PTHREAD_COND_INITIALIZER};
	_cleanup_free_ enum step_state *state = xcalloc(s->n + 1, sizeof(*state));
	_cleanup_free_ size_t *missing = xcalloc(s->n + 1, sizeof(*missing));
	pthread_t threads[STEP_THREADS];
	size_t n = 0;
	int r = compare_params(ctx, s, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < s->n; i++)
		missing[i] = s->v[i].n_deps;
	q.state = state;
	q.missing = missing;
	ctx->total = s->n;
	ctx->undoing = false;
	for (; n < STEP_THREADS; n++)
		if (pthread_create(&threads[n], NULL, work, &q) != 0)
			break;
	if (n == 0)
		work(&q);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	if (dink_err_is_set(&q.err)) {
		r = q.err.errnum ? -q.err.errnum : -EINVAL;
		dink_err_move(err, &q.err);
		return r;
	}
	if (q.done < s->n)
		return dink_err_set(err, DINK_E_INTR, EINTR,
				    "interrupted with %zu of %zu steps done", q.done, s->n);
	return 0;
}

int dink_step_undo_record(struct dink_step_ctx *ctx, struct dink_record *rec, struct dink_err *err)
{
	const struct dink_step_kind *kind = dink_step_kind_find(rec->kind);
	int r;

	if (!kind)
		return dink_err_set(
			err, DINK_E_STATE, 0,
			"the journal has a step of kind \"%s\", which this dink does not know",
			rec->kind);
	r = kind->undo ? kind->undo(ctx, rec->params, rec->identity, err) : 0;
	if (r < 0)
		return r;
	pthread_mutex_lock(&ctx->lock);
	r = dink_journal_undone(ctx->journal, rec, err);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

static bool is_to_be_undone(const struct dink_step_ctx *ctx, const struct dink_record *rec)
{
	const struct dink_step_kind *kind = dink_step_kind_find(rec->kind);

	if (rec->undone || (ctx->fresh_only && !rec->fresh))
		return false;
	return ctx->volumes || ctx->fresh_only || !(kind && kind->keeps_data);
}

bool dink_step_takes_data(const struct dink_step_ctx *ctx)
{
	return ctx->volumes;
}

bool dink_step_is_ending(struct dink_step_ctx *ctx, const char *key)
{
	const struct dink_record *rec;

	if (!ctx->undoing)
		return false;
	rec = dink_journal_live(ctx->journal, key);
	return rec && is_to_be_undone(ctx, rec);
}

static void undo_one(struct dink_step_ctx *ctx, struct dink_record *rec, struct dink_err *first)
{
	const struct dink_step_kind *kind = dink_step_kind_find(rec->kind);
	_cleanup_free_ char *text = kind ? kind->describe(rec->params) : xstrdup(rec->key);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct step_worker w = {.ctx = ctx, .number = rec->step, .key = rec->key, .text = text};
	uint64_t begun = dink_now_ms();

	w.progress = (struct dink_progress){report_progress, &w};
	dink_step_set_worker(&w);
	say(&w, DINK_STEP_UNDO, 0);
	if (dink_step_undo_record(ctx, rec, &err) < 0) {
		dink_err_push(&err, "undoing \"%s\"", text);
		if (!dink_err_is_set(first))
			dink_err_move(first, &err);
	} else {
		say(&w, DINK_STEP_UNDONE, (int64_t)(dink_now_ms() - begun));
	}
	dink_step_set_worker(NULL);
}

int dink_steps_undo(struct dink_step_ctx *ctx, bool fresh_only, bool volumes, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err first = {};
	int r;

	ctx->undoing = true;
	ctx->fresh_only = fresh_only;
	ctx->volumes = volumes;
	ctx->total = ctx->journal->n_records;
	for (size_t i = ctx->journal->n_records; i-- > 0;) {
		struct dink_record *rec = ctx->journal->records[i];

		if (is_to_be_undone(ctx, rec))
			undo_one(ctx, rec, &first);
	}
	if (!dink_err_is_set(&first))
		return 0;
	r = first.errnum ? -first.errnum : -EINVAL;
	dink_err_move(err, &first);
	dink_err_push(err, "not all of %s could be removed", ctx->instance);
	return r;
}
