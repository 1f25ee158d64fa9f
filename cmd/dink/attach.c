/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal side of exec and shell: raw mode, which is undone on every way out, the window's
 * size, and signals for commands that the Engine API cannot signal.
 */
#include "cmd/dink/attach.h"

#include "provision/base/proc.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>

static struct termios saved_mode;
static bool is_raw;

static void restore_terminal(void)
{
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_mode);
	is_raw = false;
}

/* A signal that would end us at once: the terminal first. tcsetattr() is safe in a handler. */
static void restore_and_die(int sig)
{
	restore_terminal();
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

static void set_raw(void)
{
	static const int deadly[] = {SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved_mode) < 0)
		return;
	raw = saved_mode;
	cfmakeraw(&raw);
	if (atexit(restore_terminal) != 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		(void)signal(deadly[i], restore_and_die);
	is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static int open_winch(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cmd_reach_layer(const char *address, struct dink_reach *ret, struct dink_err *err)
{
	int r = dink_instance_reach(address, ret, err);

	if (r < 0 || ret->container)
		return r;
	(void)dink_err_set(err, DINK_E_USAGE, 0, "%s is an instance, not a layer", address);
	return dink_err_hint(err, "dink status %s lists its layers", address);
}

int cmd_reach(const char *address, struct dink_reach *ret, struct dink_err *err)
{
	int r = cmd_reach_layer(address, ret, err);

	if (r < 0)
		return r;
	if (!ret->running) {
		(void)dink_err_set(err, DINK_E_HOST, ESRCH, "%s does not run", address);
		return dink_err_hint(err, "dink logs %s", address);
	}
	return 0;
}

/*
 * A process of an engine below a VM: no /proc of ours shows it, but the layer that the engine runs
 * in has it in its own pid namespace, under the very pid that the engine names. So a kill is run
 * there, by the engine one level further out.
 */
static int signal_from_layer(void *ctx, int64_t pid, int sig)
{
	const struct dink_reach *reach = ctx;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *out = NULL, *script = NULL;
	_cleanup_strv_ struct dink_strv argv = {};
	const struct dink_reach_hop *layer, *outer;
	int r;

	if (reach->n_hops < 3 || pid <= 0)
		return -EOPNOTSUPP;
	layer = &reach->hops[reach->n_hops - 2];
	outer = &reach->hops[reach->n_hops - 3];
	/* the process leads its session and group: its children are meant, too */
	/* no "--": dash does not know it */
	script = xasprintf("kill -%d -%lld || kill -%d %lld", sig, (long long)pid, sig,
			   (long long)pid);
	dink_strv_addl(&argv, "/bin/sh", "-c", script, NULL);
	r = dink_engine_exec_capture(outer->engine, layer->container, argv.v, 4096, &out, &ignored);
	return r == 0 ? 0 : -EOPNOTSUPP;
}

static void add_term(struct dink_strv *env)
{
	const char *term = getenv("TERM");

	for (size_t i = 0; i < env->n; i++)
		if (dink_starts_with(env->v[i], "TERM="))
			return;
	if (term && *term)
		dink_strv_addf(env, "TERM=%s", term);
}

/*
 * The engine looks names of users up in the files that it sees, and a layer with a block root has
 * none there: so they are looked up inside. NULL: err is set.
 */
static char *find_user(const struct dink_reach *reach, const char *user, struct dink_err *err)
{
	_cleanup_free_ char *name = xstrndup(user, strcspn(user, ":")), *out = NULL;
	_cleanup_strv_ struct dink_strv argv = {};
	const char *group = strchr(user, ':');
	long long uid, gid;
	int r;

	if (!reach->block_root || name[strspn(name, "0123456789")] == '\0')
		return xstrdup(user);
	dink_strv_addl(&argv, "/bin/sh", "-c", "id -u -- \"$1\" && id -g -- \"$1\"", "sh", name,
		       NULL);
	r = dink_engine_exec_capture(reach->parent, reach->container, argv.v, 4096, &out, err);
	if (r < 0)
		return NULL;
	if (r > 0 || sscanf(out, "%lld %lld", &uid, &gid) != 2) {
		(void)dink_err_set(err, DINK_E_USAGE, 0, "there is no user %s in the layer", name);
		return NULL;
	}
	return group ? xasprintf("%lld%s", uid, group) : xasprintf("%lld:%lld", uid, gid);
}

int cmd_run_in_layer(const struct dink_reach *reach, const struct cmd_run *run,
		     struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv env = {};
	struct dink_exec x = {
		.container = reach->container,
		.argv = run->argv,
		.user = run->user,
		.workdir = run->workdir,
		.tty = run->tty,
		.stdin_open = run->stdin_open,
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.errfd = STDERR_FILENO,
		.winch_fd = run->tty ? open_winch() : -1,
		.signal_fn = signal_from_layer,
		.signal_ctx = (void *)reach,
	};
	_cleanup_free_ char *user = NULL;
	int r;

	if (run->user) {
		user = find_user(reach, run->user, err);
		if (!user)
			return -EINVAL;
		x.user = user;
	}
	dink_strv_addv(&env, run->env);
	if (run->tty)
		add_term(&env);
	x.env = env.v;
	dink_catch_interrupts();
	if (run->tty && run->stdin_open && isatty(STDIN_FILENO))
		set_raw();
	r = dink_engine_exec(reach->parent, &x, err);
	restore_terminal();
	if (x.winch_fd >= 0)
		close(x.winch_fd);
	return r;
}
