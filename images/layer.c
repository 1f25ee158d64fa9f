/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From mmdebstrap's tar to an image's layer, and from a layer to a docker archive.
 *
 * The base keeps its order (mmdebstrap sorts by name) and, byte for byte, its members; what the
 * recipe removes is left out, and files/ comes last. The result depends on nothing else, so the
 * same packages give the same layer and image id.
 */
#include "images/build.h"
#include "images/tar.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"

#include <fcntl.h>
#include <sys/stat.h>

/* A regular file that was left out: a hard link to it may still be wanted. */
struct removed {
	char *name;
	off_t data;
	struct dink_tar_member m;
};

struct rewrite {
	const struct dink_recipe *recipe;
	int in;
	struct dink_tar_writer *out;
	struct removed *removed;
	size_t n_removed;
	struct dink_strv folders; /* of files/ that the base has already */
};

static void clear_rewrite(struct rewrite *w)
{
	dink_tar_writer_free(w->out);
	for (size_t i = 0; i < w->n_removed; i++)
		free(w->removed[i].name);
	free(w->removed);
	dink_strv_clear(&w->folders);
}

/*
 * What no image carries, whatever the recipe says: device nodes (the engine makes /dev) and the
 * two files that mmdebstrap copies from the building machine.
 */
static bool is_never_wanted(const char *name)
{
	return dink_starts_with(name, "dev/") || STREQ(name, "etc/hostname") ||
	       STREQ(name, "etc/resolv.conf");
}

static void note_removed(struct rewrite *w, const struct dink_tar_member *m)
{
	if (m->type != DINK_TAR_FILE)
		return;
	if ((w->n_removed & (w->n_removed - 1)) == 0)
		w->removed = xreallocarray(w->removed, w->n_removed ? 2 * w->n_removed : 1,
					   sizeof(*w->removed));
	struct removed *r = &w->removed[w->n_removed++];
	*r = (struct removed){.name = xstrdup(m->name), .data = m->data, .m = *m};
	r->m.name = r->name;
}

static bool comes_from_files(struct rewrite *w, const struct dink_tar_member *m)
{
	if (!dink_strv_has(&w->recipe->files, m->name))
		return false;
	if (m->type != DINK_TAR_DIR)
		return true;
	/* a folder keeps the base's owner and mode */
	dink_strv_add(&w->folders, m->name);
	return false;
}

/* The target is gone: the link becomes the file, and later links to it link here. */
static int promote_link(struct rewrite *w, const struct dink_tar_member *m, struct dink_err *err)
{
	for (size_t i = 0; i < w->n_removed; i++) {
		struct removed *r = &w->removed[i];
		if (!STREQ(r->name, m->link))
			continue;
		struct dink_tar_member copy = r->m;
		copy.name = m->name;
		copy.link = NULL;
		int e = dink_tar_put(w->out, &copy, err);
		if (e == 0 && copy.size)
			e = dink_tar_put_copy(w->out, w->in, r->data, copy.size, err);
		return e < 0 ? e : 1;
	}
	return 0;
}

static int take_base(struct rewrite *w, struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	const struct dink_tar_member *m;

	int e = dink_tar_open(w->in, "mmdebstrap's tar", &t, err);
	if (e < 0)
		return e;
	while ((e = dink_tar_next(t, &m, err)) > 0) {
		if (is_never_wanted(m->name) || comes_from_files(w, m) ||
		    dink_recipe_removes(w->recipe, m->name)) {
			note_removed(w, m);
			continue;
		}
		int promoted = m->type == DINK_TAR_HARDLINK ? promote_link(w, m, err) : 0;
		if (promoted < 0)
			return promoted;
		if (promoted)
			continue;
		e = dink_tar_put_member(w->out, w->in, m, err);
		if (e < 0)
			return e;
	}
	return e;
}

