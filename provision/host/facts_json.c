/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts as JSON: saved, and loaded with strict checks. One table names every member; unknown,
 * missing and mistyped members are refused with their path, so that a hand-made host file cannot
 * silently mean something else.
 */
#include "provision/host/facts.h"

#include "provision/base/file.h"
#include "provision/base/json.h"

#include <inttypes.h>
#include <limits.h>

enum { FACTS_VERSION = 1 };

enum field_type {
	FIELD_VERSION,
	FIELD_STRING,
	FIELD_U32,
	FIELD_U64,
	FIELD_LIMIT, /* a number or "unlimited" */
	FIELD_BOOL,
	FIELD_CAPS, /* a list of capability names */
	FIELD_CGROUP,
	FIELD_STRV,
	FIELD_USABLE,
	FIELD_ENGINES,
	FIELD_TOOLS,
};

struct field {
	const char *path;
	enum field_type type;
	size_t offset;
};

#define F(path, type, member)                                                                      \
	{                                                                                          \
		path, type, offsetof(struct dink_facts, member)                                    \
	}
static const struct field fields[] = {
	F("dink_facts", FIELD_VERSION, version),
	F("kernel_release", FIELD_STRING, kernel_release),
	F("machine", FIELD_STRING, machine),
	F("distribution", FIELD_STRING, distribution),
	F("boot_id", FIELD_STRING, boot_id),
	F("cpus", FIELD_U32, cpus),
	F("memory_bytes", FIELD_U64, memory_bytes),
	F("uid", FIELD_U32, uid),
	F("capabilities.bounding", FIELD_CAPS, cap_bounding),
	F("capabilities.effective", FIELD_CAPS, cap_effective),
	F("rlimits.nofile", FIELD_LIMIT, nofile_hard),
	F("rlimits.nproc", FIELD_LIMIT, nproc_hard),
	F("rlimits.memlock", FIELD_LIMIT, memlock_hard),
	F("cgroup.layout", FIELD_CGROUP, cgroup),
	F("cgroup.controllers", FIELD_STRV, cgroup_controllers),
	F("usable.loop", FIELD_USABLE, loop),
	F("usable.btrfs", FIELD_USABLE, btrfs),
	F("usable.overlay", FIELD_USABLE, overlay),
	F("usable.erofs", FIELD_USABLE, erofs),
	F("usable.fuse", FIELD_USABLE, fuse),
	F("usable.nvidia", FIELD_USABLE, nvidia),
	F("usable.tun", FIELD_USABLE, tun),
	F("usable.vhost_vsock", FIELD_USABLE, vhost_vsock),
	F("usable.vhost_net", FIELD_USABLE, vhost_net),
	F("usable.kvm", FIELD_USABLE, kvm),
	F("usable.iptables_legacy", FIELD_USABLE, iptables_legacy),
	F("usable.nftables", FIELD_USABLE, nftables),
	F("usable.user_namespaces", FIELD_USABLE, user_namespaces),
	F("usable.bridge", FIELD_USABLE, bridge),
	F("usable.veth", FIELD_USABLE, veth),
	F("usable.kata", FIELD_USABLE, kata),
	F("lsm.apparmor", FIELD_BOOL, apparmor),
	F("lsm.selinux", FIELD_BOOL, selinux),
	F("root_mount_shared", FIELD_BOOL, root_mount_shared),
	F("filesystems", FIELD_STRV, filesystems),
	F("state.free_bytes", FIELD_U64, state_free_bytes),
	F("state.writable", FIELD_USABLE, state_writable),
	F("cache.free_bytes", FIELD_U64, cache_free_bytes),
	F("cache.writable", FIELD_USABLE, cache_writable),
	F("engines", FIELD_ENGINES, engines),
	F("tools", FIELD_TOOLS, tools),
};
#undef F

static void *at(struct dink_facts *f, const struct field *field)
{
	return (char *)f + field->offset;
}

static const void *at_const(const struct dink_facts *f, const struct field *field)
{
	return (const char *)f + field->offset;
}

/* ---- out ---- */

static struct json_object *caps_to_json(uint64_t caps)
{
	struct json_object *list = json_object_new_array();

	for (int i = 0; i < 64; i++) {
		const char *name = dink_capability_name(i);

		if ((caps >> i & 1) && name)
			json_object_array_add(list, json_object_new_string(name));
	}
	return list;
}

