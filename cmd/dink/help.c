/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, all made from the command and option tables. */
#include "cmd/dink/cmd.h"

static void print_opt(FILE *out, const struct dink_opt *o)
{
	_cleanup_free_ char *left = NULL;
	char short_text[8] = "    ";

	if (o->short_name)
		snprintf(short_text, sizeof(short_text), "-%c, ", o->short_name);
	left = xasprintf("%s--%s%s%s", short_text, o->long_name, o->metavar ? " " : "",
			 o->metavar ? o->metavar : "");
	fprintf(out, "  %-28s %s\n", left, o->help);
}

void cmd_print_help(FILE *out, const struct dink_command *c)
{
	fprintf(out, "Usage: dink %s [OPTION...]%s%s\n\n%s\n\nOptions:\n", c->name,
		*c->operands ? " " : "", c->operands, c->summary ? c->summary : "");
	for (const struct dink_opt *o = c->opts; o && o->long_name; o++)
		print_opt(out, o);
	for (const struct dink_opt *o = cmd_common_opts; o->long_name; o++)
		if (!STREQ(o->long_name, "json") || c->has_json)
			print_opt(out, o);
	if (c->examples)
		fprintf(out, "\nExamples:\n%s", c->examples);
}

void cmd_print_overview(FILE *out)
{
	fputs("dink - nested container environments from one YAML file\n\n"
	      "Usage: dink COMMAND [OPTION...] [ARGUMENT...]\n\n"
	      "Commands:\n",
	      out);
	for (const struct dink_command *const *c = cmd_table; *c; c++)
		if ((*c)->summary)
			fprintf(out, "  %-20s %s\n", (*c)->name, (*c)->summary);
	fputs("\nA layer is named by its path: docker-in-kata/proxy/kata/inner.\n"
	      "Exit codes: 0 done, 2 usage, 3 scenario, 4 the host cannot, 5 a program failed, 6 "
	      "busy,\n"
	      "7 state damaged, 70 a defect in dink, 130 interrupted; exec and shell give the "
	      "command's\n"
	      "own, 125 ours.\n"
	      "dink COMMAND --help shows more; see also dink(1) and dink-scenario(5).\n",
	      out);
}

static int run_help(struct dink_args *args, struct dink_err *err)
{
	const struct dink_command *c;
	int words;

	if (args->n == 0) {
		cmd_print_overview(stdout);
		return 0;
	}
	c = cmd_find(args->v, args->n, &words);
	if (!c && args->n == 1 && cmd_print_group(stdout, args->v[0]))
		return 0;
	if (!c)
		return cmd_unknown(args->v, args->n, err);
	cmd_print_help(stdout, c);
	return 0;
}

const struct dink_command cmd_help = {
	.name = "help",
	.operands = "[COMMAND]",
	.summary = "show what commands there are, or one command's options",
	.examples = "  dink help up\n",
	.max_args = 2,
	.run = run_help,
};
