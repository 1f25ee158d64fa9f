/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of grants as the part of an OCI config.json that it becomes: what a runtime is told in the
 * end. And its four numbers, to compare it by. Pure.
 *
 * Numbers of devices are those of Documentation/admin-guide/devices.txt of the kernel.
 */
#include "provision/privilege/privilege.h"

#include "provision/base/json.h"

#include <inttypes.h>
#include <linux/capability.h>

/*
 * Docker 20.10's built-in profile, of 368 calls: measured, by reading the filter of a container.
 * With the fourteen default capabilities, and what the two others of the table add to it.
 */
enum { DOCKER_CALLS = 292, DOCKER_CALLS_SYS_ADMIN = 22, DOCKER_CALLS_SYS_PTRACE = 5 };

static const struct {
	const char *path;
	char type;
	int major, minor;
} known_devices[] = {
	{"/dev/net/tun", 'c', 10, 200},	  {"/dev/kvm", 'c', 10, 232},
	{"/dev/vhost-net", 'c', 10, 238}, {"/dev/vhost-vsock", 'c', 10, 241},
	{"/dev/fuse", 'c', 10, 229},	  {"/dev/console", 'c', 5, 1},
};

static bool has_capability(const struct dink_privileges *p, int cap)
{
	const char *name = dink_capability_name(cap);

	for (const int *c = dink_default_capabilities; *c >= 0; c++)
		if (*c == cap)
			return true;
	return dink_privileges_have(p, DINK_GRANT_CAPABILITY, "*") ||
	       (name && dink_privileges_have(p, DINK_GRANT_CAPABILITY, name));
}

static void add_text(struct json_object *list, const char *text)
{
	json_object_array_add(list, json_object_new_string(text));
}

static struct json_object *capabilities(const struct dink_privileges *p)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	struct json_object *o = dink_json_new();

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct json_object *list = json_object_new_array();

		for (int c = 0; c <= CAP_LAST_CAP; c++)
			if (dink_capability_name(c) && has_capability(p, c))
				add_text(list, dink_capability_name(c));
		dink_json_set(o, sets[i], list);
	}
	return o;
}

/* "nofile=20000:20000" */
static struct json_object *rlimit(const char *what)
{
	struct json_object *o = dink_json_new();
	_cleanup_free_ char *name = xstrndup(what, strcspn(what, "="));
	_cleanup_free_ char *type = xasprintf("RLIMIT_%s", name);
	int64_t soft = 0, hard = 0;

	for (char *c = type; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	if (sscanf(what + strlen(name), "=%" SCNd64 ":%" SCNd64, &soft, &hard) < 2)
		hard = soft;
	dink_json_set_str(o, "type", type);
	dink_json_set_int(o, "soft", soft);
	dink_json_set_int(o, "hard", hard);
	return o;
}

/* "/dev/net/tun rw": the node and the rule that lets it be used */
static void add_device(const char *what, struct json_object *nodes, struct json_object *rules)
{
	_cleanup_free_ char *path = xstrndup(what, strcspn(what, " "));
	const char *access = what[strlen(path)] ? what + strlen(path) + 1 : "rwm";

	for (size_t i = 0; i < ARRAY_SIZE(known_devices); i++) {
		struct json_object *node, *rule;
		char type[] = {known_devices[i].type, '\0'};

		if (!STREQ(known_devices[i].path, path))
			continue;
		node = dink_json_new();
		dink_json_set_str(node, "path", path);
		dink_json_set_str(node, "type", type);
		dink_json_set_int(node, "major", known_devices[i].major);
		dink_json_set_int(node, "minor", known_devices[i].minor);
		json_object_array_add(nodes, node);
		rule = dink_json_new();
		dink_json_set_bool(rule, "allow", true);
		dink_json_set_str(rule, "type", type);
		dink_json_set_int(rule, "major", known_devices[i].major);
		dink_json_set_int(rule, "minor", known_devices[i].minor);
		dink_json_set_str(rule, "access", access);
		json_object_array_add(rules, rule);
	}
}

static void add_tmpfs(const char *where, struct json_object *mounts)
{
	struct json_object *o = dink_json_new(), *options = json_object_new_array();

	dink_json_set_str(o, "destination", where);
	dink_json_set_str(o, "type", "tmpfs");
	dink_json_set_str(o, "source", "tmpfs");
	add_text(options, "rw");
	add_text(options, "nosuid");
	add_text(options, "nodev");
	add_text(options, "mode=755");
	dink_json_set(o, "options", options);
	json_object_array_add(mounts, o);
}

static struct json_object *paths(const struct dink_privileges *p, const char *const *list)
{
	struct json_object *o = json_object_new_array();

	for (; *list; list++)
		if (!dink_privileges_unmask(p, *list))
			add_text(o, *list);
	return o;
}

static struct json_object *namespaces(void)
{
	static const char *const names[] = {"pid", "network", "ipc", "uts", "mount", "cgroup"};
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "type", names[i]);
		json_object_array_add(list, o);
	}
	return list;
}

struct parts {
	struct json_object *mounts, *rlimits, *devices, *rules, *sysctl, *volumes;
};

static void add_part(const struct parts *to, const struct dink_grant *g)
{
	const char *eq = strchr(g->what, '=');
	_cleanup_free_ char *key = eq ? xstrndup(g->what, (size_t)(eq - g->what)) : NULL;

	if (g->kind == DINK_GRANT_DEVICE)
		add_device(g->what, to->devices, to->rules);
	else if (g->kind == DINK_GRANT_MOUNT && dink_starts_with(g->what, "tmpfs "))
		add_tmpfs(g->what + strlen("tmpfs "), to->mounts);
	else if (g->kind == DINK_GRANT_MOUNT && dink_starts_with(g->what, "volume "))
		add_text(to->volumes, g->what + strlen("volume "));
	else if (g->kind == DINK_GRANT_RLIMIT)
		json_object_array_add(to->rlimits, rlimit(g->what));
	else if (g->kind == DINK_GRANT_SYSCTL && eq)
		json_object_object_add(to->sysctl, key, json_object_new_string(eq + 1));
}

