/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker archives: one is made from a layer and a recipe's config, and one from anybody is looked
 * into for its image's id and name.
 */
#include "images/build.h"
#include "images/cut.h"
#include "images/tar.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { CONFIG_MAX = 4 << 20, REF_MAX = 400, CHUNK = 256 << 10 };

static void digest_of(const void *bytes, size_t n, char ret_hex[65])
{
	struct dink_hash *h = dink_hash_new();

	dink_hash_add(h, bytes, n);
	dink_hash_end(h, ret_hex);
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

/* The layer as it lies on the disk, as a member. */
static int put_layer(struct dink_tar_writer *w, const char *name, const char *layer,
		     struct dink_err *err)
{
	_cleanup_close_ int fd = open(layer, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = xmalloc(CHUNK);
	struct archive_entry *entry;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", layer);
	entry = archive_entry_new();
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, st.st_size);
	archive_entry_set_mtime(entry, DINK_IMAGE_EPOCH, 0);
	int e = dink_tar_put(w, entry, name, NULL, err);
	archive_entry_free(entry);
	while (e == 0 && (n = read(fd, buf, CHUNK)) != 0) {
		if (n < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "read %s", layer);
		e = dink_tar_put_bytes(w, buf, (size_t)n, err);
	}
	return e;
}

int dink_image_archive(const struct dink_recipe *r, const char *path, const char *ref,
		       const char *layer, const char *diff_id, char **ret_id, struct dink_err *err)
{
	_cleanup_free_ char *config = config_text(r, diff_id);
	_cleanup_free_ char *layer_name = xasprintf("%s/layer.tar", diff_id);
	_cleanup_(dink_tar_writer_freep) struct dink_tar_writer *w = NULL;
	char id[65];

	digest_of(config, strlen(config), id);
	_cleanup_free_ char *config_name = xasprintf("%s.json", id);
	_cleanup_free_ char *manifest = manifest_text(config_name, ref, layer_name);
	int e = dink_tar_create(path, NULL, &w, err);
	/* small members first: a reader of the stream knows what it gets */
	if (e == 0)
		e = dink_tar_put_file(w, "manifest.json", 0644, manifest, strlen(manifest), err);
	if (e == 0)
		e = dink_tar_put_file(w, config_name, 0644, config, strlen(config), err);
	if (e == 0)
		e = put_layer(w, layer_name, layer, err);
	if (e == 0)
		e = dink_tar_finish(TAKE_PTR(w), err);
	if (e < 0)
		return e;
	*ret_id = xasprintf("sha256:%s", id);
	return 0;
}

/* One small member as text; -ENOENT with err empty if it is not there. */
static int read_member(const char *path, const char *name, char **ret, size_t *ret_len,
		       struct dink_err *err)
{
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;

	int e = dink_tar_open(path, &t, err);
	if (e == 0)
		e = dink_tar_find(t, name, err);
	if (e <= 0)
		return e < 0 ? e : -ENOENT;
	return dink_tar_text(t, CONFIG_MAX, ret, ret_len, err);
}

static int no_docker_archive(const char *path, struct dink_err *err)
{
	_cleanup_free_ char *layout = NULL;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	size_t n;
	bool oci = read_member(path, "oci-layout", &layout, &n, &ignored) == 0;

	dink_err_set(err, DINK_E_HOST, 0, "%s is %s", path,
		     oci ? "an OCI archive, which Docker 20.10 cannot load"
			 : "no docker archive: it has no manifest.json");
	return oci ? dink_err_hint(err, "skopeo copy oci-archive:%s docker-archive:%s.docker", path,
				   path)
		   : dink_err_hint(err, "make one with: docker save -o FILE IMAGE");
}

/* NAME[:TAG][@DIGEST] goes into messages and URLs: plain characters, bounded. */
static bool ref_is_plain(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			     "._/:@-");

	return n > 0 && n <= REF_MAX && s[n] == '\0' && s[0] != '-';
}

