/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/oci.h"

#include "provision/base/file.h"
#include "provision/vm/proto.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	CONFIG_MAX = 4 << 20,
	DEFAULT_MEMORY_MIB = 512,
	/* kernel, initramfs and agent live beside the container's own limit */
	GUEST_OVERHEAD_MIB = 96,
	MIN_MEMORY_MIB = 160,
	MAX_MEMORY_MIB = 1 << 20,
	KVM_MAJOR = 10, /* misc */
	KVM_MINOR = 232,
};

static int bad_config(struct dink_err *err, const char *what)
{
	return dink_err_set(err, DINK_E_USAGE, EINVAL, "config.json: %s", what);
}

static struct json_object *get_array(struct json_object *o, const char *path)
{
	struct json_object *a = dink_json_get(o, path);
	return json_object_is_type(a, json_type_array) ? a : NULL;
}

static int check_strings(struct json_object *o, const char *path, bool need, struct dink_err *err)
{
	struct json_object *a = dink_json_get(o, path);
	_cleanup_strv_ struct dink_strv sv = {};

	if (!a && !need)
		return 0;
	if (!a || !dink_json_to_strv(a, &sv) || (need && sv.n == 0))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "process.%s is no list of strings%s",
				    path, need ? " with at least one" : "");
	return 0;
}

/* Value of a word to this runtime in the environment; the last one, as with a shell. */
static char *find_word(struct json_object *process, const char *name)
{
	_cleanup_free_ char *start = xasprintf("%s=", name);
	struct json_object *env = dink_json_get(process, "env");
	const char *found = NULL;

	for (size_t i = 0; env && i < json_object_array_length(env); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(env, i));

		if (dink_starts_with(s, start))
			found = s + strlen(start);
	}
	return found ? xstrdup(found) : NULL;
}

static void drop_words(struct json_object *process)
{
	struct json_object *env = dink_json_get(process, "env");

	for (size_t i = env ? json_object_array_length(env) : 0; i-- > 0;) {
		const char *s = json_object_get_string(json_object_array_get_idx(env, i));

		if (dink_starts_with(s, DINK_OCI_DISK_OPTIONS "=") ||
		    dink_starts_with(s, DINK_OCI_NESTED_KVM "=") ||
		    dink_starts_with(s, DINK_OCI_BOOT_TIMEOUT "="))
			json_object_array_del_idx(env, i, 1);
	}
}

int dink_oci_adapt_process(struct json_object *process, struct dink_err *err)
{
	if (!json_object_is_type(process, json_type_object))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "process is no object");
	int r = check_strings(process, "args", true, err);
	if (r == 0)
		r = check_strings(process, "env", false, err);
	if (r < 0)
		return r;
	if (dink_json_str_or(process, "cwd", "")[0] != '/')
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "process.cwd is no absolute path");
	drop_words(process);
	/* the guest's kernel has none of the host's security modules */
	json_object_object_del(process, "apparmorProfile");
	json_object_object_del(process, "selinuxLabel");
	return 0;
}

void dink_oci_adapt_resources(struct json_object *resources)
{
	/* device numbers, huge pages and classes of the host; and what only cgroup v1 has */
	static const char *const gone[] = {"blockIO", "hugepageLimits", "network",
					   "rdma",    "intelRdt",	"unified"};
	static const char *const memory[] = {"swap",	   "kernel",	       "kernelTCP",
					     "swappiness", "disableOOMKiller", "useHierarchy"};
	static const char *const cpu[] = {"cpus", "mems", "realtimePeriod", "realtimeRuntime"};

	if (!json_object_is_type(resources, json_type_object))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		json_object_object_del(resources, gone[i]);
	struct json_object *m = dink_json_get(resources, "memory");
	for (size_t i = 0; json_object_is_type(m, json_type_object) && i < ARRAY_SIZE(memory); i++)
		json_object_object_del(m, memory[i]);
	/* 0 means "not asked" in what docker update sends */
	static const char *const zero[] = {"memory.limit", "memory.reservation", "cpu.shares",
					   "cpu.quota", "cpu.period"};
	for (size_t i = 0; i < ARRAY_SIZE(zero); i++) {
		const char *dot = strchr(zero[i], '.');
		_cleanup_free_ char *group = xstrndup(zero[i], (size_t)(dot - zero[i]));
		struct json_object *g = dink_json_get(resources, group);
		if (json_object_is_type(g, json_type_object) &&
		    dink_json_int_or(g, dot + 1, 0) == 0)
			json_object_object_del(g, dot + 1);
	}
	struct json_object *c = dink_json_get(resources, "cpu");
	for (size_t i = 0; json_object_is_type(c, json_type_object) && i < ARRAY_SIZE(cpu); i++)
		json_object_object_del(c, cpu[i]);
}

