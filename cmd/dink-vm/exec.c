/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec: the monitor gets the descriptors and relays; what stays here is one small process that
 * stands for the program: it forwards signals and window sizes and exits with the status.
 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

enum { START_MS = 120000, EXIT_GONE = 137, EXIT_NOT_STARTED = 255 };

struct exec_opts {
	const char *process, *console_socket, *pid_file, *cwd, *user;
	bool detach, tty, no_new_privs;
	struct dink_strv env, caps, gids;
};

struct holder {
	int conn;
	int tty; /* -1 = none */
	char name[64];
};

/* --- the process object --- */

static struct json_object *own_array(struct json_object *o, const char *key)
{
	struct json_object *a = dink_json_get(o, key);

	if (json_object_is_type(a, json_type_array))
		return a;
	a = json_object_new_array();
	dink_json_set(o, key, a);
	return a;
}

static void add_caps(struct json_object *process, const struct dink_strv *caps)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	struct json_object *all = dink_json_get(process, "capabilities");

	if (caps->n && !json_object_is_type(all, json_type_object)) {
		all = dink_json_new();
		dink_json_set(process, "capabilities", all);
	}
	for (size_t i = 0; i < caps->n; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(sets); k++)
			json_object_array_add(own_array(all, sets[k]),
					      json_object_new_string(caps->v[i]));
	}
}

static int set_user(struct json_object *p, const struct exec_opts *o, struct dink_err *err)
{
	unsigned uid, gid = 0;

	if (o->user && sscanf(o->user, "%u:%u", &uid, &gid) < 1)
		return dink_err_set(err, DINK_E_USAGE, 0, "--user %s is not UID[:GID]", o->user);
	if (o->user) {
		struct json_object *u = dink_json_new();
		dink_json_set_int(u, "uid", uid);
		dink_json_set_int(u, "gid", gid);
		dink_json_set(p, "user", u);
	}
	for (size_t i = 0; i < o->gids.n; i++) {
		char *end;
		unsigned long more = strtoul(o->gids.v[i], &end, 10);
		if (*end || end == o->gids.v[i] || more > UINT32_MAX)
			return dink_err_set(err, DINK_E_USAGE, 0,
					    "--additional-gids %s is no number", o->gids.v[i]);
		struct json_object *u = dink_json_get(p, "user");
		if (!u) {
			u = dink_json_new();
			dink_json_set(p, "user", u);
		}
		json_object_array_add(own_array(u, "additionalGids"),
				      json_object_new_int64((int64_t)more));
	}
	return 0;
}

/* From the bundle's config: environment, user and capabilities are the container's. */
static int process_of_command(const struct dink_vmstate *s, const struct exec_opts *o, char **args,
			      struct json_object **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *config = NULL;
	_cleanup_free_ char *path =
		xasprintf("%s/config.json", dink_json_str_or(s->doc, "bundle", ""));
	int r = dink_json_parse_file(path, &config, err);

	if (r < 0)
		return r;
	struct json_object *p = dink_json_get(config, "process");
	if (!json_object_is_type(p, json_type_object))
		return dink_err_set(err, DINK_E_STATE, 0, "%s has no process", path);
	struct json_object *list = json_object_new_array();
	for (; *args; args++)
		json_object_array_add(list, json_object_new_string(*args));
	dink_json_set(p, "args", list);
	dink_json_set_bool(p, "terminal", o->tty);
	if (o->cwd)
		dink_json_set_str(p, "cwd", o->cwd);
	struct json_object *env = own_array(p, "env");
	for (size_t i = 0; i < o->env.n; i++)
		json_object_array_add(env, json_object_new_string(o->env.v[i]));
	if (o->no_new_privs)
		dink_json_set_bool(p, "noNewPrivileges", true);
	add_caps(p, &o->caps);
	r = set_user(p, o, err);
	if (r < 0)
		return r;
	*ret = json_object_get(p);
	return 0;
}

