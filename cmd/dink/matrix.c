/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink matrix: one layer of a scenario under each runtime in turn. Each run is an instance of its
 * own (NAME.RUNTIME), brought up, asked, and taken down again before the next one begins.
 */
#include "cmd/dink/cmd.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/host/exposed.h"
#include "provision/host/facts.h"
#include "provision/scenario/scenario.h"
#include "provision/step/failure.h"
#include "provision/step/instance.h"
#include "provision/step/step.h"

#include <ctype.h>
#include <inttypes.h>

enum { CHECK_OUTPUT_MAX = 64 << 10, CGROUP_MAX = 16 << 10 };

struct matrix_opts {
	const char *layer;
	struct dink_strv runtimes;
};

/* What one runtime came to. */
struct row {
	const char *runtime;
	bool works;
	char *why, *hint; /* not, and what to do about it */
	int64_t start_ms;
	uint64_t memory_bytes;
	bool has_calls;
	struct dink_exposed calls;
};

struct run {
	struct dink_args *args;
	const struct dink_scenario *original;
	const char *layer;  /* its path below the scenario: "proxy/inner" */
	char *const *check; /* NULL = that it runs is enough */
	struct row *row;
};

static const struct dink_opt matrix_options[] = {
	{'l', "layer", DINK_OPT_STRING, offsetof(struct matrix_opts, layer), "LAYER",
	 "which layer's runtime changes, by its path (the first on the host)", DINK_COMPLETE_NONE},
	{'r', "runtime", DINK_OPT_STRV, offsetof(struct matrix_opts, runtimes), "NAME",
	 "only this one; may be given again (runc, crun, runsc, dink-vm, kata)",
	 DINK_COMPLETE_NONE},
	{},
};

/* --- a scenario with another runtime --------------------------------------------------------- */

static int runtime_from_name(const char *name)
{
	for (int i = 0; i < DINK_RUNTIME_MAX_; i++)
		if (STREQ(dink_runtime_name((enum dink_runtime)i), name))
			return i;
	return -1;
}

static struct json_object *change_layer(const struct run *run, const char *runtime)
{
	struct json_object *o = dink_scenario_to_json(run->original), *layer = o;
	_cleanup_free_ char *name = xasprintf("%.50s.%s", run->original->name, runtime);
	_cleanup_free_ char *path = xstrdup(run->layer);
	int r = runtime_from_name(runtime);
	char *rest = path, *step;

	dink_json_set_str(o, "name", name);
	while ((step = strsep(&rest, "/"))) /* choose_layer() found each of them */
		json_object_object_get_ex(dink_json_get(layer, "layers"), step, &layer);
	dink_json_set_str(layer, "runtime", runtime);
	if (r != DINK_RUNTIME_DINK_VM && r != DINK_RUNTIME_KATA)
		json_object_object_del(layer, "kernel");
	return o;
}

/* Written out and read again, so that what does not go together is said as of any scenario. */
static int make_variant(const struct run *run, const char *runtime, struct dink_scenario **ret,
			struct dink_err *err)
{
	_cleanup_(dink_problems_clear) struct dink_problems problems = {};
	_cleanup_json_ struct json_object *o = change_layer(run, runtime);
	_cleanup_free_ char *text = dink_json_text(o);

	if (dink_scenario_parse(run->original->file, text, strlen(text), ret, &problems) == 0)
		return 0;
	return dink_err_set(err, DINK_E_SCENARIO, 0, "%s",
			    problems.n ? problems.list[0].msg : "the scenario is not valid");
}

/* --- asking ---------------------------------------------------------------------------------- */

static int64_t step_ms(const struct dink_journal *j, const char *kind, const char *address)
{
	_cleanup_free_ char *key = xasprintf("%s:%s", kind, address);
	const struct dink_record *rec = dink_journal_live(j, key);

	return rec ? rec->ms : 0;
}

static int read_times(const struct run *run, const char *name, const char *address,
		      struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/instances/%s/journal", dink_state_dir(), name);
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
	int r = dink_journal_load(path, &j, err);

	if (r < 0)
		return r;
	run->row->start_ms = step_ms(j, "container", address) + step_ms(j, "ready", address);
	return 0;
}