static int put_own_file(struct rewrite *w, const char *rel, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/files/%s", w->recipe->dir, rel);
	_cleanup_free_ char *name = xstrdup(rel), *link = NULL, *data = NULL;
	struct stat st;

	if (lstat(path, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", path);
	struct dink_tar_member m = {.name = name, .mtime = DINK_IMAGE_EPOCH};
	if (S_ISDIR(st.st_mode)) {
		m.type = DINK_TAR_DIR;
		m.mode = 0755;
		return dink_strv_has(&w->folders, rel) ? 0 : dink_tar_put(w->out, &m, err);
	}
	if (S_ISLNK(st.st_mode)) {
		link = xcalloc(1, DINK_TAR_NAME_MAX + 1);
		if (readlink(path, link, DINK_TAR_NAME_MAX) < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "read link %s", path);
		m.type = DINK_TAR_SYMLINK;
		m.mode = 0777;
		m.link = link;
		return dink_tar_put(w->out, &m, err);
	}
	size_t len = 0;
	int e = dink_file_read(path, 64 << 20, &data, &len, err);
	if (e < 0)
		return e;
	m.type = DINK_TAR_FILE;
	/* git keeps this one bit; the umask of the checkout must not reach the image */
	m.mode = st.st_mode & S_IXUSR ? 0755 : 0644;
	m.size = len;
	e = dink_tar_put(w->out, &m, err);
	return e < 0 || len == 0 ? e : dink_tar_put_data(w->out, data, len, err);
}

int dink_image_rewrite(const struct dink_recipe *r, int in, int out, char ret_diff_id[65],
		       struct dink_err *err)
{
	struct dink_hash *hash = dink_hash_new();
	_cleanup_(clear_rewrite) struct rewrite w = {.recipe = r, .in = in};

	w.out = dink_tar_writer_new(out, "the layer", hash);
	int e = take_base(&w, err);
	for (size_t i = 0; e == 0 && i < r->files.n; i++)
		e = put_own_file(&w, r->files.v[i], err);
	if (e == 0)
		e = dink_tar_finish(TAKE_PTR(w.out), err);
	if (e < 0) {
		dink_hash_free(hash);
		return e;
	}
	dink_hash_end(hash, ret_diff_id);
	return 0;
}

static const char *architecture(void)
{
#if defined(__aarch64__)
	return "arm64";
#else
	return "amd64";
#endif
}

/* The image's config: its digest is the image id, so the order of members matters. */
static char *config_text(const struct dink_recipe *r, const char *diff_id)
{
	_cleanup_json_ struct json_object *o = dink_json_new();
	struct json_object *config = dink_json_new(), *rootfs = dink_json_new();
	struct json_object *labels = dink_json_new(), *history = dink_json_new();
	_cleanup_strv_ struct dink_strv ids = {};

	dink_json_set_str(o, "architecture", architecture());
	dink_json_set_str(o, "os", "linux");
	dink_json_set_str(o, "created", DINK_IMAGE_EPOCH_ISO);
	dink_json_set(config, "Env", dink_json_strv(&r->env));
	if (r->entrypoint.n)
		dink_json_set(config, "Entrypoint", dink_json_strv(&r->entrypoint));
	if (r->cmd.n)
		dink_json_set(config, "Cmd", dink_json_strv(&r->cmd));
	for (size_t i = 0; i < r->labels.n; i++) {
		const char *eq = strchr(r->labels.v[i], '=');
		_cleanup_free_ char *key = xstrndup(r->labels.v[i], (size_t)(eq - r->labels.v[i]));
		json_object_object_add(labels, key, json_object_new_string(eq + 1));
	}
	dink_json_set(config, "Labels", labels);
	dink_json_set(o, "config", config);
	dink_strv_addf(&ids, "sha256:%s", diff_id);
	dink_json_set_str(rootfs, "type", "layers");
	dink_json_set(rootfs, "diff_ids", dink_json_strv(&ids));
	dink_json_set(o, "rootfs", rootfs);
	dink_json_set_str(history, "created", DINK_IMAGE_EPOCH_ISO);
	dink_json_set_str(history, "created_by", DINK_IMAGE_BUILDER);
	struct json_object *list = json_object_new_array();
	json_object_array_add(list, history);
	dink_json_set(o, "history", list);
	return dink_json_text(o);
}

static char *manifest_text(const char *config_name, const char *ref, const char *layer_name)
{
	_cleanup_json_ struct json_object *list = json_object_new_array();
	struct json_object *o = dink_json_new();
	_cleanup_strv_ struct dink_strv tags = {}, layers = {};

	dink_strv_add(&tags, ref);
	dink_strv_add(&layers, layer_name);
	dink_json_set_str(o, "Config", config_name);
	dink_json_set(o, "RepoTags", dink_json_strv(&tags));
	dink_json_set(o, "Layers", dink_json_strv(&layers));
	json_object_array_add(list, o);
	return dink_json_text(list);
}

int dink_image_archive(const struct dink_recipe *r, const char *path, const char *ref, int layer,
		       const char *diff_id, char **ret_id, struct dink_err *err)
{
	_cleanup_free_ char *config = config_text(r, diff_id);
	_cleanup_free_ char *layer_name = xasprintf("%s/layer.tar", diff_id);
	_cleanup_(dink_tar_writer_freep) struct dink_tar_writer *w = NULL;
	_cleanup_close_ int fd = -1;
	struct dink_hash *h = dink_hash_new();
	char id[65];
	struct stat st;

	dink_hash_add(h, config, strlen(config));
	dink_hash_end(h, id);
	_cleanup_free_ char *config_name = xasprintf("%s.json", id);
	_cleanup_free_ char *manifest = manifest_text(config_name, ref, layer_name);
	if (fstat(layer, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat the layer");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "create %s", path);
	w = dink_tar_writer_new(fd, path, NULL);
	/* small members first: a reader of the stream knows what it gets */
	int e = dink_tar_put_file(w, "manifest.json", manifest, strlen(manifest), DINK_IMAGE_EPOCH,
				  err);
	if (e == 0)
		e = dink_tar_put_file(w, config_name, config, strlen(config), DINK_IMAGE_EPOCH,
				      err);
	const struct dink_tar_member m = {.name = layer_name,
					  .type = DINK_TAR_FILE,
					  .mode = 0644,
					  .size = (uint64_t)st.st_size,
					  .mtime = DINK_IMAGE_EPOCH};
	if (e == 0)
		e = dink_tar_put(w, &m, err);
	if (e == 0)
		e = dink_tar_put_copy(w, layer, 0, m.size, err);
	if (e == 0)
		e = dink_tar_finish(TAKE_PTR(w), err);
	if (e < 0)
		return e;
	*ret_id = xasprintf("sha256:%s", id);
	return 0;
}
