/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's answer to "ps" as files of /proc/PID, for those who read a container's /proc and not
 * the runtime: Podman's top. Pure: no host access.
 *
 * The answer is the guest's word, and who reads these files takes them for a kernel's. So each line
 * is put together here, of numbers, and has the fields that a kernel gives whatever the guest said.
 */
#pragma once

#include "provision/base/json.h"

#include <sys/types.h>

enum { DINK_PROCTABLE_MAX = 256 };

struct dink_proc {
	pid_t pid;		      /* in the container */
	struct dink_str stat, status; /* text */
	struct dink_str cmdline;      /* each argument ends with NUL */
};

/*
 * dink_proctable_read() - of the first max processes those that have a pid in the container, each
 * pid once; the caller clears each
 */
size_t dink_proctable_read(struct json_object *answer, struct dink_proc *ret, size_t max);
void dink_proc_clear(struct dink_proc *p);
