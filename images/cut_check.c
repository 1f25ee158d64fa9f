/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an archive may hold that is to be one image under one name. A daemon in a guest may send
 * whatever it likes, and the engine that loads it believes the archive's manifest: without a look
 * at it the copy of one image could replace others of the target. Nothing is done by an engine
 * before an archive's end, so it is enough to break it off as soon as something is wrong.
 *
 * Names and links are held to what engines write, so that no member can come to lie where the
 * manifest is without its being looked at, and so that Go's tar reader sees what we see.
 */
#include "images/cut_check.h"

#include "provision/base/json.h"

enum { BLOCK = 512, HEX = 64, NAME_MAX_LEN = 400, IMAGES_MAX = 64 };

static int refuse(struct dink_err *err, const char *what, const char *name)
{
	return dink_err_set(err, DINK_E_CHILD, EBADMSG, "the image's archive: %s: %.100s", what,
			    name);
}

/* No part of the path is empty, "." or "..", and all of it is plain. */
static bool path_is_plain(const char *s)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			       "._/-+@:");

	if (s[len] || len > NAME_MAX_LEN)
		return false;
	/* the engine takes what begins so for a bzip2 */
	if (dink_starts_with(s, "BZh"))
		return false;
	for (;;) {
		size_t part = strcspn(s, "/");

		if (part == 0 || (part == 1 && s[0] == '.') ||
		    (part == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		s += part;
		if (!s[0])
			return true;
		s++;
	}
}

/* "../HEX/layer.tar" or "../HEX.tar": where a layer lies that occurs twice. */
static bool link_is_layer(const char *to)
{
	if (!dink_starts_with(to, "../") || strspn(to + 3, "0123456789abcdef") != HEX)
		return false;
	return STREQ(to + 3 + HEX, "/layer.tar") || STREQ(to + 3 + HEX, ".tar");
}

int dink_cut_check_member(const char *name, char type, const char *header, bool long_link,
			  struct dink_err *err)
{
	_cleanup_free_ char *path = xstrdup(name), *to = xstrndup(header + 157, 100);
	size_t n = strlen(path);

	if (type == '5' && n > 0 && path[n - 1] == '/')
		path[--n] = '\0';
	if (n == 0 && type == '5') /* the folder of all */
		return 0;
	if (!path_is_plain(path))
		return refuse(err, "a name that no engine gives", name);
	if (memcmp(header + 508, "tar", 4) == 0)
		return refuse(err, "a header of star", name);
	if (type == '0' || type == '\0' || type == '5')
		return 0;
	if (type != '2')
		return refuse(err, "a member of a kind that no engine writes", name);
	if (long_link || !dink_ends_with(path, "/layer.tar") || !link_is_layer(to))
		return refuse(err, "a link that leads elsewhere", name);
	return 0;
}

bool dink_cut_is_checked(const char *name)
{
	return STREQ(name, "manifest.json") || STREQ(name, "index.json");
}

/* "app:1" may be called "localhost/app:1" or "docker.io/library/app:1" */
static bool is_allowed(const char *ref, const char *allowed)
{
	size_t n = strlen(ref), m = allowed ? strlen(allowed) : 0;

	return allowed && n >= m && STREQ(ref + n - m, allowed) &&
	       (n == m || ref[n - m - 1] == '/');
}

/*
 * Go takes "repotags" for "RepoTags", and some letters beyond ASCII as well; so there may be no
 * member but those that engines write.
 */
static int check_keys(struct json_object *o, const char *const *known, struct dink_err *err)
{
	if (!json_object_is_type(o, json_type_object))
		return refuse(err, "its manifest", "no object");
	json_object_object_foreach(o, key, value)
	{
		const char *const *k = known;

		(void)value;
		while (*k && !STREQ(*k, key))
			k++;
		if (!*k)
			return refuse(err, "its manifest has an unknown member", key);
	}
	return 0;
}

static int check_tags(struct json_object *image, const char *allowed, struct dink_err *err)
{
	static const char *const known[] = {"Config", "RepoTags",     "Layers",
					    "Parent", "LayerSources", NULL};
	struct json_object *tags;
	int r = check_keys(image, known, err);

	if (r < 0)
		return r;
	tags = dink_json_get(image, "RepoTags");
	if (!tags || json_object_is_type(tags, json_type_null))
		return 0;
	if (!json_object_is_type(tags, json_type_array))
		return refuse(err, "its manifest", "names that are no list");
	for (size_t i = 0; i < json_object_array_length(tags); i++) {
		struct json_object *tag = json_object_array_get_idx(tags, i);
		const char *ref = json_object_is_type(tag, json_type_string)
					  ? json_object_get_string(tag)
					  : "?";

		if (!is_allowed(ref, allowed))
			return refuse(err, "it would be called what was not asked for", ref);
	}
	return 0;
}

static int check_index(struct json_object *index, const char *allowed, struct dink_err *err)
{
	static const char *const known[] = {"schemaVersion", "mediaType", "manifests",
					    "annotations", NULL};
	static const char *const entry[] = {"mediaType",   "digest",   "size",
					    "annotations", "platform", NULL};
	struct json_object *list = dink_json_get(index, "manifests");
	size_t n = dink_json_len(index, "manifests");
	int r = check_keys(index, known, err);

	if (r == 0 && n > IMAGES_MAX)
		return refuse(err, "its index", "too many images");
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_object *image = json_object_array_get_idx(list, i);
		struct json_object *names = NULL, *ref = NULL;
		const char *text;

		r = check_keys(image, entry, err);
		if (r < 0)
			return r;
		json_object_object_get_ex(image, "annotations", &names);
		if (!json_object_is_type(names, json_type_object) ||
		    !json_object_object_get_ex(names, "io.containerd.image.name", &ref))
			continue;
		text = json_object_is_type(ref, json_type_string) ? json_object_get_string(ref)
								  : "?";
		if (!is_allowed(text, allowed))
			return refuse(err, "it would be called what was not asked for", text);
	}
	return r;
}

int dink_cut_check_text(const char *name, const char *text, size_t len, const char *allowed,
			struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	int r = dink_json_parse(text, len, name, &o, err);

	if (r < 0)
		return r;
	if (STREQ(name, "index.json"))
		return check_index(o, allowed, err);
	if (!json_object_is_type(o, json_type_array) || json_object_array_length(o) != 1)
		return refuse(err, "its manifest", "not of one image");
	return check_tags(json_object_array_get_idx(o, 0), allowed, err);
}