static struct json_object *usable_to_json(const struct dink_usable *u)
{
	struct json_object *o = dink_json_new();

	dink_json_set_bool(o, "ok", u->ok);
	if (!u->ok)
		dink_json_set_str(o, "why", u->why ? u->why : "not known");
	return o;
}

static struct json_object *engines_to_json(const struct dink_facts *f)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < f->n_engines; i++) {
		const struct dink_engine_fact *e = &f->engines[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "kind", e->kind == DINK_ENGINE_PODMAN ? "podman" : "docker");
		dink_json_set_str(o, "socket", e->socket);
		dink_json_set_str(o, "version", e->version);
		dink_json_set_str(o, "api_version", e->api_version);
		dink_json_set_str(o, "storage_driver", e->storage_driver);
		dink_json_set(o, "runtimes", dink_json_strv(&e->runtimes));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *tools_to_json(const struct dink_facts *f)
{
	struct json_object *o = dink_json_new();

	for (size_t i = 0; i < f->n_tools; i++) {
		const struct dink_tool_fact *t = &f->tools[i];
		struct json_object *tool = NULL;

		if (t->path) {
			tool = dink_json_new();
			dink_json_set_str(tool, "path", t->path);
			dink_json_set_str(tool, "version", t->version);
		}
		json_object_object_add(o, t->name, tool);
	}
	return o;
}

static struct json_object *limit_to_json(uint64_t limit)
{
	if (limit == UINT64_MAX)
		return json_object_new_string("unlimited");
	return json_object_new_int64((int64_t)limit);
}

static struct json_object *field_to_json(const struct dink_facts *f, const struct field *field)
{
	const void *p = at_const(f, field);

	switch (field->type) {
	case FIELD_VERSION:
		return json_object_new_int(*(const int *)p);
	case FIELD_STRING:
		return json_object_new_string(*(char *const *)p ? *(char *const *)p : "unknown");
	case FIELD_U32:
		return json_object_new_int64(*(const uint32_t *)p);
	case FIELD_U64:
		return json_object_new_int64((int64_t) * (const uint64_t *)p);
	case FIELD_LIMIT:
		return limit_to_json(*(const uint64_t *)p);
	case FIELD_BOOL:
		return json_object_new_boolean(*(const bool *)p);
	case FIELD_CAPS:
		return caps_to_json(*(const uint64_t *)p);
	case FIELD_CGROUP:
		return json_object_new_string(
			dink_cgroup_layout_name(*(const enum dink_cgroup_layout *)p));
	case FIELD_STRV:
		return dink_json_strv(p);
	case FIELD_USABLE:
		return usable_to_json(p);
	case FIELD_ENGINES:
		return engines_to_json(f);
	case FIELD_TOOLS:
		return tools_to_json(f);
	}
	return NULL;
}

/* The table has paths of at most two parts. */
struct json_object *dink_facts_to_json(const struct dink_facts *f)
{
	struct json_object *o = dink_json_new();

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *dot = strchr(fields[i].path, '.');
		struct json_object *value = field_to_json(f, &fields[i]), *group = NULL;

		if (!dot) {
			json_object_object_add(o, fields[i].path, value);
			continue;
		}
		_cleanup_free_ char *name =
			xstrndup(fields[i].path, (size_t)(dot - fields[i].path));
		if (!json_object_object_get_ex(o, name, &group)) {
			group = dink_json_new();
			json_object_object_add(o, name, group);
		}
		json_object_object_add(group, dot + 1, value);
	}
	return o;
}

int dink_facts_save(const struct dink_facts *f, const char *path, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = dink_facts_to_json(f);
	_cleanup_free_ char *text = dink_json_text(o);

	if (dink_file_write(path, text, strlen(text), 0644, err) < 0)
		return dink_err_push(err, "save facts");
	return 0;
}

/* ---- in ---- */

/* Where we are while reading: for messages. */
struct reader {
	const char *file;
	const char *path;
	struct dink_err *err;
};

static int bad_type(const struct reader *r, const char *member, const char *wanted,
		    struct json_object *found)
{
	return dink_err_set(r->err, DINK_E_STATE, 0, "%s: %s%s%s: expected %s, found %s", r->file,
			    r->path, member ? "." : "", member ? member : "", wanted,
			    json_type_to_name(json_object_get_type(found)));
}

static int read_string(const struct reader *r, const char *member, struct json_object *v,
		       char **ret)
{
	if (!json_object_is_type(v, json_type_string))
		return bad_type(r, member, "a string", v);
	*ret = xstrdup(json_object_get_string(v));
	return 0;
}

