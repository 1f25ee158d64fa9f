/* SPDX-License-Identifier: Apache-2.0 */
/* Reading recipes, see recipe.h. Bounded: 64 KiB of text, 4096 files. */
#include "images/recipe.h"

#include "provision/base/file.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

enum {
	RECIPE_MAX = 64 << 10,
	FILES_MAX = 4096,
	FILES_DEPTH = 32,
	FOLDERS_MAX = 64,
	CAPABILITIES_MAX = 64
};

/* Where in the text; for errors. */
struct place {
	const char *file;
	uint32_t line;
	const char *text;
};

static int wrong(const struct place *at, const char *value, const char *msg, struct dink_err *err)
{
	uint32_t col = value ? (uint32_t)(value - at->text) + 1 : 1;

	dink_err_set(err, DINK_E_SCENARIO, 0, "%s", msg);
	dink_err_at(err, at->file, at->line, col, 0, at->text);
	return -EINVAL;
}

/* Package and suite names go into other programs' argv: nothing that could be an option. */
static bool name_is_plain(const char *s)
{
	if (!((s[0] >= 'a' && s[0] <= 'z') || (s[0] >= '0' && s[0] <= '9')))
		return false;
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.:")] == '\0';
}

static int take_packages(const struct place *at, const char *value, struct dink_strv *dst,
			 struct dink_err *err)
{
	while (*value) {
		size_t n = strcspn(value, " \t,");
		_cleanup_free_ char *name = xstrndup(value, n);
		if (!name_is_plain(name))
			return wrong(at, value, "this is no package name", err);
		dink_strv_add(dst, name);
		value += n;
		value += strspn(value, " \t,");
	}
	return 0;
}

static int take_glob(const struct place *at, const char *value, struct dink_strv *dst,
		     struct dink_err *err)
{
	if (value[0] != '/' || strstr(value, "/../"))
		return wrong(at, value, "a path in the image starts with '/'", err);
	dink_strv_add(dst, value);
	return 0;
}

static int take_pair(const struct place *at, const char *value, struct dink_strv *dst,
		     struct dink_err *err)
{
	const char *eq = strchr(value, '=');

	if (!eq || eq == value)
		return wrong(at, value, "expected NAME=VALUE", err);
	dink_strv_add(dst, value);
	return 0;
}

static int take_argv(const struct place *at, const char *value, struct dink_strv *dst,
		     struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	dink_strv_clear(dst);
	if (dink_json_parse(value, strlen(value), at->file, &o, &ignored) < 0 ||
	    !dink_json_to_strv(o, dst))
		return wrong(at, value, "expected a JSON array of strings: [\"bash\"]", err);
	return 0;
}

static int take_name(const struct place *at, const char *value, char **dst, struct dink_err *err)
{
	if (*dst)
		return wrong(at, value, "given a second time", err);
	if (!name_is_plain(value))
		return wrong(at, value, "this is no name of a suite", err);
	*dst = xstrdup(value);
	return 0;
}

static int take_mirror(const struct place *at, const char *value, char **dst, struct dink_err *err)
{
	if (*dst)
		return wrong(at, value, "given a second time", err);
	if (!dink_starts_with(value, "http://") && !dink_starts_with(value, "https://") &&
	    !dink_starts_with(value, "file:///"))
		return wrong(at, value, "a mirror is an http, https or file URL", err);
	*dst = xstrdup(value);
	return 0;
}

/* Another recipe, by its folder's name beside this one's. */
static int take_other(const struct place *at, const char *value, char **dst, struct dink_err *err)
{
	if (*dst)
		return wrong(at, value, "given a second time", err);
	if (!name_is_plain(value) || strchr(value, ':'))
		return wrong(at, value, "this is no name of a recipe beside this one", err);
	*dst = xstrdup(value);
	return 0;
}

/* "/home/user 1000:1000 0700" */
static int take_folder(const struct place *at, const char *value, struct dink_recipe *r,
		       struct dink_err *err)
{
	size_t n = strcspn(value, " \t");
	struct dink_recipe_folder f = {};
	int end = 0;

	if (value[0] != '/' || n < 2 || value[n - 1] == '/' || strstr(value, ".."))
		return wrong(at, value, "a path in the image starts with '/'", err);
	if (sscanf(value + n, " %6u:%6u %4o%n", &f.uid, &f.gid, &f.mode, &end) != 3 ||
	    value[n + (size_t)end] != '\0' || f.mode > 01777)
		return wrong(at, value + n, "expected PATH UID:GID MODE: /home/me 1000:1000 0700",
			     err);
	if (r->n_folders == FOLDERS_MAX)
		return wrong(at, NULL, "too many folders", err);
	f.path = xstrndup(value + 1, n - 1);
	r->folders = xreallocarray(r->folders, r->n_folders + 1, sizeof(*r->folders));
	r->folders[r->n_folders++] = f;
	return 0;
}

/* "/usr/bin/newuidmap cap_setuid" */
static int take_capability(const struct place *at, const char *value, struct dink_recipe *r,
			   struct dink_err *err)
{
	size_t n = strcspn(value, " \t");
	const char *name = value + n + strspn(value + n, " \t");
	int number = dink_starts_with(name, "cap_") ? capng_name_to_capability(name + 4) : -1;

