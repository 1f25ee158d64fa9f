/* SPDX-License-Identifier: Apache-2.0 */
/* Places, for the other files of this module. */
#pragma once

#include "provision/engine/engine.h"

enum dink_place_kind { DINK_PLACE_HOST, DINK_PLACE_CONTAINER, DINK_PLACE_VM };

struct dink_place {
	enum dink_place_kind kind;
	const struct dink_place *parent; /* NULL for the host */
	bool owns_parent;		 /* made by dink_place_parse() */
	pid_t pid;
	/*
	 * The /proc/PID folder, opened when the place was made; -1 below a VM. It names this very
	 * process: once that is gone it answers ESRCH, even when the pid is used again.
	 */
	int procfd;
	char *control; /* VM: control.sock as the parent sees it */
};

/* Whether the way there leads through a VM: then only streams reach it, no files. */
bool dink_place_has_vm(const struct dink_place *p);

/* dink_place_root() - O_PATH of its root; -EOPNOTSUPP where a VM is in between */
int dink_place_root(const struct dink_place *p);

/* dink_wait_fd() - poll with a deadline (CLOCK_MONOTONIC ms, 0 = none); -ETIMEDOUT, -EINTR */
int dink_wait_fd(int fd, short events, uint64_t deadline_ms);

/*
 * dink_place_signal() - a signal to a process of the place and to all of its session
 * @pid: in the place's pid namespace. -EOPNOTSUPP behind a VM, -ESRCH if it is gone
 */
int dink_place_signal(const struct dink_place *p, pid_t pid, int sig);
