/* SPDX-License-Identifier: Apache-2.0 */
/* One option parser for all commands: tables in, a command's option struct out. */
#include "cmd/dink/cmd.h"

#include "provision/base/units.h"

const struct dink_opt cmd_common_opts[] = {
	{'h', "help", DINK_OPT_FLAG, offsetof(struct cmd_common, help), NULL, "show this help",
	 DINK_COMPLETE_NONE},
	{0, "json", DINK_OPT_FLAG, offsetof(struct cmd_common, json), NULL,
	 "print JSON on standard output", DINK_COMPLETE_NONE},
	{'q', "quiet", DINK_OPT_FLAG, offsetof(struct cmd_common, quiet), NULL,
	 "no progress on standard error", DINK_COMPLETE_NONE},
	{},
};

struct parse {
	struct dink_args *args;
	struct cmd_common *common;
	struct dink_err *err;
};

static const struct dink_opt *find_in(const struct dink_opt *opts, const char *name, size_t len,
				      char short_name)
{
	for (; opts && opts->long_name; opts++) {
		if (short_name && opts->short_name == short_name)
			return opts;
		if (!short_name && strlen(opts->long_name) == len &&
		    strncmp(opts->long_name, name, len) == 0)
			return opts;
	}
	return NULL;
}

/* The option and the struct its offset counts in; --json only where the command has it. */
static const struct dink_opt *find_option(struct parse *p, const char *name, size_t len,
					  char short_name, void **ret_base)
{
	const struct dink_opt *o = find_in(p->args->command->opts, name, len, short_name);

	*ret_base = p->args->opts;
	if (o)
		return o;
	*ret_base = p->common;
	o = find_in(cmd_common_opts, name, len, short_name);
	if (o && STREQ(o->long_name, "json") && !p->args->command->has_json)
		return NULL;
	return o;
}

static int usage(struct parse *p, const char *word, const char *why)
{
	dink_err_set(p->err, DINK_E_USAGE, 0, "%s: %s", word, why);
	return dink_err_hint(p->err, "dink %s --help", p->args->command->name);
}

static int unknown_option(struct parse *p, const char *word)
{
	const char *names[64];
	size_t n = 0;
	const char *near;
	_cleanup_free_ char *name = xstrndup(word + 2, strcspn(word + 2, "="));

	for (const struct dink_opt *o = p->args->command->opts; o && o->long_name && n < 60; o++)
		names[n++] = o->long_name;
	for (const struct dink_opt *o = cmd_common_opts; o->long_name; o++)
		if (!STREQ(o->long_name, "json") || p->args->command->has_json)
			names[n++] = o->long_name;
	names[n] = NULL;
	near = dink_starts_with(word, "--") ? dink_nearest(name, names) : NULL;
	dink_err_set(p->err, DINK_E_USAGE, 0, "dink %s has no option %s", p->args->command->name,
		     word);
	if (near)
		return dink_err_hint(p->err, "did you mean --%s?", near);
	return dink_err_hint(p->err, "dink %s --help", p->args->command->name);
}

static int store(struct parse *p, const struct dink_opt *o, void *base, const char *word,
		 const char *value)
{
	char *target = (char *)base + o->offset;
	char *end;

	switch (o->kind) {
	case DINK_OPT_FLAG:
		*(bool *)(void *)target = true;
		return 0;
	case DINK_OPT_STRING:
		*(const char **)(void *)target = value;
		return 0;
	case DINK_OPT_STRV:
		dink_strv_add((struct dink_strv *)(void *)target, value);
		return 0;
	case DINK_OPT_INT:
		errno = 0;
		*(int64_t *)(void *)target = strtoll(value, &end, 10);
		return errno || end == value || *end ? usage(p, word, "wants a whole number") : 0;
	case DINK_OPT_SIZE:
		return dink_parse_size(value, (uint64_t *)(void *)target) < 0
			       ? usage(p, word, "wants a size such as 512MiB or 10GiB")
			       : 0;
	case DINK_OPT_DURATION:
		return dink_parse_duration(value, (uint64_t *)(void *)target) < 0
			       ? usage(p, word, "wants a time such as 30s or 2m")
			       : 0;
	}
	return -EINVAL;
}