static int read_bool(const struct reader *r, const char *member, struct json_object *v, bool *ret)
{
	if (!json_object_is_type(v, json_type_boolean))
		return bad_type(r, member, "true or false", v);
	*ret = json_object_get_boolean(v);
	return 0;
}

static int read_number(const struct reader *r, struct json_object *v, uint64_t max, uint64_t *ret)
{
	if (!json_object_is_type(v, json_type_int))
		return bad_type(r, NULL, "a whole number", v);
	int64_t n = json_object_get_int64(v);
	if (n < 0 || (uint64_t)n > max)
		return dink_err_set(r->err, DINK_E_STATE, 0,
				    "%s: %s: %" PRId64 " is not between 0 and %" PRIu64, r->file,
				    r->path, n, max);
	*ret = (uint64_t)n;
	return 0;
}

static int read_u32(const struct reader *r, struct json_object *v, uint32_t *ret)
{
	uint64_t n = 0;
	int rc = read_number(r, v, UINT32_MAX, &n);

	if (rc == 0)
		*ret = (uint32_t)n;
	return rc;
}

static int read_limit(const struct reader *r, struct json_object *v, uint64_t *ret)
{
	if (json_object_is_type(v, json_type_string) &&
	    STREQ(json_object_get_string(v), "unlimited")) {
		*ret = UINT64_MAX;
		return 0;
	}
	if (!json_object_is_type(v, json_type_int))
		return bad_type(r, NULL, "a whole number or \"unlimited\"", v);
	return read_number(r, v, INT64_MAX, ret);
}

static int read_strv(const struct reader *r, const char *member, struct json_object *v,
		     struct dink_strv *ret)
{
	if (!json_object_is_type(v, json_type_array) || !dink_json_to_strv(v, ret))
		return bad_type(r, member, "a list of strings", v);
	return 0;
}

static int read_caps(const struct reader *r, struct json_object *v, uint64_t *ret)
{
	_cleanup_strv_ struct dink_strv names = {};
	uint64_t caps = 0;
	int rc = read_strv(r, NULL, v, &names);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < names.n; i++) {
		int c = dink_capability_from_name(names.v[i]);

		if (c < 0)
			return dink_err_set(r->err, DINK_E_STATE, 0,
					    "%s: %s[%zu]: no capability is called \"%s\"", r->file,
					    r->path, i, names.v[i]);
		caps |= UINT64_C(1) << c;
	}
	*ret = caps;
	return 0;
}

static int read_cgroup(const struct reader *r, struct json_object *v, enum dink_cgroup_layout *ret)
{
	_cleanup_free_ char *name = NULL;
	int rc = read_string(r, NULL, v, &name);

	if (rc < 0)
		return rc;
	for (int l = DINK_CGROUP_NONE; l <= DINK_CGROUP_V2; l++) {
		if (STREQ(name, dink_cgroup_layout_name((enum dink_cgroup_layout)l))) {
			*ret = (enum dink_cgroup_layout)l;
			return 0;
		}
	}
	return dink_err_set(r->err, DINK_E_STATE, 0,
			    "%s: %s: \"%s\" is none of none, v1, hybrid, v2", r->file, r->path,
			    name);
}

/* Refuses members that are not in the NULL-terminated list. */
static int check_members(const struct reader *r, struct json_object *o, const char *const *known)
{
	json_object_object_foreach(o, name, value)
	{
		bool found = false;

		(void)value;
		for (size_t i = 0; known[i]; i++)
			found |= STREQ(known[i], name);
		if (!found)
			return dink_err_set(r->err, DINK_E_STATE, 0, "%s: %s.%s: unknown member",
					    r->file, r->path, name);
	}
	return 0;
}

static int need_member(const struct reader *r, struct json_object *o, const char *name,
		       struct json_object **ret)
{
	if (!json_object_object_get_ex(o, name, ret))
		return dink_err_set(r->err, DINK_E_STATE, 0, "%s: %s.%s: missing", r->file, r->path,
				    name);
	return 0;
}

