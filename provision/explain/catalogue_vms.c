/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: QEMU, virtiofsd and runsc. */
#include "provision/explain/explain.h"

static const struct dink_explain_entry entries[] = {
	{
		.name = "qemu-no-kvm",
		.program = "qemu",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"could not access kvm kernel module: no such file or directory"},
		.cause = "there is no /dev/kvm in the layer",
		.fix = "a virtual machine without KVM runs under TCG; dink doctor says whether KVM "
		       "works "
		       "on this host, and then the layer is granted the device",
		.scenario = "runtime: dink-vm",
		.source = "docs/privileges.md, kvm; docs/dink-vm.md",
	},
	{
		.name = "qemu-kvm-denied",
		.program = "qemu",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"could not access kvm kernel module: permission denied",
			     "could not access kvm kernel module: operation not permitted",
			     "could not access kvm kernel module: no such device"},
		.cause =
			"/dev/kvm is there but not for this process: its mode, the device filter "
			"of the "
			"cgroup (it must be opened rw), or a node of another kernel's minor number",
		.fix = "the grant is /dev/kvm rw; as a user be in the group kvm; in a guest make "
		       "the node "
		       "from its own /proc/misc",
		.source = "docs/privileges.md, kvm; kata-containers#13456, alibaba/ROCK#1320",
	},
	{
		.name = "qemu-no-tun",
		.program = "qemu",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"could not open /dev/net/tun"},
		.cause = "no /dev/net/tun in the layer that starts the virtual machine",
		.fix = "declare the virtual machine as a layer: its parent is granted the device",
		.scenario = "runtime: dink-vm",
		.source = "docs/privileges.md, vm-child",
	},
	{
		.name = "qemu-tap-denied",
		.program = "qemu",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"could not configure /dev/net/tun*operation not permitted"},
		.cause = "a tap takes CAP_NET_ADMIN over the network namespace",
		.fix = "declare the virtual machine as a layer: its parent is granted "
		       "CAP_NET_ADMIN",
		.scenario = "runtime: dink-vm",
		.source = "Documentation/networking/tuntap.rst; docs/privileges.md, vm-child",
	},
	{
		.name = "qemu-tap-busy",
		.program = "qemu",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"could not configure /dev/net/tun*device or resource busy"},
		.cause = "another process has this tap: a QEMU that was left behind, or two with "
			 "one name",
		.fix = "dink gc finds virtual machines that nobody owns; a tap of its own for each",
		.source = "Documentation/networking/tuntap.rst; kata-containers/runtime#2816",
	},
	{
		.name = "qemu-no-vhost-net",
		.program = "qemu",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"open vhost char device failed",
			     "vhost-net requested but could not be"},
		.cause = "no /dev/vhost-net here",
		.fix = "leave vhost=on out: virtio-net works without it, and dink does",
		.source = "docs/privileges.md, tried and not needed",
	},
	{
		.name = "qemu-no-vsock",
		.program = "qemu",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"vhost-vsock: failed to open vhost device"},
		.cause = "no /dev/vhost-vsock: the host's kernel lacks it or it is not passed on",
		.fix = "dink-vm's channel is virtio-serial and needs none",
		.source = "docs/design.md, departures; vsock(7)",
	},
	{
		.name = "qemu-vhost-user",
		.program = "qemu",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"vhost_backend_init failed", "failed to initialize vhost-user"},
		.cause = "virtiofsd, or another vhost-user back end, ended while QEMU was "
			 "starting: its own "
			 "words say why",
		.fix = "dink explain the log of virtiofsd; most often its grants are missing "
		       "(pivot_root, CAP_SYS_ADMIN)",
		.scenario = "runtime: dink-vm",
		.source = "docs/privileges.md, vm-child",
	},
	{
		.name = "qemu-no-socket",
		.program = "qemu",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"-chardev socket*failed to connect to", "-qmp*failed to connect to"},
		.cause = "nobody listens on the socket: the back end did not start, or not yet",
		.fix = "look for the end of the back end (virtiofsd) first",
		.source = "qemu(1), -chardev",
	},
	{
		.name = "qemu-disk-locked",
		.program = "qemu",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"failed to get write lock", "failed to get consistent read lock",
			     "is another process using the image"},
		.cause = "another QEMU writes to this image; two writers destroy its file system",
		.fix = "dink disk show says who uses it; dink disk clone makes a copy for the "
		       "second",
		.scenario = "disks:",
		.source = "qemu(1), locking; docs/disks.md",
	},
	{
		.name = "qemu-no-disk",
		.program = "qemu",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"-drive*could not open*no such file or directory",
			     "-blockdev*could not open*no such file or directory"},
		.cause = "the image file is not in the layer that starts the virtual machine",
		.fix = "name the disk in the scenario: it is bound into every layer on the way",
		.scenario = "disks:",
		.source = "qemu(1), -drive",
	},
	{
		.name = "qemu-disk-format",
		.program = "qemu",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"image is not in * format"},
		.cause = "the image has another format than was said",
		.fix = "dink's disks are raw: format=raw; dink disk import turns qcow2 into it",
		.source = "qemu(1), -drive format; docs/disks.md",
	},
	{
		.name = "qemu-no-kernel",
		.program = "qemu",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"could not open kernel file", "could not load kernel"},
		.cause = "the guest kernel is not where QEMU looks: the cache was emptied, or the "
			 "guest "
			 "folder is not mounted in the layer",
		.fix = "dink kernel build; then dink up anew",
		.scenario = "kernel:",
		.source = "docs/kernels.md",
	},
	{
		.name = "qemu-not-pvh",
		.program = "qemu",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"loading uncompressed kernel without pvh elf note"},
		.cause = "the uncompressed kernel was built without CONFIG_PVH",
		.fix = "a kernel that dink builds, or the bzImage of this one",
		.scenario = "kernels: {guest: {source: debian}}",
		.source = "docs/kernels.md; QEMU docs, system/i386/microvm.rst",
	},
	{
		.name = "qemu-no-memory",
		.program = "qemu",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"cannot set up guest memory"},
		.cause = "the host, or a limit on this process, has no room for the guest's memory",
		.fix = "a smaller guest, or fewer of them",
		.scenario = "memory: 512MiB",
		.source = "mmap(2) ENOMEM; qemu(1), -m",
	},
	{
		.name = "qemu-cpu",
		.program = "qemu",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"unable to find cpu model"},
		.cause = "this QEMU knows no such CPU model, or it is spelled for another "
			 "architecture",
		.fix = "qemu-system-x86_64 -cpu help lists them; dink-vm takes qemu64 under TCG, "
		       "host under "
		       "KVM",
		.source = "qemu(1), -cpu",
	},
	{
		.name = "qemu-machine",
		.program = "qemu",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"unsupported machine type"},
		.cause = "this QEMU has no such machine; saved state names the machine's version",
		.fix = "restore with the QEMU that saved, or make the snapshot anew",
		.source = "qemu(1), -machine",
	},
	{
		.name = "qemu-device",
		.program = "qemu",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"is not a valid device model name"},
		.cause = "this QEMU has no such device: another build, or its module is another "
			 "package",
		.fix = "install qemu-system-x86 with its modules; qemu-system-x86_64 -device help",
		.source = "qemu(1), -device",
	},
	{
		.name = "qemu-accel",
		.program = "qemu",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"invalid accelerator"},
		.cause = "this QEMU was built without that accelerator, or the name is wrong",
		.fix = "-accel help lists them; TCG is always there",
		.source = "qemu(1), -accel",
	},
	{
		.name = "qemu-no-backing",
		.program = "qemu",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"open backing store*for guest ram"},
		.cause = "the file or folder for the guest's memory is not there or has no room",
		.fix = "memory-backend-memfd needs no folder; mount hugetlbfs for huge pages",
		.source = "qemu(1), memory-backend-file",
	},
	{
		.name = "qemu-migration-blocked",
		.program = "qemu",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"state blocked by non-migratable device",
			     "migration is disabled when"},
		.cause = "a device of the guest cannot be saved: a 9p or virtiofs share that is "
			 "mounted, "
			 "a CPU flag such as invtsc",
		.fix = "checkpoints want a block root: layers of a scenario have one; "
		       "docs/dink-vm.md "
		       "says which others",
		.source = "QEMU docs, devel/migration; docs/dink-vm.md, checkpoint",
	},
	{
		.name = "qemu-other-memory",
		.program = "qemu",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"length mismatch*ram", "size mismatch*ram"},
		.cause = "the state was saved by a guest with another amount of memory",
		.fix = "restore with the same memory as the checkpoint was made with",
		.scenario = "memory:",
		.source = "QEMU docs, devel/migration; docs/dink-vm.md, checkpoint",
	},
	{
		.name = "virtiofsd-pivot-root",
		.program = "virtiofsd",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"pivot_root(., .): operation not permitted"},
		.cause = "virtiofsd shuts itself into the shared folder, and the layer's seccomp "
			 "filter "
			 "denies pivot_root",
		.fix = "declare the virtual machine as a layer: its parent's filter then allows "
		       "the call",
		.scenario = "runtime: dink-vm",
		.source = "pivot_root(2); docs/privileges.md, vm-child",
	},
	{
		.name = "virtiofsd-unshare",
		.program = "virtiofsd",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"unshare(clone_newpid"},
		.cause = "virtiofsd makes namespaces for its sandbox, which takes CAP_SYS_ADMIN",
		.fix = "declare the virtual machine as a layer: its parent is granted it",
		.scenario = "runtime: dink-vm",
		.source = "unshare(2); docs/privileges.md, vm-child",
	},
	{
		.name = "virtiofsd-no-folder",
		.program = "virtiofsd",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"failed to stat source"},
		.cause = "the folder to be shared is not there",
		.fix = "make it, or mount another",
		.scenario = "mounts:",
		.source = "virtiofsd(1), -o source",
	},
	{
		.name = "virtiofsd-not-root",
		.program = "virtiofsd",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"setgroups() failed with error=1"},
		.cause = "virtiofsd of QEMU 7 drops its groups at the start, which takes root",
		.fix = "as root; the later one in Rust runs in a user namespace "
		       "(--sandbox=namespace)",
		.source = "virtiofsd(1)",
	},
	{
		.name = "virtiofsd-socket",
		.program = "virtiofsd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"vhost socket bind", "vhost socket connect"},
		.cause = "virtiofsd cannot make its socket: the folder is missing, read-only, or "
			 "the path "
			 "is longer than 107 bytes",
		.fix = "a folder that is there and short, such as one below /run",
		.source = "unix(7); virtiofsd(1), --socket-path",
	},
	{
		.name = "runsc-not-found",
		.program = "runsc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"error finding executable*no such file or directory"},
		.cause = "the image has no such program on its PATH",
		.fix = "another command, or an image that has it",
		.scenario = "command: [...]",
		.source = "execve(2) ENOENT",
	},
	{
		.name = "runsc-not-executable",
		.program = "runsc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"creating process: failed to load *: permission denied"},
		.cause = "the file is there and not executable for this user",
		.fix = "chmod +x in the image",
		.scenario = "command: [...]",
		.source = "execve(2) EACCES",
	},
	{
		.name = "runsc-exec-format",
		.program = "runsc",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"creating process: failed to load *: exec format error"},
		.cause = "a program of another architecture, or a script without #!",
		.fix = "an image of this machine's architecture",
		.scenario = "image:",
		.source = "execve(2) ENOEXEC",
	},
	{
		.name = "runsc-gofer",
		.program = "runsc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns =
			{"cannot create gofer process: gofer: fork/exec*operation not permitted"},
		.cause = "runsc starts its file server in namespaces of its own, which takes "
			 "CAP_SYS_ADMIN "
			 "in the layer",
		.fix = "declare the container as a layer with runtime: runsc, so that its parent "
		       "gets what "
		       "it takes",
		.scenario = "runtime: runsc",
		.source = "namespaces(7); runsc(1)",
	},
	{
		.name = "runsc-sandbox-ended",
		.program = "runsc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"cannot create sandbox: cannot read client sync file"},
		.cause = "the sandbox ended while it was made: the root or a mount's source is "
			 "missing, or "
			 "the layer lacks a capability that its set-up takes",
		.fix = "runsc --debug --debug-log=/tmp/runsc/ says which; look whether the sources "
		       "of the "
		       "mounts are in the layer",
		.scenario = "mounts:",
		.source = "gVisor user guide, debugging",
	},
	{
		.name = "runsc-platform",
		.program = "runsc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"unknown platform:"},
		.cause = "this runsc has no such platform: systrap came in 2023, ptrace went later",
		.fix = "ptrace for Debian 12's runsc; KVM only where it was proved to work (dink "
		       "doctor)",
		.scenario = "runtime: runsc",
		.source = "gVisor user guide, platforms",
	},
	{
		.name = "runsc-no-config",
		.program = "runsc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"reading spec: error opening spec file"},
		.cause = "the bundle has no config.json: the engine's state folder was emptied "
			 "under it",
		.fix = "remove the container and make it anew",
		.source = "OCI runtime spec, bundle",
	},
	{
		.name = "runsc-gone",
		.program = "runsc",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"loading container: file does not exist"},
		.cause = "runsc knows no such container: it has another --root, or it is gone",
		.fix = "look with the engine's own --root",
		.source = "runsc(1), --root",
	},
	{
		.name = "runsc-denied",
		.program = "runsc",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"creating container root directory*permission denied",
			     "creating container root directory*read-only file system"},
		.cause = "runsc cannot write its state: it is not root, or the place is read-only",
		.fix = "as the layer's root; /run as a tmpfs, as layers with a daemon have",
		.scenario = "daemon: docker",
		.source = "runsc(1), --root",
	},
};

const struct dink_explain_table dink_explain_vms = {entries, ARRAY_SIZE(entries)};
