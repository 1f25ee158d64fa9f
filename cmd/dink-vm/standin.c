/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stand-ins: for `docker top` Docker asks the runtime for pids and then the host's ps for what these
 * are, but a guest's processes are not among the host's. So for a few seconds each has a process
 * here that has its arguments, name, user and parent, and does nothing.
 *
 * Input: what the guest says of its processes, which is bounded here and goes nowhere but into the
 * arguments of this program itself, started so that it reads none of them.
 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SPEC_NAME "DINK_VM_STANDIN"

enum {
	STAND_MS = 3000, /* ps comes at once */
	READY_MS = 2000,
	STANDINS_MAX = 256,
	ARGS_MAX = 64,
	ARGS_BYTES = 4096,
	COMM_MAX = 15,
	MONITOR_FD = 3, /* its pidfd */
	READY_FD = 4,	/* each writes its pid there */
};

struct standin {
	int parent; /* index; -1 = none of the container's */
	struct json_object *process;
};

struct ready {
	int index; /* in the guest's table: ps shows pids in the order they were asked for */
	pid_t pid;
};

/* --- what stands there --- */

static void drop_rights(uid_t uid, gid_t gid)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
	    setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
	    syscall(SYS_capset, &h, none) < 0)
		_exit(1);
}

void vm_stand_in(void)
{
	const char *spec = getenv(SPEC_NAME);
	struct pollfd p = {.fd = MONITOR_FD, .events = POLLIN};
	char *end;

	if (!spec)
		return;
	uid_t uid = (uid_t)strtoul(spec, &end, 10);
	gid_t gid = (gid_t)strtoul(end, &end, 10);
	drop_rights(uid, gid);
	struct ready r = {(int)strtol(end, &end, 10), getpid()};
	prctl(PR_SET_NAME, *end ? end + 1 : "");
	if (write(READY_FD, &r, sizeof(r)) != sizeof(r))
		_exit(1);
	close(READY_FD);
	/* children of its own are waited for by nobody else */
	(void)!poll(&p, 1, STAND_MS);
	_exit(0);
}

/* --- putting them there --- */

static int find_parent(const struct standin *all, size_t n, int64_t ppid)
{
	for (size_t i = 0; i < n; i++) {
		if (dink_json_int_or(all[i].process, "pid", 0) == ppid)
			return (int)i;
	}
	return -1;
}

static size_t list_standins(struct json_object *processes, struct standin *all)
{
	size_t n = 0;

	if (!json_object_is_type(processes, json_type_array))
		return 0;
	for (; n < STANDINS_MAX && n < json_object_array_length(processes); n++)
		all[n].process = json_object_array_get_idx(processes, n);
	/* one parent each, so there are never more than n of them whatever the guest says */
	for (size_t i = 0; i < n; i++)
		all[i].parent = find_parent(all, n, dink_json_int_or(all[i].process, "ppid", 0));
	return n;
}

static void make_argv(struct json_object *process, const char *comm, struct dink_strv *argv)
{
	struct json_object *args = dink_json_get(process, "args");
	size_t bytes = 0;

	for (size_t i = 0; i < ARGS_MAX && i < dink_json_len(process, "args"); i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(args, i));
		bytes += text ? strlen(text) + 1 : 1;
		if (bytes > ARGS_BYTES)
			break;
		dink_strv_add(argv, text ? text : "");
	}
	if (!argv->n)
		dink_strv_addf(argv, "[%s]", comm); /* as ps shows one that has none */
}

static _noreturn_ void become(struct json_object *process, int index)
{
	_cleanup_strv_ struct dink_strv argv = {};
	char comm[COMM_MAX + 1];

	snprintf(comm, sizeof(comm), "%s", dink_json_str_or(process, "name", ""));
	make_argv(process, comm, &argv);
	_cleanup_free_ char *spec =
		xasprintf(SPEC_NAME "=%u %u %d %s", (uid_t)dink_json_int_or(process, "uid", 0),
			  (gid_t)dink_json_int_or(process, "gid", 0), index, comm);
	char *const env[] = {spec, NULL};
	execve("/proc/self/exe", argv.v, env);
	_exit(1);
}

/* The tree is the guest's: a process's children are forked by its own stand-in. */
static void stand(const struct standin *all, size_t n, int index)
{
	for (size_t i = 0; i < n; i++) {
		if (all[i].parent != index)
			continue;
		pid_t pid = fork();
		if (pid != 0)
			continue; /* one that cannot be is missing in the table, no more */
		stand(all, n, (int)i);
		become(all[i].process, (int)i);
	}
}

/* In a process of its own, whose end leaves the first of them to the engine's subreaper. */
static _noreturn_ void put(const struct standin *all, size_t n, int monitor_fd, int ready_fd)
{
	int monitor = fcntl(monitor_fd, F_DUPFD, 16), ready = fcntl(ready_fd, F_DUPFD, 16);
	/* becomes a standard descriptor; NOLINTNEXTLINE(android-cloexec-open) */
	int null = open("/dev/null", O_RDWR);

	setsid();
	if (monitor < 0 || ready < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(null, 2) < 0 || dup2(monitor, MONITOR_FD) < 0 || dup2(ready, READY_FD) < 0 ||
	    chdir("/") < 0)
		_exit(1);
	close_range(READY_FD + 1, ~0U, 0);
	stand(all, n, -1);
	_exit(0);
}

static void read_pids(int fd, struct json_object *pids)
{
	uint64_t end = dink_now_ms() + READY_MS;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	pid_t found[STANDINS_MAX] = {};
	struct ready r;

	for (uint64_t now = dink_now_ms(); now < end && poll(&p, 1, (int)(end - now)) > 0;
	     now = dink_now_ms()) {
		if (read(fd, &r, sizeof(r)) != sizeof(r))
			break; /* all are there */
		if (r.index >= 0 && r.index < STANDINS_MAX)
			found[r.index] = r.pid;
	}
	for (size_t i = 0; i < STANDINS_MAX; i++) {
		if (found[i])
			json_object_array_add(pids, json_object_new_int(found[i]));
	}
}

struct json_object *vm_put_standins(const struct dink_vmstate *s, struct json_object *processes)
{
	_cleanup_close_ int monitor = (int)syscall(SYS_pidfd_open, s->monitor.pid, 0);
	_cleanup_free_ struct standin *all = xcalloc(STANDINS_MAX, sizeof(*all));
	struct json_object *pids = json_object_new_array();
	size_t n = list_standins(processes, all);
	int ready[2];

	if (monitor < 0 || !dink_vmstate_alive(s) || pipe2(ready, O_CLOEXEC) < 0)
		return pids;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		put(all, n, monitor, ready[1]);
	close(ready[1]);
	if (pid > 0) {
		read_pids(ready[0], pids);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(ready[0]);
	/* better the one process that is there than none */
	if (json_object_array_length(pids) == 0)
		json_object_array_add(pids, json_object_new_int(s->monitor.pid));
	return pids;
}
