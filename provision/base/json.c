/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/json.h"

#include "provision/base/file.h"

int dink_json_parse(const char *text, size_t len, const char *what, struct json_object **ret,
		    struct dink_err *err)
{
	struct json_tokener *tok;
	struct json_object *o;
	enum json_tokener_error e;
	size_t used;

	if (len > DINK_JSON_MAX)
		return dink_err_set(err, DINK_E_STATE, EFBIG, "%s: %zu bytes of JSON, at most %d",
				    what, len, DINK_JSON_MAX);
	tok = json_tokener_new_ex(DINK_JSON_DEPTH);
	if (!tok)
		abort();
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	o = json_tokener_parse_ex(tok, text, (int)len);
	e = json_tokener_get_error(tok);
	used = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (e == json_tokener_continue && len > 0) {
		/* a bare number only ends at a delimiter */
		json_object_put(o);
		return dink_err_set(err, DINK_E_STATE, 0, "%s: the JSON text ends too early", what);
	}
	if (e != json_tokener_success || (!o && len == 0)) {
		json_object_put(o);
		return dink_err_set(err, DINK_E_STATE, 0, "%s: no valid JSON: %s at byte %zu", what,
				    json_tokener_error_desc(e), used);
	}
	/* the text need not end with a NUL */
	while (used < len && strchr(" \t\r\n", text[used]) && text[used])
		used++;
	if (used < len) {
		json_object_put(o);
		return dink_err_set(err, DINK_E_STATE, 0,
				    "%s: text after the JSON value at byte %zu", what, used);
	}
	*ret = o;
	return 0;
}

int dink_json_parse_file(const char *path, struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = dink_file_read(path, DINK_JSON_MAX, &text, &len, err);

	if (r < 0)
		return r;
	return dink_json_parse(text, len, path, ret, err);
}

struct json_object *dink_json_get(struct json_object *o, const char *path)
{
	char key[256];

	while (o && *path) {
		size_t n = strcspn(path, ".");

		if (n >= sizeof(key) || !json_object_is_type(o, json_type_object))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		if (!json_object_object_get_ex(o, key, &o))
			return NULL;
		path += n + (path[n] == '.');
	}
	return o;
}

const char *dink_json_str_or(struct json_object *o, const char *path, const char *fallback)
{
	struct json_object *v = dink_json_get(o, path);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : fallback;
}

int64_t dink_json_int_or(struct json_object *o, const char *path, int64_t fallback)
{
	struct json_object *v = dink_json_get(o, path);

	return json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : fallback;
}

bool dink_json_bool_or(struct json_object *o, const char *path, bool fallback)
{
	struct json_object *v = dink_json_get(o, path);

	return json_object_is_type(v, json_type_boolean) ? json_object_get_boolean(v) : fallback;
}

size_t dink_json_len(struct json_object *o, const char *path)
{
	struct json_object *v = dink_json_get(o, path);

	return json_object_is_type(v, json_type_array) ? json_object_array_length(v) : 0;
}

struct json_object *dink_json_member(struct json_object *o, const char *key, bool array)
{
	struct json_object *m = NULL;

	if (json_object_object_get_ex(o, key, &m))
		return m;
	m = array ? json_object_new_array() : dink_json_new();
	json_object_object_add(o, key, m);
	return m;
}

struct json_object *dink_json_find(struct json_object *o, const char *path, const char *key,
				   const char *value)
{
	struct json_object *list = dink_json_get(o, path);

	for (size_t i = 0; i < dink_json_len(list, ""); i++) {
		struct json_object *one = json_object_array_get_idx(list, i);

		if (STREQ(dink_json_str_or(one, key, ""), value))
			return one;
	}
	return NULL;
}

int dink_json_need_str(struct json_object *o, const char *what, const char *path, const char **ret,
		       struct dink_err *err)
{
	const char *s = dink_json_str_or(o, path, NULL);

	if (!s)
		return dink_err_set(err, DINK_E_STATE, 0, "%s: %s is no string", what, path);
	*ret = s;
	return 0;
}

struct json_object *dink_json_new(void)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		abort();
	return o;
}

void dink_json_set(struct json_object *o, const char *key, struct json_object *value)
{
	if (json_object_object_add(o, key, value) < 0)
		abort();
}

void dink_json_set_str(struct json_object *o, const char *key, const char *value)
{
	dink_json_set(o, key, value ? json_object_new_string(value) : NULL);
}

void dink_json_set_int(struct json_object *o, const char *key, int64_t value)
{
	dink_json_set(o, key, json_object_new_int64(value));
}

void dink_json_set_bool(struct json_object *o, const char *key, bool value)
{
	dink_json_set(o, key, json_object_new_boolean(value));
}

void dink_json_copy(struct json_object *to, struct json_object *from, const char *const *keys)
{
	for (; *keys; keys++) {
		struct json_object *value = dink_json_get(from, *keys);

		json_object_object_del(to, *keys);
		if (value)
			dink_json_set(to, *keys, json_object_get(value));
	}
}

struct json_object *dink_json_strv(const struct dink_strv *sv)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < sv->n; i++)
		json_object_array_add(a, json_object_new_string(sv->v[i]));
	return a;
}

bool dink_json_to_strv(struct json_object *arr, struct dink_strv *ret)
{
	if (!json_object_is_type(arr, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(arr); i++)
		if (!json_object_is_type(json_object_array_get_idx(arr, i), json_type_string))
			return false;
	for (size_t i = 0; i < json_object_array_length(arr); i++)
		dink_strv_add(ret, json_object_get_string(json_object_array_get_idx(arr, i)));
	return true;
}

char *dink_json_text(struct json_object *o)
{
	return xasprintf("%s\n", json_object_to_json_string_ext(
					 o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
}
