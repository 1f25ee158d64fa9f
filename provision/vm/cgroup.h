/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's group of processes on the host: where runc would have the container's processes
 * are the monitor, QEMU and virtiofsd. Engines look there for usage and for kills by lack of
 * memory. The guest's kernel holds the container to its limits; the group holds the VM as a whole.
 *
 * A group is JSON, since state.json and the monitor's plan have it:
 *	{"version":1|2,"memory_bytes":N,"dirs":[{"controllers":"cpu,cpuacct",
 *	 "mount":"/sys/fs/cgroup/cpu,cpuacct","dir":"/sys/fs/cgroup/cpu,cpuacct/docker/ID"}],
 *	 "note":"what could not be done"}
 * memory_bytes is what the VM may take at most; on version 2 there is one dir, of "".
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"

#include <stdbool.h>
#include <stdint.h>

/* What a place is derived from; texts of /proc, so that it can be tested. */
struct dink_cgroup_where {
	const char *mountinfo; /* /proc/self/mountinfo */
	const char *own;       /* /proc/self/cgroup */
	const char *path;      /* linux.cgroupsPath, NULL = absent */
	const char *id;	       /* of the container */
	bool systemd;	       /* path is "slice:prefix:name" */
};

/*
 * dink_cgroup_plan() - where runc would put it; changes nothing
 * *ret is NULL where the host has no cgroups, or path is the root group: there is no group then.
 */
int dink_cgroup_plan(const struct dink_cgroup_where *w, struct json_object **ret,
		     struct dink_err *err) _must_check_;
/* dink_cgroup_plan_here() - the same for this process */
int dink_cgroup_plan_here(const char *path, const char *id, bool systemd, struct json_object **ret,
			  struct dink_err *err) _must_check_;

/*
 * dink_cgroup_memory() - what a VM takes at most on the host, in bytes
 * @memory_mib: the guest's memory
 * @files: how many its virtiofsd can have open, 0 where it has none
 */
uint64_t dink_cgroup_memory(uint32_t memory_mib, bool kvm, uint64_t files);

/*
 * dink_cgroup_make() - the folders, those on the way included
 *
 * A hierarchy that cannot be written is left out, and "note" says so: there may be none left. A
 * folder with processes in it is another's: refused.
 */
int dink_cgroup_make(struct json_object *group, struct dink_err *err) _must_check_;

/*
 * dink_cgroup_leave_out() - the hierarchy that has this controller and no other
 * The processes stay there in the group they come from.
 */
void dink_cgroup_leave_out(struct json_object *group, const char *controller);

/* dink_cgroup_join() - this process and what it forks */
int dink_cgroup_join(struct json_object *group, struct dink_err *err) _must_check_;

/*
 * dink_cgroup_limit() - what linux.resources asks for
 * @quota: the CPU quota, too: a guest boots without
 */
int dink_cgroup_limit(struct json_object *group, struct json_object *resources, bool quota,
		      struct dink_err *err) _must_check_;

/* dink_cgroup_remove() - the folders without those on the way, as runc; NULL = none */
int dink_cgroup_remove(struct json_object *group, struct dink_err *err) _must_check_;

/* dink_cgroup_dir() - of a controller, NULL = none; borrowed */
const char *dink_cgroup_dir(struct json_object *group, const char *controller);
