/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's processes: crun makes them, this file owns their streams and tells their end.
 *
 * A process goes through: crun runs -> it has a pid -> it ended -> its output ended -> exit event.
 * It may end before crun did; such pids are remembered while a crun runs.
 */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { QUIET_MS = 200, EARLY_MAX = 1024, NAME_MAX_ = 128, PROCS_MAX = 1024, PIPE_SIZE = 256 << 10 };

struct proc {
	struct proc *next;
	struct agent *a;
	char name[NAME_MAX_]; /* empty: the container's first process */
	uint32_t request;     /* to be answered when crun is done */
	pid_t pid;	      /* 0 before crun told it and after it was reaped */
	bool ended;
	int status;
	bool terminal;
	uint32_t in, out, err; /* stream ids; with a terminal only in */
	int outputs[3];	       /* pipes that are not tied to their streams yet, -1 = none */
	int open_outputs;      /* streams whose end must come before the exit event */
	int listener;	       /* crun hands the terminal over here */
	int tty;	       /* for its size */
	struct winsize size;
	char *program; /* first of its arguments, for error messages */
	char *file;    /* stem of pid file, log, process file, socket */
};

struct early {
	pid_t pid;
	int status;
};

static struct proc *procs;
static size_t n_procs;
static struct early early[EARLY_MAX]; /* ring */
static size_t n_early;

/* --- the list --- */

static struct proc *find_proc(const char *name)
{
	struct proc *p = procs;

	while (p && !STREQ(p->name, name))
		p = p->next;
	return p;
}

static void remove_file(const struct proc *p, const char *suffix)
{
	_cleanup_free_ char *path = xasprintf("%s.%s", p->file, suffix);

	unlink(path);
}

static void free_proc(struct proc *p)
{
	static const char *const suffixes[] = {"pid", "log", "json", "sock", NULL};

	for (struct proc **at = &procs; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			n_procs--;
			break;
		}
	}
	for (size_t i = 0; suffixes[i]; i++)
		remove_file(p, suffixes[i]);
	for (int fd = 0; fd < 3; fd++) {
		if (p->outputs[fd] >= 0)
			close(p->outputs[fd]);
	}
	if (p->listener >= 0)
		close(p->listener);
	if (p->tty >= 0)
		close(p->tty);
	free(p->program);
	free(p->file);
	free(p);
}

static struct proc *new_proc(struct agent *a, uint32_t request, const char *name,
			     struct json_object *msg, bool terminal)
{
	struct proc *p = xcalloc(1, sizeof(*p));

	p->a = a;
	p->request = request;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->terminal = terminal;
	p->in = (uint32_t)dink_json_int_or(msg, "in", 0);
	if (!terminal) {
		p->out = (uint32_t)dink_json_int_or(msg, "out", 0);
		p->err = (uint32_t)dink_json_int_or(msg, "err", 0);
	}
	p->listener = p->tty = -1;
	p->outputs[0] = p->outputs[1] = p->outputs[2] = -1;
	p->file = xasprintf(AGENT_DIR "/p%u", a->serial++);
	p->next = procs;
	procs = p;
	n_procs++;
	return p;
}

/* --- streams --- */

static const char *const stream_names[] = {"in", "out", "err"};

/* expect_streams() - from the first, so that each ends exactly once whatever happens later */
static void expect_streams(struct agent *a, struct json_object *msg)
{
	for (size_t i = 0; i < ARRAY_SIZE(stream_names); i++)
		dink_chan_stream_expect(a->chan,
					(uint32_t)dink_json_int_or(msg, stream_names[i], 0));
}

/* end_streams() - those of a request that failed */
static void end_streams(struct agent *a, struct json_object *msg)
{
	for (size_t i = 0; i < ARRAY_SIZE(stream_names); i++)
		dink_chan_stream_reset(a->chan,
				       (uint32_t)dink_json_int_or(msg, stream_names[i], 0));
}

