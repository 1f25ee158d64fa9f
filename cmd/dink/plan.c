/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"

#include "provision/base/json.h"
#include "provision/plan/plan.h"

struct plan_opts {
	const char *facts;
};

static const struct dink_opt plan_options[] = {
	{0, "facts", DINK_OPT_STRING, offsetof(struct plan_opts, facts), "FILE",
	 "plan for the host saved in FILE (dink doctor --save)", DINK_COMPLETE_FILE},
	{},
};

static int run_plan(struct dink_args *args, struct dink_err *err)
{
	const struct plan_opts *o = args->opts;
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL;
	_cleanup_(dink_plan_freep) struct dink_plan *p = NULL;
	_cleanup_free_ char *text = NULL;
	int r = cmd_load_scenario(args->n ? args->v[0] : NULL, &s, err);

	if (r < 0)
		return r;
	if (o->facts)
		r = dink_facts_load(o->facts, &f, err);
	else
		r = dink_facts_probe(0, &args->progress, &f, err);
	if (r == 0)
		r = dink_plan_make(s, f, &p, err);
	if (r < 0)
		return r;
	if (args->json) {
		cmd_print_json(dink_plan_to_json(p));
		return 0;
	}
	text = dink_plan_text(p);
	fputs(text, stdout);
	return 0;
}

const struct dink_command cmd_plan = {
	.name = "plan",
	.operands = "[SCENARIO]",
	.summary = "say what up would do here, and touch nothing",
	.examples = "  dink plan scenarios/docker-in-kata.yaml\n"
		    "  dink plan --facts other-host.json x.yaml   as on another host\n",
	.opts = plan_options,
	.opts_size = sizeof(struct plan_opts),
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_plan,
};
