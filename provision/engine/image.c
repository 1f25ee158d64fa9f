/* SPDX-License-Identifier: Apache-2.0 */
/* The Engine API's calls about images: JSON in, JSON out. The answers may be a hostile guest's. */
#include "provision/engine/image.h"

#include "images/cut.h"
#include "provision/engine/http.h"

enum { REF_MAX = 400, TAGS_MAX = 256 };

int dink_ref_check(const char *ref, struct dink_err *err)
{
	size_t n = strspn(ref, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			       "._/:@-");

	if (n > 0 && n <= REF_MAX && ref[n] == '\0' && !strchr("-./:@", ref[0]) &&
	    !strchr("/:@", ref[n - 1]) && !strstr(ref, "//"))
		return 0;
	dink_err_set(err, DINK_E_USAGE, 0, "'%.400s' is no image's name", ref);
	return dink_err_hint(err, "an image is NAME, NAME:TAG, NAME@DIGEST or an id");
}

char *dink_ref_with_tag(const char *ref, const struct dink_image_info *i)
{
	const char *slash = strrchr(ref, '/'), *last = slash ? slash + 1 : ref;
	const char *hex = dink_starts_with(ref, "sha256:") ? ref + strlen("sha256:") : ref;

	if (strchr(last, ':') || strchr(ref, '@'))
		return xstrdup(ref);
	if (!slash && i->id && dink_starts_with(i->id + strlen("sha256:"), hex) &&
	    hex[strspn(hex, "0123456789abcdef")] == '\0')
		return xstrdup(i->id);
	return xasprintf("%s:latest", ref);
}

static bool is_digest(const char *s)
{
	return dink_starts_with(s, "sha256:") && strlen(s) == 71 &&
	       s[7 + strspn(s + 7, "0123456789abcdef")] == '\0';
}

static int bad_image(const char *ref, struct dink_err *err)
{
	return dink_err_set(err, DINK_E_CHILD, EBADMSG, "what the engine says of image %.400s",
			    ref);
}

static int read_info(struct json_object *o, const char *ref, struct dink_image_info *ret,
		     struct dink_err *err)
{
	_cleanup_(dink_image_info_clear) struct dink_image_info i = {};
	struct json_object *layers = dink_json_get(o, "RootFS.Layers");
	struct json_object *tags = dink_json_get(o, "RepoTags");
	const char *id = dink_json_str_or(o, "Id", "");
	int64_t size = dink_json_int_or(o, "Size", 0);

	i.id = dink_starts_with(id, "sha256:") ? xstrdup(id) : xasprintf("sha256:%s", id);
	i.size = size > 0 ? (uint64_t)size : 0;
	if (!is_digest(i.id) || (layers && !dink_json_to_strv(layers, &i.diff_ids)) ||
	    i.diff_ids.n > DINK_CUT_LAYERS_MAX)
		return bad_image(ref, err);
	for (size_t k = 0; k < i.diff_ids.n; k++)
		if (!is_digest(i.diff_ids.v[k]))
			return bad_image(ref, err);
	if (tags && json_object_is_type(tags, json_type_array) &&
	    (json_object_array_length(tags) > TAGS_MAX || !dink_json_to_strv(tags, &i.tags)))
		return bad_image(ref, err);
	*ret = i;
	i = (struct dink_image_info){};
	return 0;
}

void dink_image_info_clear(struct dink_image_info *i)
{
	free(i->id);
	dink_strv_clear(&i->diff_ids);
	dink_strv_clear(&i->tags);
	*i = (struct dink_image_info){};
}

int dink_engine_image(struct dink_engine *e, const char *ref, struct dink_image_info *ret,
		      struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(ref);
	_cleanup_free_ char *path = xasprintf("/images/%s/json", name);
	_cleanup_(dink_err_clear) struct dink_err why = {};
	_cleanup_json_ struct json_object *o = NULL;
	long status = 0;
	int r = dink_engine_call(e, "GET", path, NULL, &o, &status, &why);

	if (r < 0 && status == 404)
		return -ENOENT;
	if (r < 0) {
		dink_err_move(err, &why);
		return r;
	}
	return read_info(o, ref, ret, err);
}

