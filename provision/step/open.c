/* SPDX-License-Identifier: Apache-2.0 */
/* An instance's folder, lock and journal: opened for one run, tidied when it is closed. */
#include "provision/step/run.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/step/lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

enum { READY_TIMEOUT_MS = 180000 };

/* "3", "3:before" */
static void read_fault(const char *name, long long *ret_at, const char **ret_when)
{
	const char *v = getenv(name);
	char *end = NULL;

	*ret_at = 0;
	*ret_when = "after";
	if (!v)
		return;
	*ret_at = strtoll(v, &end, 10);
	if (end && *end == ':')
		*ret_when = end + 1;
}

int dink_step_open(const struct dink_step_open *o, struct dink_step_ctx **ret, struct dink_err *err)
{
	_cleanup_(dink_step_closep) struct dink_step_ctx *ctx = xcalloc(1, sizeof(*ctx));
	_cleanup_free_ char *path = NULL;
	int r;

	pthread_mutex_init(&ctx->lock, NULL);
	ctx->lock_fd = -1;
	ctx->instance = xstrdup(o->instance);
	ctx->dir = xasprintf("%s/instances/%s", dink_state_dir(), o->instance);
	ctx->run_dir = xasprintf("%s/%s", dink_run_dir(), o->instance);
	ctx->timeout_ms = o->timeout_ms ? o->timeout_ms : READY_TIMEOUT_MS;
	if (o->watch)
		ctx->watch = *o->watch;
	read_fault("DINK_FAIL_AT", &ctx->fail_at, &ctx->fail_when);
	read_fault("DINK_KILL_AT", &ctx->kill_at, &ctx->kill_when);
	r = dink_instance_lock(ctx->instance, o->wait, &ctx->lock_fd, err);
	if (r < 0)
		return r;
	path = xasprintf("%s/journal", ctx->dir);
	if (!o->create && !dink_exists(path))
		return -ENOENT;
	r = dink_mkdir_p(ctx->dir, 0700, err);
	if (r == 0)
		r = dink_journal_open(path, &ctx->journal, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(ctx);
	return 0;
}

/* What is left after a full undo: the records of kept data, renumbered. */
static int rewrite_journal(struct dink_step_ctx *ctx, size_t *ret_kept, struct dink_err *err)
{
	struct dink_journal *old = ctx->journal, *fresh = NULL;
	_cleanup_free_ char *partial = xasprintf("%s.partial", old->path);
	int r;

	*ret_kept = 0;
	if (unlink(partial) < 0 && errno != ENOENT)
		return dink_err_set(err, DINK_E_HOST, errno, "remove %s", partial);
	r = dink_journal_open(partial, &fresh, err);
	for (size_t i = 0; r == 0 && i < old->n_records; i++) {
		struct dink_record *from = old->records[i], *to;
		const struct dink_step_kind *kind = dink_step_kind_find(from->kind);

		if (from->undone)
			continue;
		if (kind && kind->tidy)
			r = kind->tidy(ctx, from->params, err);
		if (r < 0)
			break;
		r = dink_journal_intent(fresh, from->key, from->kind, from->params, &to, err);
		if (r == 0 && from->done)
			r = dink_journal_done(fresh, to, from->identity, from->ms, err);
		++*ret_kept;
	}
	dink_journal_free(fresh);
	if (r == 0 && rename(partial, old->path) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "rename %s", partial);
	return r;
}

/* Disks that no record tells of are not ours to remove: dink gc lists them. */
static int remove_folder(struct dink_step_ctx *ctx, struct dink_err *err)
{
	_cleanup_free_ char *disks = xasprintf("%s/disks", ctx->dir);

	if (rmdir(disks) < 0 && errno != ENOENT)
		return dink_rm_rf(ctx->journal->path, err);
	return dink_rm_rf(ctx->dir, err);
}

/* Of a run: scenario.yaml, plan.json, seccomp, mounts, and what a crash left beside them. */
static int remove_run_files(struct dink_step_ctx *ctx, struct dink_err *err)
{
	_cleanup_closedir_ DIR *d = opendir(ctx->dir);
	struct dirent *e;
	int r = 0;

	while (r == 0 && d && (e = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("%s/%s", ctx->dir, e->d_name);

		if (!STREQ(e->d_name, ".") && !STREQ(e->d_name, "..") &&
		    !STREQ(e->d_name, "journal") && !STREQ(e->d_name, "disks"))
			r = dink_rm_rf(path, err);
	}
	return r;
}

/* An instance that is down keeps its disks and what names them; one without is gone altogether. */
static int tidy(struct dink_step_ctx *ctx, struct dink_err *err)
{
	size_t kept;
	int r = rewrite_journal(ctx, &kept, err);

	if (r == 0)
		r = remove_run_files(ctx, err);
	if (r == 0 && kept == 0)
		r = remove_folder(ctx, err);
	if (r == 0 && dink_exists(ctx->run_dir))
		r = dink_rm_rf(ctx->run_dir, err);
	return r;
}

void dink_step_close(struct dink_step_ctx *ctx)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (!ctx)
		return;
	/* What cannot be tidied stays for `dink gc`; the run itself has had its result. */
	if (ctx->journal && !dink_journal_is_live(ctx->journal))
		(void)!tidy(ctx, &err);
	dink_instance_unlock(ctx->instance, ctx->lock_fd);
	dink_journal_free(ctx->journal);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx->instance);
	free(ctx->dir);
	free(ctx->run_dir);
	free(ctx);
}

