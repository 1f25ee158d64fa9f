/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: every process of the command stops at the beginning and the end of each system
 * call. What the kernel asked of its capabilities meanwhile belongs to that call.
 */
#include "provision/privilege/trace.h"

#include "provision/base/file.h"
#include "provision/base/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS_MAX = 4096, DEVICES_MAX = 256, ENVIRON_MAX = 1 << 20, OUTSIDE = -1 };

/* One thread of the command. */
struct task {
	pid_t tid;
	int nr; /* the call it is in, OUTSIDE between calls */
	uint64_t flags;
	char cred[32]; /* its own credentials, as the kernel's record has them; "" = not known */
};

struct tracer {
	struct dink_trace *out;
	struct trace_caps caps;
	struct task *tasks;
	size_t n_tasks;
	size_t n_alive;
	char home[32]; /* the user namespace of the layer, as the kernel's record has it */
};

void dink_trace_clear(struct dink_trace *t)
{
	dink_strv_clear(&t->devices);
	free(t->no_caps);
}

/* ---- finding it ---- */

static bool has_token(pid_t pid, const char *token)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("/proc/%d/environ", (int)pid), *text = NULL;
	size_t len = 0;

	return dink_file_read(path, ENVIRON_MAX, &text, &len, &ignored) == 0 &&
	       memmem(text, len, token, strlen(token));
}

/* The state letter follows the last ')' of /proc/PID/stat. */
static bool is_stopped(pid_t pid)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid), *text = NULL;
	const char *end;

	if (dink_file_read(path, 4096, &text, NULL, &ignored) < 0)
		return false;
	end = strrchr(text, ')');
	return end && dink_starts_with(end, ") T");
}

static pid_t find_once(const char *token)
{
	DIR *dir = opendir("/proc");
	pid_t found = 0;
	struct dirent *d;

	while (dir && !found && (d = readdir(dir))) {
		pid_t pid = (pid_t)atoi(d->d_name);

		if (pid > 0 && is_stopped(pid) && has_token(pid, token))
			found = pid;
	}
	if (dir)
		closedir(dir);
	return found;
}

int dink_trace_find(const char *token, uint32_t ms, pid_t *ret, struct dink_err *err)
{
	for (uint32_t waited = 0; waited < ms; waited += 20) {
		*ret = find_once(token);
		if (*ret)
			return 0;
		if (dink_interrupted())
			return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
		(void)usleep(20000);
	}
	dink_err_set(err, DINK_E_CHILD, ETIMEDOUT, "the command did not start in the layer");
	return dink_err_hint(err, "it is started by /bin/sh: does the layer's image have one?");
}

/* ---- what it does ---- */

static struct task *find_task(struct tracer *t, pid_t tid, bool make)
{
	for (size_t i = 0; i < t->n_tasks; i++)
		if (t->tasks[i].tid == tid)
			return &t->tasks[i];
	if (!make || t->n_tasks == TASKS_MAX)
		return NULL;
	t->tasks = xreallocarray(t->tasks, t->n_tasks + 1, sizeof(*t->tasks));
	t->tasks[t->n_tasks] = (struct task){.tid = tid, .nr = OUTSIDE};
	t->n_alive++;
	return &t->tasks[t->n_tasks++];
}

static void forget_task(struct tracer *t, pid_t tid)
{
	struct task *task = find_task(t, tid, false);

	if (!task)
		return;
	*task = t->tasks[--t->n_tasks];
	t->n_alive--;
}

/* Every mapping asks whether the caller may use the last reserves of memory; nothing hangs on it. */
static bool asks_for_memory(int nr, int cap)
{
	static const int calls[] = {SYS_mmap,	SYS_brk,      SYS_mremap, SYS_mprotect,	 SYS_munmap,
				    SYS_execve, SYS_execveat, SYS_clone,  SYS_clone3,	 SYS_fork,
				    SYS_vfork,	SYS_shmat,    SYS_exit,	  SYS_exit_group};

	for (size_t i = 0; cap == CAP_SYS_ADMIN && i < ARRAY_SIZE(calls); i++)
		if (calls[i] == nr)
			return true;
	return false;
}