int dink_engine_images(struct dink_engine *e, struct json_object **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *list = NULL;
	int r = dink_engine_call(e, "GET", "/images/json", NULL, &list, NULL, err);

	if (r < 0)
		return r;
	if (!list) /* Podman's answer where there are none */
		list = json_object_new_array();
	if (!json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) > DINK_IMAGES_MAX)
		return dink_err_set(err, DINK_E_CHILD, EBADMSG, "the engine's list of images");
	*ret = TAKE_PTR(list);
	return 0;
}

static size_t common_layers(const struct dink_strv *a, const struct dink_strv *b)
{
	size_t n = 0;

	while (n < a->n && n < b->n && STREQ(a->v[n], b->v[n]))
		n++;
	return n;
}

int dink_engine_has_layers(struct dink_engine *e, const struct dink_strv *diff_ids, size_t *ret_n,
			   struct dink_err *err)
{
	_cleanup_json_ struct json_object *list = NULL;
	size_t best = 0;
	int r = dink_engine_images(e, &list, err);

	for (size_t i = 0; r == 0 && best < diff_ids->n && i < json_object_array_length(list);
	     i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		_cleanup_(dink_image_info_clear) struct dink_image_info info = {};
		const char *id = dink_json_str_or(o, "Id", NULL);
		size_t n;

		if (!id || !is_digest(id))
			continue;
		r = dink_engine_image(e, id, &info, err);
		if (r == -ENOENT && !dink_err_is_set(err)) { /* removed just now */
			r = 0;
			continue;
		}
		n = r == 0 ? common_layers(&info.diff_ids, diff_ids) : 0;
		best = n > best ? n : best;
	}
	if (r == 0)
		*ret_n = best;
	return r;
}

int dink_engine_is_podman(struct dink_engine *e, bool *ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *parts;
	int r = dink_engine_call(e, "GET", "/version", NULL, &o, NULL, err);

	if (r < 0)
		return r;
	*ret = false;
	parts = dink_json_get(o, "Components");
	for (size_t i = 0; i < dink_json_len(o, "Components"); i++) {
		struct json_object *part = json_object_array_get_idx(parts, i);

		if (strstr(dink_json_str_or(part, "Name", ""), "Podman"))
			*ret = true;
	}
	return 0;
}

int dink_engine_image_tag(struct dink_engine *e, const char *id, const char *ref,
			  struct dink_err *err)
{
	const char *slash = strrchr(ref, '/'), *colon = strrchr(slash ? slash : ref, ':');
	_cleanup_free_ char *repo = xstrndup(ref, colon ? (size_t)(colon - ref) : strlen(ref));
	_cleanup_free_ char *repo_word = dink_url_escape(repo);
	_cleanup_free_ char *tag = dink_url_escape(colon ? colon + 1 : "latest");
	_cleanup_free_ char *name = dink_url_escape(id);
	_cleanup_free_ char *path =
		xasprintf("/images/%s/tag?repo=%s&tag=%s", name, repo_word, tag);
	int r = dink_engine_call(e, "POST", path, NULL, NULL, NULL, err);

	return r < 0 ? dink_err_push(err, "naming the image %s", ref) : 0;
}

int dink_engine_image_remove(struct dink_engine *e, const char *ref, bool force,
			     struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(ref);
	_cleanup_free_ char *path = xasprintf("/images/%s?force=%d", name, force);

	return dink_engine_call(e, "DELETE", path, NULL, ret, NULL, err);
}

int dink_engine_image_prune(struct dink_engine *e, bool all, struct json_object **ret,
			    struct dink_err *err)
{
	_cleanup_free_ char *filters =
		dink_url_escape(all ? "{\"dangling\":[\"false\"]}" : "{\"dangling\":[\"true\"]}");
	_cleanup_free_ char *path = xasprintf("/images/prune?filters=%s", filters);

	return dink_engine_call(e, "POST", path, NULL, ret, NULL, err);
}
