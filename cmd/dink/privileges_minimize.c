/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink privileges minimize: which grants of a scenario are needed, by leaving them out of real
 * runs. Each trial is `dink up` of the scenario under a name of its own, the check, `dink down`.
 *
 * What was tried is kept in the state folder, so that a run which was interrupted goes on where it
 * was; the file goes when the answer is there.
 */
#include "cmd/dink/minimize.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

enum { LAYER_BYTES = 512 << 20 /* of a layer that says nothing */ };

struct options {
	const char *layer, *check;
	uint64_t timeout_ms;
	int64_t jobs;
};

static void clear_minimize(struct minimize *m)
{
	for (size_t i = 0; i < m->n_items; i++) {
		free(m->items[i].word);
		free(m->items[i].error);
	}
	free(m->items);
	free(m->name);
	free(m->program);
	free(m->state);
	dink_trials_clear(&m->book);
}

/* ---- which grants ---- */

/* A bound takes nothing away, and Podman's limits are no grants of power. */
static bool may_go(const struct dink_grant *g)
{
	return g->kind != DINK_GRANT_NAMESPACE && g->kind != DINK_GRANT_RLIMIT;
}

static void add_item(struct minimize *m, const char *path, const struct dink_grant *g)
{
	struct minimize_item *item;

	m->items = xreallocarray(m->items, m->n_items + 1, sizeof(*m->items));
	item = &m->items[m->n_items++];
	*item = (struct minimize_item){
		.word = xasprintf("%s:%s %s", path, dink_grant_kind_name(g->kind), g->what)};
}

static int add_layer(struct minimize *m, const struct priv_source *src, const struct dink_layer *l,
		     const char *path, struct dink_err *err)
{
	_cleanup_(dink_privileges_freep) struct dink_privileges *p = NULL;
	const char *rest = path + strlen(src->s->name) + 1;
	int r = dink_privileges_of(src->s, l, path, src->f, src->f->kata.ok, &p, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p->n_grants; i++)
		if (may_go(&p->grants[i]))
			add_item(m, rest, &p->grants[i]);
	return 0;
}

static int add_all(struct minimize *m, const struct priv_source *src,
		   struct dink_layer *const *layers, size_t n, const char *above,
		   struct dink_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", above, layers[i]->name);

		r = add_layer(m, src, layers[i], path, err);
		if (r == 0)
			r = add_all(m, src, layers[i]->children, layers[i]->n_children, path, err);
	}
	return r;
}

static int choose_items(struct minimize *m, const struct priv_source *src, const char *layer,
			struct dink_err *err)
{
	const struct dink_layer *l = NULL;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!layer)
		return add_all(m, src, src->s->layers, src->s->n_layers, src->s->name, err);
	r = priv_find(src, layer, &l, &path, err);
	return r < 0 ? r : add_layer(m, src, l, path, err);
}

/* ---- how many at once ---- */

static uint64_t available_memory(void)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL;
	const char *at;

	if (dink_file_read("/proc/meminfo", 64 << 10, &text, NULL, &ignored) < 0)
		return 0;
	at = strstr(text, "MemAvailable:");
	return at ? strtoull(at + strlen("MemAvailable:"), NULL, 10) << 10 : 0;
}

/* As many as there are processors and as fit into memory; of layers with a port there is one. */
static size_t choose_jobs(const struct priv_source *src, int64_t asked)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t one = 0, jobs = cpus > 0 ? (uint64_t)cpus : 1, fit;

	for (size_t i = 0; i < src->s->n_layers; i++) {
		const struct dink_layer *l = src->s->layers[i];

		if (l->n_ports)
			return 1;
		one += (l->memory_bytes ? l->memory_bytes : LAYER_BYTES) * l->count;
	}
	fit = available_memory() / (one ? one : 1);
	if (asked > 0)
		jobs = (uint64_t)asked;
	else if (fit < jobs)
		jobs = fit;
	return jobs < 1 ? 1 : jobs > MINIMIZE_JOBS_MAX ? MINIMIZE_JOBS_MAX : (size_t)jobs;
}

/* ---- the answer ---- */

static struct json_object *items_to_json(const struct minimize *m, const bool *keep, bool kept)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < m->n_items; i++) {
		struct json_object *o;

		if (keep[i] != kept)
			continue;
		o = dink_json_new();
		dink_json_set_str(o, "grant", m->items[i].word);
		if (kept)
			dink_json_set_str(o, "without", m->items[i].error);
		json_object_array_add(list, o);
	}
	return list;
}