static void report_exit(struct proc *p)
{
	struct json_object *o;

	if (!p->ended || p->open_outputs > 0)
		return;
	o = dink_json_new();
	dink_json_set_str(o, "event", "exit");
	if (p->name[0])
		dink_json_set_str(o, "exec", p->name);
	dink_json_set_int(o, "status",
			  WIFSIGNALED(p->status) ? 128 + WTERMSIG(p->status)
						 : WEXITSTATUS(p->status));
	if (!p->name[0] && agent_was_oom())
		dink_json_set_bool(o, "oom", true);
	dink_chan_event(p->a->chan, o);
	free_proc(p);
}

static void on_output_done(void *ctx, uint32_t id)
{
	struct proc *p = ctx;

	(void)id;
	p->open_outputs--;
	report_exit(p);
}

/* make_pipe() - child's end in child[fd], ours for the stream; owned by the process's user */
static int make_pipe(struct proc *p, uint32_t id, int fd, int child[3], uid_t uid, gid_t gid)
{
	int ends[2];

	if (!id) {
		child[fd] = open("/dev/null", O_RDWR | O_CLOEXEC);
		return child[fd] < 0 ? -errno : 0;
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
	/* programs open /dev/stdout again, under their own user */
	if (fchown(ends[0], uid, gid) < 0)
		agent_say("pipe's owner: %s", strerror(errno));
	child[fd] = fd == 0 ? ends[0] : ends[1];
	if (fd == 0) {
		dink_chan_stream(p->a->chan, id, ends[1], -1, NULL, NULL);
		return 0;
	}
	p->outputs[fd] = ends[0];
	return 0;
}

/*
 * tie_outputs() - once crun has succeeded: what it says of a failure goes into its log as well, and
 * engines print it from there. As much as a pipe holds waits meanwhile.
 */
static void tie_outputs(struct proc *p)
{
	for (int fd = 1; fd < 3; fd++) {
		if (p->outputs[fd] < 0)
			continue;
		p->open_outputs++;
		dink_chan_stream(p->a->chan, fd == 1 ? p->out : p->err, -1, TAKE_FD(p->outputs[fd]),
				 on_output_done, p);
	}
}

/* listen_console() - where crun sends the terminal's other end */
static int listen_console(struct proc *p)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s.sock", p->file);
	p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(p->listener, 1) < 0)
		return -errno;
	return 0;
}

static int make_stdio(struct proc *p, struct json_object *process, int child[3])
{
	uid_t uid = (uid_t)dink_json_int_or(process, "user.uid", 0);
	gid_t gid = (gid_t)dink_json_int_or(process, "user.gid", 0);
	uint32_t ids[3] = {p->in, p->out, p->err};
	int r = 0;

	if (p->terminal) {
		p->size.ws_row = (unsigned short)dink_json_int_or(process, "consoleSize.height", 0);
		p->size.ws_col = (unsigned short)dink_json_int_or(process, "consoleSize.width", 0);
		ids[0] = ids[1] = ids[2] = 0;
		r = listen_console(p);
	}
	for (int fd = 0; fd < 3 && !r; fd++)
		r = make_pipe(p, ids[fd], fd, child, uid, gid);
	return r;
}

/* take_console() - after crun's end, so what it sent is there */
static int take_console(struct proc *p)
{
	_cleanup_close_ int conn = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	int fd = conn < 0 ? -1 : dink_recv_fd(conn);

	if (fd < 0)
		return conn < 0 ? -errno : fd;
	p->tty = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (p->size.ws_row || p->size.ws_col)
		ioctl(fd, TIOCSWINSZ, &p->size);
	if (!p->in) {
		close(fd);
		return 0;
	}
	p->open_outputs++;
	dink_chan_stream(p->a->chan, p->in, fd, fd, on_output_done, p);
	return 0;
}

/* --- the end of processes --- */

static void process_ended(struct proc *p, int status)
{
	struct agent *a = p->a;

	p->pid = 0;
	p->ended = true;
	p->status = status;
	if (!p->name[0])
		a->init = 0;
	if (p->tty >= 0)
		close(p->tty);
	p->tty = -1;
	/* reported from the last of these, or below if none is open */
	p->open_outputs++;
	dink_chan_stream_drain(a->chan, p->in, QUIET_MS);
	dink_chan_stream_drain(a->chan, p->out, QUIET_MS);
	dink_chan_stream_drain(a->chan, p->err, QUIET_MS);
	p->open_outputs--;
	report_exit(p);
}

