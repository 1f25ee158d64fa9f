/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"
#include "cmd/dink/steps_view.h"

#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/scenario/scenario.h"
#include "provision/step/failure.h"
#include "provision/step/instance.h"

struct down_opts {
	bool volumes, all, wait;
};

static const struct dink_opt down_options[] = {
	{0, "volumes", DINK_OPT_FLAG, offsetof(struct down_opts, volumes), NULL,
	 "remove the disks and their data, too", DINK_COMPLETE_NONE},
	{'a', "all", DINK_OPT_FLAG, offsetof(struct down_opts, all), NULL, "every instance",
	 DINK_COMPLETE_NONE},
	{0, "wait", DINK_OPT_FLAG, offsetof(struct down_opts, wait), NULL,
	 "wait while another dink is at work on the instance", DINK_COMPLETE_NONE},
	{},
};

/* An instance's name, or a scenario file whose name it is. */
static int name_of(const char *operand, char **ret, struct dink_err *err)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	int r;

	if (!strchr(operand, '/') && !dink_ends_with(operand, ".yaml")) {
		*ret = xstrdup(operand);
		return 0;
	}
	r = cmd_load_scenario(operand, &s, err);
	if (r == 0)
		*ret = xstrdup(s->name);
	return r;
}

static int down_one(const struct down_opts *o, const char *name, struct steps_view *view,
		    struct dink_err *err)
{
	_cleanup_(dink_step_closep) struct dink_step_ctx *ctx = NULL;
	_cleanup_(dink_instance_freep) struct dink_instance *known = NULL;
	struct dink_step_open open = {
		.instance = name,
		.wait = o->wait,
		.watch = steps_view_watch(view),
	};
	int r;

	if (!dink_name_is_valid(name))
		return dink_err_set(err, DINK_E_USAGE, 0, "\"%s\" is no instance's name", name);
	r = dink_step_open(&open, &ctx, err);
	if (r == -ENOENT && !dink_err_is_set(err)) {
		dink_failure_forget(name);
		r = dink_instance_load(name, &known, err); /* says which names there are */
		return r < 0 ? r : 0;
	}
	if (r < 0)
		return r;
	r = dink_steps_undo(ctx, false, o->volumes, err);
	steps_view_end(view);
	if (r == 0)
		dink_failure_forget(name);
	return r;
}

int cmd_take_down(struct dink_args *args, const char *name, struct dink_err *err)
{
	const struct down_opts o = {.volumes = true, .wait = true};
	_cleanup_(steps_view_freep) struct steps_view *view = steps_view_new(args->quiet);

	return down_one(&o, name, view, err);
}

/* Each is tried; the first error is the command's. A signal ends all of it. */
static int down_all(const struct down_opts *o, const struct dink_strv *names,
		    struct steps_view *view, struct dink_err *err)
{
	int r = 0;

	for (size_t i = 0; i < names->n && !dink_interrupted(); i++) {
		_cleanup_(dink_err_clear) struct dink_err one = {};
		int rc = down_one(o, names->v[i], view, &one);

		if (rc < 0 && r == 0) {
			r = rc;
			dink_err_move(err, &one);
		}
	}
	return r;
}

static int run_down(struct dink_args *args, struct dink_err *err)
{
	const struct down_opts *o = args->opts;
	_cleanup_(steps_view_freep) struct steps_view *view = steps_view_new(args->quiet);
	_cleanup_strv_ struct dink_strv names = {};
	int r = 0;

	if (o->all == (args->n > 0)) {
		dink_err_set(err, DINK_E_USAGE, 0, "name what to take down, or give --all");
		return dink_err_hint(err, "dink status lists the instances");
	}
	dink_catch_interrupts();
	if (o->all)
		r = dink_instance_list(&names, err);
	for (int i = 0; r == 0 && i < args->n; i++) {
		char *name = NULL;

		r = name_of(args->v[i], &name, err);
		if (r == 0)
			dink_strv_own(&names, name);
	}
	return r < 0 ? r : down_all(o, &names, view, err);
}

const struct dink_command cmd_down = {
	.name = "down",
	.operands = "[NAME|SCENARIO]...",
	.summary = "take instances down; nothing is left but their disks",
	.examples = "  dink down docker-in-kata\n"
		    "  dink down --volumes docker-in-kata   and its disks\n"
		    "  dink down --all\n",
	.opts = down_options,
	.opts_size = sizeof(struct down_opts),
	.max_args = -1,
	.complete = DINK_COMPLETE_INSTANCE,
	.run = run_down,
};
