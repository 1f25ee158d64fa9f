/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last changes to a config that the host side already adapted: what depends on this guest (its
 * root, its device numbers, its cgroup controllers), and what would name the host if it were left.
 */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"
#include "provision/vm/proto.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

static void delete_keys(struct json_object *o, const char *const *keys)
{
	for (; o && *keys; keys++)
		json_object_object_del(o, *keys);
}

/* --- namespaces --- */

static bool is_path_dropped(const char *type)
{
	/* the guest's network is the container's; its user namespace cannot come from the host */
	return STREQ(type, "network") || STREQ(type, "time");
}

static void adapt_namespaces(struct json_object *linux_part)
{
	struct json_object *old = dink_json_get(linux_part, "namespaces");
	struct json_object *list = json_object_new_array();
	size_t n = dink_json_len(linux_part, "namespaces");
	bool mount = false;

	for (size_t i = 0; i < n; i++) {
		struct json_object *ns = json_object_array_get_idx(old, i);
		const char *type = dink_json_str_or(ns, "type", "");
		bool has_path = dink_json_get(ns, "path") != NULL;
		struct json_object *fresh;

		if (is_path_dropped(type))
			continue;
		if (STREQ(type, "user") && has_path) {
			json_object_object_del(linux_part, "uidMappings");
			json_object_object_del(linux_part, "gidMappings");
			continue;
		}
		mount = mount || STREQ(type, "mount");
		/* another container's namespace is not here: a new one instead */
		fresh = dink_json_new();
		dink_json_set_str(fresh, "type", type);
		json_object_array_add(list, fresh);
	}
	if (!mount) {
		struct json_object *fresh = dink_json_new();

		dink_json_set_str(fresh, "type", "mount");
		json_object_array_add(list, fresh);
	}
	dink_json_set(linux_part, "namespaces", list);
}

/* --- sysctls --- */

static bool is_namespaced(const char *key)
{
	return dink_starts_with(key, "kernel.sem") || dink_starts_with(key, "kernel.shm") ||
	       dink_starts_with(key, "kernel.msg") || dink_starts_with(key, "fs.mqueue") ||
	       STREQ(key, "kernel.domainname") || STREQ(key, "kernel.hostname");
}

/*
 * adapt_sysctls() - crun refuses what belongs to no new namespace, net.* first of all; here the
 * guest is the namespace
 */
static int adapt_sysctls(struct json_object *linux_part, struct dink_err *err)
{
	struct json_object *all = dink_json_get(linux_part, "sysctl");
	struct json_object *rest = dink_json_new();

	if (!all || !json_object_is_type(all, json_type_object)) {
		json_object_put(rest);
		return 0;
	}
	json_object_object_foreach(all, key, value)
	{
		_cleanup_free_ char *path = xasprintf("/proc/sys/%s", key);
		const char *text = json_object_get_string(value);
		int r;

		if (is_namespaced(key)) {
			dink_json_set(rest, key, json_object_get(value));
			continue;
		}
		if (strstr(key, "..") || key[0] == '/') {
			json_object_put(rest);
			return dink_err_set(err, DINK_E_USAGE, EINVAL, "sysctl '%s'", key);
		}
		for (char *p = path + strlen("/proc/sys/"); *p; p++)
			*p = *p == '.' ? '/' : *p;
		r = agent_write_file(path, text ? text : "");
		if (r < 0) {
			json_object_put(rest);
			return dink_err_set(err, DINK_E_HOST, -r, "sysctl '%s'='%s'", key, text);
		}
	}
	dink_json_set(linux_part, "sysctl", rest);
	return 0;
}

/* --- devices --- */

/* move_rules() - the device cgroup's rules follow a device whose numbers differ here */
static void move_rules(struct json_object *linux_part, int64_t old_major, int64_t old_minor,
		       const struct stat *st)
{
	struct json_object *rules = dink_json_get(linux_part, "resources.devices");
	size_t n = dink_json_len(linux_part, "resources.devices");

	for (size_t i = 0; i < n; i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);

		if (dink_json_int_or(rule, "major", -1) != old_major ||
		    dink_json_int_or(rule, "minor", -1) != old_minor)
			continue;
		dink_json_set_int(rule, "major", major(st->st_rdev));
		dink_json_set_int(rule, "minor", minor(st->st_rdev));
	}
}

