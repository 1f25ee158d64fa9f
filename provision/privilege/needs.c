/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each need takes. Every row was measured by leaving it out (docs/privileges.md has the
 * errors): a row that can be left out does not belong here.
 *
 * Base: an engine's default container (its fourteen capabilities, its seccomp profile, its masked
 * paths). So /tmp as a tmpfs, unmasked /proc, CAP_SYS_RESOURCE and a writable bind of the host's
 * /sys/fs/cgroup are not here: none was needed.
 */
#include "provision/privilege/needs.h"

#include "provision/base/json.h"

#define CAP(need, what, why)                                                                       \
	{                                                                                          \
		DINK_NEED_##need, DINK_GRANT_CAPABILITY, what, why                                 \
	}
#define SYSCALL(need, what, why)                                                                   \
	{                                                                                          \
		DINK_NEED_##need, DINK_GRANT_SYSCALL, what, why                                    \
	}
#define DEVICE(need, what, why)                                                                    \
	{                                                                                          \
		DINK_NEED_##need, DINK_GRANT_DEVICE, what, why                                     \
	}
#define MOUNT(need, what, why)                                                                     \
	{                                                                                          \
		DINK_NEED_##need, DINK_GRANT_MOUNT, what, why                                      \
	}
#define SYSCTL(need, what, why)                                                                    \
	{                                                                                          \
		DINK_NEED_##need, DINK_GRANT_SYSCTL, what, why                                     \
	}

#define UNMASK(need, what, why)                                                                    \
	{                                                                                          \
		DINK_NEED_##need, DINK_GRANT_UNMASK, what, why                                     \
	}

const struct dink_need_grant dink_need_grants[] = {
	CAP(DOCKER_DAEMON, "CAP_NET_ADMIN", "its bridge, veth pairs and iptables rules"),
	CAP(DOCKER_DAEMON, "CAP_SYS_ADMIN", "mounting image layers"),
	MOUNT(DOCKER_DAEMON, "volume /var/lib/docker",
	      "its storage driver does not stack on the layer's own overlay"),
	MOUNT(DOCKER_DAEMON, "tmpfs /run",
	      "pid files of a killed daemon would stop it from starting again"),
	SYSCTL(DOCKER_DAEMON, "net.ipv4.ip_forward=1",
	       "the daemon turns forwarding on, and /proc/sys is read-only to the layer"),
	CAP(PODMAN_DAEMON, "CAP_NET_ADMIN", "its bridge, veth pairs and firewall rules"),
	CAP(PODMAN_DAEMON, "CAP_SYS_ADMIN", "mounting image layers"),
	MOUNT(PODMAN_DAEMON, "volume /var/lib/containers",
	      "its storage driver does not stack on the layer's own overlay"),
	MOUNT(PODMAN_DAEMON, "tmpfs /run", "its run state must not outlive the layer's processes"),
	SYSCTL(PODMAN_DAEMON, "net.ipv4.ip_forward=1",
	       "its network forwards, and /proc/sys is read-only to the layer"),
	CAP(RUNC_CHILD, "CAP_SYS_ADMIN", "namespaces and mounts of each container"),
	SYSCALL(RUNC_CHILD, "keyctl", "a session keyring for each container"),
	SYSCALL(RUNC_CHILD, "pivot_root", "the root of each container"),
	CAP(CRUN_CHILD, "CAP_SYS_PTRACE",
	    "the daemon opens the network namespace of crun's process, which hides it"),
	CAP(VM_CHILD, "CAP_NET_ADMIN", "a tap joined to the container's veth"),
	CAP(VM_CHILD, "CAP_SYS_ADMIN",
	    "the namespaces of the VM's monitor and of virtiofsd's sandbox"),
	SYSCALL(VM_CHILD, "pivot_root", "virtiofsd shuts itself into the shared folder"),
	DEVICE(VM_CHILD, "/dev/net/tun rw", "the VM's network card"),
	DEVICE(KVM, "/dev/kvm rw", "acceleration, once it was proved to work"),
	{DINK_NEED_CGROUP_WRITE, DINK_GRANT_NAMESPACE, "cgroup=private",
	 "it makes groups below its own and sees no others"},
	CAP(CGROUP_WRITE, "CAP_SYS_ADMIN", "making its own /sys/fs/cgroup writable from inside"),
	CAP(KATA_CHILD, "CAP_NET_ADMIN", "a tap joined to the container's veth"),
	CAP(KATA_CHILD, "CAP_SYS_ADMIN", "the sandbox's mounts and namespaces"),
	SYSCALL(KATA_CHILD, "pivot_root", "virtiofsd shuts itself into the shared folder"),
	DEVICE(KATA_CHILD, "/dev/net/tun rw", "the VM's network card"),
	DEVICE(KATA_CHILD, "/dev/kvm rw", "Kata runs its VMs under KVM"),
	DEVICE(KATA_CHILD, "/dev/vhost-net rw", "the VM's network card"),
	DEVICE(KATA_CHILD, "/dev/vhost-vsock rw", "the channel to Kata's agent"),
	CAP(RUNSC_CHILD, "CAP_SYS_ADMIN", "the sandbox's namespaces and mounts"),
	SYSCALL(RUNSC_CHILD, "pivot_root", "the sandbox's root"),
	SYSCALL(USERNS_CHILD, "clone", "user namespaces, which give the rest inside them"),
	SYSCALL(USERNS_CHILD, "unshare", "mount namespaces for unpacking and for each container"),
	SYSCALL(USERNS_CHILD, "mount", "the mounts of each container"),
	SYSCALL(USERNS_CHILD, "umount2", "the old root of each container"),
	SYSCALL(USERNS_CHILD, "pivot_root", "the root of each container"),
	SYSCALL(USERNS_CHILD, "setns", "joining the namespaces made for a container"),
	SYSCALL(USERNS_CHILD, "sethostname", "the host name of each container"),
	SYSCALL(USERNS_CHILD, "keyctl", "a session keyring for each container"),
	UNMASK(NESTED_PROC, "/proc",
	       "the kernel gives a user namespace a new /proc only where it sees a whole one"),
	DEVICE(USER_NET, "/dev/net/tun rw", "the network card of a network namespace of its own"),
	DEVICE(FUSE_STORE, "/dev/fuse rw", "mounting image layers without privilege"),
	MOUNT(ROOTLESS_DAEMON, "volume /home",
	      "its storage driver does not stack on the layer's own overlay"),
	CAP(USER_CHILD, "CAP_SYS_PTRACE", "joining a container whose processes are a user's"),
	CAP(TRACE_CHILD, "CAP_SYS_PTRACE", "processes of other users of the layer"),
	UNMASK(SWARM_NODE, "/proc/sys",
	       "a service's own address and published ports: net.ipv4.vs.conntrack and "
	       "route_localnet"),
};
const size_t dink_n_need_grants = ARRAY_SIZE(dink_need_grants);

