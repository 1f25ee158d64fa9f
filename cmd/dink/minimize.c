/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/minimize.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"

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

static int bring_up(struct minimize *m, const bool *keep, bool *ret_ok, struct dink_err *err)
{
	_cleanup_(dink_cmd_clear) struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *timeout = xasprintf("%llums", (unsigned long long)m->timeout_ms);

	dink_cmd_argv(&cmd, m->program, "up", "--quiet", "--name", m->name, "--timeout", timeout,
		      NULL);
	for (size_t i = 0; i < m->n_items; i++)
		if (!keep[i])
			dink_strv_addl(&cmd.argv, "--without", m->items[i].word, NULL);
	dink_strv_add(&cmd.argv, m->file);
	return run_dink(&cmd, ret_ok, &m->last_error, err);
}

static int run_check(struct minimize *m, bool *ret_ok, struct dink_err *err)
{
	_cleanup_(dink_cmd_clear) struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *path = NULL;

	dink_cmd_argv(&cmd, "sh", "-c", m->check, NULL);
	dink_strv_addf(&cmd.env, "DINK_INSTANCE=%s", m->name);
	path = xasprintf("PATH=%s:%s", dink_program_dir(),
			 getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	dink_strv_add(&cmd.env, path);
	cmd.timeout_ms = (uint32_t)m->timeout_ms;
	return run_dink(&cmd, ret_ok, &m->last_error, err);
}

static int take_down(struct minimize *m, struct dink_err *err)
{
	_cleanup_(dink_cmd_clear) struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *dir = xasprintf("%s/instances/%s", dink_state_dir(), m->name);

	if (!dink_exists(dir))
		return 0;
	dink_cmd_argv(&cmd, m->program, "down", "--quiet", "--wait", "--volumes", m->name, NULL);
	return dink_cmd_run(&cmd, err);
}

/* Once more when the trial was interrupted: the user is owed a machine as it was. */
static int clean_up(struct minimize *m, int result, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err second = {};
	int r;

	if (result == 0)
		return take_down(m, err);
	dink_interrupt_reset();
	r = take_down(m, &second);
	if (r < 0)
		dink_err_hint(err, "dink down --volumes %s removes the rest", m->name);
	return result;
}

static void say_trial(const struct minimize *m, const bool *keep)
{
	size_t out = 0;

	if (m->quiet)
		return;
	for (size_t i = 0; i < m->n_items; i++)
		out += !keep[i];
	fprintf(stderr, "trial %zu: %zu of %zu grants left out%s\n", m->n_trials + 1, out,
		m->n_items, out ? ":" : "");
	for (size_t i = 0; i < m->n_items; i++)
		if (!keep[i])
			fprintf(stderr, "    %s\n", m->items[i].word);
}

/* Where one grant alone makes the difference to the last that worked, its error is known. */
static void note_error(struct minimize *m, const bool *keep)
{
	const struct dink_strv *worked = &m->book.worked;
	const char *last_good = worked->n ? worked->v[worked->n - 1] : NULL;
	size_t out = 0, last = 0;

	for (size_t i = 0; i < m->n_items; i++) {
		if (keep[i] || (last_good && last_good[i] == '0'))
			continue;
		out++;
		last = i;
	}
	if (out == 1 && m->last_error && !m->items[last].error)
		m->items[last].error = xstrdup(m->last_error);
}

static int make_trial(struct minimize *m, const bool *keep, bool *ret_works, struct dink_err *err)
{
	_cleanup_free_ char *text = dink_trials_text(keep, m->n_items);
	int r = take_down(m, err); /* of a trial that was killed */

	if (r < 0)
		return r;
	r = bring_up(m, keep, ret_works, err);
	if (r == 0 && *ret_works && m->check)
		r = run_check(m, ret_works, err);
	r = clean_up(m, r, err);
	if (r < 0)
		return r;
	m->n_trials++;
	dink_trials_add(&m->book, text, *ret_works);
	if (!*ret_works)
		note_error(m, keep);
	if (!m->quiet)
		fprintf(stderr, "    %s%s\n",
			*ret_works ? "works" : "fails: ", *ret_works ? "" : m->last_error);
	return save_book(m, err);
}

int minimize_try(void *ctx, const bool *keep, size_t n _unused_, bool *ret_works,
		 struct dink_err *err)
{
	struct minimize *m = ctx;
	enum dink_known known = dink_trials_know(&m->book, keep);

	if (known != DINK_KNOWN_NOT) {
		*ret_works = known == DINK_KNOWN_WORKS;
		return 0;
	}
	say_trial(m, keep);
	return make_trial(m, keep, ret_works, err);
}
