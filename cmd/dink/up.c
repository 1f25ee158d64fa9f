/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/attach.h"
#include "cmd/dink/steps_view.h"

#include "kernel-configs/kernel.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/explain/explain.h"
#include "provision/plan/plan.h"
#include "provision/step/failure.h"
#include "provision/step/instance.h"

#include <sys/stat.h>

struct up_opts {
	bool keep, shell, timings, wait;
	uint64_t timeout_ms;
	const char *name;
	struct dink_strv without;
};

static const struct dink_opt up_options[] = {
	{'k', "keep", DINK_OPT_FLAG, offsetof(struct up_opts, keep), NULL,
	 "on failure leave what was made, to look at", DINK_COMPLETE_NONE},
	{'s', "shell", DINK_OPT_FLAG, offsetof(struct up_opts, shell), NULL,
	 "then a shell in the deepest layer; without a terminal, a proof from each level",
	 DINK_COMPLETE_NONE},
	{0, "timings", DINK_OPT_FLAG, offsetof(struct up_opts, timings), NULL,
	 "show where the time went, step by step", DINK_COMPLETE_NONE},
	{0, "timeout", DINK_OPT_DURATION, offsetof(struct up_opts, timeout_ms), "TIME",
	 "how long to wait for each layer's guest, then its engine (3m)", DINK_COMPLETE_NONE},
	{0, "wait", DINK_OPT_FLAG, offsetof(struct up_opts, wait), NULL,
	 "wait while another dink is at work on the instance", DINK_COMPLETE_NONE},
	{0, "name", DINK_OPT_STRING, offsetof(struct up_opts, name), "NAME",
	 "bring it up under another name, beside the one of its own", DINK_COMPLETE_NONE},
	{0, "without", DINK_OPT_STRV, offsetof(struct up_opts, without), "GRANT",
	 "leave out a grant, to see what fails: \"LAYER:KIND WHAT\"", DINK_COMPLETE_NONE},
	{},
};

static bool has_vm(struct dink_layer *const *layers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (layers[i]->runtime == DINK_RUNTIME_DINK_VM ||
		    layers[i]->runtime == DINK_RUNTIME_KATA ||
		    has_vm(layers[i]->children, layers[i]->n_children))
			return true;
	return false;
}

/* From the cache or built: the first of the scenario's kernels, to prove KVM with. */
static int get_kernel(struct dink_args *args, const struct dink_plan *p, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel kernel = {};
	const struct dink_plan_kernel *k = &p->kernels[0];
	struct dink_kernel_want want = {
		.source = k->source, .sha256 = k->sha256, .features = &k->features};

	return dink_kernel_get(&want, &args->progress, &kernel, err);
}

static int plan_once(struct dink_args *args, const struct dink_scenario *s, bool *ret_wants_kernel,
		     struct dink_plan **ret, struct dink_err *err)
{
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL;
	bool vm = has_vm(s->layers, s->n_layers);
	int r = dink_facts_probe(vm ? DINK_PROBE_KVM : 0, &args->progress, &f, err);

	if (r < 0)
		return r;
	*ret_wants_kernel = vm && f->kvm_wants_kernel;
	return dink_plan_make(s, f, ret, err);
}

/*
 * KVM is proved by booting a guest, for which there must be a kernel. Where none is cached yet,
 * the plan that would do without KVM says which to build, and is then made anew.
 */
static int make_plan(struct dink_args *args, const struct dink_scenario *s, struct dink_plan **ret,
		     struct dink_err *err)
{
	_cleanup_(dink_plan_freep) struct dink_plan *first = NULL;
	bool wants_kernel;
	int r = plan_once(args, s, &wants_kernel, &first, err);

	if (r < 0)
		return r;
	if (!wants_kernel || !first->n_kernels) {
		*ret = TAKE_PTR(first);
		return 0;
	}
	r = get_kernel(args, first, err);
	if (r < 0)
		return r;
	return plan_once(args, s, &wants_kernel, ret, err);
}