/* The engine makes a volume and binds it: its source is not known before. */
static void name_volumes(struct json_object *o, struct json_object *volumes)
{
	_cleanup_strv_ struct dink_strv list = {};
	_cleanup_free_ char *text = NULL;
	struct json_object *notes;

	if (!dink_json_to_strv(volumes, &list) || list.n == 0)
		return;
	text = dink_strv_join(&list, " ");
	notes = dink_json_new();
	json_object_object_add(notes, "dink.volumes", json_object_new_string(text));
	dink_json_set(o, "annotations", notes);
}

int dink_privileges_oci(const struct dink_privileges *p, const char *base, size_t len,
			struct json_object **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = dink_json_new(), *seccomp = NULL;
	_cleanup_json_ struct json_object *volumes = json_object_new_array();
	_cleanup_free_ char *profile = NULL;
	struct json_object *process = dink_json_new(), *linux_part = dink_json_new();
	struct json_object *resources = dink_json_new();
	struct parts to = {json_object_new_array(), json_object_new_array(),
			   json_object_new_array(), json_object_new_array(),
			   dink_json_new(),	    volumes};
	int r = 0;

	dink_json_set(process, "capabilities", capabilities(p));
	for (size_t i = 0; i < p->n_grants; i++)
		add_part(&to, &p->grants[i]);
	dink_json_set(process, "rlimits", to.rlimits);
	dink_json_set(o, "process", process);
	dink_json_set(o, "mounts", to.mounts);
	name_volumes(o, volumes);
	dink_json_set(linux_part, "devices", to.devices);
	dink_json_set(resources, "devices", to.rules);
	dink_json_set(linux_part, "resources", resources);
	dink_json_set(linux_part, "sysctl", to.sysctl);
	dink_json_set(linux_part, "namespaces", namespaces());
	dink_json_set(linux_part, "maskedPaths", paths(p, dink_masked_paths));
	dink_json_set(linux_part, "readonlyPaths", paths(p, dink_read_only_paths));
	dink_json_set(o, "linux", linux_part);
	if (base && dink_privileges_wants_seccomp(p)) {
		r = dink_privileges_seccomp(p, base, len, &profile, err);
		if (r == 0)
			r = dink_seccomp_to_oci(p, profile, strlen(profile), &seccomp, err);
		if (r == 0)
			dink_json_set(linux_part, "seccomp", TAKE_PTR(seccomp));
	}
	if (r == 0)
		*ret = TAKE_PTR(o);
	return r;
}

/* ---- four numbers ---- */

static unsigned int count_kernel_paths(const struct dink_privileges *p)
{
	unsigned int n = 0;

	for (const char *const *m = dink_read_only_paths; *m; m++)
		n += dink_privileges_unmask(p, *m);
	/* its own cgroups, which it remounts; /sys itself for who has everything */
	n += dink_privileges_have(p, DINK_GRANT_NAMESPACE, "cgroup=private");
	n += dink_privileges_have(p, DINK_GRANT_UNMASK, "*") ? 2 : 0;
	return n;
}

static int count_calls(const struct dink_privileges *p, const char *base, size_t len,
		       unsigned int *ret, struct dink_err *err)
{
	_cleanup_free_ char *profile = NULL;
	struct dink_seccomp_count count = {};
	bool all = dink_privileges_have(p, DINK_GRANT_SYSCALL, "*");
	int r;

	*ret = DOCKER_CALLS;
	if (has_capability(p, CAP_SYS_ADMIN))
		*ret += DOCKER_CALLS_SYS_ADMIN;
	if (has_capability(p, CAP_SYS_PTRACE))
		*ret += DOCKER_CALLS_SYS_PTRACE;
	if (!dink_privileges_wants_seccomp(p))
		return 0;
	*ret = 0;
	if (!base)
		return 0;
	r = dink_privileges_seccomp(p, base, len, &profile, err);
	if (r == 0)
		r = dink_seccomp_count(p, profile, strlen(profile), &count, err);
	if (r == 0)
		*ret = count.allowed + (all ? count.denied : 0);
	return r;
}

int dink_privileges_score(const struct dink_privileges *p, const char *base, size_t len,
			  struct dink_privilege_score *ret, struct dink_err *err)
{
	struct dink_privilege_score s = {
		.all_devices = dink_privileges_have(p, DINK_GRANT_DEVICE, "*"),
		.kernel_paths = count_kernel_paths(p),
		.may_remount = has_capability(p, CAP_SYS_ADMIN),
	};
	int r = count_calls(p, base, len, &s.syscalls, err);

	if (r < 0)
		return r;
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		s.capabilities += has_capability(p, c);
	for (size_t i = 0; i < p->n_grants; i++)
		s.devices += p->grants[i].kind == DINK_GRANT_DEVICE;
	*ret = s;
	return 0;
}

struct json_object *dink_score_to_json(const struct dink_privilege_score *s)
{
	struct json_object *o = dink_json_new();

	dink_json_set_int(o, "capabilities", s->capabilities);
	if (s->syscalls)
		dink_json_set_int(o, "syscalls", s->syscalls);
	if (s->all_devices)
		dink_json_set_str(o, "devices", "all");
	else
		dink_json_set_int(o, "devices", s->devices);
	dink_json_set_int(o, "kernel_paths", s->kernel_paths);
	dink_json_set_bool(o, "may_remount", s->may_remount);
	return o;
}