	if (value[0] != '/' || n < 2 || strstr(value, "/../"))
		return wrong(at, value, "a path in the image starts with '/'", err);
	if (number < 0)
		return wrong(at, name, "expected PATH CAPABILITY: /usr/bin/x cap_setuid", err);
	if (r->n_capabilities == CAPABILITIES_MAX)
		return wrong(at, NULL, "too many capabilities", err);
	r->capabilities =
		xreallocarray(r->capabilities, r->n_capabilities + 1, sizeof(*r->capabilities));
	r->capabilities[r->n_capabilities++] = (struct dink_recipe_capability){
		.path = xstrndup(value + 1, n - 1), .number = (unsigned)number};
	return 0;
}

static int take_line(const struct place *at, const char *key, const char *value,
		     struct dink_recipe *r, struct dink_err *err)
{
	static const char *const keys[] = {"from",   "suite",  "mirror", "packages",   "exclude",
					   "remove", "keep",   "cmd",	 "entrypoint", "env",
					   "label",  "folder", "files",	 NULL};

	if (!*value)
		return wrong(at, NULL, "the value is missing", err);
	if (STREQ(key, "from"))
		return take_other(at, value, &r->base, err);
	if (STREQ(key, "files"))
		return take_other(at, value, &r->more, err);
	if (STREQ(key, "capability"))
		return take_capability(at, value, r, err);
	if (STREQ(key, "folder"))
		return take_folder(at, value, r, err);
	if (STREQ(key, "suite"))
		return take_name(at, value, &r->suite, err);
	if (STREQ(key, "mirror"))
		return take_mirror(at, value, &r->mirror, err);
	if (STREQ(key, "packages"))
		return take_packages(at, value, &r->packages, err);
	if (STREQ(key, "exclude"))
		return take_glob(at, value, &r->exclude, err);
	if (STREQ(key, "remove"))
		return take_glob(at, value, &r->remove, err);
	if (STREQ(key, "keep"))
		return take_glob(at, value, &r->keep, err);
	if (STREQ(key, "cmd"))
		return take_argv(at, value, &r->cmd, err);
	if (STREQ(key, "entrypoint"))
		return take_argv(at, value, &r->entrypoint, err);
	if (STREQ(key, "env"))
		return take_pair(at, value, &r->env, err);
	if (STREQ(key, "label"))
		return take_pair(at, value, &r->labels, err);
	int e = wrong(at, NULL, "unknown key", err);
	const char *near = dink_nearest(key, keys);
	return near ? dink_err_hint(err, "did you mean '%s'?", near) : e;
}

int dink_recipe_parse(const char *file, char *text, struct dink_recipe *ret, struct dink_err *err)
{
	struct dink_recipe r = {};
	uint32_t n = 0;
	int e = 0;

	for (char *next = text; next && e == 0;) {
		char *line = strsep(&next, "\n");
		const struct place at = {.file = file, .line = ++n, .text = line};
		size_t len = strlen(line);
		while (len && (line[len - 1] == ' ' || line[len - 1] == '\t'))
			line[--len] = '\0';
		if (!len || line[0] == '#')
			continue;
		const char *colon = strchr(line, ':');
		if (!colon || colon == line) {
			e = wrong(&at, NULL, "expected 'key: value'", err);
			break;
		}
		_cleanup_free_ char *key = xstrndup(line, (size_t)(colon - line));
		e = take_line(&at, key, colon + 1 + strspn(colon + 1, " \t"), &r, err);
	}
	if (e == 0 && !r.suite && !r.base)
		e = dink_err_set(err, DINK_E_SCENARIO, 0, "%s: no 'suite:' is given", file);
	if (e < 0) {
		dink_recipe_clear(&r);
		return e;
	}
	*ret = r;
	return 0;
}

char *dink_recipe_file(const struct dink_recipe *r, const char *rel)
{
	const char *const dirs[] = {r->dir, r->more, r->base};
	char *path = NULL;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (!dirs[i])
			continue;
		free(path);
		path = xasprintf("%s/files/%s", dirs[i], rel);
		if (lstat(path, &st) == 0)
			break;
	}
	return path;
}