static bool take_early(pid_t pid, int *ret_status)
{
	for (size_t i = 0; i < EARLY_MAX; i++) {
		if (early[i].pid == pid) {
			*ret_status = early[i].status;
			early[i].pid = 0;
			return true;
		}
	}
	return false;
}

void agent_reap(struct agent *a)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct proc *p = procs;

		if (agent_child_ended(pid, status))
			continue;
		while (p && p->pid != pid)
			p = p->next;
		if (p)
			process_ended(p, status);
		else if (agent_has_children())
			early[n_early++ % EARLY_MAX] = (struct early){pid, status};
	}
	if (n_early && !agent_has_children()) {
		memset(early, 0, sizeof(early));
		n_early = 0;
	}
	(void)a;
}

/* --- crun is done --- */

static void refuse_proc(struct proc *p, const struct dink_err *err)
{
	agent_refuse(p->a, p->request, err);
	if (!p->name[0])
		p->a->created = false;
	/* reset does not call on_output_done: p is free to go */
	dink_chan_stream_reset(p->a->chan, p->in);
	dink_chan_stream_reset(p->a->chan, p->out);
	dink_chan_stream_reset(p->a->chan, p->err);
	free_proc(p);
}

static pid_t read_pid(const struct proc *p)
{
	_cleanup_free_ char *path = xasprintf("%s.pid", p->file);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;

	if (dink_file_read(path, 64, &text, NULL, &err) < 0)
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

static int errno_of_text(const char *text)
{
	if (strstr(text, "not found") || strstr(text, "o such file"))
		return ENOENT;
	return strstr(text, "ermission denied") ? EACCES : EIO;
}

static void crun_done(void *ctx, int status)
{
	struct proc *p = ctx;
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *log = xasprintf("%s.log", p->file);
	struct json_object *answer;
	pid_t pid = 0;
	int r = 0, ended;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		pid = read_pid(p);
	if (pid <= 1) {
		_cleanup_free_ char *text = agent_crun_error(log, p->program, status);

		dink_err_set(&err, DINK_E_CHILD, errno_of_text(text), "%s", text);
		refuse_proc(p, &err);
		return;
	}
	if (p->terminal)
		r = take_console(p);
	if (r < 0) {
		kill(pid, SIGKILL);
		dink_err_set(&err, DINK_E_CHILD, -r, "the container's terminal did not arrive");
		refuse_proc(p, &err);
		return;
	}
	p->pid = pid;
	if (!p->name[0])
		p->a->init = pid;
	tie_outputs(p);
	answer = dink_json_new();
	dink_json_set_int(answer, "pid", pid);
	agent_answer(p->a, p->request, answer);
	if (take_early(pid, &ended))
		process_ended(p, ended);
}

/* --- requests --- */

static const char *first_argument(struct json_object *process)
{
	struct json_object *args = dink_json_get(process, "args");
	const char *text = json_object_is_type(args, json_type_array)
				   ? json_object_get_string(json_object_array_get_idx(args, 0))
				   : NULL;

	return text ? text : "";
}

/* run_crun() - takes over p also when it fails */
static void run_crun(struct proc *p, const struct dink_strv *args, struct json_object *process)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_strv_ struct dink_strv argv = {};
	int child[3] = {-1, -1, -1}, r;

	dink_strv_addl(&argv, AGENT_CRUN, "--root", AGENT_CRUN_ROOT, "--cgroup-manager=cgroupfs",
		       "--log-format=json", NULL);
	dink_strv_addf(&argv, "--log=%s.log", p->file);
	dink_strv_addv(&argv, args->v);
	dink_strv_add(&argv, "--pid-file");
	dink_strv_addf(&argv, "%s.pid", p->file);
	if (p->terminal) {
		dink_strv_add(&argv, "--console-socket");
		dink_strv_addf(&argv, "%s.sock", p->file);
	}
	dink_strv_add(&argv, AGENT_CONTAINER);
	p->program = xstrdup(first_argument(process));
	r = make_stdio(p, process, child);
	if (r < 0)
		dink_err_set(&err, DINK_E_HOST, -r, "making the standard streams");
	else
		r = agent_spawn(argv.v, child, crun_done, p, &err);
	for (int fd = 0; fd < 3; fd++) {
		if (child[fd] >= 0)
			close(child[fd]);
	}
	if (r < 0)
		refuse_proc(p, &err);
}

