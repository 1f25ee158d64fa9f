/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: runc, crun, runsc. */
#include "provision/explain/explain.h"

static const struct dink_explain_entry entries[] = {
	{
		.name = "runc-session-key",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"unable to create session key", "could not create session key"},
		.cause = "the seccomp filter of the layer in which runc runs denies keyctl; an "
			 "engine's "
			 "default filter does",
		.fix = "declare the inner container as a layer: keyctl is then among its parent's "
		       "grants; "
		       "by hand a filter that allows it, or runc's --no-new-keyring",
		.scenario = "layers: {inner: ...}",
		.source = "keyctl(2); docs/privileges.md, runc-child; runc#726",
	},
	{
		.name = "runc-key-quota",
		.program = "runc",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"unable to create session key: disk quota exceeded"},
		.cause = "the user has as many keys as kernel.keys.maxkeys allows (200): each "
			 "container "
			 "makes a session keyring, and those of a nest of containers add up",
		.fix = "sysctl kernel.keys.maxkeys=2000 on the host; runc's --no-new-keyring",
		.source = "keyrings(7); runc#726, crun#1148, podman#13363",
	},
	{
		.name = "runc-cgroup2-invalid",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"cannot enter cgroupv2*with domain controllers -- it is in"},
		.cause = "the group above is threaded, or has processes and controllers at once: "
			 "cgroup v2 "
			 "allows processes in leaves only",
		.fix = "move the processes of the layer's own group into a leaf before a daemon "
		       "starts, as "
		       "dink's layer-init does",
		.scenario = "daemon: docker",
		.source = "cgroups(7), no internal processes; opencontainers/runc#2356, "
			  "containerd#6659",
	},
	{
		.name = "runc-pivot-root",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error jailing process inside rootfs: pivot_root",
			     "pivot_root operation not permitted"},
		.cause = "the seccomp filter of the layer in which runc runs denies pivot_root, or "
			 "its "
			 "root is a ramfs, which nobody can pivot away from",
		.fix = "declare the inner container as a layer: pivot_root is then among its "
		       "parent's "
		       "grants; on a ramfs runc's --no-pivot",
		.scenario = "layers: {inner: ...}",
		.source = "pivot_root(2); docs/privileges.md, runc-child",
	},
	{
		.name = "runc-cgroup-read-only",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"mkdir /sys/fs/cgroup*read-only file system"},
		.cause = "the layer's cgroups are mounted read-only, and a container needs one "
			 "below them",
		.fix = "let the layer have a daemon: its cgroup namespace is private and it makes "
		       "its own "
		       "tree writable (mount -o remount,bind,rw)",
		.scenario = "daemon: docker",
		.source = "cgroup_namespaces(7); docs/privileges.md, cgroup-write",
	},
	{
		.name = "runc-cgroup-denied",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"mkdir /sys/fs/cgroup*permission denied",
			     "mkdir: *sys/fs/cgroup*permission denied"},
		.cause = "the process is not root, or not root in the user namespace that owns the "
			 "cgroup: it may not make a group",
		.fix = "run it as the layer's root, or rootless without limits; cgroup v2 can "
		       "delegate a "
		       "subtree to a user",
		.scenario = "daemon: docker",
		.source = "cgroups(7), delegation; runc#225",
	},
	{
		.name = "runc-namespaces-denied",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"nsexec*failed to unshare",
			     "running exec setns process for init caused",
			     "failed to unshare remaining namespaces"},
		.cause = "making namespaces takes CAP_SYS_ADMIN in the layer, or a user namespace "
			 "that its "
			 "seccomp filter lets it make; an engine's default container may neither",
		.fix = "let the layer have a daemon: CAP_SYS_ADMIN is among its grants, and it "
		       "opens "
		       "unshare, setns and clone in the filter",
		.scenario = "daemon: docker",
		.source = "namespaces(7), unshare(2); docs/privileges.md, runc-child",
	},
	{
		.name = "runc-mount-proc",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error mounting proc to rootfs*operation not permitted",
			     "mounting proc to rootfs*operation not permitted"},
		.cause = "in a user namespace a new /proc may be mounted only where the /proc "
			 "around it "
			 "is wholly visible; the layer's has hidden paths",
		.fix = "unmask /proc of the layer around (systempaths=unconfined, --security-opt "
		       "unmask=), "
		       "or run the inner container without a user namespace, or in a VM",
		.scenario = "runtime: dink-vm",
		.source = "mount_namespaces(7), mount_too_revealing (Linux 4.2); runc#1658, "
			  "podman#20453",
	},
	{
		.name = "runc-caps",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"unable to apply caps: operation not permitted",
			     "unable to apply bounding set: operation not permitted"},
		.cause = "a capability of the container is not in the bounding set of the layer "
			 "that runs "
			 "it (or of the host: dink doctor shows what it lacks)",
		.fix = "do not drop the fourteen default capabilities from a layer that runs "
		       "containers; "
		       "ask for no other than the layer has",
		.source = "capabilities(7); docs/privileges.md",
	},
	{
		.name = "runc-rlimit",
		.program = "runc",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"error setting rlimit type*operation not permitted",
			     "error setting rlimits for ready process*operation not permitted"},
		.cause = "the limit is over the hard limit, and the host has no CAP_SYS_RESOURCE "
			 "to give",
		.fix = "a limit within the hard one: --ulimit nofile=1024:1024, default_ulimits in "
		       "containers.conf; dink grants what the host allows",
		.source = "setrlimit(2); docs/privileges.md, Podman",
	},
	{
		.name = "runc-not-found",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"executable file not found in $path"},
		.cause = "the image has no such program on its PATH",
		.fix = "another command, or an image that has it",
		.scenario = "command: [...]",
		.source = "execve(2) ENOENT",
	},
	{
		.name = "runc-not-executable",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"unable to start container process: exec: *: permission denied"},
		.cause = "the file is there and not executable for this user, or its mount is "
			 "noexec",
		.fix = "chmod +x in the image; no noexec on the volume",
		.scenario = "command: [...]",
		.source = "execve(2) EACCES",
	},
	{
		.name = "runc-exec-format",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"exec format error"},
		.cause = "a program of another architecture, or a script without #!; a 32-bit "
			 "kernel says "
			 "so of every 64-bit program",
		.fix = "an image of this machine's architecture; the feature ia32 for 32-bit "
		       "programs",
		.scenario = "image:",
		.source = "execve(2) ENOEXEC",
	},
	{
		.name = "runc-interpreter",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"^exec /*: no such file or directory"},
		.cause = "the program is there, but not what runs it: the shell that its #! names, "
			 "or its "
			 "dynamic loader (a glibc program in a musl image)",
		.fix = "an image that has the interpreter, or a static program",
		.scenario = "image:",
		.source = "execve(2) ENOENT",
	},
	{
		.name = "runc-user",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"unable to setup user", "unable to find user", "unable to find group"},
		.cause = "the image's /etc/passwd or /etc/group has no such name, or the id is out "
			 "of range",
		.fix = "a number, or a name that the image has",
		.scenario = "image:",
		.source = "docker-run(1), --user",
	},
	{
		.name = "runc-bind-source",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"error mounting*to rootfs at*: stat *no such file or directory",
			     "error mounting*: no such file or directory"},
		.cause = "what is to be mounted into the container is not in the layer that runs "
			 "it: paths "
			 "are those of that layer, not of the host",
		.fix = "make it there; dink carries the scenario's mounts through every layer on "
		       "the way",
		.scenario = "mounts:",
		.source = "mount(2) ENOENT",
	},
	{
		.name = "runc-bind-kind",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"trying to mount a directory onto a file",
			     "error mounting*: not a directory"},
		.cause = "a file is to be mounted on a folder, or a folder on a file",
		.fix = "the same kind on both sides; an engine makes a folder of a missing source",
		.scenario = "mounts:",
		.source = "mount(2) ENOTDIR",
	},
	{
		.name = "runc-mount-no-fs",
		.program = "runc",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"error mounting*: no such device"},
		.cause = "the kernel has no such file system",
		.fix = "a guest kernel with the file system's feature",
		.scenario = "kernels: {guest: {features: [btrfs]}}",
		.source = "mount(2) ENODEV; docs/kernels.md",
	},
	{
		.name = "runc-sysctl-host",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"sysctl*not allowed in host network namespace",
			     "sysctl*not allowed as it enables"},
		.cause =
			"a network setting for a container that shares the network of what runs it",
		.fix = "a network namespace of its own, or set it outside",
		.source = "OCI runtime spec, linux.sysctl",
	},
	{
		.name = "runc-sysctl-unknown",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"sysctl*is not in a separate kernel namespace"},
		.cause = "the setting is the kernel's as a whole, not a namespace's",
		.fix = "set it on the host, or run the workload in a VM, which has a kernel of its "
		       "own",
		.scenario = "runtime: dink-vm",
		.source = "namespaces(7); OCI runtime spec, linux.sysctl",
	},
	{
		.name = "runc-sysctl-missing",
		.program = "runc",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"open /proc/sys/*: no such file or directory"},
		.cause = "the kernel has no such setting: the feature behind it is not built in",
		.fix = "a guest kernel with the feature, or leave the setting out",
		.scenario = "kernels: {guest: {features: [network]}}",
		.source = "proc(5); docs/kernels.md",
	},
	{
		.name = "runc-namespace-gone",
		.program = "runc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"lstat /proc/*/ns/*: no such file or directory",
			     "namespace path: lstat*no such file"},
		.cause = "the container joins a namespace of a process that has ended",
		.fix = "start the other container (or pod) first; restart both",
		.source = "setns(2)",
	},
	{
		.name = "runc-apparmor",
		.program = "runc",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"unable to apply apparmor profile",
			     "apparmor failed to apply profile"},
		.cause = "the kernel has no AppArmor, the profile is not loaded, or "
			 "/proc/self/attr is "
			 "masked in the layer",
		.fix = "the feature apparmor in a guest kernel and its profile loaded, or no "
		       "profile",
		.scenario = "kernels: {guest: {features: [apparmor]}}",
		.source = "apparmor_parser(8); docs/privileges.md, not measured",
	},
	{
		.name = "runc-selinux",
		.program = "runc",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"selinux label is specified in config, but selinux is disabled",
			     "error setting selinux label", "set process label"},
		.cause = "the container asks for an SELinux label, which this host or layer does "
			 "not have",
		.fix = "label=disable for that container; no label where SELinux is off",
		.source = "docker-run(1), --security-opt label",
	},
	{
		.name = "runc-hook",
		.program = "runc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"error running hook"},
		.cause = "a program that the engine has run at the container's start failed: the "
			 "network's "
			 "(libnetwork-setkey), or a device's",
		.fix = "the hook's own words follow; with dockerd look into its log",
		.source = "OCI runtime spec, hooks",
	},
	{
		.name = "runc-memory",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"container init was oom-killed", "unable to set memory limit to",
			     "memory.limit_in_bytes: device or resource busy"},
		.cause = "the memory limit is too small even for the container's start",
		.fix = "a larger limit: at least 8 MiB, in a VM 128 MiB",
		.scenario = "memory: 512MiB",
		.source = "cgroups(7), memory; dink-scenario(5)",
	},
	{
		.name = "runc-tty",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"provided file is not a console",
			     "cannot allocate tty if runc will detach",
			     "console*inappropriate ioctl for device"},
		.cause = "the container wants a terminal, and standard input is none (a pipe, CI)",
		.fix = "dink exec takes a terminal only where there is one; by hand leave -t out",
		.scenario = "tty: false",
		.source = "docker-run(1), --tty; moby#4346, devcontainers/cli#607",
	},
	{
		.name = "runc-no-config",
		.program = "runc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"json specification file config.json not found"},
		.cause = "the bundle has no config.json: the engine's state folder was emptied "
			 "under it",
		.fix = "remove the container and make it anew; runc spec writes one to try with",
		.source = "runc(8), --bundle",
	},
	{
		.name = "runc-rootfs",
		.program = "runc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"invalid rootfs: stat", "invalid rootfs: lstat"},
		.cause = "the container's root is not there: its storage was not mounted, or was "
			 "removed",
		.fix = "restart the daemon so that it mounts its layers again; check its disk is "
		       "mounted",
		.scenario = "disks: {store: /var/lib/docker}",
		.source = "OCI runtime spec, root",
	},
	{
		.name = "runc-exists",
		.program = "runc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"container with given id already exists"},
		.cause = "the runtime has state of such a container: one that runs, or left by a "
			 "kill",
		.fix = "runc delete --force ID; dink gc for what dink made",
		.source = "runc-delete(8)",
	},
	{
		.name = "runc-stopped",
		.program = "runc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"cannot exec in a stopped container",
			     "cannot exec a container that has stopped"},
		.cause = "the container has ended",
		.fix = "dink logs LAYER says what it said last; a command that stays, such as "
		       "sleep",
		.scenario = "command: [sleep, infinity]",
		.source = "runc-exec(8)",
	},
	{
		.name = "runc-gone",
		.program = "runc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"container does not exist"},
		.cause =
			"the runtime knows no such container: it has another --root, or it is gone",
		.fix = "look with the engine's own --root (/run/docker/runtime-runc/moby)",
		.source = "runc(8), --root",
	},
	{
		.name = "runc-device-cgroup",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"devices.allow: operation not permitted"},
		.cause = "the container is to have a device that the layer around it may not use "
			 "itself (cgroup v1)",
		.fix = "declare the inner layers in the scenario: the devices they need become "
		       "their "
		       "parent's grants; privileged containers are not possible in a layer",
		.source = "cgroups(7), devices; docs/privileges.md, Podman as the host's engine",
	},
	{
		.name = "runc-net-admin",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error during container init: operation not permitted"},
		.cause = "runc names no call here; what was met: setting lo up in the container's "
			 "network "
			 "namespace takes CAP_NET_ADMIN in the layer",
		.fix = "let the layer have a daemon: CAP_NET_ADMIN is among its grants; dink trace "
		       "says "
		       "which call it was",
		.scenario = "daemon: docker",
		.source = "capabilities(7); docs/privileges.md, docker-daemon",
	},
	{
		.name = "runc-rootless-userns",
		.program = "runc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"rootless containers require user namespaces",
			     "rootless container requires user namespaces"},
		.cause = "an ordinary user's container needs a user namespace with its id maps",
		.fix = "runc spec --rootless writes such a config; podman and rootless docker do "
		       "it "
		       "themselves",
		.source = "runc(8); user_namespaces(7)",
	},
	{
		.name = "crun-keyring",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"create keyring *: operation not permitted"},
		.cause = "the seccomp filter of the layer in which crun runs denies keyctl",
		.fix = "declare the inner container as a layer; keyring = false in containers.conf",
		.scenario = "layers: {inner: ...}",
		.source = "keyctl(2); docs/privileges.md, Podman; crun#1148",
	},
	{
		.name = "crun-pivot-root",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"pivot_root: operation not permitted"},
		.cause = "the seccomp filter of the layer in which crun runs denies pivot_root",
		.fix = "declare the inner container as a layer: the call is then among its "
		       "parent's grants",
		.scenario = "layers: {inner: ...}",
		.source = "pivot_root(2); docs/privileges.md, runc-child",
	},
	{
		.name = "crun-cgroup",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"creating cgroup directory*read-only file system",
			     "creating cgroup directory*no such file"},
		.cause = "the layer's cgroups are read-only, or not all of the host's hierarchies "
			 "are mounted "
			 "in it",
		.fix = "let the layer have a daemon: it makes its own tree writable",
		.scenario = "daemon: podman",
		.source = "docs/privileges.md, cgroup-write",
	},
	{
		.name = "crun-namespaces-denied",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"clone: operation not permitted", "unshare: operation not permitted"},
		.cause = "making namespaces takes CAP_SYS_ADMIN in the layer, or a user namespace "
			 "that its "
			 "seccomp filter lets it make",
		.fix = "let the layer have a daemon: CAP_SYS_ADMIN is among its grants",
		.scenario = "daemon: podman",
		.source = "namespaces(7); docs/privileges.md, runc-child",
	},
	{
		.name = "crun-mount-proc",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"mount proc to proc: operation not permitted",
			     "mount proc to /proc: operation not permitted"},
		.cause = "in a user namespace a new /proc may be mounted only where the /proc "
			 "around it is "
			 "wholly visible; the layer's has hidden paths",
		.fix = "unmask /proc of the layer around (--security-opt unmask=), or run the "
		       "inner "
		       "container in a VM",
		.scenario = "runtime: dink-vm",
		.source = "mount_namespaces(7); runc#1658, podman#20453",
	},
	{
		.name = "crun-device-cgroup",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"writing file devices.allow: operation not permitted"},
		.cause = "the container is to have a device that the layer around it may not use "
			 "itself "
			 "(cgroup v1)",
		.fix = "declare the inner layers in the scenario: the devices they need become "
		       "their "
		       "parent's grants",
		.source = "cgroups(7), devices; docs/privileges.md, Podman as the host's engine",
	},
	{
		.name = "crun-sysctl-read-only",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"^open /proc/sys/*: read-only file system",
			     "create failed: open /proc/sys/*: read-only file system",
			     "crun: open /proc/sys/*: read-only file system"},
		.cause = "crun writes a container's sysctls through the layer's own /proc/sys, "
			 "which is "
			 "read-only; podman's default ping_group_range is one",
		.fix = "the image crun-host (Docker), whose layer-crun makes it "
		       "writable for crun alone; default_sysctls=[] in containers.conf; runc does "
		       "not have this",
		.scenario = "runtime: runc",
		.source = "docs/privileges.md, Podman",
	},
	{
		.name = "crun-caps",
		.program = "crun",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"capset: operation not permitted",
			     "cannot set capabilities: operation not permitted"},
		.cause = "a capability of the container is not in the bounding set of the layer "
			 "around",
		.fix = "ask for no other capabilities than the layer has; do not drop its default "
		       "ones",
		.source = "capset(2), capabilities(7)",
	},
	{
		.name = "crun-rlimit",
		.program = "crun",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"setrlimit *: operation not permitted"},
		.cause = "the limit is over the hard limit, and CAP_SYS_RESOURCE is not there to "
			 "raise it",
		.fix = "default_ulimits in containers.conf within the hard limits; --ulimit",
		.source = "setrlimit(2); docs/privileges.md, Podman",
	},
	{
		.name = "crun-not-found",
		.program = "crun",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"executable file*not found in $path: no such file"},
		.cause = "the image has no such program on its PATH",
		.fix = "another command, or an image that has it",
		.scenario = "command: [...]",
		.source = "execve(2) ENOENT",
	},
	{
		.name = "crun-not-executable",
		.program = "crun",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"open executable: permission denied"},
		.cause = "the file is there and not executable for this user",
		.fix = "chmod +x in the image",
		.scenario = "command: [...]",
		.source = "execve(2) EACCES",
	},
	{
		.name = "crun-exec-format",
		.program = "crun",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"exec container process *: exec format error"},
		.cause = "a program of another architecture, or a script without #!",
		.fix = "an image of this machine's architecture; the feature ia32 for 32-bit "
		       "programs",
		.scenario = "image:",
		.source = "execve(2) ENOEXEC",
	},
	{
		.name = "crun-bind-source",
		.program = "crun",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"error stating file*no such file or directory"},
		.cause =
			"what is to be mounted into the container is not in the layer that runs it",
		.fix = "make it there; dink carries the scenario's mounts through every layer on "
		       "the way",
		.scenario = "mounts:",
		.source = "mount(2) ENOENT",
	},
	{
		.name = "crun-mount-no-fs",
		.program = "crun",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"mount *: no such device"},
		.cause = "the kernel has no such file system",
		.fix = "a guest kernel with the file system's feature",
		.scenario = "kernels: {guest: {features: [btrfs]}}",
		.source = "mount(2) ENODEV; docs/kernels.md",
	},
	{
		.name = "crun-sysctl-host",
		.program = "crun",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"the sysctl*requires a new network namespace"},
		.cause =
			"a network setting for a container that shares the network of what runs it",
		.fix = "a network namespace of its own, or set it outside",
		.source = "OCI runtime spec, linux.sysctl",
	},
	{
		.name = "crun-apparmor",
		.program = "crun",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"apparmor is not initialized correctly"},
		.cause = "the container asks for an AppArmor profile, and the kernel has no "
			 "AppArmor",
		.fix = "no profile, or the feature apparmor in a guest kernel",
		.scenario = "kernels: {guest: {features: [apparmor]}}",
		.source = "apparmor_parser(8)",
	},
	{
		.name = "crun-hook",
		.program = "crun",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"error executing hook"},
		.cause = "a program that the engine has run at the container's start failed; "
			 "Docker's "
			 "network hook does under crun in a contained dockerd",
		.fix = "runc as the runtime below a guest's dockerd",
		.scenario = "runtime: runc",
		.source = "OCI runtime spec, hooks; docs/design.md, departures",
	},
	{
		.name = "crun-namespace-gone",
		.program = "crun",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"open /proc/*/ns/*: no such file or directory",
			     "open ns/*: no such file or directory"},
		.cause = "the container joins a namespace of a process that has ended",
		.fix = "start the other container (or pod) first",
		.source = "setns(2)",
	},
	{
		.name = "crun-systemd",
		.program = "crun",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"cannot open sd-bus", "systemd not supported"},
		.cause = "the cgroup manager is systemd, and there is no systemd in this layer",
		.fix = "cgroup_manager = cgroupfs in containers.conf; native.cgroupdriver=cgroupfs "
		       "for "
		       "dockerd",
		.source = "crun(1), --systemd-cgroup; containers.conf(5)",
	},
	{
		.name = "crun-hybrid",
		.program = "crun",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"cgroups in hybrid mode not supported"},
		.cause = "crun refuses the hybrid layout (v1 controllers and a v2 tree) for "
			 "rootless "
			 "containers",
		.fix = "runc, which works there; or a VM, whose guest has cgroup v2",
		.scenario = "runtime: runc",
		.source = "crun(1); cgroups(7)",
	},
	{
		.name = "crun-exists",
		.program = "crun",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"^container * already exists", "crun: container * already exists"},
		.cause = "the runtime has state of such a container: one that runs, or left by a "
			 "kill",
		.fix = "crun delete --force ID",
		.source = "crun(1), delete",
	},
	{
		.name = "crun-gone",
		.program = "crun",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"error opening file *status: no such file"},
		.cause =
			"the runtime knows no such container: it has another --root, or it is gone",
		.fix = "look with the engine's own --root",
		.source = "crun(1), --root",
	},
	{
		.name = "crun-rootfs",
		.program = "crun",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"make * private: no such file or directory"},
		.cause = "the container's root is not there: its storage was not mounted, or was "
			 "removed",
		.fix = "restart the engine so that it mounts its layers again",
		.source = "OCI runtime spec, root",
	},
};

const struct dink_explain_table dink_explain_runtimes = {entries, ARRAY_SIZE(entries)};
