/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as somebody inside another root sees them, without ever leaving that root.
 *
 * A container may make /var/run (or anything) a symbolic link to wherever it likes; followed from
 * outside it would lead into our own root. So every path is resolved by the kernel with
 * RESOLVE_IN_ROOT. The one thing that cannot be is the step into a deeper container,
 * "/proc/PID/root": that is a magic link of procfs. It is taken by hand, after the folder was
 * seen to be procfs: a container's own symbolic link called "root" is refused.
 *
 * Used on the host and by dink-agent for the "connect" request.
 */
#pragma once

#include "provision/base/err.h"

/*
 * dink_inside_connect() - a stream to the unix socket `path`, resolved in rootfd
 * @rootfd: a folder, O_PATH will do; borrowed
 * @path: absolute; "/proc/N/root" and "/proc/N/cwd" in front, again and again, are followed
 * Any length of path is fine: the socket is reached through /proc/self/fd/N.
 * Return: 0, -ENOENT and -ECONNREFUSED (nobody listens) among others
 */
int dink_inside_connect(int rootfd, const char *path, int *ret_fd,
			struct dink_err *err) _must_check_;

/*
 * dink_inside_find() - the first half: an O_PATH descriptor of what is at `path`, found the same
 * way; for who connects without waiting. -errno
 */
int dink_inside_find(int rootfd, const char *path) _must_check_;

/* dink_inside_open() - O_PATH (or other flags) open of a path resolved in rootfd; -errno */
int dink_inside_open(int rootfd, const char *path, int flags) _must_check_;

/* dink_inside_hop() - the folder behind "root" or "cwd" of a /proc/PID folder; -errno */
int dink_inside_hop(int procfd, const char *link) _must_check_;
