/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File systems, loop devices, space and writable folders, each by trying what can be tried
 * without leaving anything behind: a loop device is asked for but not attached, an overlay is
 * mounted in a mount namespace of a thread that then ends.
 */
#include "provision/host/probe.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static void probe_loop(struct dink_usable *u)
{
	_cleanup_close_ int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return dink_usable_no(u, "/dev/loop-control: %s", strerror(errno));
	if (ioctl(fd, LOOP_CTL_GET_FREE) < 0)
		return dink_usable_no(u, "no free loop device: %s", strerror(errno));
	dink_usable_yes(u);
}

/* Whether modprobe could load the module of a file system that is not there yet. */
static bool module_exists(const struct dink_facts *f, const char *name)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("/lib/modules/%s/modules.dep", f->kernel_release);
	_cleanup_free_ char *want = xasprintf("/%s.ko", name);
	_cleanup_free_ char *text = NULL;

	if (dink_file_read(path, 16 << 20, &text, NULL, &ignored) < 0)
		return false;
	return strstr(text, want) != NULL;
}

static void probe_filesystem(const struct dink_facts *f, const char *name, struct dink_usable *u)
{
	if (dink_strv_has(&f->filesystems, name) || module_exists(f, name))
		return dink_usable_yes(u);
	dink_usable_no(u, "the kernel has no %s (not in /proc/filesystems, no module)", name);
}

/* In a mount namespace of its own: an overlay on a tmpfs, as an engine mounts one. */
static int try_overlay(void *ctx _unused_)
{
	static const char *const dirs[] = {"/tmp/l", "/tmp/u", "/tmp/w", "/tmp/m"};

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("dink-probe", "/tmp", "tmpfs", 0, "size=1m") < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdir(dirs[i], 0755) < 0)
			return -errno;
	if (mount("dink-probe", "/tmp/m", "overlay", 0,
		  "lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w") < 0)
		return -errno;
	return 0;
}

static void probe_overlay(const struct dink_facts *f, struct dink_usable *u)
{
	probe_filesystem(f, "overlay", u);
	if (!u->ok)
		return;
	int r = dink_probe_thread(CLONE_NEWNS, try_overlay, NULL);
	if (r < 0 && !(r == -EPERM && geteuid() != 0)) /* only root may try: see probe_net.c */
		dink_usable_no(u, "mounting an overlay: %s", strerror(-r));
}

static void probe_fuse(const struct dink_facts *f, struct dink_usable *u)
{
	probe_filesystem(f, "fuse", u);
	if (!u->ok)
		return;
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		dink_usable_no(u, "/dev/fuse: %s", strerror(errno));
}

static void probe_nvidia(struct dink_usable *u)
{
	_cleanup_close_ int fd = open("/dev/nvidiactl", O_RDWR | O_CLOEXEC);
	_cleanup_free_ char *runtime = dink_which("nvidia-container-runtime");

	if (fd < 0)
		return dink_usable_no(u, "/dev/nvidiactl: %s", strerror(errno));
	if (!runtime)
		return dink_usable_no(u, "nvidia-container-runtime is not installed");
	dink_usable_yes(u);
}

/* The folder, or the nearest one above it that exists: that is where it would be made. */
static char *existing_part(const char *dir)
{
	char *path = xstrdup(dir);

	while (!dink_exists(path)) {
		char *slash = strrchr(path, '/');

		if (!slash || slash == path) {
			free(path);
			return xstrdup("/");
		}
		*slash = '\0';
	}
	return path;
}

static void probe_folder(const char *dir, uint64_t *free_bytes, struct dink_usable *u)
{
	_cleanup_free_ char *at = existing_part(dir);
	struct statvfs s;

	*free_bytes = 0;
	if (statvfs(at, &s) == 0)
		*free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
	if (faccessat(AT_FDCWD, at, W_OK | X_OK, AT_EACCESS) < 0)
		return dink_usable_no(u, "%s: %s", at, strerror(errno));
	dink_usable_yes(u);
}

void dink_probe_storage(struct dink_facts *f)
{
	probe_loop(&f->loop);
	probe_filesystem(f, "btrfs", &f->btrfs);
	probe_filesystem(f, "erofs", &f->erofs);
	probe_overlay(f, &f->overlay);
	probe_fuse(f, &f->fuse);
	probe_nvidia(&f->nvidia);
	probe_folder(dink_state_dir(), &f->state_free_bytes, &f->state_writable);
	probe_folder(dink_cache_dir(), &f->cache_free_bytes, &f->cache_writable);
}