/* Docker names the host's namespace by a path: the same as ours is the host's. */
static bool is_own_netns(const char *path)
{
	struct stat a, b;

	return stat(path, &a) == 0 && stat("/proc/self/ns/net", &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static void take_host_name(struct dink_oci *o)
{
	char name[HOST_NAME_MAX + 1] = "";

	if (gethostname(name, sizeof(name) - 1) < 0)
		return;
	free(o->hostname);
	o->hostname = xstrdup(name);
}

/* Host network is refused, a path of the network's is joined by the host side, others are refused.
 */
static int adapt_namespaces(struct dink_oci *o, struct dink_err *err)
{
	struct json_object *old = get_array(o->config, "linux.namespaces");
	struct json_object *linux_part = dink_json_get(o->config, "linux");
	struct json_object *kept = json_object_new_array();
	bool network = false, pid = false, uts = false;

	for (size_t i = 0; old && i < json_object_array_length(old); i++) {
		struct json_object *ns = json_object_array_get_idx(old, i);
		const char *type = dink_json_str_or(ns, "type", "");
		const char *path = dink_json_str_or(ns, "path", "");
		uts = uts || STREQ(type, "uts");
		if (STREQ(type, "network")) {
			network = !is_own_netns(path);
			if (path[0] && !o->netns)
				o->netns = xstrdup(path);
		} else if (path[0]) {
			json_object_put(kept);
			return dink_err_set(err, DINK_E_HOST, 0,
					    "cannot join the %s namespace %s: a container in a VM "
					    "has its own kernel",
					    type, path);
		} else if (STREQ(type, "pid")) {
			pid = true;
			json_object_array_add(kept, json_object_get(ns));
		} else if (!STREQ(type, "cgroup") && !STREQ(type, "time")) {
			json_object_array_add(kept, json_object_get(ns));
		}
	}
	if (!network) {
		json_object_put(kept);
		dink_err_set(err, DINK_E_HOST, 0,
			     "host networking is not possible for a container in a VM");
		return dink_err_hint(err, "use a bridge network, --network none or "
					  "--network container:NAME");
	}
	if (!pid) {
		json_object_put(kept);
		return dink_err_set(err, DINK_E_HOST, 0,
				    "the host's processes (--pid host) cannot be seen from a VM");
	}
	/* the host's name is what a container of the host's has */
	if (!uts && !o->hostname[0])
		take_host_name(o);
	struct json_object *cgroup = dink_json_new();
	dink_json_set_str(cgroup, "type", "cgroup");
	json_object_array_add(kept, cgroup);
	dink_json_set(linux_part, "namespaces", kept);
	return 0;
}

/* What the host calls a device that the container may know by another name: the guest's has it too.
 */
static void name_device(struct json_object *device)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *path = xasprintf("/sys/dev/char/%lld:%lld/uevent",
					      (long long)dink_json_int_or(device, "major", -1),
					      (long long)dink_json_int_or(device, "minor", -1));

	if (dink_file_read(path, 4096, &text, NULL, &ignored) < 0)
		return;
	char *at = strstr(text, "DEVNAME=");
	if (!at)
		return;
	at += strlen("DEVNAME=");
	at[strcspn(at, "\n")] = '\0';
	dink_json_set_str(device, DINK_DEVICE_NAME, at);
}

/* By the host's name of it, or by its path where the host has none: the guest's is meant anyway. */
static bool is_kvm(struct json_object *device)
{
	const char *name = dink_json_str_or(device, DINK_DEVICE_NAME, NULL);

	return name ? STREQ(name, "kvm") : STREQ(dink_json_str_or(device, "path", ""), "/dev/kvm");
}

/* A privileged container: its devices are all that the host has, asked for by nobody one by one. */
static bool are_all_devices_allowed(struct dink_oci *o)
{
	struct json_object *rules = get_array(o->config, "linux.resources.devices");

	for (size_t i = 0; rules && i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);
		const char *type = dink_json_str_or(rule, "type", "a");
		if (dink_json_bool_or(rule, "allow", false) && STREQ(type, "a") &&
		    dink_json_int_or(rule, "major", -1) < 0)
			return true;
	}
	return false;
}

