/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a recipe: mmdebstrap makes a tar of the root filesystem, which is rewritten (removals,
 * files/) to the layer; the layer goes into the docker archives and, unpacked, into an EROFS
 * image. Everything happens inside one folder that the caller throws away on failure.
 *
 * Without root, mmdebstrap unpacks in a user namespace and so do tar and mkfs.erofs, by its
 * --unshare-helper.
 */
#include "images/build.h"

#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <sys/stat.h>

#define MERGED_USR_HOOK "/usr/share/mmdebstrap/hooks/merged-usr"

/* Counts what dpkg says against what apt announced. */
struct watch {
	const struct dink_progress *progress;
	char line[256];
	size_t len;
	uint64_t done, total;
};

static void read_line(struct watch *w)
{
	w->line[w->len] = '\0';
	const char *newly = strstr(w->line, " newly installed");
	if (newly) {
		const char *p = newly;
		while (p > w->line && p[-1] >= '0' && p[-1] <= '9')
			p--;
		/* each is fetched, unpacked and set up */
		w->total += 3 * strtoull(p, NULL, 10);
	} else if (dink_starts_with(w->line, "Get:") || dink_starts_with(w->line, "Unpacking ") ||
		   dink_starts_with(w->line, "Setting up ")) {
		w->done++;
	} else {
		return;
	}
	if (w->total)
		dink_progress(w->progress, "installing packages",
			      w->done < w->total ? w->done : w->total, w->total);
}

static void watch_output(void *ctx, _unused_ int fd, const char *bytes, size_t n)
{
	struct watch *w = ctx;

	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			read_line(w);
			w->len = 0;
		} else if (w->len < sizeof(w->line) - 1) {
			w->line[w->len++] = bytes[i];
		}
	}
}

static void add_unshare_helper(struct dink_cmd *cmd)
{
	if (geteuid() != 0)
		dink_strv_addl(&cmd->argv, "mmdebstrap", "--unshare-helper", NULL);
}

