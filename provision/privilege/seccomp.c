/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp profile of a layer: Debian's (containers-common), read as JSON, plus the system
 * calls that were granted; and how many calls a profile leaves denied. Pure.
 *
 * Docker 20.10 and later and Podman read that format as it is.
 */
#include "provision/privilege/privilege.h"

#include "provision/base/json.h"

#include <seccomp.h>

enum { SYSCALLS_MAX = 1024 };

static const char what_profile[] = "seccomp profile";

static bool list_has(struct json_object *list, const char *word)
{
	if (!json_object_is_type(list, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (json_object_is_type(o, json_type_string) &&
		    STREQ(json_object_get_string(o), word))
			return true;
	}
	return false;
}

static int parse_profile(const char *text, size_t len, struct json_object **ret,
			 struct json_object **ret_rules, struct dink_err *err)
{
	struct json_object *o = NULL, *rules;
	const char *action = NULL;
	int r = dink_json_parse(text, len, what_profile, &o, err);

	if (r < 0)
		return r;
	r = dink_json_need_str(o, what_profile, "defaultAction", &action, err);
	rules = dink_json_get(o, "syscalls");
	if (r == 0 && !STREQ(action, "SCMP_ACT_ERRNO"))
		r = dink_err_set(err, DINK_E_HOST, 0,
				 "%s: defaultAction is %s: it would allow what it does not name",
				 what_profile, action);
	if (r == 0 && !json_object_is_type(rules, json_type_array))
		r = dink_err_set(err, DINK_E_HOST, 0, "%s: syscalls: expected a list",
				 what_profile);
	if (r < 0) {
		json_object_put(o);
		return r;
	}
	*ret = o;
	*ret_rules = rules;
	return 0;
}

/*
 * A rule that denies a granted call would contradict the one that allows it, and one that allows a
 * call that was left out makes that no trial: the name goes.
 */
static void drop_contradictions(struct json_object *rules, const struct dink_privileges *p)
{
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);
		struct json_object *names = dink_json_get(rule, "names");
		bool allows = STREQ(dink_json_str_or(rule, "action", ""), "SCMP_ACT_ALLOW");

		if (!json_object_is_type(names, json_type_array))
			continue;
		for (size_t n = json_object_array_length(names); n-- > 0;) {
			const char *name =
				json_object_get_string(json_object_array_get_idx(names, n));

			if (name && (allows ? dink_strv_has(&p->denied, name)
					    : dink_privileges_have(p, DINK_GRANT_SYSCALL, name)))
				json_object_array_del_idx(names, n, 1);
		}
	}
}

bool dink_privileges_wants_seccomp(const struct dink_privileges *p)
{
	for (size_t i = 0; i < p->n_grants; i++)
		if (p->grants[i].kind == DINK_GRANT_SYSCALL)
			return true;
	return p->denied.n > 0;
}

/* CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together */
enum { CLONE_NAMESPACES = 0x7e020000 };

/* Without that call no process starts at all: left out, it is the one without namespaces, as engines
 * have it by default. */
static void add_plain_clone(struct json_object *rules)
{
	struct json_object *rule = dink_json_new(), *names = json_object_new_array();
	struct json_object *args = json_object_new_array(), *arg = dink_json_new();

	json_object_array_add(names, json_object_new_string("clone"));
	dink_json_set(rule, "names", names);
	dink_json_set_str(rule, "action", "SCMP_ACT_ALLOW");
	dink_json_set_int(arg, "index", 0);
	dink_json_set_int(arg, "value", CLONE_NAMESPACES);
	dink_json_set_int(arg, "valueTwo", 0);
	dink_json_set_str(arg, "op", "SCMP_CMP_MASKED_EQ");
	json_object_array_add(args, arg);
	dink_json_set(rule, "args", args);
	dink_json_set(rule, "includes", dink_json_new());
	dink_json_set(rule, "excludes", dink_json_new());
	json_object_array_add(rules, rule);
}

int dink_privileges_seccomp(const struct dink_privileges *p, const char *base_text, size_t len,
			    char **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *rules = NULL, *names, *rule;
	int r = parse_profile(base_text, len, &o, &rules, err);

	if (r < 0)
		return r;
	drop_contradictions(rules, p);
	if (dink_strv_has(&p->denied, "clone"))
		add_plain_clone(rules);
	names = json_object_new_array();
	for (size_t i = 0; i < p->n_grants; i++)
		if (p->grants[i].kind == DINK_GRANT_SYSCALL)
			json_object_array_add(names, json_object_new_string(p->grants[i].what));
	if (json_object_array_length(names) > 0) {
		rule = dink_json_new();
		dink_json_set(rule, "names", names);
		dink_json_set_str(rule, "action", "SCMP_ACT_ALLOW");
		dink_json_set(rule, "args", json_object_new_array());
		dink_json_set_str(rule, "comment", "granted by dink");
		dink_json_set(rule, "includes", dink_json_new());
		dink_json_set(rule, "excludes", dink_json_new());
		json_object_array_add(rules, rule);
	} else {
		json_object_put(names);
	}
	*ret = xstrdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	return 0;
}

