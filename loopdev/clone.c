/* SPDX-License-Identifier: Apache-2.0 */
/* Images from images: a clone is the same data under another identity. */
#include "loopdev/loopdev.h"

#include "loopdev/tools.h"
#include "loopdev/whole.h"
#include "provision/base/clone.h"
#include "provision/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>

/* metadata_uuid: one write, where a new fsid proper would rewrite every block of metadata */
static int renew_btrfs(const char *path, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "btrfstune", "-f", "-m", path, NULL);
	return dink_disk_tool(&cmd, "btrfs-progs", err);
}

static int renew_ext4(const char *path, const char *name, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	int r = dink_ext4_settle(path, name, err);

	if (r < 0)
		return r;
	dink_cmd_argv(&cmd, "tune2fs", "-U", "random", path, NULL);
	return dink_disk_tool(&cmd, "e2fsprogs", err);
}

/* A read-only format's UUID keeps nobody from mounting it twice. */
static int renew(const char *path, const char *name, const char *type, struct dink_err *err)
{
	return STREQ(type, "btrfs")  ? renew_btrfs(path, err)
	       : STREQ(type, "ext4") ? renew_ext4(path, name, err)
				     : 0;
}

static int open_source(const char *path, int *ret, struct dink_err *err)
{
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? dink_err_set(err, DINK_E_HOST, errno, "open %s", path) : 0;
}

static int check_source(int fd, const char *path, struct dink_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
	return S_ISREG(st.st_mode) ? 0 : dink_err_set(err, DINK_E_USAGE, 0, "%s is no file", path);
}

static int refuse_itself(int in, const char *from, const char *to, struct dink_err *err)
{
	struct stat a, b;

	if (fstat(in, &a) < 0 || stat(to, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	return dink_err_set(err, DINK_E_USAGE, 0, "%s and %s are the same file", from, to);
}

int dink_disk_clone(const char *from, const char *to, const struct dink_disk_clone_how *how,
		    struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	_cleanup_(dink_whole_clear) struct dink_whole w = {};
	_cleanup_close_ int in = -1;
	int r = how->at_rest ? open_source(from, &in, err) : dink_disk_lease(from, false, &in, err);

	if (r == 0)
		r = check_source(in, from, err);
	if (r == 0)
		r = refuse_itself(in, from, to, err);
	if (r == 0)
		r = dink_disk_probe(from, &p, err);
	if (r < 0)
		return r;
	if (!p.type) {
		dink_err_set(err, DINK_E_USAGE, 0, "%s holds nothing that libblkid knows", from);
		return dink_err_hint(err, "cp --sparse=always copies any file");
	}
	r = dink_whole_begin(&w, to, how->force, err);
	if (r < 0)
		return r;
	r = dink_clone_fd(in, w.fd, from, how->progress, err);
	if (r == 0)
		r = renew(w.partial, from, p.type, err);
	r = dink_whole_end(&w, r, err);
	return r < 0 ? dink_err_push(err, "cloning %s", from) : 0;
}

int dink_disk_check(const char *path, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_close_ int lease = -1;
	int r = dink_disk_lease(path, false, &lease, err);

	if (r == 0)
		r = dink_disk_probe(path, &p, err);
	if (r < 0)
		return r;
	cmd.ok_to_fail = true;
	if (p.type && STREQ(p.type, "btrfs")) {
		dink_cmd_argv(&cmd, "btrfs", "check", "--readonly", path, NULL);
		r = dink_disk_tool(&cmd, "btrfs-progs", err);
	} else if (p.type && STREQ(p.type, "ext4")) {
		dink_cmd_argv(&cmd, "e2fsck", "-f", "-n", path, NULL);
		r = dink_disk_tool(&cmd, "e2fsprogs", err);
	} else {
		dink_err_set(err, DINK_E_USAGE, 0, "%s holds %s", path,
			     p.type ? p.type : "nothing that libblkid knows");
		return dink_err_hint(err, "btrfs and ext4 can be checked");
	}
	if (r < 0 || cmd.status == 0)
		return r;
	dink_err_set(err, DINK_E_STATE, 0, "the %s in %s has faults", p.type, path);
	dink_err_detail(err, cmd.output_len ? cmd.output : cmd.errtail);
	return -EUCLEAN;
}

static int drop_snapshots(const char *path, bool force, struct dink_err *err)
{
	_cleanup_json_ struct json_object *all = dink_disk_snapshots(path);
	size_t n = json_object_array_length(all);

	if (n == 0 || force)
		return dink_disk_snapshots_remove(path, err);
	dink_err_set(err, DINK_E_BUSY, 0, "%s has snapshots (%zu)", path, n);
	return dink_err_hint(err, "--force removes them with it");
}

int dink_disk_remove(const char *path, bool force, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	_cleanup_close_ int lease = -1;
	int r = dink_disk_lease(path, true, &lease, err);

	if (r == 0)
		r = check_source(lease, path, err);
	if (r == 0)
		r = dink_disk_probe(path, &p, err);
	if (r < 0)
		return r;
	if (!p.type && !force) {
		dink_err_set(err, DINK_E_BUSY, 0, "%s holds no filesystem", path);
		return dink_err_hint(err, "--force removes it all the same");
	}
	r = drop_snapshots(path, force, err);
	if (r < 0)
		return r;
	return unlink(path) < 0 ? dink_err_set(err, DINK_E_HOST, errno, "remove %s", path) : 0;
}