/* CAP_AUDIT_WRITE 29, ..., as Docker and Podman give them */
const int dink_default_capabilities[] = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31, -1};

const char *const dink_masked_paths[] = {
	"/proc/asound",
	"/proc/acpi",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/sys/firmware",
	NULL,
};
const char *const dink_read_only_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};

static const struct {
	const char *name, *text;
} need_names[DINK_NEED_MAX_] = {
	[DINK_NEED_DOCKER_DAEMON] = {"docker-daemon", "runs a Docker daemon"},
	[DINK_NEED_PODMAN_DAEMON] = {"podman-daemon", "runs a Podman service"},
	[DINK_NEED_RUNC_CHILD] = {"runc-child", "starts containers with runc or crun"},
	[DINK_NEED_CRUN_CHILD] = {"crun-child", "starts containers with crun for Docker"},
	[DINK_NEED_VM_CHILD] = {"vm-child", "starts VMs"},
	[DINK_NEED_KVM] = {"kvm", "starts VMs under KVM"},
	[DINK_NEED_CGROUP_WRITE] = {"cgroup-write", "makes cgroups for its containers"},
	[DINK_NEED_KATA_CHILD] = {"kata-child", "starts containers of Kata"},
	[DINK_NEED_RUNSC_CHILD] = {"runsc-child", "starts containers of gVisor"},
	[DINK_NEED_USERNS_CHILD] = {"userns-child", "starts containers in user namespaces"},
	[DINK_NEED_NESTED_PROC] = {"nested-proc", "mounts a /proc in a user namespace"},
	[DINK_NEED_USER_NET] = {"user-net", "makes network cards in a user namespace"},
	[DINK_NEED_FUSE_STORE] = {"fuse-store", "mounts image layers with fuse-overlayfs"},
	[DINK_NEED_ROOTLESS_DAEMON] = {"rootless-daemon", "runs an engine as a user"},
	[DINK_NEED_SYSTEMD_INIT] = {"systemd-init", "has systemd as PID 1"},
	[DINK_NEED_SUPERVISOR_INIT] = {"supervisor-init", "has supervisord as PID 1"},
	[DINK_NEED_USER_CHILD] = {"user-child", "runs commands in containers of a user"},
	[DINK_NEED_TRACE_CHILD] = {"trace-child", "traces what other users of it run"},
	[DINK_NEED_SWARM_NODE] = {"swarm-node", "is a node of a swarm"},
};