static bool has_capability(const struct dink_privileges *p, const char *name)
{
	if (!name)
		return false;
	for (const int *c = dink_default_capabilities; *c >= 0; c++)
		if (STREQ(dink_capability_name(*c), name))
			return true;
	return dink_privileges_have(p, DINK_GRANT_CAPABILITY, "*") ||
	       dink_privileges_have(p, DINK_GRANT_CAPABILITY, name);
}

/* Whether the engine would keep the rule: every included capability held, no excluded one. */
static bool rule_applies(struct json_object *rule, const struct dink_privileges *p)
{
	struct json_object *needs = dink_json_get(rule, "includes.caps");
	struct json_object *bars = dink_json_get(rule, "excludes.caps");
	struct json_object *arches = dink_json_get(rule, "includes.arches");
	size_t n =
		json_object_is_type(needs, json_type_array) ? json_object_array_length(needs) : 0;

	for (size_t i = 0; i < n; i++)
		if (!has_capability(p, json_object_get_string(json_object_array_get_idx(needs, i))))
			return false;
	n = json_object_is_type(bars, json_type_array) ? json_object_array_length(bars) : 0;
	for (size_t i = 0; i < n; i++)
		if (has_capability(p, json_object_get_string(json_object_array_get_idx(bars, i))))
			return false;
	return !json_object_is_type(arches, json_type_array) || list_has(arches, "amd64") ||
	       list_has(arches, "x86_64");
}

static void mark_rule(struct json_object *rule, bool allowed[SYSCALLS_MAX])
{
	struct json_object *names = dink_json_get(rule, "names");

	for (size_t i = 0; i < dink_json_len(rule, "names"); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));
		int nr = name ? seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name) : -1;

		if (nr >= 0 && nr < SYSCALLS_MAX)
			allowed[nr] = true;
	}
}

int dink_seccomp_count(const struct dink_privileges *p, const char *profile, size_t len,
		       struct dink_seccomp_count *ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *rules = NULL;
	struct dink_seccomp_count count = {};
	bool allowed[SYSCALLS_MAX] = {};
	int r = parse_profile(profile, len, &o, &rules, err);

	if (r < 0)
		return r;
	/* a rule with conditions on arguments counts as allowing the call */
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);

		if (STREQ(dink_json_str_or(rule, "action", ""), "SCMP_ACT_ALLOW") &&
		    rule_applies(rule, p))
			mark_rule(rule, allowed);
	}
	for (int nr = 0; nr < SYSCALLS_MAX; nr++) {
		_cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

		if (!name)
			continue;
		if (allowed[nr])
			count.allowed++;
		else
			count.denied++;
	}
	*ret = count;
	return 0;
}

/* "args" of a rule: its members have other names in the OCI's file. */
static struct json_object *args_to_oci(struct json_object *args)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(args); i++) {
		struct json_object *a = json_object_array_get_idx(args, i);
		struct json_object *o = dink_json_new();

		dink_json_set_int(o, "index", dink_json_int_or(a, "index", 0));
		dink_json_set_int(o, "value", dink_json_int_or(a, "value", 0));
		dink_json_set_int(o, "valueTwo", dink_json_int_or(a, "valueTwo", 0));
		dink_json_set_str(o, "op", dink_json_str_or(a, "op", "SCMP_CMP_EQ"));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *rule_to_oci(struct json_object *rule)
{
	struct json_object *o = dink_json_new();
	struct json_object *args = dink_json_get(rule, "args");

	dink_json_set(o, "names", json_object_get(dink_json_get(rule, "names")));
	dink_json_set_str(o, "action", dink_json_str_or(rule, "action", ""));
	if (dink_json_get(rule, "errnoRet"))
		dink_json_set_int(o, "errnoRet", dink_json_int_or(rule, "errnoRet", EPERM));
	if (json_object_is_type(args, json_type_array) && json_object_array_length(args) > 0)
		dink_json_set(o, "args", args_to_oci(args));
	return o;
}

int dink_seccomp_to_oci(const struct dink_privileges *p, const char *profile, size_t len,
			struct json_object **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *rules = NULL, *out, *list, *arches;
	int r = parse_profile(profile, len, &o, &rules, err);

	if (r < 0)
		return r;
	out = dink_json_new();
	dink_json_set_str(out, "defaultAction", dink_json_str_or(o, "defaultAction", ""));
	dink_json_set_int(out, "defaultErrnoRet", dink_json_int_or(o, "defaultErrnoRet", EPERM));
	arches = json_object_new_array();
	json_object_array_add(arches, json_object_new_string("SCMP_ARCH_X86_64"));
	json_object_array_add(arches, json_object_new_string("SCMP_ARCH_X86"));
	json_object_array_add(arches, json_object_new_string("SCMP_ARCH_X32"));
	dink_json_set(out, "architectures", arches);
	list = json_object_new_array();
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);

		if (rule_applies(rule, p) && dink_json_len(rule, "names") > 0)
			json_object_array_add(list, rule_to_oci(rule));
	}
	dink_json_set(out, "syscalls", list);
	*ret = out;
	return 0;
}