static int write_json(const char *path, struct json_object *o, struct dink_err *err)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : dink_fd_write_all(fd, text, strlen(text));

	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "writing %s", path) : 0;
}

static void refuse_request(struct agent *a, uint32_t id, struct json_object *msg,
			   const struct dink_err *err)
{
	agent_refuse(a, id, err);
	end_streams(a, msg);
}

static void remember_sources(struct agent *a, struct json_object *config)
{
	struct json_object *mounts = dink_json_get(config, "mounts");

	for (size_t i = 0; i < dink_json_len(config, "mounts"); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);
		const char *source = dink_json_str_or(m, "source", "");

		if (source[0] == '/')
			dink_strv_add(&a->sources, source);
	}
}

/*
 * An engine may write /etc/hosts between create and start (Podman 5 does), and the guest would go by
 * the size that it saw at create for a second: of an empty file nothing is read.
 */
static void look_at_sources(const struct agent *a)
{
	for (size_t i = 0; i < a->sources.n; i++) {
		struct statx st;

		(void)statx(AT_FDCWD, a->sources.v[i], AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st);
	}
}

void agent_create(struct agent *a, uint32_t id, struct json_object *msg)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_strv_ struct dink_strv args = {};
	struct json_object *config = dink_json_get(msg, "config");
	struct json_object *process = dink_json_get(config, "process");
	bool terminal = dink_json_bool_or(process, "terminal", false);
	int r;

	expect_streams(a, msg);
	if (!a->root || a->created)
		r = dink_err_set(&err, DINK_E_USAGE, EEXIST, "%s",
				 a->created ? "the guest has its container"
					    : "there is no root yet");
	else
		r = agent_adapt_config(config, a->root, &err);
	if (r == 0)
		r = dink_mkdir_p(DINK_BUNDLE_DIR, 0700, &err);
	if (r == 0)
		r = write_json(DINK_BUNDLE_DIR "/config.json", config, &err);
	if (r < 0) {
		refuse_request(a, id, msg, &err);
		return;
	}
	a->created = true;
	remember_sources(a, config);
	agent_make_points(config, a->root);
	dink_strv_addl(&args, "create", "--bundle", DINK_BUNDLE_DIR, NULL);
	run_crun(new_proc(a, id, "", msg, terminal), &args, process);
}

void agent_exec(struct agent *a, uint32_t id, struct json_object *msg)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_strv_ struct dink_strv args = {};
	_cleanup_free_ char *path = NULL;
	struct json_object *process = dink_json_get(msg, "process");
	const char *name = dink_json_str_or(msg, "exec", "");
	struct proc *p;

	expect_streams(a, msg);
	if (!a->init || a->dying)
		dink_err_set(&err, DINK_E_USAGE, ESRCH, "the container is not running");
	else if (!*name || strlen(name) >= NAME_MAX_ || find_proc(name))
		dink_err_set(&err, DINK_E_USAGE, EEXIST, "exec name '%.200s'", name);
	else if (!json_object_is_type(process, json_type_object))
		dink_err_set(&err, DINK_E_USAGE, EINVAL, "exec without a process");
	else if (n_procs >= PROCS_MAX)
		dink_err_set(&err, DINK_E_HOST, EAGAIN, "too many processes");
	if (dink_err_is_set(&err)) {
		refuse_request(a, id, msg, &err);
		return;
	}
	json_object_object_del(process, "apparmorProfile");
	json_object_object_del(process, "selinuxLabel");
	p = new_proc(a, id, name, msg, dink_json_bool_or(process, "terminal", false));
	path = xasprintf("%s.json", p->file);
	if (write_json(path, process, &err) < 0) {
		refuse_proc(p, &err);
		return;
	}
	dink_strv_addl(&args, "exec", "--detach", "--process", path, NULL);
	run_crun(p, &args, process);
}

/*
 * agent_start() - what `crun start` does, without a program's start: a byte into the pipe that
 * the container's first process waits for
 */