/* Calls that look at files: overlayfs does its part with the credentials of who mounted it. */
static bool looks_at_files(int nr)
{
	static const int calls[] = {SYS_open,	    SYS_openat, SYS_openat2,   SYS_readlink,
				    SYS_readlinkat, SYS_stat,	SYS_lstat,     SYS_newfstatat,
				    SYS_statx,	    SYS_access, SYS_faccessat, SYS_faccessat2,
				    SYS_getdents64, SYS_execve, SYS_execveat};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i] == nr)
			return true;
	return false;
}

/* Whether it is the command that asks, of the layer, and for a reason. */
static bool is_its_own(struct tracer *t, struct task *task, const struct trace_check *k)
{
	if (!t->home[0])
		snprintf(t->home, sizeof(t->home), "%s", k->ns);
	/* in a user namespace of its own it has everything, and none of that is the layer's */
	if (!task || task->nr == OUTSIDE || !STREQ(t->home, k->ns))
		return false;
	if (asks_for_memory(task->nr, k->cap)) {
		snprintf(task->cred, sizeof(task->cred), "%s", k->cred);
		return false;
	}
	if (looks_at_files(task->nr) && task->cred[0] && !STREQ(task->cred, k->cred))
		return false;
	/* what it cannot have at all was asked of another */
	return !k->granted || (t->out->bounding & 1ull << k->cap);
}

static void note_cap(void *ctx, const struct trace_check *k)
{
	struct tracer *t = ctx;
	struct task *task = find_task(t, k->tid, false);
	struct dink_trace_cap *c = &t->out->caps[k->cap];

	if (!is_its_own(t, task, k))
		return;
	if (k->granted)
		c->used++;
	else
		c->refused++;
	for (size_t i = 0; i < c->n_calls; i++)
		if (c->calls[i] == task->nr)
			return;
	if (c->n_calls < DINK_TRACE_CAP_CALLS)
		c->calls[c->n_calls++] = task->nr;
}

static void add_device(struct tracer *t, const char *path, uint64_t flags)
{
	static const char *const access[] = {"r", "w", "rw", "rw"};
	_cleanup_free_ char *text = xasprintf("%s %s", path, access[flags & O_ACCMODE]);

	if (t->out->devices.n < DEVICES_MAX && !dink_strv_has(&t->out->devices, text))
		dink_strv_add(&t->out->devices, text);
}

/* By the descriptor, so that links and other roads to a device are no matter. */
static void note_opened(struct tracer *t, const struct task *task, int64_t fd)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd/%lld", (int)task->tid, (long long)fd);
	char target[256];
	struct stat st;
	ssize_t n;

	if (stat(path, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
		return;
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	add_device(t, target, task->flags);
}

static uint64_t open_flags(const struct __ptrace_syscall_info *info)
{
	if (info->entry.nr == SYS_open)
		return info->entry.args[1];
	if (info->entry.nr == SYS_openat)
		return info->entry.args[2];
	return info->entry.nr == SYS_creat ? O_WRONLY : O_RDWR;
}

static void note_syscall(struct tracer *t, struct task *task)
{
	struct __ptrace_syscall_info info = {};

	if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		trace_caps_drain(&t->caps, note_cap, t);
		task->nr = info.entry.nr < DINK_TRACE_CALLS ? (int)info.entry.nr : OUTSIDE;
		task->flags = open_flags(&info);
		if (task->nr != OUTSIDE)
			t->out->calls[task->nr]++;
		return;
	}
	if (info.op != PTRACE_SYSCALL_INFO_EXIT || task->nr == OUTSIDE)
		return;
	trace_caps_drain(&t->caps, note_cap, t);
	if (info.exit.is_error && (info.exit.rval == -EPERM || info.exit.rval == -ENOSYS))
		t->out->refused[task->nr]++;
	if (!info.exit.is_error && (task->nr == SYS_open || task->nr == SYS_openat ||
				    task->nr == SYS_openat2 || task->nr == SYS_creat))
		note_opened(t, task, info.exit.rval);
	task->nr = OUTSIDE;
}

