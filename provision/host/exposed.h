/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many system calls of this kernel a running process can reach: its seccomp filters are read
 * back from the kernel and asked about every call there is. So two runtimes are compared by what is
 * really in force, not by what was configured.
 */
#pragma once

#include "provision/base/err.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dink_exposed {
	unsigned reached, denied; /* of the x86-64 calls that have a name */
	unsigned filters;	  /* 0: none is in force */
};

/*
 * dink_exposed_read() - of one process's main thread, which is stopped for the moment
 * Takes CAP_SYS_ADMIN, no seccomp filter of our own, and a process that nobody traces.
 */
int dink_exposed_read(pid_t pid, struct dink_exposed *ret, struct dink_err *err) _must_check_;

/*
 * dink_bpf_run() - a seccomp program's answer for one call with all arguments zero
 * False if the program does what none that the kernel accepted would do. Bounded by its length.
 */
bool dink_bpf_run(const struct sock_filter *prog, size_t n, int nr, uint32_t *ret_action);
