/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink trace: strace of a command in a layer, at any depth.
 *
 * strace starts the command itself and traces its own child, which takes no capability and no
 * namespace of anybody else: just the layer's own privileges, with ptrace in its filter, where
 * engines have it since Linux 4.8. So nothing is granted for the run, in a VM neither. Where the
 * image has no strace, the host's is put into the layer's /tmp with its loader and libraries, and
 * removed again.
 */
#include "cmd/dink/attach.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"
#include "provision/engine/copy.h"

#include <sys/stat.h>

struct trace_opts {
	struct dink_strv expr;
	bool count;
	const char *user;
};

enum { ANSWER_MAX = 64 << 10 };

/* Whether the layer has one. Asked of its shell: a program that is not there is an error in the
 * engine's log. */
static bool has_strace(const struct dink_reach *reach)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *out = NULL;
	char *argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char[]){"command -v strace"}, NULL};

	return dink_engine_exec_capture(reach->parent, reach->container, argv, ANSWER_MAX, &out,
					&quiet) == 0;
}

static int copy_file(const char *from, const char *dir, const char *name, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "cp", "-L", from, NULL);
	dink_strv_addf(&cmd.argv, "%s/%s", dir, name);
	return dink_cmd_run(&cmd, err);
}

/* One line of ldd's: "libc.so.6 => /lib/libc.so.6 (0x...)" or the loader's "/lib64/ld.so (0x...)". */
static int copy_line(char *line, const char *dir, struct dink_err *err)
{
	char *arrow = strstr(line, "=> "), *path = arrow ? arrow + 3 : line, *base;

	path += strspn(path, " \t");
	path[strcspn(path, " ")] = '\0';
	if (path[0] != '/')
		return 0; /* the kernel's own vdso */
	base = strrchr(path, '/') + 1;
	return copy_file(path, dir, dink_starts_with(base, "ld-") ? "ld.so" : base, err);
}

/* The host's strace and all that it loads, in a folder. */
static int pack_strace(const char *dir, struct dink_err *err)
{
	_cleanup_free_ char *strace = dink_which("strace");
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	char *rest;
	int r;

	if (!strace) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "neither the layer nor the host has strace");
		return dink_err_hint(err, "apt-get install strace");
	}
	dink_cmd_argv(&cmd, "ldd", strace, NULL);
	r = dink_cmd_run(&cmd, err);
	rest = cmd.output;
	for (char *line; r == 0 && (line = strsep(&rest, "\n"));)
		r = copy_line(line, dir, err);
	return r < 0 ? r : copy_file(strace, dir, "strace", err);
}

/* Into the layer's /tmp; *ret_dir is the folder there. */
static int put_strace(const struct dink_reach *reach, char **ret_dir, struct dink_err *err)
{
	_cleanup_free_ char *dir = dink_temp_path("/tmp", "dink-trace-XXXXXX");
	_cleanup_(dink_err_clear) struct dink_err second = {};
	struct dink_copy_layer to = {reach->parent, reach->container, reach->block_root};
	int r;

	if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make %s", dir);
	r = pack_strace(dir, err);
	if (r == 0)
		r = dink_copy_in(dir, &to, "/tmp/", err);
	if (r < 0)
		dink_err_push(err, "putting strace into the layer");
	else
		*ret_dir = xasprintf("/tmp%s", strrchr(dir, '/'));
	(void)!dink_rm_rf(dir, &second);
	return r;
}

static void remove_strace(const struct dink_reach *reach, char *dir)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *out = NULL;
	char *argv[] = {(char[]){"rm"}, (char[]){"-r"}, dir, NULL};

	(void)!dink_engine_exec_capture(reach->parent, reach->container, argv, ANSWER_MAX, &out,
					&quiet);
}

static void make_argv(const struct trace_opts *o, const char *dir, char **command,
		      struct dink_strv *argv)
{
	if (dir) {
		dink_strv_addf(argv, "%s/ld.so", dir);
		dink_strv_addl(argv, "--library-path", dir, NULL);
		dink_strv_addf(argv, "%s/strace", dir);
	} else {
		dink_strv_add(argv, "strace");
	}
	dink_strv_addl(argv, "-f", o->count ? "-c" : "-qq", NULL);
	for (size_t i = 0; i < o->expr.n; i++)
		dink_strv_addl(argv, "-e", o->expr.v[i], NULL);
	dink_strv_add(argv, "--");
	dink_strv_addv(argv, command);
}

static int trace_in(struct dink_args *args, struct dink_err *err)
{
	const struct trace_opts *o = args->opts;
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_strv_ struct dink_strv argv = {};
	_cleanup_free_ char *dir = NULL;
	struct cmd_run run = {.user = o->user};
	int r = cmd_reach(args->v[0], &reach, err);

	if (r < 0)
		return r;
	dink_catch_interrupts();
	if (!has_strace(&reach)) {
		r = put_strace(&reach, &dir, err);
		if (r < 0)
			return r;
	}
	make_argv(o, dir, args->v + 1, &argv);
	run.argv = argv.v;
	r = cmd_run_in_layer(&reach, &run, err);
	if (dir)
		remove_strace(&reach, dir);
	return r;
}

static int run_trace(struct dink_args *args, struct dink_err *err)
{
	int r = trace_in(args, err);

	/* 125 is ours, everything else the command's */
	if (dink_err_is_set(err) && err->code != DINK_E_INTR)
		err->code = DINK_E_WORKLOAD;
	return r;
}

static const struct dink_opt trace_options[] = {
	{'e', "expr", DINK_OPT_STRV, offsetof(struct trace_opts, expr), "EXPR",
	 "what to trace, as strace has it: trace=openat,mount", DINK_COMPLETE_NONE},
	{'c', "count", DINK_OPT_FLAG, offsetof(struct trace_opts, count), NULL,
	 "a table of the calls instead of each", DINK_COMPLETE_NONE},
	{'u', "user", DINK_OPT_STRING, offsetof(struct trace_opts, user), "USER[:GROUP]",
	 "the command's user", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_trace = {
	.name = "trace",
	.operands = "LAYER [--] COMMAND [ARG...]",
	.summary = "show a command's system calls in a layer (strace)",
	.examples = "  dink trace docker-in-kata/proxy/kata -- mount -t proc proc /mnt\n"
		    "  dink trace -e trace=openat -e status=failed x/box -- true\n"
		    "  dink trace -c x/box -- ls 2>table\n",
	.opts = trace_options,
	.opts_size = sizeof(struct trace_opts),
	.min_args = 2,
	.max_args = -1,
	.takes_command = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_trace,
};