/* --name, --name=value, --name value. Returns words used beyond the first, or negative. */
static int parse_long(struct parse *p, char **argv)
{
	const char *name = argv[0] + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	void *base;
	const struct dink_opt *o = find_option(p, name, len, 0, &base);
	int r;

	if (!o)
		return unknown_option(p, argv[0]);
	if (o->kind == DINK_OPT_FLAG) {
		if (eq)
			return usage(p, argv[0], "takes no value");
		return store(p, o, base, argv[0], NULL);
	}
	if (eq)
		return store(p, o, base, argv[0], eq + 1);
	if (!argv[1])
		return usage(p, argv[0], "wants a value");
	r = store(p, o, base, argv[0], argv[1]);
	return r < 0 ? r : 1;
}

/* -abc, -n5, -n 5. */
static int parse_short(struct parse *p, char **argv)
{
	for (const char *c = argv[0] + 1; *c; c++) {
		void *base;
		const struct dink_opt *o = find_option(p, NULL, 0, *c, &base);
		int r;

		if (!o)
			return unknown_option(p, argv[0]);
		if (o->kind == DINK_OPT_FLAG) {
			r = store(p, o, base, argv[0], NULL);
			if (r < 0)
				return r;
			continue;
		}
		if (c[1])
			return store(p, o, base, argv[0], c + 1);
		if (!argv[1])
			return usage(p, argv[0], "wants a value");
		r = store(p, o, base, argv[0], argv[1]);
		return r < 0 ? r : 1;
	}
	return 0;
}

static int check_operands(struct parse *p)
{
	const struct dink_command *c = p->args->command;

	if (p->args->n < c->min_args)
		dink_err_set(p->err, DINK_E_USAGE, 0, "dink %s: too few arguments, it takes %s",
			     c->name, c->operands);
	else if (c->max_args >= 0 && p->args->n > c->max_args)
		dink_err_set(p->err, DINK_E_USAGE, 0,
			     "dink %s: too many arguments from '%s' on%s%s", c->name,
			     p->args->v[c->max_args], *c->operands ? ", it takes " : "",
			     c->operands);
	else
		return 0;
	return dink_err_hint(p->err, "dink %s --help", c->name);
}

static bool wants_json(int argc, char **argv)
{
	for (int i = 0; i < argc && !STREQ(argv[i], "--"); i++)
		if (STREQ(argv[i], "--json"))
			return true;
	return false;
}

int cmd_parse_options(struct dink_args *args, int argc, char **argv, struct dink_err *err)
{
	struct cmd_common common = {};
	struct parse p = {args, &common, err};
	bool dashes = false;

	args->v = xcalloc((size_t)argc + 1, sizeof(*args->v));
	args->n_before_dashes = -1;
	for (int i = 0; i < argc; i++) {
		bool command_began = args->command->takes_command && args->n >= 1 && !dashes;
		int r = 0;

		if (!dashes && STREQ(argv[i], "--")) {
			dashes = true;
			args->n_before_dashes = args->n;
			continue;
		}
		if (dashes || argv[i][0] != '-' || STREQ(argv[i], "-")) {
			args->v[args->n++] = argv[i];
			/* what follows LAYER COMMAND belongs to the command */
			dashes = dashes || command_began;
			continue;
		}
		r = argv[i][1] == '-' ? parse_long(&p, argv + i) : parse_short(&p, argv + i);
		if (r < 0) {
			/* who asked for JSON gets this error, too, as JSON */
			args->json = args->command->has_json && wants_json(argc, argv);
			return r;
		}
		i += r;
	}
	if (args->n_before_dashes < 0)
		args->n_before_dashes = args->n;
	args->json = common.json;
	args->quiet = common.quiet;
	if (common.help) {
		cmd_print_help(stdout, args->command);
		exit(0);
	}
	return check_operands(&p);
}
