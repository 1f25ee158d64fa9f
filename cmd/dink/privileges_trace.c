/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink privileges trace LAYER -- COMMAND: run a command in a layer that is up, and say what it used
 * of what the layer was granted.
 *
 * `dink exec` starts a shell there that stops itself; the supervisor takes hold of it from the
 * host, and the shell then becomes the command.
 */
#include "cmd/dink/attach.h"

#include "provision/base/dirs.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/privilege/privilege.h"
#include "provision/privilege/trace.h"
#include "provision/step/instance.h"

#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { START_MS = 15000 };

struct options {
	const char *user;
};

/* ---- which layer, and what it was granted ---- */

/* Its processes are seen from the host only where no kernel but the host's is between. */
static int check_walls(const char *address, struct dink_err *err)
{
	_cleanup_free_ char *name = xstrndup(address, strcspn(address, "/"));
	_cleanup_(dink_instance_freep) struct dink_instance *i = NULL;
	int r = dink_instance_load(name, &i, err);

	for (size_t k = 0; r == 0 && k < i->n_layers; k++) {
		const struct dink_layer_state *l = &i->layers[k];
		size_t n = strlen(l->address);

		if (strncmp(address, l->address, n) != 0 || (address[n] && address[n] != '/'))
			continue;
		if (!STREQ(l->runtime, "runc") && !STREQ(l->runtime, "crun")) {
			dink_err_set(err, DINK_E_HOST, 0,
				     "%s runs under %s: what happens there is not seen from here",
				     l->address, l->runtime);
			return dink_err_hint(err, "trace a layer outside of it, or run dink and "
						  "the layers in it there");
		}
	}
	return r;
}

/* ---- the run ---- */

static int run_traced(struct dink_args *args, struct dink_trace *t, int *ret_status,
		      struct dink_err *err)
{
	const struct options *o = args->opts;
	_cleanup_(dink_cmd_clear) struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *token =
		xasprintf("DINK_TRACE=%d.%lld", (int)getpid(), (long long)time(NULL));
	_cleanup_free_ char *program = xasprintf("%s/dink", dink_program_dir());
	pid_t starter = 0, pid = 0;
	int r;

	dink_cmd_argv(&cmd, program, "exec", "-i", "-e", token, NULL);
	if (o->user)
		dink_strv_addl(&cmd.argv, "-u", o->user, NULL);
	dink_strv_addl(&cmd.argv, args->v[0], "--", "/bin/sh", "-c",
		       "kill -STOP $$; unset DINK_TRACE; exec \"$@\"", "sh", NULL);
	dink_strv_addv(&cmd.argv, args->v + 1);
	cmd.in = STDIN_FILENO;
	/* with --json its output must not be in the JSON's way */
	cmd.out = args->json ? STDERR_FILENO : STDOUT_FILENO;
	cmd.errfd = STDERR_FILENO;
	r = dink_cmd_spawn(&cmd, &starter, NULL, err);
	if (r < 0)
		return r;
	r = dink_trace_find(token, START_MS, &pid, err);
	if (r == 0)
		r = dink_trace_run(pid, starter, t, ret_status, err);
	if (r < 0) {
		if (pid > 0)
			(void)kill(pid, SIGCONT);
		(void)kill(starter, SIGTERM);
		(void)waitpid(starter, ret_status, 0);
	}
	return r;
}

/* ---- the answer ---- */

static char *call_name(int nr)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

	return name ? name : xasprintf("%d", nr);
}

static bool is_default(int cap)
{
	for (const int *c = dink_default_capabilities; *c >= 0; c++)
		if (*c == cap)
			return true;
	return false;
}

static char *cap_calls(const struct dink_trace_cap *c)
{
	_cleanup_strv_ struct dink_strv names = {};

	for (size_t i = 0; i < c->n_calls; i++)
		dink_strv_own(&names, call_name(c->calls[i]));
	return dink_strv_join(&names, ", ");
}

/* Whether the command used it; *ret_known: whether that can be told. */
static bool was_used(const struct dink_trace *t, struct json_object *grant, bool *ret_known)
{
	const char *what = dink_json_str_or(grant, "what", "");
	int n;

	*ret_known = true;
	switch (dink_grant_kind_from_name(dink_json_str_or(grant, "kind", ""))) {
	case DINK_GRANT_CAPABILITY:
		n = dink_capability_from_name(what);
		*ret_known = !t->no_caps;
		return n >= 0 && n < DINK_TRACE_CAPS && t->caps[n].used;
	case DINK_GRANT_SYSCALL:
		n = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, what);
		return n >= 0 && n < DINK_TRACE_CALLS && t->calls[n];
	case DINK_GRANT_DEVICE:
		for (size_t i = 0; i < t->devices.n; i++)
			if (strncmp(t->devices.v[i], what, strcspn(what, " ") + 1) == 0)
				return true;
		return false;
	default:
		*ret_known = false;
		return false;
	}
}

static void print_caps(const struct dink_trace *t)
{
	if (t->no_caps)
		printf("capabilities cannot be seen: %s\n", t->no_caps);
	for (int c = 0; c < DINK_TRACE_CAPS; c++) {
		const struct dink_trace_cap *cap = &t->caps[c];
		_cleanup_free_ char *calls = cap_calls(cap);
		const char *name = dink_capability_name(c);

		if (!cap->used && !cap->refused)
			continue;
		printf("capability  %-20s %s by %s%s\n", name ? name : "?",
		       cap->used ? "used" : "refused", calls,
		       cap->used && is_default(c) ? " (one of the default ones)" : "");
	}
}