static int run_mmdebstrap(const struct dink_recipe *r, const char *dir, const char *tar,
			  const struct dink_progress *p, struct dink_err *err)
{
	struct watch w = {.progress = p};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *tmp = xasprintf("%s/tmp", dir);
	_cleanup_free_ char *include = dink_strv_join(&r->packages, ",");

	int e = dink_mkdir_p(tmp, 0755, err);
	if (e < 0)
		return e;
	dink_cmd_argv(&cmd, "mmdebstrap", geteuid() == 0 ? "--mode=root" : "--mode=unshare",
		      "--variant=apt", "--format=tar", "--verbose",
		      "--aptopt=Apt::Install-Recommends \"false\"", NULL);
	for (size_t i = 0; i < r->exclude.n; i++)
		dink_strv_addf(&cmd.argv, "--dpkgopt=path-exclude=%s", r->exclude.v[i]);
	if (dink_strv_has(&r->packages, "usr-is-merged") && dink_exists(MERGED_USR_HOOK))
		dink_strv_add(&cmd.argv, "--hook-dir=" MERGED_USR_HOOK);
	if (r->packages.n)
		dink_strv_addf(&cmd.argv, "--include=%s", include);
	dink_strv_addl(&cmd.argv, r->suite, tar, r->mirror, NULL);
	dink_strv_addf(&cmd.env, "SOURCE_DATE_EPOCH=%d", DINK_IMAGE_EPOCH);
	dink_strv_addf(&cmd.env, "TMPDIR=%s", tmp);
	dink_strv_addl(&cmd.env, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", NULL);
	cmd.on_output = watch_output;
	cmd.ctx = &w;
	cmd.capture_max = 64 << 20;
	dink_progress(p, "installing packages", 0, 0);
	e = dink_cmd_run(&cmd, err);
	if (e == -ENOENT)
		return dink_err_hint(err, "apt-get install mmdebstrap");
	return e;
}

/* The tar is unpacked beside it and packed again as EROFS; both in a user namespace if need be. */
static int make_erofs(const char *dir, const char *layer, const char *key, const char *out,
		      const struct dink_progress *p, struct dink_err *err)
{
	_cleanup_free_ char *root = xasprintf("%s/root", dir);
	_cleanup_cmd_ struct dink_cmd untar = DINK_CMD_INIT, mkdir_cmd = DINK_CMD_INIT,
				      mkfs = DINK_CMD_INIT, rm = DINK_CMD_INIT;

	dink_progress(p, "making the disk image", 0, 0);
	add_unshare_helper(&mkdir_cmd);
	dink_strv_addl(&mkdir_cmd.argv, "mkdir", root, NULL);
	int e = dink_cmd_run(&mkdir_cmd, err);
	if (e < 0)
		return e;
	add_unshare_helper(&untar);
	dink_strv_addl(&untar.argv, "tar", "--extract", "--file", layer, "--directory", root,
		       "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs",
		       "--xattrs-include=*", NULL);
	e = dink_cmd_run(&untar, err);
	if (e < 0)
		return e;
	add_unshare_helper(&mkfs);
	dink_strv_addl(&mkfs.argv, "mkfs.erofs", "--quiet", NULL);
	dink_strv_addf(&mkfs.argv, "-T%d", DINK_IMAGE_EPOCH);
	dink_strv_addf(&mkfs.argv, "-U%.8s-%.4s-4%.3s-8%.3s-%.12s", key, key + 8, key + 12,
		       key + 15, key + 18);
	dink_strv_addl(&mkfs.argv, out, root, NULL);
	e = dink_cmd_run(&mkfs, err);
	if (e == -ENOENT)
		return dink_err_hint(err, "apt-get install erofs-utils");
	if (e < 0)
		return e;
	add_unshare_helper(&rm);
	dink_strv_addl(&rm.argv, "rm", "-rf", root, NULL);
	return dink_cmd_run(&rm, err);
}

static int make_block_root(const struct dink_recipe *r, const char *name, const char *dir,
			   const char *path, char **ret_id, struct dink_err *err)
{
	_cleanup_free_ char *empty = xasprintf("%s/empty.tar", dir);
	_cleanup_free_ char *ref = xasprintf("%s:block-root", name);
	_cleanup_close_ int fd = -1;
	char diff_id[65];
	static const char zeros[2 * 512];

	int e = dink_file_write(empty, zeros, sizeof(zeros), 0600, err);
	if (e == 0)
		e = dink_sha256_file(empty, diff_id, err);
	if (e < 0)
		return e;
	fd = open(empty, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", empty);
	return dink_image_archive(r, path, ref, fd, diff_id, ret_id, err);
}

static int write_manifest(const struct dink_recipe *r, const char *name, const char *key,
			  const char *id, const char *block_root_id,
			  const struct dink_image_paths *paths, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = dink_json_new();
	_cleanup_free_ char *ref = xasprintf("%s:latest", name);
	_cleanup_free_ char *block_root_ref = xasprintf("%s:block-root", name);
	struct stat st;

	if (stat(paths->archive, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", paths->archive);
	dink_json_set_str(o, "name", name);
	dink_json_set_str(o, "ref", ref);
	dink_json_set_str(o, "id", id);
	dink_json_set_int(o, "archive_bytes", st.st_size);
	dink_json_set_str(o, "block_root_ref", block_root_ref);
	dink_json_set_str(o, "block_root_id", block_root_id);
	dink_json_set_str(o, "key", key);
	dink_json_set_str(o, "builder", DINK_IMAGE_BUILDER);
	dink_json_set_str(o, "suite", r->suite);
	dink_json_set_str(o, "recipe", r->dir);
	dink_json_set(o, "packages", dink_json_strv(&r->packages));
	_cleanup_free_ char *text = dink_json_text(o);
	return dink_file_write(paths->manifest, text, strlen(text), 0644, err);
}

int dink_image_build(const struct dink_recipe *r, const char *name, const char *key,
		     const char *dir, const struct dink_progress *p, struct dink_err *err)
{
	_cleanup_free_ char *base = xasprintf("%s/base.tar", dir);
	_cleanup_free_ char *layer = xasprintf("%s/layer.tar", dir);
	_cleanup_free_ char *ref = xasprintf("%s:latest", name);
	_cleanup_free_ char *id = NULL, *block_root_id = NULL;
	_cleanup_(dink_image_paths_clear) struct dink_image_paths paths = {};
	_cleanup_close_ int in = -1, out = -1;
	char diff_id[65];

	dink_image_paths_init(&paths, dir);
	int e = run_mmdebstrap(r, dir, base, p, err);
	if (e < 0)
		return e;
	in = open(base, O_RDONLY | O_CLOEXEC);
	out = open(layer, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (in < 0 || out < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", in < 0 ? base : layer);
	dink_progress(p, "packing the layer", 0, 0);
	e = dink_image_rewrite(r, in, out, diff_id, err);
	if (e == 0)
		e = dink_image_archive(r, paths.archive, ref, out, diff_id, &id, err);
	if (e == 0)
		e = make_block_root(r, name, dir, paths.block_root, &block_root_id, err);
	if (e == 0)
		e = make_erofs(dir, layer, key, paths.erofs, p, err);
	if (e == 0)
		e = write_manifest(r, name, key, id, block_root_id, &paths, err);
	if (e < 0)
		return e;
	const char *const scratch[] = {"base.tar", "layer.tar", "empty.tar", "tmp"};
	for (size_t i = 0; i < ARRAY_SIZE(scratch); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, scratch[i]);
		e = dink_rm_rf(path, err);
		if (e < 0)
			return e;
	}
	return 0;
}
