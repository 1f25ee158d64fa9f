/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a bundle to a created container: the state folder, the monitor in its namespaces, the hooks
 * while the guest boots, the answer, the pid file last (engines take it as "created").
 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/cgroup.h"
#include "provision/vm/manifest.h"
#include "provision/vm/monitor.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

enum { REASON_MS = 200 };

/* What the intermediate process says: a pid, or which step failed. */
struct birth {
	pid_t pid;
	int errnum;
	char what[512];
};

struct launch {
	struct dink_vmstate *state;
	struct dink_oci *oci;
	struct json_object *group; /* of processes; the state's, NULL = none */
	char root[PATH_MAX];
	int plan_fd;
	int slave; /* -1: the container's stdio is ours */
	int sync;
	int pidfd;
};

static _noreturn_ void report(int fd, struct birth *b, const char *what)
{
	b->errnum = errno;
	snprintf(b->what, sizeof(b->what), "%s", what);
	_exit(write(fd, b, sizeof(*b)) == sizeof(*b) ? 0 : 1);
}

/* In the monitor's place, as the creator expects it. */
static _noreturn_ void refuse_birth(int sync, const char *what)
{
	_cleanup_json_ struct json_object *o = dink_json_new();
	_cleanup_free_ char *text = xasprintf("start the monitor: %s: %s", what, strerror(errno));
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	dink_json_set_bool(o, "ok", false);
	dink_json_set_str(o, "error", text);
	_exit(dink_vm_send(sync, o, NULL, 0, &ignored) < 0 ? 2 : 1);
}

static _noreturn_ void become_monitor(const struct launch *l, int sync, const char *id)
{
	/* above the two numbers they have to be at */
	int plan = fcntl(l->plan_fd, F_DUPFD, 16);
	int sock = fcntl(sync, F_DUPFD, 16);
	char *argv[] = {(char[]){"dink-vm"}, (char[]){"--root"},    (char *)(uintptr_t)l->root,
			(char[]){"monitor"}, (char *)(uintptr_t)id, NULL};

	if (plan < 0 || sock < 0)
		refuse_birth(sync, "move descriptors");
	setsid();
	for (int i = 0; l->slave >= 0 && i < 3; i++) {
		if (dup2(l->slave, i) < 0)
			refuse_birth(sock, "give it the terminal");
	}
	/* in its state folder: /proc/PID/cwd/control.sock is how dink finds it from far away */
	if (dup2(plan, DINK_MONITOR_PLAN_FD) < 0 || dup2(sock, DINK_MONITOR_SYNC_FD) < 0 ||
	    chdir(l->state->dir) < 0)
		refuse_birth(sock, "its descriptors and folder");
	execv("/proc/self/exe", argv);
	refuse_birth(sock, "/proc/self/exe");
}