static void print_trace(const struct dink_trace *t, struct json_object *grants)
{
	unsigned int different = 0;

	printf("\n");
	print_caps(t);
	for (size_t i = 0; i < t->devices.n; i++)
		printf("device      %s\n", t->devices.v[i]);
	for (int nr = 0; nr < DINK_TRACE_CALLS; nr++) {
		_cleanup_free_ char *name = t->refused[nr] ? call_name(nr) : NULL;

		different += t->calls[nr] > 0;
		if (name)
			printf("refused     %-20s %u of %u times (EPERM or ENOSYS)\n", name,
			       t->refused[nr], t->calls[nr]);
	}
	printf("%u different system calls\n", different);
	for (size_t i = 0; i < dink_json_len(grants, ""); i++) {
		struct json_object *g = json_object_array_get_idx(grants, i);
		bool known, used = was_used(t, g, &known);

		if (known)
			printf("granted     %-12s %-24s %s\n", dink_json_str_or(g, "kind", ""),
			       dink_json_str_or(g, "what", ""), used ? "used" : "not used by this");
	}
}

static struct json_object *caps_to_json(const struct dink_trace *t)
{
	struct json_object *list = json_object_new_array();

	for (int c = 0; c < DINK_TRACE_CAPS; c++) {
		const struct dink_trace_cap *cap = &t->caps[c];
		_cleanup_strv_ struct dink_strv names = {};
		struct json_object *o;

		if (!cap->used && !cap->refused)
			continue;
		for (size_t i = 0; i < cap->n_calls; i++)
			dink_strv_own(&names, call_name(cap->calls[i]));
		o = dink_json_new();
		dink_json_set_str(o, "capability", dink_capability_name(c));
		dink_json_set_int(o, "used", cap->used);
		dink_json_set_int(o, "refused", cap->refused);
		dink_json_set(o, "by", dink_json_strv(&names));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *grants_to_json(const struct dink_trace *t, struct json_object *grants)
{
	static const char *const keys[] = {"kind", "what", NULL};
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < dink_json_len(grants, ""); i++) {
		struct json_object *g = json_object_array_get_idx(grants, i), *o;
		bool known, used = was_used(t, g, &known);

		if (!known)
			continue;
		o = dink_json_new();
		dink_json_copy(o, g, keys);
		dink_json_set_bool(o, "used", used);
		json_object_array_add(list, o);
	}
	return list;
}

static void print_json(const struct dink_trace *t, struct json_object *grants, int code)
{
	struct json_object *o = dink_json_new(), *calls = dink_json_new();
	struct json_object *refused = dink_json_new();

	for (int nr = 0; nr < DINK_TRACE_CALLS; nr++) {
		_cleanup_free_ char *name = t->calls[nr] ? call_name(nr) : NULL;

		if (!name)
			continue;
		json_object_object_add(calls, name, json_object_new_int64(t->calls[nr]));
		if (t->refused[nr])
			json_object_object_add(refused, name,
					       json_object_new_int64(t->refused[nr]));
	}
	dink_json_set_int(o, "exit", code);
	if (!t->no_caps)
		dink_json_set(o, "capabilities", caps_to_json(t));
	else
		dink_json_set_str(o, "capabilities_unseen", t->no_caps);
	dink_json_set(o, "devices", dink_json_strv(&t->devices));
	dink_json_set(o, "syscalls", calls);
	dink_json_set(o, "refused", refused);
	dink_json_set(o, "granted", grants_to_json(t, grants));
	cmd_print_json(o);
}

static int run_trace(struct dink_args *args, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_(dink_trace_clear) struct dink_trace t = {};
	_cleanup_json_ struct json_object *plan = NULL;
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	struct json_object *grants;
	int status = 0, code, r;

	dink_catch_interrupts();
	r = cmd_reach(args->v[0], &reach, err);
	if (r == 0)
		r = check_walls(args->v[0], err);
	/* where the plan is not there what was granted is left out */
	if (r == 0)
		(void)!dink_instance_plan(args->v[0], &plan, &quiet);
	if (r == 0)
		r = run_traced(args, &t, &status, err);
	if (r < 0)
		return r;
	grants = dink_json_get(dink_json_find(plan, "layers", "path", args->v[0]), "privileges");
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	fflush(stdout);
	if (args->json)
		print_json(&t, grants, code);
	else
		print_trace(&t, grants);
	return code;
}

static const struct dink_opt trace_opts[] = {
	{'u', "user", DINK_OPT_STRING, offsetof(struct options, user), "USER[:GROUP]",
	 "the command's user", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_privileges_trace = {
	.name = "privileges trace",
	.operands = "LAYER [--] COMMAND [ARG...]",
	.summary = "run a command in a layer and say which privileges it used",
	.examples = "  dink privileges trace docker-in-docker/docker -- mount -t tmpfs none /mnt\n",
	.opts = trace_opts,
	.opts_size = sizeof(struct options),
	.min_args = 2,
	.max_args = -1,
	.has_json = true,
	.takes_command = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_trace,
};
