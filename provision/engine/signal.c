/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals into a layer. The folder /proc/PID of the layer's own procfs names a process of its pid
 * namespace, and pidfd_send_signal() takes such a folder: no pid needs to be translated, and none
 * can be reused between look and kill.
 */
#include "provision/engine/inside.h"
#include "provision/engine/place.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/syscall.h>

enum { MEMBERS_MAX = 512 };

/* The session of a process; -1 if unknown. */
static int session_of(int procfd)
{
	_cleanup_close_ int fd = openat(procfd, "stat", O_RDONLY | O_CLOEXEC);
	char buf[1024], *s, state;
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	int ppid, pgrp, session;

	if (n <= 0)
		return -1;
	buf[n] = '\0';
	s = strrchr(buf, ')');
	if (!s || sscanf(s + 1, " %c %d %d %d", &state, &ppid, &pgrp, &session) != 4)
		return -1;
	return session;
}

static int send_signal(int procfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, procfd, sig, NULL, 0) < 0 ? -errno : 0;
}

int dink_place_signal(const struct dink_place *p, pid_t pid, int sig)
{
	_cleanup_close_ int root = dink_place_root(p), proc = -1, leader = -1;
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	int members[MEMBERS_MAX], n = 0, r;
	char path[32];

	if (root < 0)
		return root;
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	leader = dink_inside_open(root, path, O_RDONLY | O_DIRECTORY);
	if (leader < 0)
		return leader == -ENOENT ? -ESRCH : leader;
	proc = dink_inside_open(root, "/proc", O_RDONLY | O_DIRECTORY);
	if (proc < 0)
		return proc;
	dir = fdopendir(proc);
	if (!dir)
		return -errno;
	proc = -1; /* dir's now. NOLINT(clang-analyzer-deadcode.DeadStores): read at clean-up */
	/* found first, signalled after the leader: a shell must not see its child's end before its
	 * own */
	while (n < MEMBERS_MAX && session_of(leader) == pid && (d = readdir(dir))) {
		int fd;

		if (!isdigit((unsigned char)d->d_name[0]) || atoi(d->d_name) == pid)
			continue;
		fd = openat(dirfd(dir), d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && session_of(fd) == pid)
			members[n++] = fd;
		else if (fd >= 0)
			close(fd);
	}
	r = send_signal(leader, sig);
	while (n > 0) {
		(void)send_signal(members[--n], sig); /* one that just ended is no failure */
		close(members[n]);
	}
	return r;
}
