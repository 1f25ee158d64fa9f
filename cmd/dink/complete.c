/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion. `dink complete bash` prints the script that a shell sources; the script asks
 * `dink complete words -- WORD...` (the last word is the one being typed) for candidates, which
 * come from the command and option tables and the instances there are.
 */
#include "cmd/dink/cmd.h"

#include "kernel-configs/kernel.h"
#include "provision/base/dirs.h"
#include "provision/base/json.h"
#include "provision/step/instance.h"

static const char bash_script[] =
	"# bash completion for dink; source it or put it into bash-completion/completions/dink\n"
	"_dink() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} line\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t@file) compopt -o default; return ;;\n"
	"\t\t@dir) compopt -o dirnames; return ;;\n"
	"\t\t\"$cur\"*) COMPREPLY+=(\"$line\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(dink complete words -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _dink dink\n";

/* Layer paths come from the plan that `up` left with the instance. */
static void offer_layers(const char *name)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *plan = NULL;
	struct json_object *layers;

	if (dink_instance_plan(name, &plan, &err) < 0)
		return;
	layers = dink_json_get(plan, "layers");
	for (size_t i = 0; i < dink_json_len(plan, "layers"); i++)
		puts(dink_json_str_or(json_object_array_get_idx(layers, i), "path", ""));
}

static void offer_instances(bool layers)
{
	_cleanup_free_ char *dir = xasprintf("%s/instances", dink_state_dir());
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (layers)
			offer_layers(e->d_name);
		else
			puts(e->d_name);
	}
}

static void offer(enum dink_complete what)
{
	switch (what) {
	case DINK_COMPLETE_NONE:
		return;
	case DINK_COMPLETE_FILE:
		puts("@file");
		return;
	case DINK_COMPLETE_DIR:
		puts("@dir");
		return;
	case DINK_COMPLETE_INSTANCE:
	case DINK_COMPLETE_LAYER:
		offer_instances(what == DINK_COMPLETE_LAYER);
		return;
	case DINK_COMPLETE_FEATURE:
		for (const char *const *f = dink_kernel_features(); *f; f++)
			puts(*f);
	}
}

static void offer_options(const struct dink_command *c)
{
	for (const struct dink_opt *o = c->opts; o && o->long_name; o++)
		printf("--%s\n", o->long_name);
	for (const struct dink_opt *o = cmd_common_opts; o->long_name; o++)
		if (!STREQ(o->long_name, "json") || c->has_json)
			printf("--%s\n", o->long_name);
}

static void offer_commands(const char *first)
{
	size_t n = first ? strlen(first) : 0;

	for (const struct dink_command *const *c = cmd_table; *c; c++) {
		const char *name = (*c)->name;

		if (!(*c)->summary)
			continue;
		if (!first)
			printf("%.*s\n", (int)strcspn(name, " "), name);
		else if (strncmp(name, first, n) == 0 && name[n] == ' ')
			puts(name + n + 1);
	}
}

/* The option that wants the word being typed as its value, if any. */
static const struct dink_opt *wants_value(const struct dink_command *c, const char *word)
{
	for (const struct dink_opt *o = c->opts; o && o->long_name; o++)
		if (o->kind != DINK_OPT_FLAG && dink_starts_with(word, "--") &&
		    STREQ(word + 2, o->long_name))
			return o;
	return NULL;
}

static void offer_for(char **words, int n)
{
	const struct dink_command *c;
	const struct dink_opt *o;
	int used = 0;

	if (n <= 1) {
		offer_commands(NULL);
		return;
	}
	c = cmd_find(words, n - 1, &used);
	if (!c) {
		if (n == 2)
			offer_commands(words[0]);
		return;
	}
	o = wants_value(c, words[n - 2]);
	if (o)
		offer(o->complete);
	else if (words[n - 1][0] == '-')
		offer_options(c);
	else
		offer(c->complete);
}

static int run_complete(struct dink_args *args, struct dink_err *err)
{
	if (args->n == 1 && STREQ(args->v[0], "bash")) {
		fputs(bash_script, stdout);
		return 0;
	}
	if (!STREQ(args->v[0], "words"))
		return dink_err_set(err, DINK_E_USAGE, 0, "there is completion for bash only");
	offer_for(args->v + 1, args->n - 1);
	return 0;
}

const struct dink_command cmd_complete = {
	.name = "complete",
	.operands = "bash|words [-- WORD...]",
	.examples = "  source <(dink complete bash)\n",
	.min_args = 1,
	.max_args = -1,
	.run = run_complete,
};