static int make_process(const struct dink_vmstate *s, const struct exec_opts *o, char **args,
			struct json_object **ret, struct dink_err *err)
{
	if (!o->process) {
		if (!*args)
			return dink_err_set(err, DINK_E_USAGE, 0,
					    "exec needs a command or --process");
		return process_of_command(s, o, args, ret, err);
	}
	int r = dink_json_parse_file(o->process, ret, err);
	if (r == 0 && o->tty)
		dink_json_set_bool(*ret, "terminal", true);
	return r;
}

/* --- holding --- */

static void send_op(const struct holder *h, struct json_object *msg)
{
	_cleanup_json_ struct json_object *owned = msg;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	dink_json_set_str(owned, "exec", h->name);
	(void)!dink_vm_send(h->conn, owned, NULL, 0, &ignored);
}

static void send_size(const struct holder *h)
{
	struct winsize ws;

	if (h->tty < 0 || ioctl(h->tty, TIOCGWINSZ, &ws) < 0 || ws.ws_row == 0)
		return;
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "resize");
	dink_json_set_int(msg, "rows", ws.ws_row);
	dink_json_set_int(msg, "columns", ws.ws_col);
	send_op(h, msg);
}

static void take_signal(const struct holder *h, int sigfd)
{
	struct signalfd_siginfo si;

	if (read(sigfd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGWINCH) {
		send_size(h);
		return;
	}
	if (si.ssi_signo == SIGCHLD)
		return;
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "signal");
	dink_json_set_int(msg, "signal", si.ssi_signo);
	send_op(h, msg);
}

/* Until the program's end; its status, or 137 if the VM went with it. */
static int hold(const struct holder *h)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGPIPE);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &set, NULL);
	int sigfd = signalfd(-1, &set, SFD_CLOEXEC);
	send_size(h);
	for (;;) {
		struct pollfd p[] = {{.fd = h->conn, .events = POLLIN},
				     {.fd = sigfd, .events = POLLIN}};
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			take_signal(h, sigfd);
		if (!p[0].revents)
			continue;
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_json_ struct json_object *msg = NULL;
		if (dink_vm_recv(h->conn, 0, &msg, &ignored) < 0)
			return EXIT_GONE;
		int64_t status = dink_json_int_or(msg, "exit", -1);
		if (status >= 0)
			return (int)status & 0xff;
	}
}

static _noreturn_ void become_holder(struct holder *h)
{
	int conn = fcntl(h->conn, F_DUPFD_CLOEXEC, 16);
	int tty = h->tty >= 0 ? fcntl(h->tty, F_DUPFD_CLOEXEC, 16) : -1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (conn < 0 || null < 0 || chdir("/") < 0)
		_exit(EXIT_GONE);
	/* the streams are the monitor's: kept here, they would never end for the engine */
	for (int i = 0; i < 3; i++) {
		if (dup2(null, i) < 0)
			_exit(EXIT_GONE);
	}
	if (dup2(conn, 3) < 0 || (tty >= 0 && dup2(tty, 4) < 0))
		_exit(EXIT_GONE);
	close_range(tty >= 0 ? 5 : 4, ~0U, 0);
	h->conn = 3;
	h->tty = tty >= 0 ? 4 : -1;
	/* so that a resize of the engine's pty raises SIGWINCH here */
	if (h->tty >= 0)
		(void)ioctl(h->tty, TIOCSCTTY, 0);
	_exit(hold(h));
}

static int start_exec(const struct dink_vmstate *s, struct json_object *process, int tty,
		      struct holder *h, struct dink_err *err)
{
	_cleanup_json_ struct json_object *req = dink_json_new();
	_cleanup_json_ struct json_object *answer = NULL;
	int fds[3] = {0, 1, 2};

	for (int i = 0; tty >= 0 && i < 3; i++)
		fds[i] = tty;
	dink_json_set_str(req, "op", "exec");
	dink_json_set(req, "process", json_object_get(process));
	h->tty = tty;
	int r = dink_vmstate_connect(s, &h->conn, err);
	if (r == 0)
		r = dink_vm_send(h->conn, req, fds, 3, err);
	if (r == 0)
		r = dink_vm_recv(h->conn, START_MS, &answer, err);
	if (r < 0)
		return r;
	if (!dink_json_bool_or(answer, "ok", false))
		return dink_err_set(err, DINK_E_CHILD, 0, "exec failed: %s",
				    dink_json_str_or(answer, "error", "the guest refused"));
	snprintf(h->name, sizeof(h->name), "%s", dink_json_str_or(answer, "exec", ""));
	return 0;
}

