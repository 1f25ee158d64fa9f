/* SPDX-License-Identifier: Apache-2.0 */
/* From cgroupsPath and /proc's texts to folders. Pure. */
#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/vm/cgroup.h"

#include <limits.h>

enum { TEXT_MAX = 4 << 20, DIRS_MAX = 32 };

static int bad_path(struct dink_err *err, const char *path, const char *what)
{
	return dink_err_set(err, DINK_E_USAGE, EINVAL, "cgroupsPath \"%.80s\": %s", path, what);
}

/* --- the path asked for --- */

/* Without "", "." and "..", which leads no higher than the root; begins with a slash, or is empty */
static char *clean_path(const char *path)
{
	struct dink_str s = {};

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.') {
			const char *slash = s.len ? strrchr(s.s, '/') : NULL;
			if (slash) {
				s.len = (size_t)(slash - s.s);
				s.s[s.len] = '\0';
			}
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			dink_str_addc(&s, '/');
			dink_str_addn(&s, path, n);
		}
		path += n + (path[n] == '/');
	}
	return dink_str_take(&s);
}

static int check_path(const char *path, struct dink_err *err)
{
	size_t part = 0;

	if (strlen(path) >= PATH_MAX / 2)
		return bad_path(err, path, "too long");
	for (const char *c = path; *c; c++) {
		part = *c == '/' ? 0 : part + 1;
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return bad_path(err, path, "has control characters");
		if (part > NAME_MAX)
			return bad_path(err, path, "a part of it is too long");
	}
	return 0;
}

/* "a-b.slice" lies in "a.slice"; "-.slice" is the root. */
static int expand_slice(const char *slice, struct dink_str *ret, struct dink_err *err)
{
	size_t n = strlen(slice) - (dink_ends_with(slice, ".slice") ? strlen(".slice") : 0);

	if (n == strlen(slice) || n == 0 || strchr(slice, '/'))
		return bad_path(err, slice, "its first part is no slice (NAME.slice)");
	if (n == 1 && slice[0] == '-')
		return 0;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && slice[i] != '-')
			continue;
		if (i == 0 || slice[i - 1] == '-')
			return bad_path(err, slice, "its first part is no slice (NAME.slice)");
		dink_str_addf(ret, "/%.*s.slice", (int)i, slice);
	}
	return 0;
}

/* slice:prefix:name, as systemd would have it */
static int place_unit(const char *path, const char *id, struct dink_str *ret, struct dink_err *err)
{
	_cleanup_free_ char *whole = path ? xstrdup(path) : xasprintf("system.slice:runc:%s", id);
	char *prefix = strchr(whole, ':');
	char *name = prefix ? strchr(prefix + 1, ':') : NULL;

	if (!name || strchr(name + 1, ':'))
		return bad_path(err, whole, "--systemd-cgroup wants slice:prefix:name");
	*prefix++ = *name++ = '\0';
	if (!name[0] || strchr(name, '/') || strchr(prefix, '/'))
		return bad_path(err, path ? path : id, "its last two parts are no name of a unit");
	int r = expand_slice(whole[0] ? whole : "system.slice", ret, err);
	if (r < 0)
		return r;
	if (dink_ends_with(name, ".slice"))
		dink_str_addf(ret, "/%s", name);
	else
		dink_str_addf(ret, "/%s-%s.scope", prefix, name);
	return 0;
}

/* --- mounts --- */

struct mount {
	char root[PATH_MAX];
	char point[PATH_MAX];
	char fstype[32];
	char options[1024]; /* of the super block */
};

/* "\040" is a space */
static void decode_octal(char *s)
{
	char *to = s;

	for (const char *c = s; *c; to++) {
		if (c[0] == '\\' && c[1] >= '0' && c[1] <= '3' && c[2] >= '0' && c[2] <= '7' &&
		    c[3] >= '0' && c[3] <= '7') {
			*to = (char)((c[1] - '0') * 64 + (c[2] - '0') * 8 + (c[3] - '0'));
			c += 4;
		} else {
			*to = *c++;
		}
	}
	*to = '\0';
}

/* A line of mountinfo: ID PARENT DEV ROOT POINT OPTIONS... - TYPE SOURCE OPTIONS */
static bool parse_mount(const char *line, struct mount *ret)
{
	const char *dash = strstr(line, " - ");

	if (sscanf(line, "%*d %*d %*s %4095s %4095s", ret->root, ret->point) != 2 || !dash ||
	    sscanf(dash, " - %31s %*s %1023s", ret->fstype, ret->options) != 2)
		return false;
	decode_octal(ret->root);
	decode_octal(ret->point);
	return true;
}

static bool has_word(const char *list, const char *word, size_t n)
{
	for (; *list; list += strcspn(list, ",")) {
		list += *list == ',';
		if (strcspn(list, ",") == n && strncmp(list, word, n) == 0)
			return true;
	}
	return false;
}

static bool has_all(const char *list, const char *words)
{
	for (; *words; words += strcspn(words, ",")) {
		words += *words == ',';
		if (!has_word(list, words, strcspn(words, ",")))
			return false;
	}
	return true;
}

/*
 * Where a hierarchy is mounted: below /sys/fs/cgroup if it is there more than once.
 * @controllers: NULL = the one of version 2
 */