static void print_items(const struct minimize *m, const bool *keep, bool kept)
{
	bool any = false;

	for (size_t i = 0; i < m->n_items; i++) {
		if (keep[i] != kept)
			continue;
		if (!any)
			printf("%s:\n", kept ? "needed" : "not needed for this");
		any = true;
		printf("  %s\n", m->items[i].word);
		if (kept && m->items[i].error)
			printf("      without: %s\n", m->items[i].error);
	}
}

static void print_answer(const struct dink_args *args, const struct minimize *m, const bool *keep)
{
	struct json_object *o;

	if (!args->json) {
		print_items(m, keep, true);
		print_items(m, keep, false);
		printf("%zu trials\n", m->n_trials);
		return;
	}
	o = dink_json_new();
	dink_json_set(o, "needed", items_to_json(m, keep, true));
	dink_json_set(o, "not_needed", items_to_json(m, keep, false));
	dink_json_set_int(o, "trials", (int64_t)m->n_trials);
	cmd_print_json(o);
}

static int search(struct dink_args *args, struct minimize *m, struct dink_err *err)
{
	_cleanup_free_ bool *keep = xcalloc(m->n_items + 1, sizeof(*keep));
	bool works = false;
	int r;

	for (size_t i = 0; i < m->n_items; i++)
		keep[i] = true;
	r = minimize_try(m, keep, m->n_items, &works, err);
	if (r == 0 && !works) {
		dink_err_set(err, DINK_E_CHILD, 0, "with every grant it does not work either: %s",
			     m->last_error ? m->last_error : "the check failed");
		return dink_err_hint(err, "dink up %s, and the check by hand", m->file);
	}
	if (r == 0)
		r = dink_ddmin_jobs(keep, m->n_items, minimize_try, minimize_try_ahead, m->jobs, m,
				    err);
	if (r < 0)
		return r;
	print_answer(args, m, keep);
	if (unlink(m->state) < 0 && errno != ENOENT)
		return dink_err_set(err, DINK_E_HOST, errno, "remove %s", m->state);
	return 0;
}

static int run_minimize(struct dink_args *args, struct dink_err *err)
{
	const struct options *o = args->opts;
	_cleanup_priv_ struct priv_source src = {};
	_cleanup_(clear_minimize) struct minimize m = {
		.file = args->v[0],
		.check = o->check,
		.timeout_ms = o->timeout_ms ? o->timeout_ms : MINIMIZE_TIMEOUT_MS,
		.quiet = args->quiet,
	};
	int r;

	if (o->jobs < 0 || o->jobs > MINIMIZE_JOBS_MAX)
		return dink_err_set(err, DINK_E_USAGE, 0, "--jobs is 1 to %d", MINIMIZE_JOBS_MAX);
	dink_catch_interrupts();
	r = priv_open(args, m.file, NULL, &src, err);
	if (r == 0)
		r = choose_items(&m, &src, o->layer, err);
	if (r == 0 && m.n_items == 0)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "nothing to leave out: no grants beyond the engine's default");
	if (r == 0) {
		m.jobs = choose_jobs(&src, o->jobs);
		r = minimize_open(&m, src.s, err);
	}
	if (r == 0)
		r = search(args, &m, err);
	free(m.last_error);
	return r;
}

static const struct dink_opt minimize_opts[] = {
	{0, "layer", DINK_OPT_STRING, offsetof(struct options, layer), "LAYER",
	 "only this layer's grants", DINK_COMPLETE_NONE},
	{0, "check", DINK_OPT_STRING, offsetof(struct options, check), "COMMAND",
	 "what must succeed once it is up; by sh, with $DINK_INSTANCE", DINK_COMPLETE_NONE},
	{'j', "jobs", DINK_OPT_INT, offsetof(struct options, jobs), "N",
	 "trials at once (what processors and memory carry)", DINK_COMPLETE_NONE},
	{0, "timeout", DINK_OPT_DURATION, offsetof(struct options, timeout_ms), "TIME",
	 "for each layer's engine, and for the check (1m)", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_privileges_minimize = {
	.name = "privileges minimize",
	.operands = "SCENARIO",
	.summary = "find which grants are needed, by leaving them out of real runs",
	.examples = "  dink privileges minimize scenarios/docker-in-docker.yaml\n"
		    "  dink privileges minimize x.yaml --layer box \\\n"
		    "      --check 'dink exec $DINK_INSTANCE/box -- docker run --rm debian true'\n",
	.opts = minimize_opts,
	.opts_size = sizeof(struct options),
	.min_args = 1,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_minimize,
};
