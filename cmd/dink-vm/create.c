/* SPDX-License-Identifier: Apache-2.0 */
/* create and run. */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>

/* Ours are the host's kernel's: there is none of them in the guest. */
static int refuse_fds(const char *preserve, struct dink_err *err)
{
	if (!preserve || STREQ(preserve, "0"))
		return 0;
	return dink_err_set(err, DINK_E_USAGE, 0,
			    "--preserve-fds %s: open descriptors cannot be passed into a VM",
			    preserve);
}

int vm_create(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	struct vm_create_opts o = {};
	bool ignored = false;
	const char *preserve_fds = NULL, *id;
	pid_t pid;
	const struct vm_opt opts[] = {
		{'b', "bundle", VM_OPT_STRING, &o.bundle, NULL},
		{0, "console-socket", VM_OPT_STRING, &o.console_socket, NULL},
		{0, "pid-file", VM_OPT_STRING, &o.pid_file, NULL},
		/* about a pivot and a keyring that a container in a VM does not have */
		{0, "no-pivot", VM_OPT_FLAG, &ignored, NULL},
		{0, "no-new-keyring", VM_OPT_FLAG, &ignored, NULL},
		{0, "preserve-fds", VM_OPT_STRING, &preserve_fds, NULL},
		{},
	};
	int r = vm_parse_id("create", argv, opts, &id, err);

	if (r == 0)
		r = refuse_fds(preserve_fds, err);
	return r < 0 ? r : vm_launch(g, &o, id, &pid, err);
}

static pid_t forward_to;

static void forward_signal(int sig)
{
	if (forward_to > 0)
		kill(forward_to, sig);
}

static void forward_signals(pid_t pid)
{
	static const int all[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
				  SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};
	struct sigaction sa = {.sa_handler = forward_signal};

	forward_to = pid;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		sigaction(all[i], &sa, NULL);
}

static int wait_monitor(pid_t pid, int *ret_status, struct dink_err *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return dink_err_set(err, DINK_E_BUG, errno, "wait for the monitor");
	}
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

/* The monitor's own log goes with the container: the time of each stage, and QEMU's words. */
static void show_log(const struct dink_vmstate *s)
{
	_cleanup_free_ char *path = xasprintf("%s/monitor.log", s->dir);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!dink_fd_copy(fd, STDERR_FILENO, NULL);
}

static int run_started(const struct vm_globals *g, const struct vm_create_opts *o, const char *id,
		       pid_t pid, int *ret_status, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	int r = dink_vmstate_load(g->root, id, &s, err);

	if (r < 0)
		return r;
	if (!o->restore)
		r = vm_start_state(s, err);
	if (r < 0)
		kill(pid, SIGKILL);
	_cleanup_(dink_err_clear) struct dink_err later = {};
	int w = wait_monitor(pid, ret_status, r < 0 ? &later : err);
	if (g->debug)
		show_log(s);
	if (r < 0 || w < 0) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		(void)!vm_delete_state(s, &ignored);
		return r < 0 ? r : w;
	}
	return o->keep ? 0 : vm_delete_state(s, err);
}

int vm_run_attached(const struct vm_globals *g, const struct vm_create_opts *o, const char *id,
		    struct dink_err *err)
{
	int flags = fcntl(0, F_GETFL), status = 0;
	struct termios old;
	bool tty = !o->console_socket && tcgetattr(0, &old) == 0;
	pid_t pid;

	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "become a subreaper");
	int r = vm_launch(g, o, id, &pid, err);
	if (r < 0)
		return r;
	forward_signals(pid);
	if (tty) {
		struct termios raw = old;
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
	}
	r = run_started(g, o, id, pid, &status, err);
	if (tty)
		tcsetattr(0, TCSANOW, &old);
	if (flags >= 0)
		(void)!fcntl(0, F_SETFL, flags);
	return r < 0 ? r : status;
}

int vm_run(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	struct vm_create_opts o = {};
	bool detach = false, ignored = false;
	const char *id, *preserve_fds = NULL;
	pid_t pid;
	const struct vm_opt opts[] = {
		{'b', "bundle", VM_OPT_STRING, &o.bundle, NULL},
		{'d', "detach", VM_OPT_FLAG, &detach, NULL},
		{0, "console-socket", VM_OPT_STRING, &o.console_socket, NULL},
		{0, "pid-file", VM_OPT_STRING, &o.pid_file, NULL},
		{0, "no-pivot", VM_OPT_FLAG, &ignored, NULL},
		{0, "no-new-keyring", VM_OPT_FLAG, &ignored, NULL},
		{0, "no-subreaper", VM_OPT_FLAG, &ignored, NULL},
		{0, "keep", VM_OPT_FLAG, &o.keep, NULL},
		{0, "preserve-fds", VM_OPT_STRING, &preserve_fds, NULL},
		{},
	};
	int r = vm_parse_id("run", argv, opts, &id, err);

	if (r == 0)
		r = refuse_fds(preserve_fds, err);
	if (r < 0)
		return r;
	o.own_terminal = !detach;
	if (!detach)
		return vm_run_attached(g, &o, id, err);
	r = vm_launch(g, &o, id, &pid, err);
	if (r < 0)
		return r;
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	r = dink_vmstate_load(g->root, id, &s, err);
	return r < 0 ? r : vm_start_state(s, err);
}