/* The paths below DIR/REL, appended to files; recursion is bounded by FILES_DEPTH. */
static int list_files(const char *dir, const char *rel, int depth, struct dink_strv *files,
		      struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s%s%s", dir, *rel ? "/" : "", rel);
	_cleanup_closedir_ DIR *d = opendir(path);
	struct dirent *e;

	if (!d)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	if (depth > FILES_DEPTH)
		return dink_err_set(err, DINK_E_SCENARIO, ELOOP, "%s is too deep", path);
	while ((e = readdir(d))) {
		struct stat st;
		if (STREQ(e->d_name, ".") || STREQ(e->d_name, ".."))
			continue;
		if (files->n >= FILES_MAX)
			return dink_err_set(err, DINK_E_SCENARIO, E2BIG, "%s has over %d files",
					    dir, FILES_MAX);
		_cleanup_free_ char *sub = xasprintf("%s%s%s", rel, *rel ? "/" : "", e->d_name);
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "stat %s/%s", dir, sub);
		if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
			return dink_err_set(err, DINK_E_SCENARIO, 0,
					    "%s/%s is neither file, folder nor link", dir, sub);
		if (!dink_strv_has(files, sub))
			dink_strv_add(files, sub);
		if (!S_ISDIR(st.st_mode))
			continue;
		int r = list_files(dir, sub, depth + 1, files, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_text(const char *dir, struct dink_recipe *ret, struct dink_err *err)
{
	_cleanup_free_ char *file = xasprintf("%s/recipe", dir);
	_cleanup_free_ char *text = NULL;
	int r = dink_file_read(file, RECIPE_MAX, &text, NULL, err);

	return r < 0 ? r : dink_recipe_parse(file, text, ret, err);
}

static int add_files(const char *dir, struct dink_strv *files, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/files", dir);

	return dink_exists(path) ? list_files(path, "", 0, files, err) : 0;
}

/* What the base says, before what the recipe itself says. */
static void put_before(struct dink_strv *own, const struct dink_strv *base)
{
	struct dink_strv all = {};

	dink_strv_addv(&all, base->v);
	dink_strv_addv(&all, own->v);
	dink_strv_clear(own);
	*own = all;
}

static int merge_base(struct dink_recipe *rec, struct dink_err *err)
{
	_cleanup_(dink_recipe_clear) struct dink_recipe base = {};
	_cleanup_free_ char *dir = xasprintf("%s/../%s", rec->dir, rec->base);
	int r = read_text(dir, &base, err);

	if (r < 0)
		return dink_err_push(err, "what %s/recipe is made from", rec->dir);
	if (base.base)
		return dink_err_set(err, DINK_E_SCENARIO, 0,
				    "%s/recipe is made from %s, which has a 'from' itself",
				    rec->dir, rec->base);
	if (!rec->suite)
		rec->suite = TAKE_PTR(base.suite);
	if (!rec->mirror)
		rec->mirror = TAKE_PTR(base.mirror);
	put_before(&rec->packages, &base.packages);
	put_before(&rec->exclude, &base.exclude);
	put_before(&rec->remove, &base.remove);
	put_before(&rec->keep, &base.keep);
	put_before(&rec->env, &base.env);
	if (!rec->cmd.n && !rec->entrypoint.n) {
		put_before(&rec->cmd, &base.cmd);
		put_before(&rec->entrypoint, &base.entrypoint);
	}
	free(rec->base);
	rec->base = TAKE_PTR(dir);
	return add_files(rec->base, &rec->files, err);
}

int dink_recipe_read(const char *dir, struct dink_recipe *ret, struct dink_err *err)
{
	_cleanup_(dink_recipe_clear) struct dink_recipe rec = {};
	int r = read_text(dir, &rec, err);

	if (r < 0)
		return r;
	rec.dir = xstrdup(dir);
	if (rec.base)
		r = merge_base(&rec, err);
	if (r == 0 && rec.more) {
		char *more = xasprintf("%s/../%s", dir, rec.more);

		free(rec.more);
		rec.more = more;
		r = add_files(more, &rec.files, err);
	}
	if (r == 0)
		r = add_files(dir, &rec.files, err);
	if (r < 0)
		return r;
	dink_strv_sort(&rec.files);
	*ret = rec;
	rec = (struct dink_recipe){};
	return 0;
}

/* Whether the glob matches the path or a folder above it. */
static bool glob_covers(const char *glob, const char *path)
{
	_cleanup_free_ char *s = xasprintf("/%s", path);

	for (;;) {
		if (fnmatch(glob, s, 0) == 0)
			return true;
		char *slash = strrchr(s, '/');
		if (!slash || slash == s)
			return false;
		*slash = '\0';
	}
}

bool dink_recipe_removes(const struct dink_recipe *r, const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < r->keep.n; i++) {
		const char *k = r->keep.v[i] + 1;
		/* what is kept, and the folders that lead to it */
		if (glob_covers(r->keep.v[i], path) || (strncmp(k, path, n) == 0 && k[n] == '/'))
			return false;
	}
	for (size_t i = 0; i < r->remove.n; i++)
		if (glob_covers(r->remove.v[i], path))
			return true;
	return false;
}

void dink_recipe_clear(struct dink_recipe *r)
{
	free(r->dir);
	free(r->base);
	free(r->more);
	free(r->suite);
	free(r->mirror);
	struct dink_strv *lists[] = {&r->packages,   &r->exclude, &r->remove, &r->keep, &r->cmd,
				     &r->entrypoint, &r->env,	  &r->labels, &r->files};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		dink_strv_clear(lists[i]);
	for (size_t i = 0; i < r->n_folders; i++)
		free(r->folders[i].path);
	free(r->folders);
	for (size_t i = 0; i < r->n_capabilities; i++)
		free(r->capabilities[i].path);
	free(r->capabilities);
	*r = (struct dink_recipe){};
}
