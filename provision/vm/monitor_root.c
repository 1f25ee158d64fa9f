/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine finds that joins the container's mount namespace by the monitor's pid: Podman's cp
 * does that, and then opens paths as the user wrote them. So the monitor goes into a namespace whose
 * root is the container's, with its volumes where they belong. What only the guest has (tmpfs, /dev)
 * is empty and read-only there: better an error than a file that nobody sees. /proc has the guest's
 * processes (monitor_proc.c).
 *
 * QEMU and virtiofsd stay in the namespace they were started in. Every path of the container's is
 * looked up after the change of root, so that no link in an image leads out.
 */
#include "provision/base/file.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct tree {
	const char *target;
	int fd; /* a copy of the mounts below a volume; -1: the guest's own */
};

static int copy_tree(const char *path)
{
	return (int)syscall(SYS_open_tree, AT_FDCWD, path,
			    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

/* The volumes, as long as they can be reached by the host's paths. */
static size_t copy_volumes(struct monitor *m, struct json_object *mounts, struct tree *trees)
{
	static const char share[] = DINK_SHARE_DIR "/";
	size_t n = json_object_array_length(mounts);

	for (size_t i = 0; i < n; i++) {
		struct json_object *e = json_object_array_get_idx(mounts, i);
		const char *source = dink_json_str_or(e, "source", "");
		trees[i].target = dink_json_str_or(e, "destination", "");
		trees[i].fd = -1;
		if (!dink_starts_with(source, share))
			continue;
		_cleanup_free_ char *path =
			xasprintf("%s/share/%s", m->dir, source + strlen(share));
		trees[i].fd = copy_tree(path);
		if (trees[i].fd < 0)
			trees[i].target = "";
	}
	return n;
}

static int enter(struct monitor *m, const char *root)
{
	_cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int self = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	/* out of a chroot: it is the namespace's root that has to change */
	if (self >= 0 && setns(self, CLONE_NEWNS) < 0)
		mon_trace(m, "the namespace's root stays out of reach");
	if (cwd < 0 || dir < 0 || fchdir(dir) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0)
		return -errno;
	/* the state folder stays where we are: dink finds control.sock by it */
	return fchdir(cwd) < 0 ? -errno : 0;
}

static int put_empty(struct monitor *m, const char *to)
{
	if (STREQ(to, "/proc") && mon_proc_mount(m, to) == 0)
		return 0;
	return mount("guest", to, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k");
}

static void put_volumes(struct monitor *m, const struct tree *trees, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *to = trees[i].target;
		int r = 0;
		if (to[0] != '/' || STREQ(to, "/"))
			continue;
		if (trees[i].fd >= 0)
			r = (int)syscall(SYS_move_mount, trees[i].fd, "", AT_FDCWD, to,
					 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS);
		else
			r = put_empty(m, to);
		/* below what is empty here there is nothing to mount on */
		if (r < 0 && errno != ENOENT)
			mon_trace(m, "a mount is missing in the monitor's view");
	}
}

int mon_enter_root(struct monitor *m, struct dink_err *err)
{
	struct json_object *mounts = dink_json_get(m->plan, "create.mounts");
	bool shared = dink_json_str_or(m->plan, "rootfs", NULL);
	_cleanup_free_ char *root = xasprintf("%s/share/rootfs", m->dir);
	_cleanup_free_ struct tree *trees = NULL;
	const char *resolv = dink_json_str_or(m->plan, "resolv", NULL);
	size_t n = 0;
	int r;

	/* the last path of the host's: after this there is none */
	if (resolv)
		m->resolv_fd = open(resolv, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (unshare(CLONE_NEWNS) < 0)
		return dink_err_set(err, DINK_E_HOST, errno,
				    "make the container's mount namespace");
	if (shared && json_object_is_type(mounts, json_type_array)) {
		trees = xcalloc(json_object_array_length(mounts) + 1, sizeof(*trees));
		n = copy_volumes(m, mounts, trees);
	}
	/* a root on a disk is the guest's alone */
	if (!shared &&
	    mount("guest", m->dir, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k") < 0)
		r = -errno;
	else
		r = enter(m, shared ? root : m->dir);
	if (r == 0)
		put_volumes(m, trees, n);
	for (size_t i = 0; i < n; i++) {
		if (trees[i].fd >= 0)
			close(trees[i].fd);
	}
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "enter the container's root") : 0;
}