/* The cgroup by which memory is counted: of version 1 that of memory, else the only one. */
static char *memory_cgroup(const char *pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/cgroup", pid), *text = NULL;
	_cleanup_(dink_err_clear) struct dink_err gone = {};
	const char *at;

	if (dink_file_read(path, CGROUP_MAX, &text, NULL, &gone) < 0)
		return NULL;
	at = strstr(text, ":memory:");
	at = at ? at + strlen(":memory:") : strstr(text, "0::/");
	if (!at)
		return NULL;
	at += *at == '0' ? strlen("0::") : 0;
	return xstrndup(at, strcspn(at, "\n"));
}

static uint64_t resident_share(const char *pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/smaps_rollup", pid), *text = NULL;
	_cleanup_(dink_err_clear) struct dink_err gone = {};
	const char *at;

	if (dink_file_read(path, CGROUP_MAX, &text, NULL, &gone) < 0)
		return 0;
	at = strstr(text, "\nPss:");
	return at ? strtoull(at + strlen("\nPss:"), NULL, 10) << 10 : 0;
}

static bool is_qemu(const char *pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/comm", pid), *text = NULL;
	_cleanup_(dink_err_clear) struct dink_err gone = {};

	return dink_file_read(path, 64, &text, NULL, &gone) == 0 &&
	       dink_starts_with(text, "qemu-system");
}

/*
 * The processes of the container's cgroup and below, at whatever depth: engines name it by the
 * container's id. What they take of memory, shared pages by their share, and which of them meets the
 * host's kernel on behalf of what runs inside: QEMU, or the first. 0: they are not the host's, but a
 * guest's.
 */
static pid_t walk_processes(const struct run *run, const char *container)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	pid_t first = 0, qemu = 0;
	struct dirent *d;

	while (proc && *container && (d = readdir(proc))) {
		_cleanup_free_ char *its =
			isdigit((unsigned char)d->d_name[0]) ? memory_cgroup(d->d_name) : NULL;
		pid_t pid = (pid_t)atoi(d->d_name);

		if (!its || !strstr(its, container))
			continue;
		run->row->memory_bytes += resident_share(d->d_name);
		if (is_qemu(d->d_name))
			qemu = pid;
		else if (!first || pid < first)
			first = pid;
	}
	return qemu ? qemu : first;
}

static int check_command(const struct run *run, const struct dink_reach *reach,
			 struct dink_err *err)
{
	_cleanup_free_ char *out = NULL;
	int code;

	if (!run->check)
		return 0;
	code = dink_engine_exec_capture(reach->parent, reach->container, run->check,
					CHECK_OUTPUT_MAX, &out, err);
	if (code < 0)
		return code;
	if (code == 0)
		return 0;
	dink_err_set(err, DINK_E_CHILD, 0, "the command ended with %d", code);
	if (out && *out)
		dink_err_detail(err, out);
	return -1;
}

/* Kata is what the plan takes where it can, and says why where not. */
static int check_kata(const char *address, struct dink_err *err)
{
	_cleanup_json_ struct json_object *plan = NULL;
	struct json_object *layers, *l;
	int r = dink_instance_plan(address, &plan, err);

	layers = r == 0 ? dink_json_get(plan, "layers") : NULL;
	for (size_t i = 0; r == 0 && i < dink_json_len(plan, "layers"); i++) {
		l = json_object_array_get_idx(layers, i);
		if (STREQ(dink_json_str_or(l, "path", ""), address) &&
		    !STREQ(dink_json_str_or(l, "runtime", ""), "kata"))
			return dink_err_set(err, DINK_E_HOST, 0, "%s",
					    dink_json_str_or(l, "runtime_reason", "not Kata"));
	}
	return r;
}

