/* SPDX-License-Identifier: Apache-2.0 */
/* dink exec: a command in a layer at any depth; its exit code is ours. */
#include "cmd/dink/attach.h"

struct exec_opts {
	bool interactive, tty, no_tty;
	struct dink_strv env;
	const char *workdir;
	const char *user;
};

static int run_in(struct dink_args *args, struct dink_err *err)
{
	struct exec_opts *o = args->opts;
	_cleanup_reach_ struct dink_reach reach = {};
	bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	struct cmd_run run = {
		.argv = args->v + 1,
		.user = o->user,
		.workdir = o->workdir,
		.tty = !o->no_tty && (o->tty || terminal),
	};
	_cleanup_strv_ struct dink_strv env = {};

	for (size_t i = 0; i < o->env.n; i++) {
		const char *e = o->env.v[i], *value = strchr(e, '=') ? NULL : getenv(e);

		if (strchr(e, '='))
			dink_strv_add(&env, e);
		else if (value) /* as with docker: the name alone passes ours on */
			dink_strv_addf(&env, "%s=%s", e, value);
	}
	run.env = env.v;
	/* without -i a loop that reads its stdin does not lose it to us */
	run.stdin_open = o->interactive || (run.tty && terminal);
	if (cmd_reach(args->v[0], &reach, err) < 0)
		return -EINVAL;
	return cmd_run_in_layer(&reach, &run, err);
}

static int run_exec(struct dink_args *args, struct dink_err *err)
{
	int r = run_in(args, err);

	/* 125 is ours, everything else the command's */
	if (dink_err_is_set(err) && err->code != DINK_E_INTR)
		err->code = DINK_E_WORKLOAD;
	return r;
}

static const struct dink_opt exec_options[] = {
	{'i', "interactive", DINK_OPT_FLAG, offsetof(struct exec_opts, interactive), NULL,
	 "pass standard input on (a terminal is passed anyway)", DINK_COMPLETE_NONE},
	{'t', "tty", DINK_OPT_FLAG, offsetof(struct exec_opts, tty), NULL,
	 "allocate a terminal even if ours is none", DINK_COMPLETE_NONE},
	{'T', "no-tty", DINK_OPT_FLAG, offsetof(struct exec_opts, no_tty), NULL,
	 "never allocate a terminal", DINK_COMPLETE_NONE},
	{'e', "env", DINK_OPT_STRV, offsetof(struct exec_opts, env), "NAME[=VALUE]",
	 "set a variable of the command; without a value pass ours on", DINK_COMPLETE_NONE},
	{'w', "workdir", DINK_OPT_STRING, offsetof(struct exec_opts, workdir), "DIR",
	 "the command's working directory", DINK_COMPLETE_NONE},
	{'u', "user", DINK_OPT_STRING, offsetof(struct exec_opts, user), "USER[:GROUP]",
	 "the command's user", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_exec = {
	.name = "exec",
	.operands = "LAYER [--] COMMAND [ARG...]",
	.summary = "run a command in a layer",
	.examples = "  dink exec docker-in-kata/proxy/kata/inner -- cat /etc/os-release\n"
		    "  tar -c . | dink exec -i docker-in-kata/proxy -- tar -xC /tmp\n",
	.opts = exec_options,
	.opts_size = sizeof(struct exec_opts),
	.min_args = 2,
	.max_args = -1,
	.takes_command = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_exec,
};
