/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engines learn that a container ran out of memory from the kernel: they watch the memory group of
 * its first process, here the monitor's. The guest's kernel killed; so once QEMU is gone, and the
 * monitor is alone in that group, the monitor makes the same happen in it: a child of its own takes
 * more than the group may have, and is killed for it. The engine hears of it before it sees the
 * container end.
 */
#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/cgroup.h"
#include "provision/vm/monitor_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
	CHILD_MS = 2000,  /* for QEMU to give its memory back */
	VICTIM_MS = 3000, /* for the kernel to kill */
	HEARD_US = 20000, /* for the engine to read its event before our end is one more */
	ROOM_BYTES = 2 << 20,
	STEP_BYTES = 1 << 20,
	BEYOND_BYTES = 64 << 20,
	VALUE_MAX = 64,
};

/* The monitor loses sight of the host's folders: what it needs of them is opened before. */
void mon_oom_open(struct monitor *m)
{
	struct json_object *group = dink_json_get(m->plan, "cgroup");
	const char *dir = dink_cgroup_dir(group, "memory");

	m->group_v2 = dink_json_int_or(group, "version", 1) == 2;
	m->group_fd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	m->proc_fd = dir ? open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
}

static bool write_at(int dir, const char *name, const char *value)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

static bool read_at(int dir, const char *name, char ret[VALUE_MAX])
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, VALUE_MAX - 1);

	if (n <= 0)
		return false;
	ret[n] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	return true;
}

static void end_child(struct mon_child *child)
{
	struct pollfd p = {.fd = child->pidfd, .events = POLLIN};

	if (child->pid <= 0)
		return;
	kill(child->pid, SIGKILL);
	if (poll(&p, 1, CHILD_MS) > 0)
		waitpid(child->pid, NULL, WNOHANG);
}

/* In the child: page after page, and each of a kind that has to stay in memory. */
static _noreturn_ void take_memory(int proc, uint64_t bytes)
{
	prctl(PR_SET_NAME, "vm-out-of-mem");
	/* the monitor must not be the one; it is the smaller one in any case */
	(void)!write_at(proc, "self/oom_score_adj", "1000");
	for (uint64_t taken = 0; taken < bytes; taken += STEP_BYTES) {
		char *p = mmap(NULL, STEP_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			break;
		(void)!mlock(p, STEP_BYTES);
		memset(p, 1, STEP_BYTES);
	}
	_exit(0);
}

/* What the group holds is files it read; without them little is to be taken. */
static void drop_files(const struct monitor *m)
{
	static const char little[] = "4194304";

	if (!m->group_v2) {
		(void)!write_at(m->group_fd, "memory.force_empty", "0");
		return;
	}
	/* unlike memory.max this one kills nobody */
	(void)!write_at(m->group_fd, "memory.high", little);
	(void)!write_at(m->group_fd, "memory.high", "max");
}

/* Return: whether the kernel killed it */
static bool sacrifice(const struct monitor *m, uint64_t bytes)
{
	pid_t pid = fork();

	if (pid == 0)
		take_memory(m->proc_fd, bytes);
	if (pid < 0)
		return false;
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int status = 0;
	bool ended = poll(&p, 1, VICTIM_MS) > 0;

	if (!ended)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static bool provoke(const struct monitor *m)
{
	const char *limit = m->group_v2 ? "memory.max" : "memory.limit_in_bytes";
	const char *swap = m->group_v2 ? "memory.swap.max" : "memory.swappiness";
	const char *usage = m->group_v2 ? "memory.current" : "memory.usage_in_bytes";
	char before[VALUE_MAX], now[VALUE_MAX], panic[VALUE_MAX];

	/* where lack of memory in a group is to end the host, there is none to be made */
	if (!read_at(m->proc_fd, "sys/vm/panic_on_oom", panic) || atoi(panic) > 1)
		return false;
	drop_files(m);
	(void)!write_at(m->group_fd, swap, "0");
	if (!read_at(m->group_fd, limit, before) || !read_at(m->group_fd, usage, now))
		return false;
	uint64_t room = strtoull(now, NULL, 10) + ROOM_BYTES;
	_cleanup_free_ char *text = xasprintf("%llu", (unsigned long long)room);
	if (!write_at(m->group_fd, limit, text))
		return false;
	bool killed = sacrifice(m, room + BEYOND_BYTES);
	(void)!write_at(m->group_fd, limit, before);
	return killed;
}

void mon_oom_tell(struct monitor *m)
{
	if (!m->out_of_memory || m->group_fd < 0 || m->proc_fd < 0)
		return;
	end_child(&m->qemu);
	end_child(&m->virtiofsd);
	if (m->ram_fd >= 0)
		close(TAKE_FD(m->ram_fd));
	mon_trace(m, provoke(m) ? "the engine was told that the guest ran out of memory"
				: "the engine could not be told that the guest ran out of memory");
	usleep(HEARD_US);
}