static int adapt_devices(struct dink_oci *o, struct dink_err *err)
{
	struct json_object *devices = get_array(o->config, "linux.devices");
	bool all = are_all_devices_allowed(o);

	for (size_t i = 0; devices && i < json_object_array_length(devices); i++) {
		struct json_object *d = json_object_array_get_idx(devices, i);
		if (!STREQ(dink_json_str_or(d, "type", ""), "b")) {
			name_device(d);
			o->nested = o->nested || is_kvm(d);
			continue;
		}
		if (all)
			continue; /* the guest leaves out what it does not have */
		dink_err_set(err, DINK_E_HOST, 0,
			     "cannot give the block device %s to a VM as a device",
			     dink_json_str_or(d, "path", "?"));
		return dink_err_hint(err, "bind mount it (-v /dev/X:/where): the guest mounts the "
					  "file system on it");
	}
	return 0;
}

static void set_size(struct dink_oci *o, const struct dink_oci_size *size)
{
	int64_t limit = dink_json_int_or(o->config, "linux.resources.memory.limit", 0);
	int64_t quota = dink_json_int_or(o->config, "linux.resources.cpu.quota", 0);
	int64_t period = dink_json_int_or(o->config, "linux.resources.cpu.period", 100000);
	uint64_t mib = size && size->memory_bytes ? size->memory_bytes >> 20 : DEFAULT_MEMORY_MIB;
	int64_t cpus = size && size->cpus ? size->cpus : 1;
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (limit > 0)
		mib = ((uint64_t)limit >> 20) + GUEST_OVERHEAD_MIB;
	if (mib < MIN_MEMORY_MIB)
		mib = MIN_MEMORY_MIB;
	if (mib > MAX_MEMORY_MIB)
		mib = MAX_MEMORY_MIB;
	if (quota > 0 && period > 0)
		cpus = quota / period + (quota % period != 0);
	if (cpus > online)
		cpus = online;
	o->memory_mib = (uint32_t)mib;
	o->cpus = cpus < 1 ? 1 : (uint32_t)cpus;
}

static struct json_object *kvm_numbers(void)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "type", "c");
	dink_json_set_int(o, "major", KVM_MAJOR);
	dink_json_set_int(o, "minor", KVM_MINOR);
	return o;
}

static void append(struct json_object *parent, const char *key, struct json_object *item)
{
	struct json_object *list = dink_json_get(parent, key);

	if (!json_object_is_type(list, json_type_array)) {
		list = json_object_new_array();
		dink_json_set(parent, key, list);
	}
	json_object_array_add(list, item);
}

/* The device, and the rule that lets it be used; a guest without KVM leaves it out. */
static void add_nested_kvm(struct dink_oci *o)
{
	struct json_object *linux_part = dink_json_get(o->config, "linux"), *resources;
	struct json_object *device, *rule;

	if (o->nested)
		return;
	device = kvm_numbers();
	dink_json_set_str(device, "path", "/dev/kvm");
	dink_json_set_str(device, DINK_DEVICE_NAME, "kvm");
	append(linux_part, "devices", device);
	resources = dink_json_get(linux_part, "resources");
	if (!json_object_is_type(resources, json_type_object)) {
		resources = dink_json_new();
		dink_json_set(linux_part, "resources", resources);
	}
	rule = kvm_numbers();
	dink_json_set_bool(rule, "allow", true);
	dink_json_set_str(rule, "access", "rw");
	append(resources, "devices", rule);
	o->nested = true;
}

static int check_shape(struct json_object *c, struct dink_err *err)
{
	if (!json_object_is_type(c, json_type_object))
		return bad_config(err, "no object");
	if (!dink_starts_with(dink_json_str_or(c, "ociVersion", ""), "1."))
		return bad_config(err, "ociVersion is not 1.x");
	if (!json_object_is_type(dink_json_get(c, "process"), json_type_object))
		return bad_config(err, "no process");
	if (!json_object_is_type(dink_json_get(c, "linux"), json_type_object))
		return bad_config(err, "no linux section");
	if (dink_json_str_or(c, "root.path", "")[0] == '\0')
		return bad_config(err, "no root.path");
	if (dink_json_len(c, "mounts") > DINK_OCI_MOUNTS_MAX)
		return bad_config(err, "too many mounts");
	return 0;
}