/* One stop of one thread: note it, and on. */
static void handle_stop(struct tracer *t, pid_t tid, int status)
{
	struct task *task = find_task(t, tid, true);
	int sig = WSTOPSIG(status), event = status >> 16;
	long pass = 0;

	if (!task) {
		(void)ptrace(PTRACE_DETACH, tid, NULL, NULL);
		return;
	}
	if (sig == (SIGTRAP | 0x80))
		note_syscall(t, task);
	else if (event == PTRACE_EVENT_EXEC)
		task->nr = SYS_execve;
	else if (!event && sig != SIGTRAP)
		pass = sig;
	if (event == PTRACE_EVENT_STOP && sig != SIGTRAP && t->n_alive > 1)
		(void)ptrace(PTRACE_LISTEN, tid, NULL, NULL);
	else
		(void)ptrace(PTRACE_SYSCALL, tid, NULL, pass);
}

static int follow(struct tracer *t, pid_t starter, int *ret_status, struct dink_err *err)
{
	bool starter_ended = false;

	while (!starter_ended || t->n_alive > 0) {
		int status = 0;
		pid_t tid = waitpid(-1, &status, __WALL);

		if (dink_interrupted())
			return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			break;
		if (tid == starter) {
			starter_ended = WIFEXITED(status) || WIFSIGNALED(status);
			*ret_status = status;
			continue;
		}
		if (WIFSTOPPED(status))
			handle_stop(t, tid, status);
		else
			forget_task(t, tid);
		/* what it left running in the background is not waited for */
		if (starter_ended)
			break;
	}
	trace_caps_drain(&t->caps, note_cap, t);
	dink_strv_sort(&t->out->devices);
	return 0;
}

/* An interrupt ends the command: a thread that nobody lets go on would stop its layer, too. */
static void end_tasks(struct tracer *t)
{
	for (size_t i = 0; i < t->n_tasks; i++)
		(void)kill(t->tasks[i].tid, SIGKILL);
	for (size_t i = 0; i < t->n_tasks; i++) {
		int status = 0;

		while (waitpid(t->tasks[i].tid, &status, __WALL) > 0 && WIFSTOPPED(status))
			(void)ptrace(PTRACE_CONT, t->tasks[i].tid, NULL, SIGKILL);
	}
}

static uint64_t read_bounding(pid_t pid)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)pid), *text = NULL;
	const char *at;

	if (dink_file_read(path, 16384, &text, NULL, &ignored) < 0)
		return 0;
	at = strstr(text, "\nCapBnd:");
	return at ? strtoull(at + strlen("\nCapBnd:"), NULL, 16) : 0;
}

int dink_trace_run(pid_t pid, pid_t starter, struct dink_trace *ret, int *ret_status,
		   struct dink_err *err)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
	struct tracer t = {.out = ret, .caps = TRACE_CAPS_INIT};
	int r;

	ret->bounding = read_bounding(pid);
	(void)trace_caps_open(&t.caps, pid, &ret->no_caps);
	if (ptrace(PTRACE_SEIZE, pid, NULL, options) < 0) {
		r = dink_err_set(err, DINK_E_HOST, errno, "follow process %d of the layer",
				 (int)pid);
		(void)kill(pid, SIGCONT);
	} else {
		find_task(&t, pid, true);
		(void)kill(pid, SIGCONT);
		r = follow(&t, starter, ret_status, err);
		if (r < 0)
			end_tasks(&t);
	}
	trace_caps_close(&t.caps);
	free(t.tasks);
	return r;
}