/* For people: `down` does not need it. */
static int save_scenario(struct dink_step_ctx *ctx, const struct dink_scenario *s,
			 struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/scenario.yaml", dink_step_dir(ctx));

	return dink_file_write(path, s->text, strlen(s->text), 0600, err);
}

static int undo_failed(struct dink_step_ctx *ctx, const struct up_opts *o, struct steps_view *view,
		       struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err second = {};

	steps_view_end(view);
	if (err->code != DINK_E_INTR) {
		dink_failure_save(dink_step_instance(ctx), err);
		dink_explain_err(err);
	}
	if (o->keep) {
		if (!err->hint)
			dink_err_hint(err, "what was made is kept: dink status, dink down %s",
				      dink_step_instance(ctx));
		return -1;
	}
	/* The signal that ended `up` must not end its undoing as well. */
	dink_interrupt_reset();
	if (dink_steps_undo(ctx, true, false, &second) < 0) {
		_cleanup_free_ char *text = dink_err_format(&second);

		fputs(text, stderr);
		dink_err_hint(err, "dink down %s removes the rest", dink_step_instance(ctx));
	}
	steps_view_end(view);
	return -1;
}

static int run_steps(const struct up_opts *o, const struct dink_scenario *s,
		     const struct dink_plan *p, struct steps_view *view, struct dink_err *err)
{
	_cleanup_(dink_step_closep) struct dink_step_ctx *ctx = NULL;
	_cleanup_steps_ struct dink_steps steps = {};
	struct dink_step_open open = {
		.instance = s->name,
		.wait = o->wait,
		.create = true,
		.watch = steps_view_watch(view),
		.timeout_ms = (uint32_t)o->timeout_ms,
	};
	int r = dink_step_open(&open, &ctx, err);

	if (r < 0)
		return r;
	r = save_scenario(ctx, s, err);
	if (r == 0)
		r = dink_steps_build(ctx, p, &steps, err);
	if (r == 0)
		r = dink_steps_run(ctx, &steps, err);
	steps_view_end(view);
	if (r < 0)
		return undo_failed(ctx, o, view, err);
	dink_failure_forget(s->name);
	return 0;
}

/* What the user types to call us: "dink" where that finds this very program, else its path. */
static char *our_name(void)
{
	_cleanup_free_ char *found = dink_which("dink"), *cwd = getcwd(NULL, 0);
	_cleanup_free_ char *self = xasprintf("%s/dink", dink_program_dir());
	struct stat a, b;
	size_t n = cwd ? strlen(cwd) : 0;

	if (found && stat(found, &a) == 0 && stat(self, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino)
		return xstrdup("dink");
	if (n > 1 && strncmp(self, cwd, n) == 0 && self[n] == '/')
		return xstrdup(self + n + 1);
	return TAKE_PTR(self);
}

static void print_ways_in(const struct dink_instance *i, const char *deepest)
{
	_cleanup_free_ char *dink = our_name();

	printf("\n%s is up. To get in:\n", i->name);
	for (size_t k = 0; k < i->n_layers && k < 12; k++)
		printf("  %s shell %s\n", dink, i->layers[k].address);
	if (i->n_layers > 12)
		printf("  ... and %zu more: %s status %s\n", i->n_layers - 12, dink, i->name);
	if (deepest)
		printf("  %s exec %s -- cat /etc/os-release\n", dink, deepest);
	for (size_t k = 0; k < i->n_layers && k < 12; k++)
		if (i->layers[k].offered)
			printf("  DOCKER_HOST=unix://%s docker ps\n", i->layers[k].offered);
	printf("To end it: %s down %s\n", dink, i->name);
}

void cmd_print_proof(struct json_object *list)
{
	static const char *const rows[][2] = {
		{"kernel", "kernel"},	 {"hostname", "hostname"},	{"pid1", "PID 1"},
		{"cgroup", "cgroup"},	 {"storage_driver", "storage"}, {"engine", "engine"},
		{"runtime", "runtimes"},
	};

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		printf("%s\n", dink_json_str_or(o, "layer", "?"));
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
			const char *v = dink_json_str_or(o, rows[k][0], NULL);

			if (v)
				printf("  %-9s %s\n", rows[k][1], v);
		}
	}
}

