/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Privileges computed: needs -> grants, each with its reason.
 *
 * Pure. A need is what a layer does ("runs runc containers", "starts VMs"); the table in needs.c
 * says which grants a need takes. Needs flow outward: what a child does in its parent's daemon is
 * a need of the parent, except that a VM's walls keep inside what happens in the guest.
 */
#pragma once

#include "provision/host/facts.h"
#include "provision/scenario/scenario.h"

enum dink_need {
	DINK_NEED_DOCKER_DAEMON, /* dockerd with bridge networking and iptables */
	DINK_NEED_PODMAN_DAEMON,
	DINK_NEED_RUNC_CHILD,	   /* starts containers with runc or crun */
	DINK_NEED_CRUN_CHILD,	   /* starts them with crun for a Docker daemon */
	DINK_NEED_VM_CHILD,	   /* starts VMs: QEMU, virtiofsd, tap, tc */
	DINK_NEED_KVM,		   /* the VM child may use /dev/kvm */
	DINK_NEED_CGROUP_WRITE,	   /* makes cgroups below its own */
	DINK_NEED_KATA_CHILD,	   /* starts containers of the official Kata */
	DINK_NEED_RUNSC_CHILD,	   /* starts containers of gVisor */
	DINK_NEED_USERNS_CHILD,	   /* starts containers without privilege, in user namespaces */
	DINK_NEED_NESTED_PROC,	   /* mounts a /proc of their own for those */
	DINK_NEED_USER_NET,	   /* slirp4netns or pasta: a network card in a user namespace */
	DINK_NEED_FUSE_STORE,	   /* fuse-overlayfs as storage driver */
	DINK_NEED_ROOTLESS_DAEMON, /* Podman or Docker as a user */
	DINK_NEED_SYSTEMD_INIT,	   /* PID 1 is systemd */
	DINK_NEED_SUPERVISOR_INIT, /* PID 1 is supervisord, or another that only starts programs */
	DINK_NEED_USER_CHILD,	   /* exec into containers that do not run as root */
	DINK_NEED_TRACE_CHILD,	   /* strace of what other users of the layer run */
	DINK_NEED_SWARM_NODE,	   /* dockerd as a node of a Docker Swarm */
	DINK_NEED_MAX_,
};

enum dink_grant_kind {
	DINK_GRANT_CAPABILITY, /* "CAP_NET_ADMIN" */
	DINK_GRANT_SYSCALL,    /* "keyctl": added to the engine's default seccomp profile */
	DINK_GRANT_DEVICE,     /* "/dev/net/tun rw" */
	DINK_GRANT_MOUNT,      /* "tmpfs /run"; "volume /var/lib/docker": an anonymous volume */
	DINK_GRANT_UNMASK,     /* "/proc/sys": a masked or read-only path opened */
	DINK_GRANT_SYSCTL,     /* "net.ipv4.ip_forward=1" */
	DINK_GRANT_RLIMIT,     /* "nofile=20000:20000" */
	DINK_GRANT_NAMESPACE,  /* "cgroup=private" */
	DINK_GRANT_LSM,	       /* "apparmor=unconfined": an engine's SecurityOpt, as it is */
	DINK_GRANT_KIND_MAX_,
};
const char *dink_grant_kind_name(enum dink_grant_kind k); /* "capability", ... */
/* DINK_GRANT_KIND_MAX_ if there is none of that name */
enum dink_grant_kind dink_grant_kind_from_name(const char *name);
const char *dink_need_name(enum dink_need n); /* "docker-daemon", ... */
const char *dink_need_text(enum dink_need n); /* "runs a Docker daemon ..." */

struct dink_grant {
	enum dink_grant_kind kind;
	char *what;
	/* why: one line for each (need, layer path) that asked for it; at least one */
	struct dink_strv reasons;
};

struct dink_privileges {
	struct dink_grant *grants; /* sorted by kind, then what */
	size_t n_grants;
	struct dink_strv denied; /* system calls left out: the profile must deny them */
};

/*
 * dink_privileges_of() - the set for one layer, from what it and its descendants do
 * @path: the layer's address, for reasons
 * @official_kata: the runtime kata resolves to the official one here
 * @facts: the host's, at every depth: layers outside of any VM share its kernel, its bounding set
 * and its devices; what happens in a guest is not checked against them
 *
 * Fails with DINK_E_HOST naming the need, the grant and the layer if the host cannot give one.
 * For a VM layer the grants are what its container gets inside the guest.
 */
int dink_privileges_of(const struct dink_scenario *s, const struct dink_layer *layer,
		       const char *path, const struct dink_facts *facts, bool official_kata,
		       struct dink_privileges **ret, struct dink_err *err) _must_check_;
void dink_privileges_free(struct dink_privileges *p);
DEFINE_CLEANUP_PTR(struct dink_privileges, dink_privileges_free);