static int ask(const struct run *run, const char *name, struct dink_err *err)
{
	_cleanup_free_ char *address = xasprintf("%s/%s", name, run->layer);
	_cleanup_(dink_err_clear) struct dink_err unknown = {};
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_json_ struct json_object *info = NULL;
	pid_t facing;
	int r = read_times(run, name, address, err);

	if (r == 0 && STREQ(run->row->runtime, "kata"))
		r = check_kata(address, err);
	if (r == 0)
		r = dink_instance_reach(address, &reach, err);
	if (r == 0)
		r = dink_engine_inspect(reach.parent, reach.container, &info, err);
	if (r == 0 && !dink_json_bool_or(info, "State.Running", false))
		r = dink_err_set(err, DINK_E_CHILD, 0, "the layer ended with %" PRId64,
				 dink_json_int_or(info, "State.ExitCode", -1));
	if (r == 0)
		r = check_command(run, &reach, err);
	if (r < 0)
		return r;
	facing = walk_processes(run, dink_json_str_or(info, "Id", ""));
	/* who may not look at filters still has the rest of the table */
	run->row->has_calls =
		facing > 0 && dink_exposed_read(facing, &run->row->calls, &unknown) == 0;
	return 0;
}

static void refuse(struct row *row, const struct dink_err *why)
{
	const char *detail = why->detail ? why->detail : "";

	row->works = false;
	row->why = *detail ? xasprintf("%s: %.*s", why->msg, (int)strcspn(detail, "\n"), detail)
			   : xstrdup(why->msg);
	row->hint = why->hint ? xstrdup(why->hint) : NULL;
}

/* Where it is not to be had a plan takes dink-vm for it, which has a row of its own. */
static int find_kata(const struct run *run, struct dink_err *err)
{
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL;
	int r;

	if (strchr(run->layer, '/'))
		return dink_err_set(err, DINK_E_HOST, 0,
				    "not found: the engine of a layer knows no official Kata");
	r = dink_facts_probe(0, &run->args->progress, &f, err);
	if (r < 0 || f->kata.ok)
		return r;
	return dink_err_set(err, DINK_E_HOST, 0, "not found: %s",
			    f->kata.why ? f->kata.why : "the official Kata is not installed");
}

/* An error is the row's, but for one of taking down: what is left is the user's to know of. */
static int try_runtime(const struct run *run, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err why = {};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	int r = STREQ(run->row->runtime, "kata") ? find_kata(run, &why) : 0;

	if (r == 0)
		r = make_variant(run, run->row->runtime, &s, &why);
	if (r == 0)
		r = cmd_bring_up(run->args, s, &why);
	if (r < 0) {
		refuse(run->row, &why);
		/* it is in the row: no up of the user's failed that `dink explain` should tell */
		if (s)
			dink_failure_forget(s->name);
		return dink_interrupted() ? dink_err_set(err, DINK_E_INTR, EINTR, "interrupted")
					  : 0;
	}
	run->row->works = ask(run, s->name, &why) == 0;
	if (!run->row->works)
		refuse(run->row, &why);
	return cmd_take_down(run->args, s->name, err);
}

/* --- showing --------------------------------------------------------------------------------- */

static void print_table(const struct row *rows, size_t n)
{
	printf("%-9s %-6s %8s %10s %7s\n", "runtime", "works", "start", "memory", "calls");
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];

		if (!r->works) {
			printf("%-9s %-6s %s\n", r->runtime, "no", r->why ? r->why : "");
			continue;
		}
		printf("%-9s %-6s %6.2f s ", r->runtime, "yes", (double)r->start_ms / 1000);
		if (r->memory_bytes)
			printf("%6.1f MiB ", (double)r->memory_bytes / (1 << 20));
		else
			printf("%10s ", "?");
		if (r->has_calls)
			printf("%7u\n", r->calls.reached);
		else
			printf("%7s\n", "?");
	}
	for (size_t i = 0; i < n; i++)
		if (rows[i].hint)
			printf("\n%s: %s\n", rows[i].runtime, rows[i].hint);
}

static struct json_object *rows_to_json(const struct row *rows, size_t n)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "runtime", r->runtime);
		dink_json_set_bool(o, "works", r->works);
		if (r->why)
			dink_json_set_str(o, "why", r->why);
		if (r->hint)
			dink_json_set_str(o, "hint", r->hint);
		if (r->works)
			dink_json_set_int(o, "start_ms", r->start_ms);
		if (r->works && r->memory_bytes)
			dink_json_set_int(o, "memory_bytes", (int64_t)r->memory_bytes);
		if (r->works && r->has_calls) {
			dink_json_set_int(o, "calls_reached", r->calls.reached);
			dink_json_set_int(o, "calls_denied", r->calls.denied);
			dink_json_set_int(o, "seccomp_filters", r->calls.filters);
		}
		json_object_array_add(list, o);
	}
	return list;
}

