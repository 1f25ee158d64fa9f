/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/virtiofs.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

int dink_share_begin(const char *dir, struct dink_err *err)
{
	/* only this one: a state folder that was swept up must not come back */
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return dink_err_set(err, DINK_E_HOST, errno, "make %s", dir);
	if (mount("dink-share", dir, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "mount a tmpfs on %s", dir);
	_cleanup_free_ char *mounts = xasprintf("%s/mounts", dir);
	return dink_mkdir_p(mounts, 0755, err);
}

static int make_mountpoint(const char *path, bool folder)
{
	if (folder)
		return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : 0;
}

/* A read-only bind: mount_setattr() takes in all below it; before Linux 5.12 only the top. */
static int make_readonly(const char *path, bool recursive)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (mount_setattr(AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &attr, sizeof(attr)) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
	struct statvfs vfs;
	unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY;
	if (statvfs(path, &vfs) < 0)
		return -errno;
	if (vfs.f_flag & ST_NOSUID)
		flags |= MS_NOSUID;
	if (vfs.f_flag & ST_NODEV)
		flags |= MS_NODEV;
	if (vfs.f_flag & ST_NOEXEC)
		flags |= MS_NOEXEC;
	return mount(NULL, path, NULL, flags, NULL) < 0 ? -errno : 0;
}

int dink_share_bind(const char *dir, const char *rel, const char *source, bool readonly,
		    bool recursive, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, rel);
	struct stat st;

	if (stat(source, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "share %s", source);
	int r = make_mountpoint(path, S_ISDIR(st.st_mode));
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "make %s", path);
	if (mount(source, path, NULL, MS_BIND | (recursive ? MS_REC : 0), NULL) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "bind mount %s on %s", source, path);
	r = readonly ? make_readonly(path, recursive) : 0;
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "make %s read-only", path);
	return 0;
}

int dink_share_overlay(const char *dir, const char *rel, const char *options, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, rel);
	int r = make_mountpoint(path, true);

	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "make %s", path);
	if (mount("overlay", path, "overlay", 0, options) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "mount an overlay (%s)", options);
	return 0;
}

int dink_share_end(const char *dir, struct dink_err *err)
{
	int r = make_readonly(dir, false);
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "make %s read-only", dir) : 0;
}

char *dink_virtiofsd_find(bool *ret_rust)
{
	/* Debian 13's own package is the Rust one; QEMU 7.2 brought one in C */
	static const struct {
		const char *path;
		bool rust;
	} places[] = {{"/usr/libexec/virtiofsd", true}, {"/usr/lib/qemu/virtiofsd", false}};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (access(places[i].path, X_OK) == 0) {
			*ret_rust = places[i].rust;
			return xstrdup(places[i].path);
		}
	}
	return NULL;
}

void dink_virtiofsd_argv(const char *program, bool rust, const char *dir, int listen_fd,
			 struct dink_strv *ret)
{
	dink_strv_add(ret, program);
	dink_strv_addf(ret, "--fd=%d", listen_fd);
	if (rust) {
		dink_strv_addf(ret, "--shared-dir=%s", dir);
		dink_strv_addl(ret, "--sandbox=chroot", "--cache=auto", "--rlimit-nofile=0",
			       "--xattr", "--announce-submounts", "--log-level=warn", NULL);
		return;
	}
	/* the monitor is in namespaces of its own already, so chroot is enough and quicker */
	dink_strv_addl(ret, "--rlimit-nofile=0", "-f", "-o", NULL);
	dink_strv_addf(ret, "source=%s", dir);
	dink_strv_addl(
		ret, "-o",
		"sandbox=chroot,cache=auto,xattr,killpriv_v2,announce_submounts,log_level=warn",
		NULL);
}
