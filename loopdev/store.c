/* SPDX-License-Identifier: Apache-2.0 */
#include "loopdev/store.h"

enum { ENTRIES_MAX = 10000, FILE_MAX = 4 << 20 };

struct store {
	struct dink_look *look;
	const char *root; /* without a slash at its end */
	struct json_object *all;
};

/* Absent, and what is no JSON: NULL, for it is a guest's. */
static int read_json(struct store *s, const char *path, struct json_object **ret,
		     struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = dink_look_read(s->look, path, FILE_MAX, &text, &n, err);

	*ret = NULL;
	if (r < 0 || !text)
		return r;
	if (dink_json_parse(text, n, path, ret, &quiet) < 0)
		*ret = NULL;
	return 0;
}

/* The names in a folder, which may be missing. */
static int names_in(struct store *s, const char *folder, struct dink_strv *ret,
		    struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", s->root, folder);
	int r = dink_look_has_folder(s->look, path, err);

	if (r > 0)
		r = dink_look_names(s->look, path, ret, err);
	if (r == 0 && ret->n > ENTRIES_MAX)
		return dink_err_set(err, DINK_E_HOST, E2BIG, "%s: %zu entries", path, ret->n);
	return r < 0 ? r : 0;
}

static bool is_digest(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* --- images --- */

static int add_image(struct store *s, struct json_object *images, const char *driver,
		     const char *name, const char *id, struct dink_err *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_json_ struct json_object *config = NULL;
	struct json_object *o;
	int r;

	/* what becomes part of a path has to be a digest */
	if (strncmp(id, "sha256:", 7) != 0 || !is_digest(id + 7))
		return 0;
	path = xasprintf("%s/image/%s/imagedb/content/sha256/%s", s->root, driver, id + 7);
	r = read_json(s, path, &config, err);
	if (r < 0)
		return r;
	o = dink_json_new();
	dink_json_set_str(o, "name", name);
	dink_json_set_str(o, "id", id);
	dink_json_set_str(o, "created", config ? dink_json_str_or(config, "created", NULL) : NULL);
	dink_json_set_int(o, "layers",
			  config ? (int64_t)dink_json_len(config, "rootfs.diff_ids") : 0);
	json_object_array_add(images, o);
	return 0;
}

/* {"Repositories": {"debian": {"debian:12": "sha256:...", "debian@sha256:...": ...}}} */
static int add_repository(struct store *s, struct json_object *images, const char *driver,
			  struct json_object *tags, struct dink_err *err)
{
	int r = 0;

	if (!json_object_is_type(tags, json_type_object))
		return 0;
	json_object_object_foreach(tags, name, id)
	{
		if (r == 0 && !strchr(name, '@') && json_object_is_type(id, json_type_string) &&
		    json_object_array_length(images) < ENTRIES_MAX)
			r = add_image(s, images, driver, name, json_object_get_string(id), err);
	}
	return r;
}

static int read_images(struct store *s, const char *driver, struct json_object *images,
		       struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/image/%s/repositories.json", s->root, driver);
	_cleanup_json_ struct json_object *file = NULL;
	int r = read_json(s, path, &file, err);
	struct json_object *repositories = dink_json_get(file, "Repositories");

	if (r < 0 || !json_object_is_type(repositories, json_type_object))
		return r;
	json_object_object_foreach(repositories, name, tags)
	{
		(void)name;
		if (r == 0)
			r = add_repository(s, images, driver, tags, err);
	}
	return r;
}

/* --- containers, volumes --- */

static const char *state_of(struct json_object *config)
{
	return dink_json_bool_or(config, "State.Paused", false)	   ? "paused"
	       : dink_json_bool_or(config, "State.Running", false) ? "running"
	       : dink_json_bool_or(config, "State.Dead", false)	   ? "dead"
								   : "ended";
}

static int add_container(struct store *s, struct json_object *containers, const char *id,
			 struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/containers/%s/config.v2.json", s->root, id);
	_cleanup_json_ struct json_object *config = NULL;
	int r = is_digest(id) ? read_json(s, path, &config, err) : 0;
	struct json_object *o;
	const char *name;

	if (r < 0 || !config)
		return r;
	name = dink_json_str_or(config, "Name", "");
	o = dink_json_new();
	dink_json_set_str(o, "id", id);
	dink_json_set_str(o, "name", name[0] == '/' ? name + 1 : name);
	dink_json_set_str(o, "image", dink_json_str_or(config, "Config.Image", ""));
	dink_json_set_str(o, "state", state_of(config));
	dink_json_set_int(o, "exit_code", dink_json_int_or(config, "State.ExitCode", 0));
	json_object_array_add(containers, o);
	return 0;
}

static int read_containers(struct store *s, struct json_object *containers, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv ids = {};
	int r = names_in(s, "containers", &ids, err);

	for (size_t i = 0; r == 0 && i < ids.n; i++)
		r = add_container(s, containers, ids.v[i], err);
	return r;
}

static int read_volumes(struct store *s, struct json_object *volumes, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv names = {};
	int r = names_in(s, "volumes", &names, err);

	/* beside the volumes there lie metadata.db and, of newer versions, backingFsBlockDev */
	for (size_t i = 0; r == 0 && i < names.n; i++)
		if (!STREQ(names.v[i], "metadata.db") && !STREQ(names.v[i], "backingFsBlockDev"))
			json_object_array_add(volumes, json_object_new_string(names.v[i]));
	return r;
}

/*
 * A daemon whose images are containerd's keeps its containers here all the same, and no image/. The
 * folder of images is made by every daemon that has its own kind, also before the first image.
 */
static int refuse_containerd(struct store *s, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/containers", s->root);
	int r = dink_look_has_folder(s->look, path, err);

	if (r <= 0)
		return r;
	dink_err_set(err, DINK_E_USAGE, 0,
		     "the daemon in %s of it keeps its images in containerd's image store, which "
		     "is not read here",
		     s->root[0] ? s->root : "/");
	return dink_err_hint(err, "while the daemon runs it says what it has: dink image ls LAYER");
}

/* The folder below image/ is the storage driver's: the first one, for a daemon has one. */
static int read_driver(struct store *s, char **ret, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv drivers = {};
	int r = names_in(s, "image", &drivers, err);

	if (r == 0 && drivers.n == 0)
		r = refuse_containerd(s, err);
	if (r < 0)
		return r;
	if (drivers.n == 0) {
		dink_err_set(err, DINK_E_USAGE, 0, "no Docker daemon has its store in %s of it",
			     s->root[0] ? s->root : "/");
		return dink_err_hint(err, "dink disk ls shows what is there; --root names the "
					  "folder that is the daemon's data root");
	}
	*ret = xstrdup(drivers.v[0]);
	return 0;
}

static struct json_object *new_list(struct store *s, const char *key)
{
	struct json_object *list = json_object_new_array();

	dink_json_set(s->all, key, list);
	return list;
}

int dink_store_read(struct dink_look *look, const char *root, struct json_object **ret,
		    struct dink_err *err)
{
	_cleanup_json_ struct json_object *all = dink_json_new();
	struct store s = {.look = look, .root = STREQ(root, "/") ? "" : root, .all = all};
	_cleanup_free_ char *driver = NULL;
	int r = read_driver(&s, &driver, err);

	if (r < 0)
		return r;
	dink_json_set_str(all, "driver", driver);
	r = read_images(&s, driver, new_list(&s, "images"), err);
	if (r == 0)
		r = read_containers(&s, new_list(&s, "containers"), err);
	if (r == 0)
		r = read_volumes(&s, new_list(&s, "volumes"), err);
	if (r == 0)
		*ret = TAKE_PTR(all);
	return r;
}