static int read_usable(const struct reader *r, struct json_object *v, struct dink_usable *ret)
{
	static const char *const known[] = {"ok", "why", NULL};
	struct json_object *ok = NULL, *why = NULL;
	int rc;

	if (!json_object_is_type(v, json_type_object))
		return bad_type(r, NULL, "an object", v);
	if ((rc = check_members(r, v, known)) < 0 || (rc = need_member(r, v, "ok", &ok)) < 0 ||
	    (rc = read_bool(r, "ok", ok, &ret->ok)) < 0)
		return rc;
	if (ret->ok)
		return 0;
	if ((rc = need_member(r, v, "why", &why)) < 0)
		return rc;
	return read_string(r, "why", why, &ret->why);
}

static int read_engine(const struct reader *r, struct json_object *v, struct dink_engine_fact *e)
{
	static const char *const known[] = {"kind",	      "socket",	  "version", "api_version",
					    "storage_driver", "runtimes", NULL};
	struct json_object *m[6] = {};
	_cleanup_free_ char *kind = NULL;
	int rc;

	if (!json_object_is_type(v, json_type_object))
		return bad_type(r, NULL, "an object", v);
	if ((rc = check_members(r, v, known)) < 0)
		return rc;
	for (size_t i = 0; known[i]; i++)
		if ((rc = need_member(r, v, known[i], &m[i])) < 0)
			return rc;
	if ((rc = read_string(r, known[0], m[0], &kind)) < 0 ||
	    (rc = read_string(r, known[1], m[1], &e->socket)) < 0 ||
	    (rc = read_string(r, known[2], m[2], &e->version)) < 0 ||
	    (rc = read_string(r, known[3], m[3], &e->api_version)) < 0 ||
	    (rc = read_string(r, known[4], m[4], &e->storage_driver)) < 0 ||
	    (rc = read_strv(r, known[5], m[5], &e->runtimes)) < 0)
		return rc;
	if (!STREQ(kind, "docker") && !STREQ(kind, "podman"))
		return dink_err_set(r->err, DINK_E_STATE, 0,
				    "%s: %s.kind: \"%s\" is neither docker nor podman", r->file,
				    r->path, kind);
	e->kind = STREQ(kind, "podman") ? DINK_ENGINE_PODMAN : DINK_ENGINE_DOCKER;
	return 0;
}