/* *ret_copied: the first layer on the way that has copies, if one has */
static bool find_layer(const struct dink_scenario *s, const char *path,
		       const struct dink_layer **ret_copied)
{
	struct dink_layer *const *layers = s->layers;
	size_t n = s->n_layers;

	*ret_copied = NULL;
	for (const char *at = path;; at++) {
		size_t len = strcspn(at, "/"), i = 0;

		while (i < n && (strncmp(layers[i]->name, at, len) != 0 || layers[i]->name[len]))
			i++;
		if (i == n)
			return false;
		if (layers[i]->count > 1 && !*ret_copied)
			*ret_copied = layers[i];
		at += len;
		if (!*at)
			return true;
		n = layers[i]->n_children;
		layers = layers[i]->children;
	}
}

/* By its path, with or without the scenario's name in front. */
static int choose_layer(const struct dink_scenario *s, const char *wanted, const char **ret,
			struct dink_err *err)
{
	const struct dink_layer *copied;
	size_t n = strlen(s->name);
	const char *path = wanted ? wanted : s->layers[0]->name;
	bool found = find_layer(s, path, &copied);

	if (!found && strncmp(path, s->name, n) == 0 && path[n] == '/')
		found = find_layer(s, path += n + 1, &copied);
	if (!found) {
		dink_err_set(err, DINK_E_USAGE, 0, "%s has no layer %s", s->name, wanted);
		return dink_err_hint(err, "dink plan prints the layers, those inside others by "
					  "OUTER/INNER");
	}
	if (copied)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "layer %s has copies: compare one of count: 1", copied->name);
	*ret = path;
	return 0;
}

static int run_matrix(struct dink_args *args, struct dink_err *err)
{
	static const char *const all[] = {"runc", "crun", "runsc", "dink-vm", "kata"};
	struct matrix_opts *o = args->opts;
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	struct row rows[DINK_RUNTIME_MAX_] = {};
	struct run run = {.args = args};
	size_t n = 0;
	int r;

	for (size_t i = 0; i < o->runtimes.n; i++)
		if (runtime_from_name(o->runtimes.v[i]) < 0)
			return dink_err_set(err, DINK_E_USAGE, 0, "there is no runtime %s",
					    o->runtimes.v[i]);
	dink_catch_interrupts();
	r = cmd_load_scenario(args->n_before_dashes ? args->v[0] : NULL, &s, err);
	if (r == 0)
		r = choose_layer(s, o->layer, &run.layer, err);
	run.original = s;
	if (args->n > args->n_before_dashes)
		run.check = args->v + args->n_before_dashes;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(all); i++) {
		if (o->runtimes.n && !dink_strv_has(&o->runtimes, all[i]))
			continue;
		run.row = &rows[n++];
		run.row->runtime = all[i];
		r = try_runtime(&run, err);
	}
	if (r == 0 && args->json)
		cmd_print_json(rows_to_json(rows, n));
	else if (r == 0)
		print_table(rows, n);
	for (size_t i = 0; i < n; i++) {
		free(rows[i].why);
		free(rows[i].hint);
	}
	return r;
}

const struct dink_command cmd_matrix = {
	.name = "matrix",
	.operands = "[SCENARIO] [-- COMMAND [ARG...]]",
	.summary = "run one layer under each runtime and compare",
	.examples =
		"  dink matrix scenarios/docker-in-docker.yaml\n"
		"  dink matrix --layer box x.yaml -- cat /etc/os-release   what it must be able "
		"to do\n"
		"  dink matrix --layer proxy/inner x.yaml   a layer inside another\n"
		"  dink matrix --runtime runc --runtime dink-vm --json x.yaml\n",
	.opts = matrix_options,
	.opts_size = sizeof(struct matrix_opts),
	.max_args = -1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_matrix,
};