/* From manifest.json: the one image's config and first name (NULL if it has none). */
static int read_manifest(const char *path, struct json_object *o, const char **ret_config,
			 const char **ret_ref, struct dink_err *err)
{
	struct json_object *first, *tags, *tag = NULL;

	if (!json_object_is_type(o, json_type_array) || json_object_array_length(o) != 1)
		return dink_err_set(err, DINK_E_HOST, 0, "%s does not hold exactly one image",
				    path);
	first = json_object_array_get_idx(o, 0);
	int e = dink_json_need_str(first, "manifest.json", "Config", ret_config, err);
	if (e < 0)
		return e;
	tags = dink_json_get(first, "RepoTags");
	if (tags && json_object_is_type(tags, json_type_array))
		tag = json_object_array_get_idx(tags, 0);
	if (tag && (!json_object_is_type(tag, json_type_string) ||
		    !ref_is_plain(json_object_get_string(tag))))
		return dink_err_set(err, DINK_E_HOST, EBADMSG, "%s: the image's name", path);
	*ret_ref = tag ? json_object_get_string(tag) : NULL;
	return 0;
}

void dink_archive_info_clear(struct dink_archive_info *i)
{
	free(i->id);
	free(i->ref);
	dink_strv_clear(&i->diff_ids);
	dink_strv_clear(&i->members);
	*i = (struct dink_archive_info){};
}

/* Layers as the manifest calls them and as the config does, in the same order. */
static int read_layers(const char *path, struct json_object *manifest, const char *config, size_t n,
		       struct dink_archive_info *info, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *first = json_object_array_get_idx(manifest, 0);
	struct json_object *members, *ids;

	int e = dink_json_parse(config, n, "the image's config", &o, err);
	if (e < 0)
		return e;
	members = dink_json_get(first, "Layers");
	ids = dink_json_get(o, "rootfs.diff_ids");
	if (!members || !ids || !dink_json_to_strv(members, &info->members) ||
	    !dink_json_to_strv(ids, &info->diff_ids) || info->members.n != info->diff_ids.n ||
	    info->members.n > DINK_CUT_LAYERS_MAX)
		return dink_err_set(err, DINK_E_HOST, EBADMSG, "%s: the image's layers", path);
	return 0;
}

int dink_archive_read(const char *path, struct dink_archive_info *ret, struct dink_err *err)
{
	_cleanup_(dink_archive_info_clear) struct dink_archive_info info = {};
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *text = NULL, *config = NULL;
	const char *config_name, *ref = NULL;
	char id[65];
	size_t n = 0;

	int e = read_member(path, "manifest.json", &text, &n, err);
	if (e == -ENOENT && !dink_err_is_set(err))
		return no_docker_archive(path, err);
	if (e == 0)
		e = dink_json_parse(text, n, "manifest.json", &o, err);
	if (e == 0)
		e = read_manifest(path, o, &config_name, &ref, err);
	if (e == 0) {
		e = read_member(path, config_name, &config, &n, err);
		if (e == -ENOENT && !dink_err_is_set(err))
			e = dink_err_set(err, DINK_E_HOST, ENOENT, "%s: its config", path);
	}
	if (e == 0)
		e = read_layers(path, o, config, n, &info, err);
	if (e < 0)
		return dink_err_push(err, "reading the image archive %s", path);
	digest_of(config, n, id);
	info.id = xasprintf("sha256:%s", id);
	info.ref = ref ? xstrdup(ref) : NULL;
	*ret = info;
	info = (struct dink_archive_info){};
	return 0;
}

int dink_archive_identify(const char *path, char **ret_id, char **ret_ref, struct dink_err *err)
{
	_cleanup_(dink_archive_info_clear) struct dink_archive_info info = {};
	int e = dink_archive_read(path, &info, err);

	if (e < 0)
		return e;
	*ret_id = TAKE_PTR(info.id);
	*ret_ref = TAKE_PTR(info.ref);
	return 0;
}