static _noreturn_ void give_birth(const struct launch *l, int sync, int out)
{
	struct birth b = {};
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (dink_cgroup_join(l->group, &err) < 0) {
		errno = err.errnum;
		report(out, &b, err.msg);
	}
	if (l->oci->netns) {
		int fd = open(l->oci->netns, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
			report(out, &b, "join the network namespace");
	} else if (unshare(CLONE_NEWNET) < 0) {
		report(out, &b, "make a network namespace");
	}
	if (unshare(CLONE_NEWPID) < 0)
		report(out, &b, "make a pid namespace");
	b.pid = fork();
	if (b.pid < 0)
		report(out, &b, "fork the monitor");
	if (b.pid == 0)
		become_monitor(l, sync, l->state->id);
	_exit(write(out, &b, sizeof(b)) == sizeof(b) ? 0 : 1);
}

/* The monitor's word: created, or why not. */
static int read_answer(struct launch *l, uint32_t timeout_ms, struct dink_err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	int r = dink_vm_recv(l->sync, timeout_ms, &answer, err);

	if (r < 0)
		return dink_err_push(err, "waiting for the VM (see %s/monitor.log)", l->state->dir);
	if (!dink_json_bool_or(answer, "ok", false))
		return dink_err_set(err, DINK_E_CHILD, 0, "%s",
				    dink_json_str_or(answer, "error", "the monitor failed"));
	return 0;
}

static int spawn_monitor(struct launch *l, struct dink_err *err)
{
	int sync[2], pipefd[2], status;
	struct birth b = {};

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sync) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a socket pair");
	l->sync = sync[0];
	if (pipe2(pipefd, O_CLOEXEC) < 0) {
		close(sync[1]);
		return dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
	}
	fflush(NULL);
	pid_t mid = fork();
	if (mid == 0)
		give_birth(l, sync[1], pipefd[1]);
	int e = errno;
	close(sync[1]);
	close(pipefd[1]);
	ssize_t n = mid < 0 ? -1 : read(pipefd[0], &b, sizeof(b));
	close(pipefd[0]);
	if (mid < 0)
		return dink_err_set(err, DINK_E_HOST, e, "fork");
	while (waitpid(mid, &status, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof(b))
		return dink_err_set(err, DINK_E_BUG, 0, "the monitor was not born");
	if (b.errnum)
		return dink_err_set(err, DINK_E_HOST, b.errnum, "%s", b.what);
	l->state->monitor = (struct dink_pid){.pid = b.pid};
	l->pidfd = (int)syscall(SYS_pidfd_open, b.pid, 0);
	if (l->pidfd < 0 && errno != ESRCH)
		return dink_err_set(err, DINK_E_HOST, errno, "watch the monitor");
	if (l->pidfd >= 0 && dink_pid_identify(b.pid, &l->state->monitor) == 0)
		return 0;
	/* dead already: it has said why */
	int r = read_answer(l, REASON_MS, err);
	return r < 0 ? r : dink_err_set(err, DINK_E_CHILD, 0, "the monitor died at once");
}

static int write_plan(struct launch *l, struct json_object *plan, struct dink_err *err)
{
	const char *text = json_object_to_json_string_ext(plan, JSON_C_TO_STRING_PLAIN);

	dink_json_set_str(l->state->doc, "kernel", dink_json_str_or(plan, "kernel", NULL));
	l->plan_fd = memfd_create("dink-vm-plan", MFD_CLOEXEC);
	if (l->plan_fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a memfd");
	int r = dink_fd_write_all(l->plan_fd, text, strlen(text));
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "write the plan") : 0;
}

/*
 * A group of the cpu controller costs its processes time where others want the processors, too, and
 * more so the deeper it lies: measured in a layer of a layer, a third was left. Without a limit that
 * binds it is left out. What engines read is of cpuacct.
 */
static bool wants_cpu(const struct dink_oci *oci)
{
	int64_t quota = dink_json_int_or(oci->limits, "cpu.quota", 0);
	int64_t period = dink_json_int_or(oci->limits, "cpu.period", 100000);

	return dink_json_int_or(oci->limits, "cpu.shares", 0) > 0 ||
	       (quota > 0 && period > 0 && quota / period < sysconf(_SC_NPROCESSORS_ONLN));
}

/*
 * After the template, whose VM is in no container's group. It is written down before it is made, so
 * that whoever finds the state of a killed create can remove it.
 */
static int make_group(const struct vm_globals *g, struct launch *l, struct json_object *plan,
		      struct dink_err *err)
{
	bool kvm = STREQ(dink_json_str_or(plan, "accel", ""), "kvm");
	bool shared = l->oci->rootfs || l->oci->n_shares > 0;
	uint32_t mib = (uint32_t)dink_json_int_or(plan, "memory_mib", 512);
	struct rlimit files = {};
	int r = dink_cgroup_plan_here(l->oci->cgroups_path, l->state->id, g->systemd_cgroup,
				      &l->group, err);

	if (r == 0 && !l->group)
		vm_log(g, "warning", "the container goes without a cgroup of the host");
	if (r < 0 || !l->group)
		return r;
	if (shared && getrlimit(RLIMIT_NOFILE, &files) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "the limit of open files");
	if (!wants_cpu(l->oci))
		dink_cgroup_leave_out(l->group, "cpu");
	dink_json_set_int(l->group, "memory_bytes",
			  (int64_t)dink_cgroup_memory(mib, kvm, files.rlim_max));
	dink_json_set(l->state->doc, "cgroup", l->group);
	r = dink_vmstate_save(l->state, err);
	if (r == 0)
		r = dink_cgroup_make(l->group, err);
	if (r == 0)
		r = dink_cgroup_limit(l->group, l->oci->limits, false, err);
	if (r < 0)
		return r;
	const char *lacks = dink_json_str_or(l->group, "note", NULL);
	_cleanup_free_ char *text = xasprintf("the container goes without %s", lacks ? lacks : "");
	if (lacks)
		vm_log(g, "warning", text);
	dink_json_set(plan, "cgroup", json_object_get(l->group));
	return 0;
}

static int plan_container(const struct vm_globals *g, struct launch *l,
			  const struct vm_create_opts *o, struct dink_err *err)
{
	_cleanup_json_ struct json_object *plan = NULL;
	int r = vm_make_plan(g, l->oci, l->state, &plan, err);

	if (r == 0 && o->restore)
		r = vm_fit_plan(plan, o->restore, o->image, err);
	else if (r == 0)
		vm_use_template(g, plan);
	if (r == 0)
		r = make_group(g, l, plan, err);
	return r < 0 ? r : write_plan(l, plan, err);
}

static void fill_state(struct launch *l)
{
	struct json_object *d = l->state->doc;
	struct dink_pid self;
	char when[64];
	time_t now = time(NULL);
	struct tm tm;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	dink_json_set_str(d, "ociVersion", "1.0.2");
	dink_json_set_str(d, "id", l->state->id);
	dink_json_set_str(d, "bundle", l->oci->bundle);
	dink_json_set_str(d, "rootfs", l->oci->rootfs);
	dink_json_set_str(d, "created", when);
	if (dink_pid_identify(getpid(), &self) == 0) {
		dink_json_set_int(d, "creator", self.pid);
		dink_json_set_int(d, "creator_start", (int64_t)self.start);
	}
	if (l->oci->annotations)
		dink_json_set(d, "annotations", json_object_get(l->oci->annotations));
	if (l->oci->hooks)
		dink_json_set(d, "hooks", json_object_get(l->oci->hooks));
}

static int open_terminal(struct launch *l, const struct vm_create_opts *o, struct dink_err *err)
{
	if (!l->oci->terminal) {
		if (o->console_socket)
			return dink_err_set(err, DINK_E_USAGE, 0,
					    "--console-socket for a container without a terminal");
		return 0;
	}
	if (!o->console_socket && o->own_terminal && isatty(0)) {
		l->slave = fcntl(0, F_DUPFD_CLOEXEC, 10);
		return l->slave < 0 ? dink_err_set(err, DINK_E_HOST, errno, "dup") : 0;
	}
	return vm_open_console(o->console_socket,
			       dink_json_get(l->oci->config, "process.consoleSize"), &l->slave,
			       err);
}

static int wait_created(struct launch *l, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err hook = {};

	/* the guest boots meanwhile */
	int r = vm_run_hooks(l->oci->hooks, "prestart", l->state, "creating", &hook);
	if (r == 0)
		r = vm_run_hooks(l->oci->hooks, "createRuntime", l->state, "creating", &hook);
	if (r < 0) {
		/*
		 * A hook has no process to look at if the monitor has ended or is about to: then
		 * that is the reason, and the monitor has said it before. One that lives says
		 * nothing before its hooks are done.
		 */
		_cleanup_(dink_err_clear) struct dink_err monitor = {};
		int m = read_answer(l, REASON_MS, &monitor);
		bool said = m < 0 && m != -ETIMEDOUT;
		dink_err_move(err, said ? &monitor : &hook);
		return said ? m : r;
	}
	_cleanup_json_ struct json_object *go = dink_json_new();
	dink_json_set_str(go, "hooks", "done");
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	/* a monitor that failed meanwhile has left its reason in the socket */
	if (dink_vm_send(l->sync, go, NULL, 0, &ignored) < 0 && ignored.errnum != EPIPE)
		return dink_err_set(err, DINK_E_CHILD, ignored.errnum, "talk to the monitor");
	return read_answer(l, 0, err);
}

static int do_launch(const struct vm_globals *g, struct launch *l, const struct vm_create_opts *o,
		     struct dink_err *err)
{
	int r;

	if (!realpath(g->root, l->root))
		return dink_err_set(err, DINK_E_HOST, errno, "%s", g->root);
	/* first of all: if we are killed, whose it was is known */
	fill_state(l);
	r = dink_vmstate_save(l->state, err);
	if (r == 0)
		r = plan_container(g, l, o, err);
	if (r == 0)
		r = open_terminal(l, o, err);
	if (r == 0)
		r = spawn_monitor(l, err);
	if (r == 0)
		r = dink_vmstate_save(l->state, err);
	if (r == 0)
		r = wait_created(l, err);
	/* a boot takes what it takes */
	if (r == 0)
		r = dink_cgroup_limit(l->group, l->oci->limits, true, err);
	/* from now on it is not our death that makes it void */
	json_object_object_del(l->state->doc, "creator");
	if (r == 0)
		r = dink_vmstate_save(l->state, err);
	return r < 0 ? r : vm_write_pid_file(o->pid_file, l->state->monitor.pid, err);
}

static void close_launch(const struct launch *l)
{
	const int fds[] = {l->plan_fd, l->slave, l->sync, l->pidfd};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static void undo_launch(struct launch *l)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	if (l->pidfd >= 0 && syscall(SYS_pidfd_send_signal, l->pidfd, SIGKILL, NULL, 0) == 0) {
		struct pollfd p = {.fd = l->pidfd, .events = POLLIN};
		while (poll(&p, 1, 10000) < 0 && errno == EINTR)
			;
	}
	if (getenv("DINK_VM_KEEP")) {
		/* without its creator, or it would be swept up */
		(void)!dink_vmstate_save(l->state, &ignored);
		return;
	}
	(void)!dink_vmstate_remove(l->state, &ignored);
}

static int parse_size(const struct vm_globals *g, struct dink_oci_size *ret, struct dink_err *err)
{
	if (g->memory && dink_parse_size(g->memory, &ret->memory_bytes) < 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "--memory %s is no size", g->memory);
	if (g->cpus) {
		char *end;
		long n = strtol(g->cpus, &end, 10);
		if (*end || n < 1 || n > 255)
			return dink_err_set(err, DINK_E_USAGE, 0,
					    "--cpus %s is no number from 1 to 255", g->cpus);
		ret->cpus = (uint32_t)n;
	}
	return 0;
}

int vm_launch(const struct vm_globals *g, const struct vm_create_opts *o, const char *id,
	      pid_t *ret_pid, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *state = NULL;
	_cleanup_(dink_oci_freep) struct dink_oci *oci = NULL;
	struct launch l = {.plan_fd = -1, .slave = -1, .sync = -1, .pidfd = -1};
	struct dink_oci_size size = {};

	int r = dink_vmstate_check_id(id, err);
	if (r >= 0)
		r = parse_size(g, &size, err);
	if (r >= 0)
		r = dink_oci_load(o->bundle ? o->bundle : ".", &size, &oci, err);
	if (r >= 0 && o->restore)
		r = dink_manifest_fits(o->restore, oci, err);
	if (r >= 0)
		vm_sweep(g->root);
	if (r >= 0)
		r = dink_vmstate_new(g->root, id, &state, err);
	if (r < 0)
		return r;
	l.oci = oci;
	l.state = state;
	r = do_launch(g, &l, o, err);
	if (r < 0)
		undo_launch(&l);
	close_launch(&l);
	if (r == 0)
		*ret_pid = state->monitor.pid;
	return r;
}

static int do_launch_bare(struct launch *l, struct json_object *plan, struct dink_err *err)
{
	int r = write_plan(l, plan, err);

	if (r == 0)
		r = spawn_monitor(l, err);
	if (r == 0)
		r = dink_vmstate_save(l->state, err);
	return r == 0 ? wait_created(l, err) : r;
}

int vm_launch_bare(const char *root, const char *id, struct json_object *plan,
		   struct dink_vmstate **ret, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *state = NULL;
	struct dink_oci nothing = {};
	struct launch l = {.oci = &nothing, .plan_fd = -1, .slave = -1, .sync = -1, .pidfd = -1};
	int r = dink_vmstate_new(root, id, &state, err);

	if (r < 0)
		return r;
	snprintf(l.root, sizeof(l.root), "%s", root);
	l.state = state;
	dink_json_set_str(plan, "id", id);
	dink_json_set_str(plan, "dir", state->dir);
	r = do_launch_bare(&l, plan, err);
	if (r < 0)
		undo_launch(&l);
	close_launch(&l);
	if (r == 0)
		*ret = TAKE_PTR(state);
	return r;
}