static int hold_foreground(struct holder *h, bool own_tty)
{
	struct termios old, raw;
	int flags = fcntl(0, F_GETFL);

	if (own_tty && tcgetattr(0, &old) == 0) {
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
	}
	int status = hold(h);
	if (own_tty)
		tcsetattr(0, TCSANOW, &old);
	if (flags >= 0)
		(void)!fcntl(0, F_SETFL, flags);
	return status;
}

static int run_exec(const struct dink_vmstate *s, const struct exec_opts *o, char **args,
		    struct dink_err *err)
{
	_cleanup_json_ struct json_object *process = NULL;
	_cleanup_close_ int tty = -1;
	struct holder h = {.conn = -1, .tty = -1};
	bool own_tty = false;
	int r = make_process(s, o, args, &process, err);

	if (r < 0)
		return r;
	if (dink_json_bool_or(process, "terminal", false)) {
		own_tty = !o->console_socket && !o->detach && isatty(0);
		if (own_tty)
			tty = fcntl(0, F_DUPFD_CLOEXEC, 10);
		else
			r = vm_open_console(o->console_socket,
					    dink_json_get(process, "consoleSize"), &tty, err);
	}
	if (r == 0)
		r = start_exec(s, process, tty, &h, err);
	if (r < 0)
		return r;
	if (!o->detach) {
		r = vm_write_pid_file(o->pid_file, getpid(), err);
		return r < 0 ? r : hold_foreground(&h, own_tty);
	}
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "fork");
	if (pid == 0)
		become_holder(&h);
	r = vm_write_pid_file(o->pid_file, pid, err);
	if (r < 0)
		kill(pid, SIGKILL);
	return r;
}

int vm_exec(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	struct exec_opts o = {};
	bool ignored = false;
	const char *ignored_value = NULL;
	const struct vm_opt opts[] = {
		{'p', "process", VM_OPT_STRING, &o.process, NULL},
		{'d', "detach", VM_OPT_FLAG, &o.detach, NULL},
		{'t', "tty", VM_OPT_FLAG, &o.tty, NULL},
		{0, "console-socket", VM_OPT_STRING, &o.console_socket, NULL},
		{0, "pid-file", VM_OPT_STRING, &o.pid_file, NULL},
		{0, "cwd", VM_OPT_STRING, &o.cwd, NULL},
		{'u', "user", VM_OPT_STRING, &o.user, NULL},
		{'e', "env", VM_OPT_STRV, &o.env, NULL},
		{'c', "cap", VM_OPT_STRV, &o.caps, NULL},
		{'g', "additional-gids", VM_OPT_STRV, &o.gids, NULL},
		{0, "no-new-privs", VM_OPT_FLAG, &o.no_new_privs, NULL},
		/* of the host's kernel, or given in --process */
		{0, "no-subreaper", VM_OPT_FLAG, &ignored, NULL},
		{0, "ignore-paused", VM_OPT_FLAG, &ignored, NULL},
		{0, "apparmor", VM_OPT_STRING, &ignored_value, NULL},
		{0, "process-label", VM_OPT_STRING, &ignored_value, NULL},
		{0, "preserve-fds", VM_OPT_STRING, &ignored_value, NULL},
		{},
	};
	int n = vm_parse("exec", argv, opts, err);
	int r = n;

	if (n >= 0 && !argv[n])
		r = dink_err_set(err, DINK_E_USAGE, 0, "exec needs a container id");
	if (r >= 0)
		r = dink_vmstate_load(g->root, argv[n], &s, err);
	if (r >= 0)
		r = run_exec(s, &o, argv + n + 1, err);
	dink_strv_clear(&o.env);
	dink_strv_clear(&o.caps);
	dink_strv_clear(&o.gids);
	return r < 0 ? EXIT_NOT_STARTED : r;
}
