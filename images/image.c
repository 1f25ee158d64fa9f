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
#include "provision/base/log.h"

#include <fcntl.h>
#include <sys/stat.h>

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
	if (e == 0 && r->base) {
		_cleanup_free_ char *base = xasprintf("%s/recipe", r->base);
		e = dink_hash_add_file(h, base, err);
	}
	for (size_t i = 0; e == 0 && i < r->files.n; i++) {
		_cleanup_free_ char *path = dink_recipe_file(r, r->files.v[i]);
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

/* Sealed files carry this time, so that a look at it tells whether one was written to since. */
static const struct timespec sealed_at = {.tv_sec = DINK_IMAGE_EPOCH};

static void set_sealed(const char *path)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, sealed_at};

	/* a cache that may not be written is only slower: the digest is looked at each time */
	if (utimensat(AT_FDCWD, path, times, 0) < 0)
		dink_debug("images", "%s keeps its time: %m", path);
}

int dink_image_seal(const char *path, struct json_object *files, struct dink_err *err)
{
	struct json_object *o;
	struct stat st;
	char digest[65];

	int e = dink_sha256_file(path, digest, err);
	if (e < 0)
		return e;
	if (stat(path, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
	o = dink_json_new();
	dink_json_set_int(o, "bytes", st.st_size);
	dink_json_set_str(o, "sha256", digest);
	json_object_object_add(files, strrchr(path, '/') + 1, o);
	set_sealed(path);
	return 0;
}

/* The size of a file that is as it was sealed, looked at closer if it was written to since; -1. */
static int64_t sealed_size(const char *path, struct json_object *files)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	struct json_object *o = NULL;
	struct stat st;
	char digest[65];

	if (!json_object_object_get_ex(files, strrchr(path, '/') + 1, &o) || stat(path, &st) < 0 ||
	    st.st_size != dink_json_int_or(o, "bytes", -1))
		return -1;
	if (st.st_mtim.tv_sec == sealed_at.tv_sec && st.st_mtim.tv_nsec == sealed_at.tv_nsec)
		return st.st_size;
	if (dink_sha256_file(path, digest, &ignored) < 0 ||
	    !STREQ(digest, dink_json_str_or(o, "sha256", "")))
		return -1;
	set_sealed(path);
	return st.st_size;
}

/* An entry of the cache; -ENOENT if it is not there, or not as it was built. */
static int read_cached(const char *dir, struct dink_image *ret)
{
	_cleanup_(dink_image_paths_clear) struct dink_image_paths paths = {};
	_cleanup_(dink_err_clear) struct dink_err why = {};
	_cleanup_json_ struct json_object *o = NULL;

	dink_image_paths_init(&paths, dir);
	if (!dink_exists(paths.manifest) || dink_json_parse_file(paths.manifest, &o, &why) < 0)
		return -ENOENT;
	const char *name = dink_json_str_or(o, "name", NULL),
		   *ref = dink_json_str_or(o, "ref", NULL);
	const char *id = dink_json_str_or(o, "id", NULL);
	const char *block_root_ref = dink_json_str_or(o, "block_root_ref", NULL);
	const char *block_root_id = dink_json_str_or(o, "block_root_id", NULL);
	struct json_object *files = dink_json_get(o, "files");
	if (!name || !ref || !id || !block_root_ref || !block_root_id || !files ||
	    !json_object_is_type(files, json_type_object))
		return -ENOENT;
	int64_t size = sealed_size(paths.archive, files);
	if (size < 0 || sealed_size(paths.erofs, files) < 0 ||
	    sealed_size(paths.block_root, files) < 0)
		return -ENOENT;
	*ret = (struct dink_image){
		.name = xstrdup(name),
		.ref = xstrdup(ref),
		.id = xstrdup(id),
		.archive_bytes = (uint64_t)size,
		.block_root_ref = xstrdup(block_root_ref),
		.block_root_id = xstrdup(block_root_id),
	};
	ret->archive = TAKE_PTR(paths.archive);
	ret->erofs = TAKE_PTR(paths.erofs);
	ret->block_root_archive = TAKE_PTR(paths.block_root);
	return 0;
}

/* ENOSPC, whoever met it, becomes one error that says what to do. */
static int explain_no_space(int e, struct dink_err *err)
{
	if (err->errnum != ENOSPC && !(err->detail && strstr(err->detail, "No space left")))
		return e;
	_cleanup_free_ char *detail = TAKE_PTR(err->detail);
	dink_err_clear(err);
	dink_err_set(err, DINK_E_HOST, ENOSPC, "building in %s", dink_cache_dir());
	if (detail)
		dink_err_detail(err, detail);
	return dink_err_hint(err, "docker-host takes 2.5 GiB while it is built; DINK_CACHE_DIR "
				  "puts the cache elsewhere");
}

/* Builds into the partial folder; the caller holds the key's lock. */
static int build_locked(const struct dink_recipe *r, const char *name, const char *key,
			const char *dir, const char *partial, const struct dink_progress *p,
			struct dink_err *err)
{
	if (dink_exists(dir))
		dink_progress(p, "building again: the cached image is damaged", 0, 0);
	int e = dink_rm_rf(dir, err);
	if (e == 0)
		e = dink_image_discard(partial, err);
	if (e == 0)
		e = dink_mkdir_p(partial, 0755, err);
	if (e == 0)
		e = dink_image_build(r, name, key, partial, p, err);
	if (e == 0 && rename(partial, dir) < 0)
		e = dink_err_set(err, DINK_E_HOST, errno, "rename %s to %s", partial, dir);
	if (e < 0) {
		_cleanup_(dink_err_clear) struct dink_err second = {};
		e = explain_no_space(e, err);
		if (dink_image_discard(partial, &second) < 0)
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

	e = read_cached(dir, ret);
	if (e == 0 || !build)
		return e;
	e = dink_mkdir_p(images, 0755, err);
	if (e == 0)
		e = dink_lock(lock_path, true, &lock, err);
	if (e < 0)
		return e;
	/* somebody else may have built it while we waited */
	if (read_cached(dir, ret) == 0)
		return 0;
	e = build_locked(&r, name, key, dir, partial, p, err);
	if (e < 0)
		return e;
	e = read_cached(dir, ret);
	return e < 0 ? dink_err_set(err, DINK_E_STATE, EIO, "what was built into %s", dir) : 0;
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