static bool find_mount(const char *mountinfo, const char *controllers, struct mount *ret)
{
	_cleanup_free_ char *text = xstrdup(mountinfo);
	bool found = false;
	char *save = NULL;

	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		struct mount m;

		if (!parse_mount(l, &m) || !STREQ(m.fstype, controllers ? "cgroup" : "cgroup2") ||
		    (controllers && !has_all(m.options, controllers)))
			continue;
		if (found && !dink_starts_with(m.point, "/sys/fs/cgroup"))
			continue;
		bool settled = dink_starts_with(m.point, "/sys/fs/cgroup");
		*ret = m;
		found = true;
		if (settled)
			break;
	}
	return found;
}

/* --- both --- */

struct place {
	const struct dink_cgroup_where *w;
	char *path;    /* cleaned */
	bool absolute; /* else it is below our own group */
};

/* Our own group as the mount shows it. */
static const char *below_mount(const char *own, const char *root)
{
	size_t n = strlen(root);

	if (STREQ(root, "/"))
		return own;
	if (strncmp(own, root, n) == 0 && (own[n] == '/' || !own[n]))
		return own + n;
	return "";
}

static int add_dir(const struct place *p, const char *controllers, const char *own,
		   struct json_object *dirs, struct dink_err *err)
{
	struct mount m;

	if (!find_mount(p->w->mountinfo, controllers, &m))
		return 0;
	_cleanup_free_ char *seen = clean_path(below_mount(own, m.root));
	/* on version 2 a group with processes has no children with controllers: beside it */
	if (!controllers && seen[0])
		*strrchr(seen, '/') = '\0';
	_cleanup_free_ char *dir = xasprintf("%s%s%s", m.point, p->absolute ? "" : seen, p->path);
	if (strlen(dir) >= PATH_MAX - NAME_MAX)
		return bad_path(err, p->path, "too long");
	struct json_object *o = dink_json_new();
	dink_json_set_str(o, "controllers", controllers ? controllers : "");
	dink_json_set_str(o, "mount", m.point);
	dink_json_set_str(o, "dir", dir);
	json_object_array_add(dirs, o);
	return 1;
}

/*
 * Lines of /proc/self/cgroup: N:CONTROLLERS:PATH, "0::PATH" of version 2.
 * Return: how many have a real controller of version 1, or negative
 */
static int add_dirs(const struct place *p, int version, struct json_object *dirs,
		    struct dink_err *err)
{
	_cleanup_free_ char *text = xstrdup(p->w->own);
	char *save = NULL;
	int n = 0;

	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(l, ':');
		char *own = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!own || json_object_array_length(dirs) >= DIRS_MAX)
			continue;
		*controllers++ = *own++ = '\0';
		bool named = dink_starts_with(controllers, "name=");
		if ((version == 2) != !controllers[0] ||
		    (named && !STREQ(controllers, "name=systemd")))
			continue;
		int r = add_dir(p, version == 2 ? NULL : controllers, own, dirs, err);
		if (r < 0)
			return r;
		n += r && !named;
	}
	return n;
}

static int place_path(struct place *p, struct dink_err *err)
{
	const struct dink_cgroup_where *w = p->w;
	const char *path = w->path && w->path[0] ? w->path : NULL;
	_cleanup_str_ struct dink_str unit = {};
	int r = path ? check_path(path, err) : 0;

	if (r == 0 && w->systemd)
		r = place_unit(path, w->id, &unit, err);
	if (r < 0)
		return r;
	p->absolute = w->systemd || (path && path[0] == '/');
	p->path = clean_path(w->systemd ? unit.s : path ? path : w->id);
	return check_path(p->path, err);
}

static int plan_version(const struct place *p, int version, struct json_object **ret,
			struct dink_err *err)
{
	_cleanup_json_ struct json_object *dirs = json_object_new_array();
	int n = add_dirs(p, version, dirs, err);

	if (n <= 0)
		return n;
	*ret = dink_json_new();
	dink_json_set_int(*ret, "version", version);
	dink_json_set(*ret, "dirs", TAKE_PTR(dirs));
	return 0;
}

int dink_cgroup_plan(const struct dink_cgroup_where *w, struct json_object **ret,
		     struct dink_err *err)
{
	struct place p = {.w = w};
	int r = place_path(&p, err);

	*ret = NULL;
	if (r == 0 && p.path[0])
		r = plan_version(&p, 1, ret, err);
	if (r == 0 && p.path[0] && !*ret)
		r = plan_version(&p, 2, ret, err);
	free(p.path);
	return r;
}

int dink_cgroup_plan_here(const char *path, const char *id, bool systemd, struct json_object **ret,
			  struct dink_err *err)
{
	_cleanup_free_ char *mountinfo = NULL, *own = NULL;
	_cleanup_(dink_err_clear) struct dink_err none = {};
	struct dink_cgroup_where w = {.path = path, .id = id, .systemd = systemd};

	*ret = NULL;
	/* a kernel without cgroups has no such file */
	if (dink_file_read("/proc/self/cgroup", TEXT_MAX, &own, NULL, &none) < 0)
		return 0;
	int r = dink_file_read("/proc/self/mountinfo", TEXT_MAX, &mountinfo, NULL, err);
	if (r < 0)
		return r;
	w.mountinfo = mountinfo;
	w.own = own;
	return dink_cgroup_plan(&w, ret, err);
}