const char *dink_step_instance(const struct dink_step_ctx *ctx)
{
	return ctx->instance;
}

const char *dink_step_dir(const struct dink_step_ctx *ctx)
{
	return ctx->dir;
}

const char *dink_step_run_dir(const struct dink_step_ctx *ctx)
{
	return ctx->run_dir;
}

uint32_t dink_step_timeout_ms(const struct dink_step_ctx *ctx)
{
	return ctx->timeout_ms;
}

const struct dink_journal *dink_step_journal(const struct dink_step_ctx *ctx)
{
	return ctx->journal;
}

char *dink_step_result(struct dink_step_ctx *ctx, const char *key, const char *member)
{
	const struct dink_record *rec;
	const char *value = NULL;
	char *copy;

	pthread_mutex_lock(&ctx->lock);
	rec = dink_journal_live(ctx->journal, key);
	if (rec && rec->identity)
		value = dink_json_str_or(rec->identity, member, NULL);
	copy = value ? xstrdup(value) : NULL;
	pthread_mutex_unlock(&ctx->lock);
	return copy;
}

void dink_steps_clear(struct dink_steps *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].key);
		free(s->v[i].deps);
		if (s->v[i].params)
			json_object_put(s->v[i].params);
	}
	free(s->v);
	*s = (struct dink_steps){};
}

int dink_steps_add(struct dink_steps *s, const struct dink_step_kind *kind,
		   struct json_object *params, const char *key_fmt, ...)
{
	va_list ap;

	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 32;
		s->v = xreallocarray(s->v, s->cap, sizeof(*s->v));
	}
	s->v[s->n] = (struct dink_step){.kind = kind, .params = params};
	va_start(ap, key_fmt);
	s->v[s->n].key = xvasprintf(key_fmt, ap);
	va_end(ap);
	return (int)s->n++;
}

void dink_steps_dep(struct dink_steps *s, int step, int needs)
{
	struct dink_step *v = &s->v[step];

	if (needs < 0 || needs >= step)
		return;
	for (size_t i = 0; i < v->n_deps; i++)
		if (v->deps[i] == needs)
			return;
	v->deps = xreallocarray(v->deps, v->n_deps + 1, sizeof(*v->deps));
	v->deps[v->n_deps++] = needs;
}
