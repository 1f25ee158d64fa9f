/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/minimize.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/step/failure.h"

#include <pthread.h>

enum { TRIALS_MAX = 4096, NAME_KEEP = 40 };

/* ---- the book ---- */

static int save_book(const struct minimize *m, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = dink_json_new();
	struct json_object *errors = dink_json_new();
	_cleanup_free_ char *text = NULL;

	dink_json_set(o, "worked", dink_json_strv(&m->book.worked));
	dink_json_set(o, "failed", dink_json_strv(&m->book.failed));
	for (size_t i = 0; i < m->n_items; i++)
		if (m->items[i].error)
			json_object_object_add(errors, m->items[i].word,
					       json_object_new_string(m->items[i].error));
	dink_json_set(o, "errors", errors);
	text = dink_json_text(o);
	return dink_file_write(m->state, text, strlen(text), 0600, err);
}

static int damaged(const struct minimize *m, struct dink_err *err)
{
	dink_err_set(err, DINK_E_STATE, 0, "%s is no book of trials", m->state);
	return dink_err_hint(err, "remove it; the trials are then made again");
}

static int load_book(struct minimize *m, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_strv_ struct dink_strv worked = {}, failed = {};
	struct json_object *errors, *text;
	bool ok;
	int r;

	if (!dink_exists(m->state))
		return 0;
	r = dink_json_parse_file(m->state, &o, err);
	if (r < 0)
		return r;
	if (!dink_json_to_strv(dink_json_get(o, "worked"), &worked) ||
	    !dink_json_to_strv(dink_json_get(o, "failed"), &failed) ||
	    worked.n + failed.n > TRIALS_MAX)
		return damaged(m, err);
	ok = true;
	for (size_t i = 0; ok && i < worked.n; i++)
		ok = dink_trials_add(&m->book, worked.v[i], true);
	for (size_t i = 0; ok && i < failed.n; i++)
		ok = dink_trials_add(&m->book, failed.v[i], false);
	if (!ok)
		return damaged(m, err);
	m->n_trials = worked.n + failed.n;
	errors = dink_json_get(o, "errors");
	for (size_t i = 0; i < m->n_items; i++)
		if (json_object_is_type(errors, json_type_object) &&
		    json_object_object_get_ex(errors, m->items[i].word, &text) &&
		    json_object_is_type(text, json_type_string))
			m->items[i].error = xstrdup(json_object_get_string(text));
	if (!m->quiet && m->n_trials)
		fprintf(stderr, "going on after %zu trials\n", m->n_trials);
	return 0;
}

/* The same question: scenario, grants and check. Two of them at once have names of their own. */
int minimize_open(struct minimize *m, const struct dink_scenario *s, struct dink_err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/minimize", dink_state_dir());
	struct dink_hash *h = dink_hash_new();
	char hex[65];
	int r;

	dink_hash_adds(h, s->text);
	for (size_t i = 0; i < m->n_items; i++)
		dink_hash_adds(h, m->items[i].word);
	dink_hash_adds(h, m->check ? m->check : "");
	dink_hash_end(h, hex);
	m->program = xasprintf("%s/dink", dink_program_dir());
	m->name = xasprintf("%.*s-min-%.8s", NAME_KEEP, s->name, hex);
	m->state = xasprintf("%s/%.16s.json", dir, hex);
	m->book.n = m->n_items;
	r = dink_mkdir_p(dir, 0700, err);
	return r < 0 ? r : load_book(m, err);
}

/* ---- a trial ---- */

/* The last line that says what went wrong. */
static char *pick_error(const char *tail)
{
	const char *line = NULL, *at = tail;
	size_t len = 0;

	while (at && *at) {
		size_t n = strcspn(at, "\n");

		if (n > 0 && (dink_starts_with(at, "dink: ") || !line)) {
			line = at;
			len = n;
		}
		at += n + (at[n] == '\n');
	}
	if (!line)
		return xstrdup("it ended without a word");
	if (dink_starts_with(line, "dink: ") && len > 6) {
		line += 6;
		len -= 6;
	}
	return xstrndup(line, len);
}

