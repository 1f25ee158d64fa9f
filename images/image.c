/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of images, see images.h. One builder per key at a time (flock); a build happens in
 * CACHE/images/.KEY.partial and is renamed when it is whole, so whatever has a name is complete.
 */
#include "images/images.h"

#include "images/build.h"
#include "images/tar.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { CONFIG_MAX = 4 << 20 };

void dink_image_paths_init(struct dink_image_paths *p, const char *dir)
{
	p->archive = xasprintf("%s/image.tar", dir);
	p->block_root = xasprintf("%s/block-root.tar", dir);
	p->erofs = xasprintf("%s/root.erofs", dir);
	p->manifest = xasprintf("%s/manifest.json", dir);
}

void dink_image_paths_clear(struct dink_image_paths *p)
{
	free(p->archive);
	free(p->block_root);
	free(p->erofs);
	free(p->manifest);
	*p = (struct dink_image_paths){};
}

void dink_image_clear(struct dink_image *i)
{
	free(i->name);
	free(i->ref);
	free(i->id);
	free(i->archive);
	free(i->erofs);
	free(i->block_root_ref);
	free(i->block_root_id);
	free(i->block_root_archive);
	*i = (struct dink_image){};
}

/* Name, recipe text, files/ and the builder: what decides the image, apart from the mirror. */
static int make_key(const struct dink_recipe *r, const char *name, char ret_key[65],
		    struct dink_err *err)
{
	struct dink_hash *h = dink_hash_new();
	_cleanup_free_ char *text = xasprintf("%s/recipe", r->dir);

	dink_hash_adds(h, DINK_IMAGE_BUILDER);
	dink_hash_adds(h, name);
	int e = dink_hash_add_file(h, text, err);
	for (size_t i = 0; e == 0 && i < r->files.n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/files/%s", r->dir, r->files.v[i]);
		struct stat st;
		if (lstat(path, &st) < 0) {
			e = dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
			break;
		}
		dink_hash_adds(h, r->files.v[i]);
		if (S_ISREG(st.st_mode)) {
			dink_hash_adds(h, st.st_mode & S_IXUSR ? "x" : "f");
			e = dink_hash_add_file(h, path, err);
		} else if (S_ISLNK(st.st_mode)) {
			char target[DINK_TAR_NAME_MAX + 1] = "";
			if (readlink(path, target, sizeof(target) - 1) < 0)
				e = dink_err_set(err, DINK_E_HOST, errno, "read link %s", path);
			dink_hash_adds(h, "l");
			dink_hash_adds(h, target);
		}
	}
	if (e < 0) {
		dink_hash_free(h);
		return e;
	}
	dink_hash_end(h, ret_key);
	return 0;
}

/* An entry of the cache; -ENOENT with err empty if it is not there. */
static int read_cached(const char *dir, struct dink_image *ret, struct dink_err *err)
{
	_cleanup_(dink_image_paths_clear) struct dink_image_paths paths = {};
	_cleanup_json_ struct json_object *o = NULL;
	const char *name, *ref, *id, *block_root_ref, *block_root_id;

	dink_image_paths_init(&paths, dir);
	if (!dink_exists(paths.manifest))
		return -ENOENT;
	int e = dink_json_parse_file(paths.manifest, &o, err);
	if (e == 0)
		e = dink_json_need_str(o, paths.manifest, "name", &name, err);
	if (e == 0)
		e = dink_json_need_str(o, paths.manifest, "ref", &ref, err);
	if (e == 0)
		e = dink_json_need_str(o, paths.manifest, "id", &id, err);
	if (e == 0)
		e = dink_json_need_str(o, paths.manifest, "block_root_ref", &block_root_ref, err);
	if (e == 0)
		e = dink_json_need_str(o, paths.manifest, "block_root_id", &block_root_id, err);
	if (e != 0)
		return dink_err_hint(err, "rm -r %s", dir);
	struct stat st;
	if (stat(paths.archive, &st) < 0 || !dink_exists(paths.erofs) ||
	    !dink_exists(paths.block_root)) {
		dink_err_set(err, DINK_E_STATE, ENOENT, "the cached image in %s is incomplete",
			     dir);
		return dink_err_hint(err, "rm -r %s", dir);
	}
	*ret = (struct dink_image){
		.name = xstrdup(name),
		.ref = xstrdup(ref),
		.id = xstrdup(id),
		.archive_bytes = (uint64_t)st.st_size,
		.block_root_ref = xstrdup(block_root_ref),
		.block_root_id = xstrdup(block_root_id),
	};
	ret->archive = TAKE_PTR(paths.archive);
	ret->erofs = TAKE_PTR(paths.erofs);
	ret->block_root_archive = TAKE_PTR(paths.block_root);
	return 0;
}

