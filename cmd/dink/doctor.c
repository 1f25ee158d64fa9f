/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink doctor: what this host (or a saved one) can and cannot do, and the command that mends it.
 * Runs none of those commands.
 */
#include "cmd/dink/cmd.h"
#include "provision/plan/host_check.h"

#include "provision/base/json.h"

struct options {
	const char *save, *facts;
};

static const char *const state_words[] = {
	[DINK_CHECK_OK] = "ok",
	[DINK_CHECK_WARN] = "warn",
	[DINK_CHECK_FAIL] = "FAIL",
};

static void print_check(const struct dink_check *k, bool color)
{
	static const char *const colors[] = {"\033[32m", "\033[33m", "\033[1;31m"};
	const char *word = state_words[k->state];

	printf("%s[%s]%s%*s %-18s %s\n", color ? colors[k->state] : "", word,
	       color ? "\033[0m" : "", 4 - (int)strlen(word), "", k->name, k->detail);
	if (k->state == DINK_CHECK_OK)
		return;
	printf("       %-18s affects: %s\n", "", k->affects);
	if (k->mend)
		printf("       %-18s mend:    %s\n", "", k->mend);
}

static void print_text(const struct dink_checks *c, const struct dink_scenario *s)
{
	bool color = cmd_color(1);
	size_t warn = dink_checks_count(c, DINK_CHECK_WARN),
	       fail = dink_checks_count(c, DINK_CHECK_FAIL);

	for (size_t i = 0; i < c->n; i++)
		print_check(&c->list[i], color);
	printf("\n%s: %zu ok, %zu to know about", s ? s->name : "this host", c->n - warn - fail,
	       warn);
	if (!s)
		printf("\n");
	else if (fail)
		printf(", %zu missing: it cannot run here\n", fail);
	else
		printf(": it can run here\n");
}

static void print_json(const struct dink_checks *c, const struct dink_scenario *s,
		       const struct dink_facts *f)
{
	struct json_object *o = dink_json_new(), *list = json_object_new_array();

	for (size_t i = 0; i < c->n; i++) {
		const struct dink_check *k = &c->list[i];
		struct json_object *e = dink_json_new();

		dink_json_set_str(e, "name", k->name);
		dink_json_set_str(e, "state",
				  k->state == DINK_CHECK_FAIL ? "fail" : state_words[k->state]);
		dink_json_set_str(e, "detail", k->detail);
		dink_json_set_str(e, "affects", k->affects);
		dink_json_set_str(e, "mend", k->mend);
		json_object_array_add(list, e);
	}
	dink_json_set_str(o, "scenario", s ? s->name : NULL);
	dink_json_set_bool(o, "usable", dink_checks_count(c, DINK_CHECK_FAIL) == 0);
	dink_json_set(o, "checks", list);
	dink_json_set(o, "facts", dink_facts_to_json(f));
	cmd_print_json(o);
}

static int run_doctor(struct dink_args *args, struct dink_err *err)
{
	const struct options *opts = args->opts;
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL;
	_cleanup_(dink_checks_clear) struct dink_checks checks = {};
	int r;

	if (args->n && (r = cmd_load_scenario(args->v[0], &s, err)) < 0)
		return r;
	if (opts->facts)
		r = dink_facts_load(opts->facts, &f, err);
	else
		r = dink_facts_probe(DINK_PROBE_KVM | DINK_PROBE_VERSIONS, &args->progress, &f,
				     err);
	if (r < 0)
		return r;
	if (opts->save && (r = dink_facts_save(f, opts->save, err)) < 0)
		return r;
	dink_check_host(f, s, &checks);
	if (args->json)
		print_json(&checks, s, f);
	else
		print_text(&checks, s);
	return dink_checks_count(&checks, DINK_CHECK_FAIL) ? DINK_E_HOST : 0;
}

static const struct dink_opt doctor_opts[] = {
	{0, "save", DINK_OPT_STRING, offsetof(struct options, save), "FILE",
	 "keep what was found, for --facts here and in dink plan", DINK_COMPLETE_FILE},
	{0, "facts", DINK_OPT_STRING, offsetof(struct options, facts), "FILE",
	 "judge a saved host instead of this one", DINK_COMPLETE_FILE},
	{},
};

const struct dink_command cmd_doctor = {
	.name = "doctor",
	.operands = "[SCENARIO]",
	.summary = "say what this host can do, and how to mend what it cannot",
	.examples = "  dink doctor                               everything dink can use\n"
		    "  dink doctor scenarios/docker-in-kata.yaml exit 4 if it cannot run here\n"
		    "  dink doctor --save laptop.json            a host to plan for elsewhere\n",
	.opts = doctor_opts,
	.opts_size = sizeof(struct options),
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_doctor,
};