/* adapt_devices() - device numbers mean something only to one kernel: take the guest's */
static void adapt_devices(struct json_object *linux_part)
{
	struct json_object *old = dink_json_get(linux_part, "devices");
	struct json_object *list = json_object_new_array();
	size_t n = dink_json_len(linux_part, "devices");

	for (size_t i = 0; i < n; i++) {
		struct json_object *dev = json_object_array_get_idx(old, i);
		const char *path = dink_json_str_or(dev, "path", "");
		const char *type = dink_json_str_or(dev, "type", "c");
		const char *name = dink_json_str_or(dev, DINK_DEVICE_NAME, NULL);
		_cleanup_free_ char *ours = xasprintf("/dev/%s", name ? name : "");
		mode_t want = type[0] == 'b' ? S_IFBLK : S_IFCHR;
		struct stat st;

		if (type[0] != 'p') {
			if ((!name || stat(ours, &st) < 0) && stat(path, &st) < 0)
				continue;
			if ((st.st_mode & S_IFMT) != want)
				continue;
			move_rules(linux_part, dink_json_int_or(dev, "major", -1),
				   dink_json_int_or(dev, "minor", -1), &st);
			dink_json_set_int(dev, "major", major(st.st_rdev));
			dink_json_set_int(dev, "minor", minor(st.st_rdev));
		}
		json_object_object_del(dev, DINK_DEVICE_NAME);
		json_object_array_add(list, json_object_get(dev));
	}
	dink_json_set(linux_part, "devices", list);
}

/* --- resources --- */

void agent_adapt_resources(struct json_object *resources)
{
	static const char *const host_only[] = {"blockIO", "hugepageLimits", "network", "rdma",
						NULL};
	static const char *const memory_v1[] = {"swap",	      "kernel",		  "kernelTCP",
						"swappiness", "disableOOMKiller", NULL};
	static const char *const cpu_host[] = {"cpus", "mems", "realtimePeriod", "realtimeRuntime",
					       NULL};
	static const char *const controllers[] = {"memory", "cpu", "pids", NULL};
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *have = NULL;

	delete_keys(resources, host_only);
	delete_keys(dink_json_get(resources, "memory"), memory_v1);
	delete_keys(dink_json_get(resources, "cpu"), cpu_host);
	if (!resources ||
	    dink_file_read("/sys/fs/cgroup/cgroup.subtree_control", 4096, &have, NULL, &err) < 0)
		return;
	for (size_t i = 0; controllers[i]; i++) {
		if (!strstr(have, controllers[i]))
			json_object_object_del(resources, controllers[i]);
	}
}

int agent_adapt_config(struct json_object *config, const char *root, struct dink_err *err)
{
	static const char *const top[] = {"hooks", "vm", NULL};
	static const char *const labels[] = {"apparmorProfile", "selinuxLabel", "scheduler",
					     "ioPriority", NULL};
	static const char *const linux_keys[] = {"mountLabel", "intelRdt", "netDevices", NULL};
	struct json_object *linux_part = dink_json_get(config, "linux");
	struct json_object *root_part = dink_json_get(config, "root");

	if (!json_object_is_type(dink_json_get(config, "process"), json_type_object))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "the config has no process");
	if (!linux_part) {
		linux_part = dink_json_new();
		dink_json_set(config, "linux", linux_part);
	}
	if (!root_part) {
		root_part = dink_json_new();
		dink_json_set(config, "root", root_part);
	}
	dink_json_set_str(root_part, "path", root);
	delete_keys(config, top);
	delete_keys(dink_json_get(config, "process"), labels);
	delete_keys(linux_part, linux_keys);
	dink_json_set_str(linux_part, "cgroupsPath", "/" AGENT_CONTAINER);
	adapt_namespaces(linux_part);
	adapt_devices(linux_part);
	agent_adapt_resources(dink_json_get(linux_part, "resources"));
	return adapt_sysctls(linux_part, err);
}
