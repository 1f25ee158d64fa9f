/* SPDX-License-Identifier: Apache-2.0 */
/* dink shell: bash in a layer if it has one, else sh. */
#include "cmd/dink/attach.h"

struct shell_opts {
	const char *user;
};

int cmd_open_shell(const char *address, const char *user, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_strv_ struct dink_strv argv = {};
	struct cmd_run run = {
		.user = user,
		.tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO),
		.stdin_open = true,
	};
	int r = cmd_reach(address, &reach, err);

	dink_strv_addl(&argv, "/bin/sh", "-c",
		       "command -v bash >/dev/null && exec bash -l; exec sh -l", NULL);
	run.argv = argv.v;
	if (r == 0)
		r = cmd_run_in_layer(&reach, &run, err);
	if (dink_err_is_set(err) && err->code != DINK_E_INTR)
		err->code = DINK_E_WORKLOAD;
	return r;
}

static int run_shell(struct dink_args *args, struct dink_err *err)
{
	struct shell_opts *o = args->opts;

	return cmd_open_shell(args->v[0], o->user, err);
}

static const struct dink_opt shell_options[] = {
	{'u', "user", DINK_OPT_STRING, offsetof(struct shell_opts, user), "USER[:GROUP]",
	 "the shell's user", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_shell = {
	.name = "shell",
	.operands = "LAYER",
	.summary = "open a shell in a layer",
	.examples = "  dink shell docker-in-kata/proxy/kata/inner\n",
	.opts = shell_options,
	.opts_size = sizeof(struct shell_opts),
	.min_args = 1,
	.max_args = 1,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_shell,
};