static int run_dink(struct dink_cmd *cmd, bool *ret_ok, char **ret_error, struct dink_err *err)
{
	int r;

	cmd->ok_to_fail = true;
	r = dink_cmd_run(cmd, err);
	*ret_ok = r == 0 && cmd->status == 0;
	if (r == 0 && cmd->status != 0 && ret_error) {
		free(*ret_error);
		*ret_error = pick_error(cmd->errtail);
	}
	/* a check that does not end is one that fails */
	if (r < 0 && err->code == DINK_E_CHILD && !dink_interrupted()) {
		if (ret_error) {
			free(*ret_error);
			*ret_error = xstrdup(err->msg);
		}
		dink_err_clear(err);
		r = 0;
	}
	return r;
}

/* Each trial that is made at the same time has an instance of its own. */
struct trial {
	struct minimize *m;
	const bool *keep;
	char *name, *error;
	bool works;
	bool made; /* to its end, so that what came of it counts */
	int r;
	struct dink_err err;
};

static int bring_up(struct trial *t, struct dink_err *err)
{
	struct minimize *m = t->m;
	_cleanup_(dink_cmd_clear) struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *timeout = xasprintf("%llums", (unsigned long long)m->timeout_ms);

	dink_cmd_argv(&cmd, m->program, "up", "--quiet", "--name", t->name, "--timeout", timeout,
		      NULL);
	for (size_t i = 0; i < m->n_items; i++)
		if (!t->keep[i])
			dink_strv_addl(&cmd.argv, "--without", m->items[i].word, NULL);
	dink_strv_add(&cmd.argv, m->file);
	return run_dink(&cmd, &t->works, &t->error, err);
}

static int run_check(struct trial *t, struct dink_err *err)
{
	_cleanup_(dink_cmd_clear) struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *path = NULL;

	dink_cmd_argv(&cmd, "sh", "-c", t->m->check, NULL);
	dink_strv_addf(&cmd.env, "DINK_INSTANCE=%s", t->name);
	path = xasprintf("PATH=%s:%s", dink_program_dir(),
			 getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	dink_strv_add(&cmd.env, path);
	cmd.timeout_ms = (uint32_t)t->m->timeout_ms;
	return run_dink(&cmd, &t->works, &t->error, err);
}

static int take_down(const struct trial *t, struct dink_err *err)
{
	_cleanup_(dink_cmd_clear) struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *dir = xasprintf("%s/instances/%s", dink_state_dir(), t->name);

	dink_failure_forget(t->name); /* it is in the book */
	if (!dink_exists(dir))
		return 0;
	dink_cmd_argv(&cmd, t->m->program, "down", "--quiet", "--wait", "--volumes", t->name, NULL);
	return dink_cmd_run(&cmd, err);
}

/* Says nothing and books nothing: several run at once. An interrupt leaves the rest to finish(). */
static void *run_trial(void *arg)
{
	struct trial *t = arg;

	t->r = take_down(t, &t->err); /* of a trial that was killed */
	if (t->r == 0)
		t->r = bring_up(t, &t->err);
	if (t->r == 0 && t->works && t->m->check)
		t->r = run_check(t, &t->err);
	/* a program that was interrupted, too, says nothing about privileges */
	t->made = t->r == 0 && !dink_interrupted();
	if (t->r == 0)
		t->r = take_down(t, &t->err);
	return NULL;
}

static void say_trial(const struct trial *t)
{
	const struct minimize *m = t->m;
	size_t out = 0;

	if (m->quiet)
		return;
	for (size_t i = 0; i < m->n_items; i++)
		out += !t->keep[i];
	fprintf(stderr, "trial %zu: %zu of %zu grants left out%s\n", m->n_trials + 1, out,
		m->n_items, out ? ":" : "");
	for (size_t i = 0; i < m->n_items; i++)
		if (!t->keep[i])
			fprintf(stderr, "    %s\n", m->items[i].word);
}

/* Where one grant alone makes the difference to the last that worked, its error is known. */
static void note_error(struct minimize *m, const struct trial *t)
{
	const struct dink_strv *worked = &m->book.worked;
	const char *last_good = worked->n ? worked->v[worked->n - 1] : NULL;
	size_t out = 0, last = 0;

	for (size_t i = 0; i < m->n_items; i++) {
		if (t->keep[i] || (last_good && last_good[i] == '0'))
			continue;
		out++;
		last = i;
	}
	if (out == 1 && t->error && !m->items[last].error)
		m->items[last].error = xstrdup(t->error);
}

static void book_trial(struct minimize *m, struct trial *t, bool said)
{
	_cleanup_free_ char *text = dink_trials_text(t->keep, m->n_items);

	if (!said)
		say_trial(t);
	m->n_trials++;
	dink_trials_add(&m->book, text, t->works);
	if (!t->works) {
		note_error(m, t);
		free(m->last_error);
		m->last_error = TAKE_PTR(t->error);
	}
	if (!m->quiet)
		fprintf(stderr, "    %s%s\n",
			t->works ? "works" : "fails: ", t->works ? "" : m->last_error);
}

/* Once more where a trial was interrupted: the user is owed a machine as it was. */
static int clean_up(struct trial *trials, size_t n, struct dink_err *err)
{
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		if (trials[i].r == 0)
			continue;
		if (r == 0) {
			r = trials[i].r;
			dink_err_move(err, &trials[i].err);
		}
		dink_err_clear(&trials[i].err);
	}
	if (r == 0)
		return 0;
	dink_interrupt_reset();
	for (size_t i = 0; i < n; i++) {
		_cleanup_(dink_err_clear) struct dink_err second = {};

		if (take_down(&trials[i], &second) < 0)
			dink_err_hint(err, "dink down --volumes %s removes the rest",
				      trials[i].name);
	}
	return r;
}