/* The shell's own exit code is not that of `up`, which succeeded. */
static int enter_shell(const char *address, const char *name, struct dink_err *err)
{
	_cleanup_free_ char *dink = our_name();
	int r;

	printf("a root prompt in %s:\n", address);
	fflush(stdout);
	r = cmd_open_shell(address, "0", err);
	if (r < 0)
		return r;
	printf("%s stays up. To come back: %s shell %s\nTo end it: %s down %s\n", name, dink,
	       address, dink, name);
	return 0;
}

static int show_result(struct dink_args *args, const char *name, struct steps_view *view,
		       struct dink_err *err)
{
	const struct up_opts *o = args->opts;
	_cleanup_(dink_instance_freep) struct dink_instance *i = NULL;
	_cleanup_free_ char *deepest = NULL;
	_cleanup_json_ struct json_object *proof = NULL;
	int r = dink_instance_load(name, &i, err);

	if (r < 0)
		return r;
	deepest = dink_instance_deepest(i);
	if (args->json) {
		struct json_object *out = dink_json_new();

		dink_json_set_str(out, "name", name);
		dink_json_set_str(out, "state", i->state);
		dink_json_set_str(out, "deepest", deepest);
		dink_json_set(out, "steps", steps_view_to_json(view));
		cmd_print_json(out);
		return 0;
	}
	if (o->timings)
		steps_view_timings(view);
	if (o->shell && deepest && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		return enter_shell(deepest, name, err);
	if (o->shell) {
		proof = dink_instance_proof(name, err);
		if (!proof)
			return -1;
		cmd_print_proof(proof);
	}
	if (!args->quiet)
		print_ways_in(i, deepest);
	return 0;
}

static int rename_scenario(struct dink_scenario *s, const char *name, struct dink_err *err)
{
	if (!name)
		return 0;
	if (!dink_name_is_valid(name))
		return dink_err_set(err, DINK_E_USAGE, 0, "--name %s: that is no name for one",
				    name);
	free(s->name);
	s->name = xstrdup(name);
	return 0;
}

static int leave_out(struct dink_plan *p, const struct dink_strv *grants, struct dink_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < grants->n; i++)
		r = dink_plan_without(p, grants->v[i], err);
	return r;
}

static int run_up(struct dink_args *args, struct dink_err *err)
{
	struct up_opts *o = args->opts;
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
	_cleanup_(steps_view_freep) struct steps_view *view = NULL;
	int r;

	dink_catch_interrupts();
	r = cmd_load_scenario(args->n ? args->v[0] : NULL, &s, err);
	if (r == 0)
		r = rename_scenario(s, o->name, err);
	if (r == 0)
		r = make_plan(args, s, &p, err);
	if (r == 0)
		r = leave_out(p, &o->without, err);
	if (r < 0 || !p)
		return r;
	for (size_t i = 0; i < p->warnings.n; i++)
		fprintf(stderr, "warning: %s\n", p->warnings.v[i]);
	view = steps_view_new(args->quiet);
	r = run_steps(o, s, p, view, err);
	if (r < 0)
		return r;
	return show_result(args, s->name, view, err);
}

int cmd_bring_up(struct dink_args *args, const struct dink_scenario *s, struct dink_err *err)
{
	const struct up_opts o = {};
	_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
	_cleanup_(steps_view_freep) struct steps_view *view = steps_view_new(args->quiet);
	int r = make_plan(args, s, &p, err);

	return r < 0 ? r : run_steps(&o, s, p, view, err);
}

const struct dink_command cmd_up = {
	.name = "up",
	.operands = "[SCENARIO]",
	.summary = "bring a scenario up: every layer, from the host inward",
	.examples = "  dink up scenarios/docker-in-kata.yaml\n"
		    "  dink up --shell x.yaml       end at a root prompt in the deepest layer\n"
		    "  dink up --timings x.yaml     show where the time went\n",
	.opts = up_options,
	.opts_size = sizeof(struct up_opts),
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_up,
};
