/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine leaves behind, removed by what cannot be anybody else's: processes whose command
 * line names our exec root, processes in our cgroup, mounts below our folders.
 */
#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/units.h"
#include "provision/engine/private.h"

#include <ctype.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/mount.h>

enum { END_GRACE_MS = 5000, CMDLINE_MAX = 256 << 10, SWEEP_ROUNDS = 100 };

/* The command line with blanks between the words; NULL if it cannot be read. */
static char *command_line(const char *pid)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", pid);
	char *text = NULL;
	size_t len;

	if (dink_file_read(path, CMDLINE_MAX, &text, &len, &ignored) < 0)
		return NULL;
	for (size_t i = 0; i + 1 < len; i++)
		if (text[i] == '\0')
			text[i] = ' ';
	return text;
}

/* "containerd ..." or "/usr/bin/containerd-shim-runc-v2 ..." */
static bool is_containerd(const char *line)
{
	size_t n = strcspn(line, " ");
	const char *slash = memrchr(line, '/', n);

	return dink_starts_with(slash ? slash + 1 : line, "containerd");
}

/* "dockerd ... --exec-root DIR ..." or "podman ... --runroot DIR ...", words apart by blanks */
static bool is_engine(const char *line, const char *exec_root)
{
	size_t n = strcspn(line, " ");
	const char *slash = memrchr(line, '/', n);
	const char *name = slash ? slash + 1 : line;
	bool podman = dink_starts_with(name, "podman ");
	_cleanup_free_ char *mark =
		xasprintf(" %s %s ", podman ? "--runroot" : "--exec-root", exec_root);

	return (podman || dink_starts_with(name, "dockerd ")) && strstr(line, mark);
}

int dink_private_find(const struct dink_private_paths *p, struct dink_pid *ret)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		_cleanup_free_ char *line = NULL;

		if (!isdigit((unsigned char)d->d_name[0]) ||
		    dink_pid_identify(atoi(d->d_name), ret) < 0)
			continue;
		line = command_line(d->d_name);
		if (line && is_engine(line, p->exec_root) && dink_pid_is_near(atoi(d->d_name)))
			return 1;
	}
	return 0;
}

/* Ends containerd and the shims that name the exec root's containerd folder. */
static int end_processes(const char *exec_root, struct dink_err *err)
{
	_cleanup_free_ char *mark = xasprintf("%s/containerd/", exec_root);
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		_cleanup_free_ char *line = NULL;
		struct dink_pid p;
		int r;

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		/* identified before it is looked at: so a reuse in between is seen */
		if (dink_pid_identify(atoi(d->d_name), &p) < 0)
			continue;
		line = command_line(d->d_name);
		if (!line || !is_containerd(line) || !strstr(line, mark) ||
		    !dink_pid_is_near(atoi(d->d_name)))
			continue;
		dink_debug("engine", "ending %s: %.60s", d->d_name, line);
		r = dink_pid_end(&p, END_GRACE_MS, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int kill_cgroup_procs(const char *folder)
{
	_cleanup_free_ char *path = xasprintf("%s/cgroup.procs", folder);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	int pid, n = 0;

	while (f && fscanf(f, "%d", &pid) == 1) {
		if (pid > 0 && kill(pid, SIGKILL) == 0)
			n++;
	}
	return n;
}

static int visit_cgroup(const char *path, const struct stat *st _unused_, int type,
			struct FTW *ftw _unused_)
{
	/* deepest first: busy ones are tried again in the next round */
	if (type == FTW_DP && kill_cgroup_procs(path) == 0)
		(void)rmdir(path);
	return 0;
}

static int sweep_cgroup(const char *folder, struct dink_err *err)
{
	for (int i = 0; i < SWEEP_ROUNDS; i++) {
		if (!dink_exists(folder))
			return 0;
		(void)nftw(folder, visit_cgroup, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		if (!dink_exists(folder))
			return 0;
		usleep(20000);
	}
	return dink_err_set(err, DINK_E_HOST, EBUSY, "remove cgroup %s", folder);
}

/* In every hierarchy: /sys/fs/cgroup/NAME (v2) or /sys/fs/cgroup/CONTROLLER/NAME. */
static int sweep_cgroups(const char *name, struct dink_err *err)
{
	_cleanup_free_ char *unified = xasprintf("/sys/fs/cgroup/%s", name);
	_cleanup_closedir_ DIR *dir = opendir("/sys/fs/cgroup");
	struct dirent *d;
	int r = sweep_cgroup(unified, err);

	while (r >= 0 && dir && (d = readdir(dir))) {
		_cleanup_free_ char *folder = NULL;

		if (d->d_name[0] == '.')
			continue;
		folder = xasprintf("/sys/fs/cgroup/%s/%s", d->d_name, name);
		r = sweep_cgroup(folder, err);
	}
	return r;
}

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static int sweep_mounts(const char *folder, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv found = {};
	int r = dink_mount_points(&found, err);

	if (r < 0)
		return r;
	for (size_t i = found.n; i > 0; i--) /* later mounts lie upon earlier ones */
		if (is_below(found.v[i - 1], folder) &&
		    umount2(found.v[i - 1], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
		    errno != ENOENT)
			return dink_err_set(err, DINK_E_HOST, errno, "unmount %s", found.v[i - 1]);
	return 0;
}

int dink_private_sweep(const struct dink_private_paths *p, const char *cgroup, struct dink_err *err)
{
	int r = end_processes(p->exec_root, err);

	if (r >= 0 && cgroup && cgroup[0])
		r = sweep_cgroups(cgroup, err);
	if (r >= 0)
		r = sweep_mounts(p->exec_root, err);
	if (r >= 0)
		r = sweep_mounts(p->data_root, err);
	if (r >= 0)
		r = dink_rm_rf(p->exec_root, err);
	if (r >= 0)
		r = dink_rm_rf(p->socket, err);
	if (r >= 0)
		r = dink_rm_rf(p->pidfile, err);
	if (r < 0)
		(void)dink_err_push(err, "cleaning up after the private engine");
	return r;
}
