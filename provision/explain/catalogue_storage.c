/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: mount, loop devices, mkfs, btrfs, libguestfs. */
#include "provision/explain/explain.h"

#define FEATURES(x) "kernels: {guest: {features: [" x "]}}"

static const struct dink_explain_entry entries[] = {
	{
		.name = "mount-unknown-fs",
		.program = "mount",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"unknown filesystem type"},
		.cause = "the kernel has no such file system, and no module for it to load",
		.fix = "a guest kernel with the file system's feature (btrfs, ext4, xfs, overlay, "
		       "erofs)",
		.scenario = FEATURES("btrfs"),
		.source = "mount(2), ENODEV; docs/kernels.md",
	},
	{
		.name = "mount-bad-superblock",
		.program = "mount",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"wrong fs type, bad option, bad superblock on /dev/"},
		.cause = "the device has no file system of that type, a damaged one, or an option "
			 "that "
			 "this kernel does not know",
		.fix = "dink disk show and dink disk check on the image; dink disk create makes "
		       "the file "
		       "system with the image",
		.scenario = "disks: {NAME: {filesystem: btrfs}}",
		.source = "mount(2), EINVAL; mount(8)",
	},
	{
		.name = "mount-overlay",
		.program = "mount",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"wrong fs type, bad option, bad superblock on overlay"},
		.cause = "overlay refuses these folders: they are on an overlay already (two deep "
			 "is the "
			 "most), or the upper one is on a file system without xattrs or d_type "
			 "(virtiofs, "
			 "9p, NFS)",
		.fix = "put the store on a disk of its own or on a volume, not on the layer's root",
		.scenario = "disks: {store: /var/lib/docker}",
		.source =
			"Documentation/filesystems/overlayfs.rst; containerd#2071, benchexec#1067, "
			"kata-containers/runtime#1888",
	},
	{
		.name = "mount-no-source",
		.program = "mount",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"mount: *special device*does not exist"},
		.cause = "the device or folder to be mounted is not in this layer; a device that "
			 "the "
			 "kernel made later has no node in a container's /dev",
		.fix = "a disk of the scenario is mounted by dink; others have to be there before",
		.scenario = "disks:",
		.source = "mount(8); kind#1248",
	},
	{
		.name = "mount-no-target",
		.program = "mount",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"mount: *mount point does not exist"},
		.cause = "the folder to mount on is not in the image",
		.fix = "make the folder in the image",
		.scenario = "image:",
		.source = "mount(8)",
	},
	{
		.name = "mount-remount",
		.program = "mount",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"mount point not mounted or bad option"},
		.cause = "a remount of what is no mount point here, or with an option that the "
			 "file system "
			 "does not take",
		.fix = "mount it first; of a bind mount only the flags can change: -o "
		       "remount,bind,rw",
		.source = "mount(8), remount",
	},
	{
		.name = "mount-remount-busy",
		.program = "mount",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"mount point is busy", "mount: *already mounted or mount point busy"},
		.cause = "the mount belongs to others too (a cgroup hierarchy of the host): only "
			 "this view "
			 "of it may change",
		.fix = "mount -o remount,bind,rw; a layer with a daemon has its cgroups writable "
		       "by "
		       "itself",
		.scenario = "daemon: docker",
		.source = "mount(8); docs/privileges.md, cgroup-write",
	},
	{
		.name = "mount-denied",
		.program = "mount",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"mount: *: permission denied", "mount: *: operation not permitted"},
		.cause = "no CAP_SYS_ADMIN over this mount namespace; or, with it, /proc or /sys "
			 "of the "
			 "layer is partly hidden, and a new one in a user namespace would show it",
		.fix = "let the layer have a daemon; with a user namespace the hidden paths have "
		       "to be "
		       "unmasked",
		.scenario = "daemon: docker",
		.source = "mount(2), mount_namespaces(7); opencontainers/runc#1658",
	},
	{
		.name = "mount-not-root",
		.program = "mount",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"must be superuser to use mount"},
		.cause = "mount was called by an ordinary user",
		.fix = "as root in the layer, or in a user namespace: unshare --map-root-user "
		       "--mount",
		.source = "mount(8)",
	},
	{
		.name = "umount-busy",
		.program = "mount",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"umount: *target is busy"},
		.cause = "a process has a file or its working folder there, or something is "
			 "mounted below",
		.fix = "dink status and fuser -vm PATH say who; dink down ends a layer before its "
		       "mounts",
		.source = "umount(8), umount(2) EBUSY",
	},
	{
		.name = "losetup-no-file",
		.program = "losetup",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"failed to set up loop device: no such file"},
		.cause = "the image file is not there, as seen from this layer",
		.fix = "name disks in the scenario: dink makes and attaches them",
		.scenario = "disks:",
		.source = "losetup(8)",
	},
	{
		.name = "losetup-no-device",
		.program = "losetup",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"cannot find an unused loop device"},
		.cause = "no /dev/loop-control or no node for the free device: a container's /dev "
			 "is a "
			 "copy that learns of no new devices; or the kernel has no loop driver",
		.fix = "attach disks outside: a layer's disks are mounted by its parent, or by the "
		       "guest "
		       "of its virtual machine",
		.scenario = "disks: {store: /var/lib/docker}",
		.source = "loop(4); kind#1248, distribution#3967",
	},
	{
		.name = "mkfs-mount-status",
		.program = "btrfs",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"cannot check mount status of"},
		.cause = "mkfs.btrfs looks at the file behind every mounted loop device, and one "
			 "lies "
			 "where this user may not look: a disk of root's dink, say",
		.fix = "as root, or while nothing is mounted from there, or with ext4",
		.scenario = "disks: {NAME: {filesystem: ext4}}",
		.source = "btrfs-progs 6.2: is_same_loop_file() of check_mounted()",
	},
	{
		.name = "mkfs-too-small",
		.program = "btrfs",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"is too small to make a usable filesystem"},
		.cause = "btrfs needs at least 109 MiB",
		.fix = "a larger disk; dink asks for 128 MiB with btrfs",
		.scenario = "disks: {NAME: {size: 1GiB}}",
		.source = "mkfs.btrfs(8), MINIMUM SIZE",
	},
	{
		.name = "mkfs-signature",
		.program = "btrfs",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"appears to contain an existing filesystem"},
		.cause = "there is a file system on the device: perhaps somebody's data",
		.fix = "dink disk show says what it is; dink disk create --force replaces it",
		.source = "mkfs.btrfs(8), --force; docs/disks.md",
	},
	{
		.name = "btrfs-not-btrfs",
		.program = "btrfs",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error: not a btrfs filesystem"},
		.cause = "the path is on another file system: the disk is not mounted there",
		.fix = "a disk with filesystem: btrfs, mounted where the daemon keeps its store",
		.scenario = "disks: {store: /var/lib/docker}",
		.source = "btrfs-subvolume(8)",
	},
	{
		.name = "btrfs-nested-subvolume",
		.program = "btrfs",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"could not destroy subvolume/snapshot: directory not empty",
			     "failed to destroy btrfs snapshot*directory not empty"},
		.cause = "there are subvolumes in this one: an inner daemon with the btrfs driver "
			 "makes "
			 "them inside of its own layer's",
		.fix = "delete the innermost first (btrfs subvolume list -o PATH); give each "
		       "daemon a "
		       "disk of its own, then removing the file removes all of them",
		.scenario = "disks: {store: /var/lib/docker}",
		.source = "btrfs-subvolume(8), delete; moby#9939, dind#44, moby#41762",
	},
	{
		.name = "btrfs-delete-denied",
		.program = "btrfs",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"could not destroy subvolume/snapshot: operation not permitted"},
		.cause = "deleting a subvolume takes CAP_SYS_ADMIN, unless it is mounted with "
			 "user_subvol_rm_allowed",
		.fix = "delete it as the layer's root; a rootless store is better on overlay or "
		       "vfs",
		.source = "btrfs(5), user_subvol_rm_allowed; moby#9939",
	},
	{
		.name = "btrfs-resize",
		.program = "btrfs",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"unable to resize*no enough free space"},
		.cause = "the file system cannot outgrow its device",
		.fix = "dink disk resize grows the image and then the file system",
		.scenario = "disks: {NAME: {size: 20GiB}}",
		.source = "btrfs-filesystem(8), resize",
	},
	{
		.name = "btrfs-exists",
		.program = "btrfs",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"error: target path already exists"},
		.cause = "a subvolume or folder of this name is there",
		.fix = "another name, or delete it first",
		.source = "btrfs-subvolume(8), create",
	},
	{
		.name = "btrfs-damaged",
		.program = "btrfs",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"no valid btrfs found on", "error: open ctree failed",
			     "error: cannot open file system"},
		.cause = "no btrfs superblock where one should be: another file system, a "
			 "truncated copy, "
			 "or damage",
		.fix = "dink disk show, dink disk check; a snapshot or export brings it back",
		.source = "btrfs-check(8); docs/disks.md",
	},
	{
		.name = "btrfs-mounted",
		.program = "btrfs",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"is currently mounted, use --force if you really intend"},
		.cause = "the image is in use; writing to a mounted btrfs from outside destroys it",
		.fix = "dink down first; dink disk check refuses it likewise",
		.source = "btrfs-check(8)",
	},
	{
		.name = "no-space",
		.program = "write",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"no space left on device"},
		.cause = "the file system is full (with btrfs perhaps its metadata alone), or a "
			 "limit such "
			 "as inotify watches or namespaces is reached, which has the same words",
		.fix = "dink disk resize, dink image prune; df and btrfs filesystem df say which "
		       "it is",
		.scenario = "disks: {NAME: {size: 20GiB}}",
		.source = "write(2), inotify_add_watch(2) ENOSPC; kind#904",
	},
	{
		.name = "guestfs-no-kernel",
		.program = "libguestfs",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"supermin: failed to find a suitable kernel",
			     "supermin exited with error status"},
		.cause = "no kernel for the appliance in /boot and /lib/modules, or supermin may "
			 "not read "
			 "it",
		.fix = "dink disk ls uses dink's own guest kernel; else set SUPERMIN_KERNEL and "
		       "SUPERMIN_MODULES",
		.source = "supermin(1), ENVIRONMENT; guestfs-faq(1)",
	},
	{
		.name = "guestfs-no-disk",
		.program = "libguestfs",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"guestfish: access: *no such file",
			     "libguestfs: error: *: no such file or directory"},
		.cause = "the image file is not there",
		.fix = "dink disk list names the images of instances",
		.source = "guestfish(1), -a",
	},
	{
		.name = "guestfs-backend",
		.program = "libguestfs",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"libguestfs: error: could not connect to libvirt"},
		.cause = "libguestfs is set to start its appliance through libvirt, which does not "
			 "run",
		.fix = "LIBGUESTFS_BACKEND=direct; dink disk sets it itself",
		.source = "guestfs(3), BACKEND",
	},
	{
		.name = "guestfs-not-launched",
		.program = "libguestfs",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"call launch before using this function"},
		.cause = "the appliance was not started before its first use",
		.fix = "run in guestfish, launch in a program; or use dink disk ls",
		.source = "guestfish(1)",
	},
};

const struct dink_explain_table dink_explain_storage = {entries, ARRAY_SIZE(entries)};
