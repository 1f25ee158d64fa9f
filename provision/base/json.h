/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON by json-c, bounded, with getters that name the path in their errors.
 * Input from elsewhere (engines, guests, files) goes through dink_json_parse() only.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <json-c/json.h>
#include <stdbool.h>

enum { DINK_JSON_DEPTH = 64, DINK_JSON_MAX = 16 << 20 };

/*
 * dink_json_parse() - text to object; the caller owns a reference (json_object_put)
 * @what: names the text in errors ("config.json")
 */
int dink_json_parse(const char *text, size_t len, const char *what, struct json_object **ret,
		    struct dink_err *err) _must_check_;
int dink_json_parse_file(const char *path, struct json_object **ret,
			 struct dink_err *err) _must_check_;

static inline void dink_json_putp(struct json_object **o)
{
	if (*o)
		json_object_put(*o);
}
#define _cleanup_json_ _cleanup_(dink_json_putp)

/*
 * Look-ups by a dotted path ("linux.resources.memory.limit", "" is o itself); borrowed, valid
 * while o is.
 * The _or forms give the default when the member is missing, null or of another type.
 */
struct json_object *dink_json_get(struct json_object *o, const char *path);
const char *dink_json_str_or(struct json_object *o, const char *path, const char *fallback);
int64_t dink_json_int_or(struct json_object *o, const char *path, int64_t fallback);
bool dink_json_bool_or(struct json_object *o, const char *path, bool fallback);
/* array length, 0 when missing or no array */
size_t dink_json_len(struct json_object *o, const char *path);
/* dink_json_member() - o's member of that key, added empty if there is none; owned by o */
struct json_object *dink_json_member(struct json_object *o, const char *key, bool array);
/* dink_json_find() - the first of the list there whose member key is this string; NULL if none */
struct json_object *dink_json_find(struct json_object *o, const char *path, const char *key,
				   const char *value);

/* dink_json_need_str() - the string there, or an error that names what and path */
int dink_json_need_str(struct json_object *o, const char *what, const char *path, const char **ret,
		       struct dink_err *err) _must_check_;

/* Building: each returns its object so that calls nest; keys are literals. */
struct json_object *dink_json_new(void);
void dink_json_set_str(struct json_object *o, const char *key, const char *value); /* NULL: null */
void dink_json_set_int(struct json_object *o, const char *key, int64_t value);
void dink_json_set_bool(struct json_object *o, const char *key, bool value);
void dink_json_set(struct json_object *o, const char *key, struct json_object *value); /* takes */
/*
 * dink_json_copy() - members of from into to, shared; what from lacks, to lacks then, too
 * @keys: dotted paths are not meant; NULL-terminated
 */
void dink_json_copy(struct json_object *to, struct json_object *from, const char *const *keys);
struct json_object *dink_json_strv(const struct dink_strv *sv);
/* an array of strings into a vector; false if it is no array of strings */
bool dink_json_to_strv(struct json_object *arr, struct dink_strv *ret);

/* dink_json_text() - pretty-printed with a final newline; caller frees */
char *dink_json_text(struct json_object *o);