/*
 * dink_privileges_leave_out() - take a grant away, to see what fails without it
 * Return: false if the set has no such grant
 */
bool dink_privileges_leave_out(struct dink_privileges *p, enum dink_grant_kind kind,
			       const char *what);

bool dink_privileges_have(const struct dink_privileges *p, enum dink_grant_kind kind,
			  const char *what);

/*
 * dink_privileges_seccomp() - the seccomp profile as JSON text for the engine's SecurityOpt:
 * base (Debian's /usr/share/containers/seccomp.json) plus the syscall grants; caller frees.
 * @base_text: content of the base profile
 */
int dink_privileges_seccomp(const struct dink_privileges *p, const char *base_text, size_t len,
			    char **ret, struct dink_err *err) _must_check_;

/*
 * dink_seccomp_to_oci() - a profile in the engines' format as linux.seccomp of the OCI: the rules
 * that apply to the set's capabilities and this architecture
 */
int dink_seccomp_to_oci(const struct dink_privileges *p, const char *profile, size_t len,
			struct json_object **ret, struct dink_err *err) _must_check_;

/*
 * dink_privileges_wants_seccomp() - whether the layer takes a profile of ours at all; one that does
 * not keeps its engine's default
 */
bool dink_privileges_wants_seccomp(const struct dink_privileges *p);

/* How many of the x86-64 system calls libseccomp knows a profile denies to a set. */
struct dink_seccomp_count {
	unsigned int allowed, denied;
};
/* @profile: as dink_privileges_seccomp() made it; @p: its capabilities and the engine's default */
int dink_seccomp_count(const struct dink_privileges *p, const char *profile, size_t len,
		       struct dink_seccomp_count *ret, struct dink_err *err) _must_check_;

/*
 * dink_privileges_host_needs() - bit n: a layer outside of any VM, or the host itself, has need n
 * The host has the needs of a parent of the layers at depth 1, but for daemon and cgroups.
 */
uint32_t dink_privileges_host_needs(const struct dink_scenario *s, const struct dink_facts *facts,
				    bool official_kata);

/* The fourteen capabilities that engines give by default; ended by -1. */
extern const int dink_default_capabilities[];

/* What engines hide and write-protect by default (the same in Docker and Podman); NULL-ended. */
extern const char *const dink_masked_paths[], *const dink_read_only_paths[];
/* dink_privileges_unmask() - whether such a path is opened, by itself or with all of /proc */
bool dink_privileges_unmask(const struct dink_privileges *p, const char *path);

/* The original run.sh's grants for either outer level, to be compared with. */
const struct dink_privileges *dink_privileges_original(void);
/*
 * dink_privileges_reference() - a set to compare with by name: "original", "privileged",
 * "docker-default"; NULL if there is none. A what of "*" stands for all of its kind.
 */
const struct dink_privileges *dink_privileges_reference(const char *name);
extern const char *const dink_reference_names[]; /* NULL-ended */

/* How much a set is, in four numbers. */
struct dink_privilege_score {
	unsigned int capabilities;
	unsigned int syscalls; /* of x86-64 that its seccomp profile allows; 0: cannot be told */
	unsigned int devices;  /* beyond the engine's default ones */
	bool all_devices;
	unsigned int kernel_paths; /* below /proc and /sys that root in it may write at once */
	/* with CAP_SYS_ADMIN what is write-protected by a mount can be remounted */
	bool may_remount;
};
/*
 * dink_privileges_score()
 * @base: the base profile's text, NULL = not there
 */
int dink_privileges_score(const struct dink_privileges *p, const char *base, size_t len,
			  struct dink_privilege_score *ret, struct dink_err *err) _must_check_;
struct json_object *dink_score_to_json(const struct dink_privilege_score *s);

/*
 * dink_privileges_oci() - the set as the part of config.json that it becomes: process.capabilities,
 * process.rlimits, linux.seccomp, devices, maskedPaths, readonlyPaths, sysctl, namespaces; mounts
 * @base: the base profile's text; NULL leaves linux.seccomp out
 */
int dink_privileges_oci(const struct dink_privileges *p, const char *base, size_t len,
			struct json_object **ret, struct dink_err *err) _must_check_;

/*
 * dink_privileges_apparmor() - an AppArmor profile that allows the set and denies what an engine's
 * default denies beside it; text for apparmor_parser, without includes; caller frees
 * @name: of the profile
 */
char *dink_privileges_apparmor(const struct dink_privileges *p, const char *name);

struct json_object *dink_privileges_to_json(const struct dink_privileges *p);

/*
 * dink_needs_to_json() - the whole table: a list of {need, text, implies, grants: [{kind, what,
 * why}]}, every need once, also one that takes nothing
 */
struct json_object *dink_needs_to_json(void);
