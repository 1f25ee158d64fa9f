/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that layers are handed (files: in a scenario). Layers get a copy: one that has CAP_SYS_ADMIN
 * can make its own view of a read-only mount writable, so what is mounted is not the user's file, and
 * it is immutable where the file system has that: no layer has CAP_LINUX_IMMUTABLE.
 */
#include "provision/base/file.h"
#include "provision/base/clone.h"
#include "provision/base/hash.h"
#include "provision/step/fetch.h"
#include "provision/step/kinds.h"

#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static char *describe_file(struct json_object *params)
{
	return dink_step_describe(params, "file", "name");
}

/* Where it cannot be had (tmpfs before Linux 6.6, a user without the right), it is not. */
static void set_immutable(const char *path, bool on)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int flags = 0;

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return;
	flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
	(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int remove_copy(const char *path, struct dink_err *err)
{
	set_immutable(path, false);
	if (unlink(path) < 0 && errno != ENOENT)
		return dink_err_set(err, DINK_E_HOST, errno, "remove %s", path);
	return 0;
}

static int open_source(const char *source, int *ret, struct dink_err *err)
{
	_cleanup_close_ int fd = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", source);
	if (!S_ISREG(st.st_mode)) {
		dink_err_set(err, DINK_E_SCENARIO, EINVAL, "%s is no regular file", source);
		return dink_err_hint(err, "a folder is handed to a layer on the host by mounts:");
	}
	*ret = TAKE_FD(fd);
	return 0;
}

/* All of it under a name of its own, and right, before it is called what layers have. */
static int make_copy(struct dink_step_ctx *ctx, struct json_object *params, const char *source,
		     const char *tmp, struct dink_err *err)
{
	const char *sha256 = dink_json_str_or(params, "sha256", NULL);
	const char *path = dink_json_str_or(params, "path", "");
	mode_t mode = dink_json_bool_or(params, "executable", false) ? 0555 : 0444;
	_cleanup_close_ int in = -1, out = -1;
	char hex[65];
	int r = open_source(source, &in, err);

	if (r < 0)
		return r;
	out = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make %s", tmp);
	r = dink_clone_fd(in, out, source, dink_step_progress(ctx), err);
	if (r == 0 && sha256)
		r = dink_sha256_file(tmp, hex, err);
	if (r == 0 && sha256 && !STREQ(hex, sha256))
		r = dink_fetch_differs(source, hex, sha256, err);
	if (r == 0 && (fchmod(out, mode) < 0 || rename(tmp, path) < 0))
		r = dink_err_set(err, DINK_E_HOST, errno, "make %s", path);
	return r;
}

/* A damaged file of the cache goes: it is fetched again by the next `up`. */
static int copy_fetched(struct dink_step_ctx *ctx, struct json_object *params, const char *tmp,
			struct dink_err *err)
{
	const char *sha256 = dink_json_str_or(params, "sha256", "");
	_cleanup_free_ char *kept = NULL;
	char hex[65];
	int r = dink_fetch(dink_json_str_or(params, "source", ""), sha256, dink_step_progress(ctx),
			   &kept, err);

	if (r == 0)
		r = dink_sha256_file(kept, hex, err);
	if (r == 0 && !STREQ(hex, sha256)) {
		(void)unlink(kept);
		free(kept);
		kept = NULL;
		r = dink_fetch(dink_json_str_or(params, "source", ""), sha256,
			       dink_step_progress(ctx), &kept, err);
	}
	return r < 0 ? r : make_copy(ctx, params, kept, tmp, err);
}

static int undo_file(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object *identity, struct dink_err *err)
{
	const char *path = dink_json_str_or(params, "path", "");
	_cleanup_free_ char *tmp = xasprintf("%s.partial", path), *dir = xstrdup(path);
	_cleanup_free_ char *mine = xasprintf("%s/files/", dink_step_dir(ctx));
	_cleanup_free_ char *run = xasprintf("%s/files/", dink_step_run_dir(ctx));
	int r;

	(void)identity;
	/* the journal is a file: it must not make us remove what is none of the instance's */
	if ((!dink_starts_with(path, mine) || strchr(path + strlen(mine), '/')) &&
	    (!dink_starts_with(path, run) || strchr(path + strlen(run), '/')))
		return dink_err_set(err, DINK_E_STATE, 0, "%s is not in the instance's folder",
				    path);
	r = remove_copy(path, err);
	if (r == 0)
		r = remove_copy(tmp, err);
	if (r == 0 && rmdir(dirname(dir)) < 0 && errno != ENOTEMPTY && errno != ENOENT)
		r = dink_err_set(err, DINK_E_HOST, errno, "remove %s", dir);
	return r;
}

static int apply_file(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object **ret, struct dink_err *err)
{
	const char *source = dink_json_str_or(params, "source", "");
	const char *path = dink_json_str_or(params, "path", "");
	_cleanup_free_ char *tmp = xasprintf("%s.partial", path), *dir = xstrdup(path);
	int r = dink_mkdir_p(dirname(dir), 0700, err);

	if (r == 0)
		r = remove_copy(path, err);
	if (r == 0)
		r = remove_copy(tmp, err);
	if (r == 0)
		r = strstr(source, "://") ? copy_fetched(ctx, params, tmp, err)
					  : make_copy(ctx, params, source, tmp, err);
	if (r < 0) {
		(void)dink_err_push(err, "file %s", dink_json_str_or(params, "name", "?"));
		return r;
	}
	set_immutable(path, true);
	*ret = dink_json_new();
	dink_json_set_str(*ret, "path", path);
	return 0;
}

/* What layers have mounted stays as it is, whatever became of the user's file. */
static int check_file(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object *identity, struct dink_err *err)
{
	const char *path = dink_json_str_or(identity, "path", NULL);
	const char *sha256 = dink_json_str_or(params, "sha256", NULL);
	char hex[65];

	(void)ctx;
	if (!path || !dink_exists(path))
		return 0;
	if (!sha256)
		return 1;
	return dink_sha256_file(path, hex, err) == 0 && STREQ(hex, sha256);
}

const struct dink_step_kind dink_kind_file = {
	.name = "file",
	.describe = describe_file,
	.apply = apply_file,
	.check = check_file,
	.undo = undo_file,
};