/* Builds into the partial folder; the caller holds the key's lock. */
static int build_locked(const struct dink_recipe *r, const char *name, const char *key,
			const char *dir, const char *partial, const struct dink_progress *p,
			struct dink_err *err)
{
	int e = dink_rm_rf(partial, err);

	if (e == 0)
		e = dink_mkdir_p(partial, 0755, err);
	if (e == 0)
		e = dink_image_build(r, name, key, partial, p, err);
	if (e == 0 && rename(partial, dir) < 0)
		e = dink_err_set(err, DINK_E_HOST, errno, "rename %s to %s", partial, dir);
	if (e < 0) {
		_cleanup_(dink_err_clear) struct dink_err second = {};
		int r2 = dink_rm_rf(partial, &second);
		if (r2 < 0)
			return dink_err_push(err, "%s could not be removed", partial);
	}
	return e;
}

static int get_recipe(const char *name, const char *where, bool build,
		      const struct dink_progress *p, struct dink_image *ret, struct dink_err *err)
{
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};
	_cleanup_close_ int lock = -1;
	char key[65];

	int e = dink_recipe_read(where, &r, err);
	if (e < 0)
		return e;
	e = make_key(&r, name, key, err);
	if (e < 0)
		return e;
	_cleanup_free_ char *images = xasprintf("%s/images", dink_cache_dir());
	_cleanup_free_ char *dir = xasprintf("%s/%s", images, key);
	_cleanup_free_ char *partial = xasprintf("%s/.%s.partial", images, key);
	_cleanup_free_ char *lock_path = xasprintf("%s/.%s.lock", images, key);

	e = read_cached(dir, ret, err);
	if (e != -ENOENT || dink_err_is_set(err) || !build)
		return e;
	e = dink_mkdir_p(images, 0755, err);
	if (e == 0)
		e = dink_lock(lock_path, true, &lock, err);
	if (e < 0)
		return e;
	/* somebody else may have built it while we waited */
	e = read_cached(dir, ret, err);
	if (e != -ENOENT || dink_err_is_set(err))
		return e;
	e = build_locked(&r, name, key, dir, partial, p, err);
	if (e < 0)
		return e;
	return read_cached(dir, ret, err);
}

/* One small member of a tar as text; -ENOENT with err empty if it is not there. */
static int read_member(int fd, const char *what, const char *name, char **ret, size_t *ret_len,
		       struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	const struct dink_tar_member *m;

	int e = dink_tar_open(fd, what, &t, err);
	if (e < 0)
		return e;
	while ((e = dink_tar_next(t, &m, err)) > 0) {
		if (m->type != DINK_TAR_FILE || !STREQ(m->name, name))
			continue;
		if (m->size > CONFIG_MAX)
			return dink_err_set(err, DINK_E_HOST, EFBIG, "%s: %s", what, name);
		char *text = xmalloc((size_t)m->size + 1);
		ssize_t n = pread(fd, text, (size_t)m->size, m->data);
		if (n < 0 || (uint64_t)n != m->size) {
			free(text);
			return dink_err_set(err, DINK_E_HOST, n < 0 ? errno : EBADMSG, "read %s",
					    what);
		}
		text[n] = '\0';
		*ret = text;
		*ret_len = (size_t)n;
		return 0;
	}
	return e < 0 ? e : -ENOENT;
}