const char *dink_need_name(enum dink_need n)
{
	return n < DINK_NEED_MAX_ ? need_names[n].name : "?";
}

const char *dink_need_text(enum dink_need n)
{
	return n < DINK_NEED_MAX_ ? need_names[n].text : "?";
}

enum dink_need dink_need_from_name(const char *name)
{
	for (int n = 0; n < DINK_NEED_MAX_; n++)
		if (STREQ(need_names[n].name, name))
			return (enum dink_need)n;
	return DINK_NEED_MAX_;
}

uint32_t dink_need_with_implied(uint32_t needs)
{
	static const struct {
		enum dink_need need, implies;
	} pairs[] = {
		{DINK_NEED_ROOTLESS_DAEMON, DINK_NEED_USERNS_CHILD},
		{DINK_NEED_ROOTLESS_DAEMON, DINK_NEED_NESTED_PROC},
		{DINK_NEED_ROOTLESS_DAEMON, DINK_NEED_USER_NET},
		{DINK_NEED_SYSTEMD_INIT, DINK_NEED_CGROUP_WRITE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (needs & 1u << pairs[i].need)
			needs |= 1u << pairs[i].implies;
	return needs;
}

const char *dink_need_store(enum dink_need n)
{
	if (n == DINK_NEED_DOCKER_DAEMON)
		return "/var/lib/docker";
	if (n == DINK_NEED_PODMAN_DAEMON)
		return "/var/lib/containers";
	return NULL;
}

const char *dink_grant_kind_name(enum dink_grant_kind k)
{
	static const char *const names[DINK_GRANT_KIND_MAX_] = {
		[DINK_GRANT_CAPABILITY] = "capability",
		[DINK_GRANT_SYSCALL] = "syscall",
		[DINK_GRANT_DEVICE] = "device",
		[DINK_GRANT_MOUNT] = "mount",
		[DINK_GRANT_UNMASK] = "unmask",
		[DINK_GRANT_SYSCTL] = "sysctl",
		[DINK_GRANT_RLIMIT] = "rlimit",
		[DINK_GRANT_NAMESPACE] = "namespace",
		[DINK_GRANT_LSM] = "lsm",
	};

	return k < DINK_GRANT_KIND_MAX_ ? names[k] : "?";
}

enum dink_grant_kind dink_grant_kind_from_name(const char *name)
{
	for (int k = 0; k < DINK_GRANT_KIND_MAX_; k++)
		if (STREQ(dink_grant_kind_name((enum dink_grant_kind)k), name))
			return (enum dink_grant_kind)k;
	return DINK_GRANT_KIND_MAX_;
}

static struct json_object *grants_to_json(enum dink_need n)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < dink_n_need_grants; i++) {
		const struct dink_need_grant *row = &dink_need_grants[i];
		struct json_object *o;

		if (row->need != n)
			continue;
		o = dink_json_new();
		dink_json_set_str(o, "kind", dink_grant_kind_name(row->kind));
		dink_json_set_str(o, "what", row->what);
		dink_json_set_str(o, "why", row->why);
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *implied_to_json(enum dink_need n)
{
	struct json_object *list = json_object_new_array();
	uint32_t with = dink_need_with_implied(1u << n) & ~(1u << n);

	for (int i = 0; i < DINK_NEED_MAX_; i++)
		if (with & 1u << i)
			json_object_array_add(
				list, json_object_new_string(dink_need_name((enum dink_need)i)));
	return list;
}

struct json_object *dink_needs_to_json(void)
{
	struct json_object *list = json_object_new_array();

	for (int i = 0; i < DINK_NEED_MAX_; i++) {
		enum dink_need n = (enum dink_need)i;
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "need", dink_need_name(n));
		dink_json_set_str(o, "text", dink_need_text(n));
		dink_json_set(o, "implies", implied_to_json(n));
		dink_json_set(o, "grants", grants_to_json(n));
		json_object_array_add(list, o);
	}
	return list;
}