int agent_start(struct agent *a, struct dink_err *err)
{
	static const char fifo[] = AGENT_CRUN_ROOT "/" AGENT_CONTAINER "/exec.fifo";
	_cleanup_close_ int fd = -1;

	if (!a->init)
		return dink_err_set(err, DINK_E_USAGE, ESRCH, "there is no container to start");
	fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "the container was started before");
	look_at_sources(a);
	if (unlink(fifo) < 0 || write(fd, "", 1) != 1)
		return dink_err_set(err, DINK_E_HOST, errno, "starting the container");
	return 0;
}

int agent_signal(struct agent *a, struct json_object *msg, struct dink_err *err)
{
	const struct proc *p = find_proc(dink_json_str_or(msg, "exec", ""));
	int64_t signum = dink_json_int_or(msg, "signal", 0);

	(void)a;
	if (signum < 0 || signum > SIGRTMAX)
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "signal %lld", (long long)signum);
	if (dink_json_bool_or(msg, "all", false))
		return agent_signal_group((int)signum, err);
	if (!p || !p->pid)
		return dink_err_set(err, DINK_E_USAGE, ESRCH, "the process is not running");
	if (kill(p->pid, (int)signum) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "signal %lld", (long long)signum);
	return 0;
}

int agent_resize(struct json_object *msg, struct dink_err *err)
{
	struct proc *p = find_proc(dink_json_str_or(msg, "exec", ""));

	if (!p)
		return dink_err_set(err, DINK_E_USAGE, ESRCH, "the process is not running");
	p->size.ws_row = (unsigned short)dink_json_int_or(msg, "rows", 0);
	p->size.ws_col = (unsigned short)dink_json_int_or(msg, "columns", 0);
	/* before the terminal is there the size waits for it */
	if (p->tty >= 0 && ioctl(p->tty, TIOCSWINSZ, &p->size) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "the terminal's size");
	return 0;
}

/* --- update --- */

static void update_done(void *ctx, int status)
{
	struct proc *p = ctx;
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *log = xasprintf("%s.log", p->file);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		agent_answer(p->a, p->request, dink_json_new());
	} else {
		_cleanup_free_ char *text = agent_crun_error(log, "", status);

		dink_err_set(&err, DINK_E_CHILD, EIO, "%s", text);
		agent_refuse(p->a, p->request, &err);
	}
	free_proc(p);
}

void agent_update(struct agent *a, uint32_t id, struct json_object *msg)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct json_object *resources = dink_json_get(msg, "resources");
	_cleanup_free_ char *path = NULL, *log = NULL;
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[3] = {null, null, null};
	struct proc *p;

	if (!a->init || !json_object_is_type(resources, json_type_object)) {
		dink_err_set(&err, DINK_E_USAGE, EINVAL, "nothing to update");
		agent_refuse(a, id, &err);
		return;
	}
	/* the name is one that no exec can have */
	p = new_proc(a, id, "\nupdate", NULL, false);
	agent_adapt_resources(resources);
	path = xasprintf("%s.json", p->file);
	log = xasprintf("--log=%s.log", p->file);
	if (write_json(path, resources, &err) == 0) {
		char *const argv[] = {(char *)AGENT_CRUN,
				      (char *)"--root",
				      (char *)AGENT_CRUN_ROOT,
				      (char *)"--cgroup-manager=cgroupfs",
				      (char *)"--log-format=json",
				      log,
				      (char *)"update",
				      (char *)"--resources",
				      path,
				      (char *)AGENT_CONTAINER,
				      NULL};

		if (agent_spawn(argv, fds, update_done, p, &err) == 0)
			return;
	}
	agent_refuse(a, id, &err);
	free_proc(p);
}

/* --- the end of all --- */

void agent_kill_all(struct agent *a)
{
	a->dying = true;
	agent_write_file(AGENT_CGROUP "/cgroup.kill", "1");
	kill(-1, SIGKILL);
	for (int waited = 0; waited < 3000; waited += 5) {
		agent_reap(a);
		if (waitid(P_ALL, 0, &(siginfo_t){}, WEXITED | WNOHANG | WNOWAIT) < 0)
			return; /* ECHILD: none is left */
		usleep(5000);
	}
	agent_say("some processes outlived SIGKILL");
}