static int read_engines(const struct reader *r, struct json_object *v, struct dink_facts *f)
{
	if (!json_object_is_type(v, json_type_array))
		return bad_type(r, NULL, "a list", v);
	size_t n = json_object_array_length(v);
	f->engines = xcalloc(n ? n : 1, sizeof(*f->engines));
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *path = xasprintf("engines[%zu]", i);
		struct reader inner = {.file = r->file, .path = path, .err = r->err};
		int rc;

		f->n_engines = i + 1;
		rc = read_engine(&inner, json_object_array_get_idx(v, i), &f->engines[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* null: not installed; else {path, version}, version null if it is not known */
static int read_tool(const struct reader *r, struct json_object *v, struct dink_tool_fact *t)
{
	static const char *const known[] = {"path", "version", NULL};
	struct json_object *path = NULL, *version = NULL;
	int rc;

	if (!v)
		return 0;
	if (!json_object_is_type(v, json_type_object))
		return bad_type(r, NULL, "an object or null", v);
	if ((rc = check_members(r, v, known)) < 0 || (rc = need_member(r, v, "path", &path)) < 0 ||
	    (rc = read_string(r, "path", path, &t->path)) < 0 ||
	    (rc = need_member(r, v, "version", &version)) < 0)
		return rc;
	return version ? read_string(r, "version", version, &t->version) : 0;
}

static int read_tools(const struct reader *r, struct json_object *v, struct dink_facts *f)
{
	if (!json_object_is_type(v, json_type_object))
		return bad_type(r, NULL, "an object", v);
	f->tools = xcalloc((size_t)json_object_object_length(v) + 1, sizeof(*f->tools));
	json_object_object_foreach(v, name, tool)
	{
		_cleanup_free_ char *path = xasprintf("tools.%s", name);
		struct reader inner = {.file = r->file, .path = path, .err = r->err};
		struct dink_tool_fact *t = &f->tools[f->n_tools++];
		int rc;

		t->name = xstrdup(name);
		rc = read_tool(&inner, tool, t);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_version(const struct reader *r, struct json_object *v, int *ret)
{
	uint64_t n = 0;
	int rc = read_number(r, v, INT_MAX, &n);

	if (rc < 0)
		return rc;
	if (n != FACTS_VERSION)
		return dink_err_set(r->err, DINK_E_STATE, 0,
				    "%s: %s: version %" PRIu64 " of saved facts is not known here "
				    "(%d is)",
				    r->file, r->path, n, FACTS_VERSION);
	*ret = (int)n;
	return 0;
}

static int read_field(const struct reader *r, const struct field *field, struct json_object *v,
		      struct dink_facts *f)
{
	void *p = at(f, field);

	switch (field->type) {
	case FIELD_VERSION:
		return read_version(r, v, p);
	case FIELD_STRING:
		return read_string(r, NULL, v, p);
	case FIELD_U32:
		return read_u32(r, v, p);
	case FIELD_U64:
		return read_number(r, v, INT64_MAX, p);
	case FIELD_LIMIT:
		return read_limit(r, v, p);
	case FIELD_BOOL:
		return read_bool(r, NULL, v, p);
	case FIELD_CAPS:
		return read_caps(r, v, p);
	case FIELD_CGROUP:
		return read_cgroup(r, v, p);
	case FIELD_STRV:
		return read_strv(r, NULL, v, p);
	case FIELD_USABLE:
		return read_usable(r, v, p);
	case FIELD_ENGINES:
		return read_engines(r, v, f);
	case FIELD_TOOLS:
		return read_tools(r, v, f);
	}
	return -EINVAL;
}

/* Whether path (or path + "." + something) is in the table. */
static bool is_known(const char *group, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *p = fields[i].path;

		if (group) {
			size_t n = strlen(group);

			if (strncmp(p, group, n) == 0 && p[n] == '.' && STREQ(p + n + 1, name))
				return true;
		} else {
			size_t n = strlen(name);

			if (strncmp(p, name, n) == 0 && (p[n] == '\0' || p[n] == '.'))
				return true;
		}
	}
	return false;
}

static bool is_group(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		size_t n = strlen(name);

		if (strncmp(fields[i].path, name, n) == 0 && fields[i].path[n] == '.')
			return true;
	}
	return false;
}

static int check_unknown(const char *file, struct json_object *o, struct dink_err *err)
{
	json_object_object_foreach(o, name, value)
	{
		if (!is_known(NULL, name))
			return dink_err_set(err, DINK_E_STATE, 0, "%s: %s: unknown member", file,
					    name);
		if (!is_group(name))
			continue;
		if (!json_object_is_type(value, json_type_object)) {
			struct reader r = {.file = file, .path = name, .err = err};

			return bad_type(&r, NULL, "an object", value);
		}
		json_object_object_foreach(value, member, ignored)
		{
			(void)ignored;
			if (!is_known(name, member))
				return dink_err_set(err, DINK_E_STATE, 0,
						    "%s: %s.%s: unknown member", file, name,
						    member);
		}
	}
	return 0;
}

/* The member at a path of one or two parts; false if it is missing. */
static bool find_member(struct json_object *o, const char *path, struct json_object **ret)
{
	const char *dot = strchr(path, '.');
	struct json_object *group = NULL;

	if (!dot)
		return json_object_object_get_ex(o, path, ret);
	_cleanup_free_ char *name = xstrndup(path, (size_t)(dot - path));
	return json_object_object_get_ex(o, name, &group) &&
	       json_object_object_get_ex(group, dot + 1, ret);
}

int dink_facts_load(const char *path, struct dink_facts **ret, struct dink_err *err)
{
	_cleanup_(dink_facts_freep) struct dink_facts *f = xcalloc(1, sizeof(*f));
	_cleanup_json_ struct json_object *o = NULL;
	int rc = dink_json_parse_file(path, &o, err);

	if (rc == -ENOENT)
		err->code = DINK_E_USAGE; /* a file that the command line names */
	if (rc < 0)
		return rc;
	if (!json_object_is_type(o, json_type_object))
		return dink_err_set(err, DINK_E_STATE, 0, "%s: expected an object, found %s", path,
				    json_type_to_name(json_object_get_type(o)));
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		struct reader r = {.file = path, .path = fields[i].path, .err = err};
		struct json_object *v = NULL;

		if (!find_member(o, fields[i].path, &v))
			return dink_err_set(err, DINK_E_STATE, 0, "%s: %s: missing", path,
					    fields[i].path);
		rc = read_field(&r, &fields[i], v, f);
		if (rc < 0)
			return rc;
		/* the version first: an unknown one may have other members */
		if (i == 0 && (rc = check_unknown(path, o, err)) < 0)
			return rc;
	}
	*ret = TAKE_PTR(f);
	return 0;
}