/* What belongs to the host's kernel or is done by the host side. */
static void strip_host_parts(struct dink_oci *o)
{
	static const char *const gone[] = {"cgroupsPath", "mountLabel", "intelRdt", "personality"};
	struct json_object *linux_part = dink_json_get(o->config, "linux");
	struct json_object *h = dink_json_get(o->config, "hooks");
	struct json_object *a = dink_json_get(o->config, "annotations");

	if (json_object_is_type(h, json_type_object))
		o->hooks = json_object_get(h);
	if (json_object_is_type(a, json_type_object))
		o->annotations = json_object_get(a);
	const char *path = dink_json_str_or(linux_part, "cgroupsPath", NULL);
	o->cgroups_path = path ? xstrdup(path) : NULL;
	/* newer engines write 1.1 and 1.2, which crun of Debian 12 refuses; what they added is not used */
	dink_json_set_str(o->config, "ociVersion", "1.0.2");
	json_object_object_del(o->config, "hooks");
	json_object_object_del(o->config, "annotations");
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		json_object_object_del(linux_part, gone[i]);
	struct json_object *resources = dink_json_get(linux_part, "resources");
	if (resources && json_object_deep_copy(resources, &o->limits, NULL) < 0)
		o->limits = NULL;
	dink_oci_adapt_resources(resources);
}

static int adapt_config(struct dink_oci *o, const struct dink_oci_size *size, struct dink_err *err)
{
	struct json_object *process = dink_json_get(o->config, "process");
	_cleanup_free_ char *nested = NULL;
	int r = check_shape(o->config, err);

	if (r == 0)
		r = check_strings(process, "env", false, err);
	if (r == 0) {
		o->disk_options = find_word(process, DINK_OCI_DISK_OPTIONS);
		nested = find_word(process, DINK_OCI_NESTED_KVM);
		o->boot_timeout = find_word(process, DINK_OCI_BOOT_TIMEOUT);
		r = dink_oci_adapt_process(process, err);
	}
	if (r < 0)
		return r;
	o->terminal = dink_json_bool_or(o->config, "process.terminal", false);
	o->hostname = xstrdup(dink_json_str_or(o->config, "hostname", ""));
	const char *path = dink_json_str_or(o->config, "root.path", "");
	o->rootfs = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", o->bundle, path);
	r = adapt_namespaces(o, err);
	if (r == 0)
		r = adapt_devices(o, err);
	if (r == 0 && nested && STREQ(nested, "1"))
		add_nested_kvm(o);
	if (r == 0)
		r = dink_oci_adapt_mounts(o, err);
	if (r < 0)
		return r;
	set_size(o, size);
	strip_host_parts(o);
	if (o->block_root) {
		free(TAKE_PTR(o->rootfs));
		o->rootfs = NULL;
	} else if (access(o->rootfs, F_OK) < 0) {
		return dink_err_set(err, DINK_E_HOST, errno, "rootfs %s", o->rootfs);
	}
	return 0;
}

int dink_oci_adapt(struct json_object *config, const char *bundle, const struct dink_oci_size *size,
		   struct dink_oci **ret, struct dink_err *err)
{
	_cleanup_(dink_oci_freep) struct dink_oci *o = xcalloc(1, sizeof(*o));

	o->config = config;
	o->bundle = xstrdup(bundle);
	o->mounts = json_object_new_array();
	int r = adapt_config(o, size, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(o);
	return 0;
}

int dink_oci_load(const char *bundle, const struct dink_oci_size *size, struct dink_oci **ret,
		  struct dink_err *err)
{
	char real[PATH_MAX];
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (!realpath(bundle, real))
		return dink_err_set(err, DINK_E_USAGE, errno, "bundle %s", bundle);
	_cleanup_free_ char *path = xasprintf("%s/config.json", real);
	int r = dink_file_read(path, CONFIG_MAX, &text, &len, err);
	if (r < 0)
		return r;
	struct json_object *config = NULL;
	r = dink_json_parse(text, len, path, &config, err);
	if (r < 0)
		return r;
	return dink_oci_adapt(config, real, size, ret, err);
}

void dink_oci_free(struct dink_oci *o)
{
	if (!o)
		return;
	json_object_put(o->config);
	json_object_put(o->hooks);
	json_object_put(o->annotations);
	free(o->disk_options);
	free(o->boot_timeout);
	json_object_put(o->mounts);
	free(o->bundle);
	free(o->rootfs);
	free(o->hostname);
	free(o->resolv);
	free(o->netns);
	free(o->cgroups_path);
	json_object_put(o->limits);
	for (size_t i = 0; i < o->n_shares; i++) {
		free(o->shares[i].source);
		free(o->shares[i].overlay);
	}
	for (size_t i = 0; i < o->n_disks; i++) {
		free(o->disks[i].source);
		free(o->disks[i].serial);
		free(o->disks[i].fstype);
	}
	free(o);
}
