/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a recipe: mmdebstrap makes a tar of the root filesystem, which is rewritten (removals,
 * files/) to the layer; the layer goes into the docker archives and, unpacked, into an EROFS
 * image. Everything happens inside one folder that the caller throws away on failure.
 *
 * Without root, mmdebstrap unpacks in a user namespace of its own. tar and mkfs.erofs run in one
 * where the user is root and the ids from /etc/subuid are the others, so that they may write where
 * the user may.
 */
#include "images/build.h"
#include "images/tar.h"

#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <sys/wait.h>

#define MERGED_USR_HOOK "/usr/share/mmdebstrap/hooks/merged-usr"

/* Counts what dpkg says against what apt announced. */
struct watch {
	const struct dink_progress *progress;
	char line[256];
	size_t len;
	uint64_t done, total;
	bool no_space;
};

static void read_line(struct watch *w)
{
	w->line[w->len] = '\0';
	if (strstr(w->line, "No space left on device"))
		w->no_space = true;
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

static void add_unshare(struct dink_cmd *cmd)
{
	if (geteuid() != 0)
		dink_strv_addl(&cmd->argv, "unshare", "--user", "--map-root-user", "--map-auto",
			       NULL);
}

/* Files of other ids are only removed by who has those ids. */
static int remove_tree(const char *path, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	pid_t pid;
	int status;

	/* processes of a killed build may still be on their way out, writing */
	for (int i = 0; i < 20 && (geteuid() == 0 || !dink_exists(path)); i++) {
		if (dink_rm_rf(path, err) == 0)
			return 0;
		if (err->errnum != ENOTEMPTY && err->errnum != EEXIST)
			return -err->errnum;
		dink_err_clear(err);
		usleep(100000);
	}
	if (geteuid() == 0)
		return dink_rm_rf(path, err);
	add_unshare(&cmd);
	dink_strv_addl(&cmd.argv, "rm", "-rf", "--", path, NULL);
	/* not dink_cmd_run(): this is wanted most after an interrupt, which would end it */
	int e = dink_cmd_spawn(&cmd, &pid, NULL, err);
	if (e < 0)
		return e;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return dink_err_set(err, DINK_E_HOST, errno, "wait for rm");
	return status == 0 ? 0 : dink_err_set(err, DINK_E_HOST, 0, "%s cannot be removed", path);
}

/* Which failure of mmdebstrap this is, where its last words do not say. */
static int explain(int e, const struct watch *w, struct dink_err *err)
{
	_cleanup_free_ char *program = dink_which("mmdebstrap");

	if (!program)
		return dink_err_hint(err, "apt-get install mmdebstrap");
	if (w->no_space)
		err->errnum = ENOSPC;
	if (geteuid() != 0 && err->detail &&
	    (strstr(err->detail, "/etc/subuid") || strstr(err->detail, "newuidmap") ||
	     strstr(err->detail, "unshare")))
		return dink_err_hint(err, "without root an image needs `apt-get install uidmap`, a "
					  "line for the user in /etc/subuid and /etc/subgid "
					  "(usermod --add-subuids 100000-165535 --add-subgids "
					  "100000-165535 USER) and user namespaces");
	return e;
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
	/* the ids of mmdebstrap's namespace may not pass a private home, nor write in it */
	if (geteuid() == 0)
		dink_strv_addf(&cmd.env, "TMPDIR=%s", tmp);
	else if (!getenv("TMPDIR"))
		dink_strv_add(&cmd.env, "TMPDIR=/var/tmp");
	/* what it mounts and starts goes with its namespaces, even if it is killed */
	if (geteuid() == 0)
		dink_strv_addl(&cmd.argv, "unshare", "--mount", "--pid", "--fork", "--kill-child",
			       "--mount-proc", "--", NULL);
	dink_strv_addl(&cmd.argv, "mmdebstrap", geteuid() == 0 ? "--mode=root" : "--mode=unshare",
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
	dink_strv_addl(&cmd.env, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", NULL);
	cmd.on_output = watch_output;
	cmd.ctx = &w;
	cmd.capture_max = 64 << 20;
	dink_progress(p, "installing packages", 0, 0);
	e = dink_cmd_run(&cmd, err);
	return e < 0 ? explain(e, &w, err) : 0;
}

/* The tar is unpacked beside it and packed again as EROFS; both in a user namespace if need be. */
static int make_erofs(const char *dir, const char *layer, const char *key, const char *out,
		      const struct dink_progress *p, struct dink_err *err)
{
	_cleanup_free_ char *root = xasprintf("%s/root", dir);
	_cleanup_cmd_ struct dink_cmd untar = DINK_CMD_INIT, mkfs = DINK_CMD_INIT;

	dink_progress(p, "making the disk image", 0, 0);
	int e = dink_mkdir_p(root, 0755, err);
	if (e < 0)
		return e;
	add_unshare(&untar);
	dink_strv_addl(&untar.argv, "tar", "--extract", "--file", layer, "--directory", root,
		       "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs",
		       "--xattrs-include=*", NULL);
	e = dink_cmd_run(&untar, err);
	if (e < 0)
		return e;
	add_unshare(&mkfs);
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
	return remove_tree(root, err);
}

/*
 * The engine's own copy of a block root: it looks up users and groups there (docker exec -u NAME),
 * and nothing else, for the files are a disk of the guest.
 */
static int write_names_layer(const char *layer, const char *path, char ret_diff_id[65],
			     struct dink_err *err)
{
	static const char *const names[] = {"etc", "etc/passwd", "etc/group"};
	_cleanup_(dink_tar_freep) struct dink_tar *from = NULL;
	_cleanup_(dink_tar_writer_freep) struct dink_tar_writer *to = NULL;
	int e = dink_tar_open(layer, &from, err);

	if (e == 0)
		e = dink_tar_create(path, NULL, &to, err);
	while (e == 0 && (e = dink_tar_next(from, err)) == 1) {
		bool wanted = false;

		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			wanted |= STREQ(from->name, names[i]);
		e = wanted ? dink_tar_put(to, from->entry, from->name, NULL, err) : 0;
		if (e == 0 && wanted && archive_entry_filetype(from->entry) == AE_IFREG)
			e = dink_tar_put_data(to, from, err);
	}
	if (e == 0)
		e = dink_tar_finish(TAKE_PTR(to), err);
	return e < 0 ? e : dink_sha256_file(path, ret_diff_id, err);
}

static int make_block_root(const struct dink_recipe *r, const char *name, const char *dir,
			   const char *layer, const char *path, char **ret_id, struct dink_err *err)
{
	_cleanup_free_ char *names = xasprintf("%s/names.tar", dir);
	_cleanup_free_ char *ref = xasprintf("%s:block-root", name);
	char diff_id[65];

	int e = write_names_layer(layer, names, diff_id, err);
	return e < 0 ? e : dink_image_archive(r, path, ref, names, diff_id, ret_id, err);
}

static int write_manifest(const struct dink_recipe *r, const char *name, const char *key,
			  const char *id, const char *block_root_id,
			  const struct dink_image_paths *paths, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = dink_json_new();
	_cleanup_free_ char *ref = xasprintf("%s:latest", name);
	_cleanup_free_ char *block_root_ref = xasprintf("%s:block-root", name);
	struct json_object *files = dink_json_new();

	dink_json_set_str(o, "name", name);
	dink_json_set_str(o, "ref", ref);
	dink_json_set_str(o, "id", id);
	dink_json_set_str(o, "block_root_ref", block_root_ref);
	dink_json_set_str(o, "block_root_id", block_root_id);
	dink_json_set_str(o, "key", key);
	dink_json_set_str(o, "builder", DINK_IMAGE_BUILDER);
	dink_json_set_str(o, "suite", r->suite);
	dink_json_set_str(o, "recipe", r->dir);
	dink_json_set(o, "packages", dink_json_strv(&r->packages));
	dink_json_set(o, "files", files);
	const char *const made[] = {paths->archive, paths->block_root, paths->erofs};
	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		int e = dink_image_seal(made[i], files, err);
		if (e < 0)
			return e;
	}
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
	char diff_id[65];

	dink_image_paths_init(&paths, dir);
	int e = run_mmdebstrap(r, dir, base, p, err);
	if (e < 0)
		return e;
	dink_progress(p, "packing the layer", 0, 0);
	e = dink_image_rewrite(r, base, layer, diff_id, err);
	if (e == 0)
		e = dink_image_archive(r, paths.archive, ref, layer, diff_id, &id, err);
	if (e == 0)
		e = make_block_root(r, name, dir, layer, paths.block_root, &block_root_id, err);
	if (e == 0)
		e = make_erofs(dir, layer, key, paths.erofs, p, err);
	if (e == 0)
		e = write_manifest(r, name, key, id, block_root_id, &paths, err);
	if (e < 0)
		return e;
	static const char *const scratch[] = {"base.tar", "layer.tar", "names.tar", "tmp"};
	for (size_t i = 0; i < ARRAY_SIZE(scratch); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, scratch[i]);
		e = dink_rm_rf(path, err);
		if (e < 0)
			return e;
	}
	return 0;
}

int dink_image_discard(const char *dir, struct dink_err *err)
{
	_cleanup_free_ char *root = xasprintf("%s/root", dir);

	int e = remove_tree(root, err);
	return e < 0 ? e : dink_rm_rf(dir, err);
}