static int no_docker_archive(int fd, const char *path, struct dink_err *err)
{
	_cleanup_free_ char *layout = NULL;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	size_t n;
	bool oci = read_member(fd, path, "oci-layout", &layout, &n, &ignored) == 0;

	dink_err_set(err, DINK_E_HOST, 0, "%s is %s", path,
		     oci ? "an OCI archive, which Docker 20.10 cannot load"
			 : "no docker archive: it has no manifest.json");
	return oci ? dink_err_hint(err, "skopeo copy oci-archive:%s docker-archive:%s.docker", path,
				   path)
		   : dink_err_hint(err, "make one with: docker save -o FILE IMAGE");
}

int dink_archive_identify(const char *path, char **ret_id, char **ret_ref, struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *text = NULL, *config = NULL;
	const char *config_name;
	char id[65];
	size_t n = 0;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	int e = read_member(fd, path, "manifest.json", &text, &n, err);
	if (e == -ENOENT && !dink_err_is_set(err))
		return no_docker_archive(fd, path, err);
	if (e == 0)
		e = dink_json_parse(text, n, "manifest.json", &o, err);
	if (e < 0)
		return dink_err_push(err, "reading the image archive %s", path);
	struct json_object *first =
		json_object_is_type(o, json_type_array) && json_object_array_length(o) == 1
			? json_object_array_get_idx(o, 0)
			: NULL;
	if (!first)
		return dink_err_set(err, DINK_E_HOST, 0, "%s does not hold exactly one image",
				    path);
	e = dink_json_need_str(first, "manifest.json", "Config", &config_name, err);
	if (e == 0) {
		e = read_member(fd, path, config_name, &config, &n, err);
		if (e == -ENOENT && !dink_err_is_set(err))
			e = dink_err_set(err, DINK_E_HOST, ENOENT, "%s: its config %s", path,
					 config_name);
	}
	if (e < 0)
		return dink_err_push(err, "reading the image archive %s", path);
	struct dink_hash *h = dink_hash_new();
	dink_hash_add(h, config, n);
	dink_hash_end(h, id);
	struct json_object *tags = dink_json_get(first, "RepoTags");
	struct json_object *tag = tags && json_object_is_type(tags, json_type_array)
					  ? json_object_array_get_idx(tags, 0)
					  : NULL;
	*ret_ref = tag ? xstrdup(json_object_get_string(tag)) : NULL;
	*ret_id = xasprintf("sha256:%s", id);
	return 0;
}

static int get_archive(const char *name, const char *path, struct dink_image *ret,
		       struct dink_err *err)
{
	_cleanup_free_ char *id = NULL, *ref = NULL;
	struct stat st;

	int e = dink_archive_identify(path, &id, &ref, err);
	if (e < 0)
		return e;
	if (stat(path, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
	*ret = (struct dink_image){
		.name = xstrdup(name),
		/* an image without a name is called by its id */
		.ref = ref ? TAKE_PTR(ref) : xstrdup(id),
		.id = TAKE_PTR(id),
		.archive = xstrdup(path),
		.archive_bytes = (uint64_t)st.st_size,
	};
	return 0;
}

static int find(const char *name, const char *recipe, bool build, const struct dink_progress *p,
		struct dink_image *ret, struct dink_err *err)
{
	_cleanup_free_ char *where = dink_exists(recipe) ? xstrdup(recipe) : dink_data_file(recipe);
	struct stat st;

	if (!where || stat(where, &st) < 0) {
		dink_err_set(err, DINK_E_SCENARIO, ENOENT, "image %s: %s", name, recipe);
		return dink_err_hint(err, "a recipe is a folder with a file 'recipe', see "
					  "docs/images.md");
	}
	int e = S_ISDIR(st.st_mode) ? get_recipe(name, where, build, p, ret, err)
				    : get_archive(name, where, ret, err);
	return e < 0 && dink_err_is_set(err) ? dink_err_push(err, "image %s", name) : e;
}

int dink_image_get(const char *name, const char *recipe, const struct dink_progress *p,
		   struct dink_image *ret, struct dink_err *err)
{
	return find(name, recipe, true, p, ret, err);
}

int dink_image_lookup(const char *name, const char *recipe, struct dink_image *ret,
		      struct dink_err *err)
{
	return find(name, recipe, false, NULL, ret, err);
}