/*
 * The first set that works is the one that the search goes on from: it is booked last, so that the
 * others' errors are told by the set that they were made from.
 */
static int finish(struct minimize *m, struct trial *trials, size_t n, bool said,
		  struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err second = {};
	int r = clean_up(trials, n, err), saved;

	for (size_t i = 0; i < n; i++)
		if (trials[i].made && !trials[i].works)
			book_trial(m, &trials[i], said);
	for (size_t i = n; i-- > 0;)
		if (trials[i].made && trials[i].works)
			book_trial(m, &trials[i], said);
	saved = save_book(m, r < 0 ? &second : err);
	for (size_t i = 0; i < n; i++) {
		free(trials[i].name);
		free(trials[i].error);
		dink_err_clear(&trials[i].err);
	}
	return r < 0 ? r : saved;
}

int minimize_try(void *ctx, const bool *keep, size_t n _unused_, bool *ret_works,
		 struct dink_err *err)
{
	struct minimize *m = ctx;
	enum dink_known known = dink_trials_know(&m->book, keep);
	struct trial t = {.m = m, .keep = keep};

	if (known != DINK_KNOWN_NOT) {
		*ret_works = known == DINK_KNOWN_WORKS;
		return 0;
	}
	t.name = xstrdup(m->name);
	say_trial(&t);
	run_trial(&t);
	*ret_works = t.works;
	return finish(m, &t, 1, true, err);
}

int minimize_try_ahead(void *ctx, bool *const *sets, size_t n_sets, size_t n _unused_,
		       struct dink_err *err)
{
	struct minimize *m = ctx;
	struct trial trials[MINIMIZE_JOBS_MAX] = {};
	pthread_t threads[MINIMIZE_JOBS_MAX];
	bool started[MINIMIZE_JOBS_MAX] = {};
	size_t count = 0;

	/* with an answer there, the search goes on by it: the others may not be asked for any more */
	if (n_sets == 0 || dink_trials_know(&m->book, sets[0]) != DINK_KNOWN_NOT)
		return 0;
	for (size_t i = 0; i < n_sets && count < MINIMIZE_JOBS_MAX; i++)
		if (dink_trials_know(&m->book, sets[i]) == DINK_KNOWN_NOT)
			trials[count++] = (struct trial){.m = m, .keep = sets[i]};
	if (count < 2)
		return 0; /* minimize_try() makes it */
	for (size_t i = 0; i < count; i++) {
		trials[i].name = xasprintf("%s-%zu", m->name, i + 1);
		started[i] = pthread_create(&threads[i], NULL, run_trial, &trials[i]) == 0;
		if (!started[i])
			run_trial(&trials[i]);
	}
	for (size_t i = 0; i < count; i++)
		if (started[i])
			pthread_join(threads[i], NULL);
	return finish(m, trials, count, false, err);
}
