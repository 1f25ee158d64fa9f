/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making, joining, limiting and removing a group. What the host does not let us have (a read-only
 * /sys/fs/cgroup, a controller that is not there) is noted and done without, as rootless runc does:
 * the guest's kernel holds the limits in any case. A value that the kernel refuses is an error.
 */
#include "provision/vm/cgroup.h"

#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

enum {
	VALUE_MAX = 64 << 10,
	EMPTY_MS = 1000,
	GONE_MS = 3000,
	AGAIN_US = 10000,
	DEPTH_MAX = 8,
	THROTTLED_MAX = 64,
	DEFAULT_PERIOD_US = 100000,
	VM_SHARE = 10,
};

/* --- how much --- */

/*
 * Beside the guest's memory: QEMU (26 MiB measured), virtiofsd (4), the monitor (1, 64 at most), page
 * tables, and as much again to spare; TCG's translations; and the host's inodes that the guest
 * knows, each of which virtiofsd has open. See "What the VM may take" in docs/dink-vm.md.
 */
enum { BASE_MIB = 160, TCG_MIB = 64, INODE_BYTES = 2560, GUEST_INODE_BYTES = 1024 };

uint64_t dink_cgroup_memory(uint32_t memory_mib, bool kvm, uint64_t files)
{
	uint64_t memory = (uint64_t)memory_mib << 20, inodes = memory / GUEST_INODE_BYTES;

	if (inodes > files)
		inodes = files;
	return memory + (memory >> 7) + ((uint64_t)(BASE_MIB + (kvm ? 0 : TCG_MIB)) << 20) +
	       inodes * INODE_BYTES;
}

/* --- files --- */

static int write_value(const char *dir, const char *name, const char *value)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t n = strlen(value);

	if (fd < 0)
		return -errno;
	/* one write: the kernel takes a value whole */
	return write(fd, value, n) == (ssize_t)n ? 0 : -errno;
}

static char *read_value(const char *dir, const char *name)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	char *text = NULL;

	if (dink_file_read(path, VALUE_MAX, &text, NULL, &ignored) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* What cannot be had here, as opposed to what is wrong. */
static bool is_withheld(int e)
{
	return e == EROFS || e == EACCES || e == EPERM || e == ENOENT;
}

static void note(struct json_object *group, const char *what, int e)
{
	_cleanup_free_ char *text = xasprintf("%s: %s", what, strerror(e));

	/* the first says enough */
	if (!dink_json_get(group, "note"))
		dink_json_set_str(group, "note", text);
}

static struct json_object *dir_at(struct json_object *group, size_t i)
{
	return json_object_array_get_idx(dink_json_get(group, "dirs"), i);
}

static bool is_v2(struct json_object *group)
{
	return dink_json_int_or(group, "version", 1) == 2;
}

static bool has_controller(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += n) {
		if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
			return true;
	}
	return false;
}

const char *dink_cgroup_dir(struct json_object *group, const char *controller)
{
	for (size_t i = 0; i < dink_json_len(group, "dirs"); i++) {
		struct json_object *d = dir_at(group, i);
		if (is_v2(group) ||
		    has_controller(dink_json_str_or(d, "controllers", ""), controller))
			return dink_json_str_or(d, "dir", NULL);
	}
	return NULL;
}

/* --- make --- */

/* A cpuset of version 1 begins empty, and takes no process until it has processors and memory. */
static void inherit_cpuset(const char *parent, const char *dir)
{
	static const char *const names[] = {"cpuset.cpus", "cpuset.mems"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *own = read_value(dir, names[i]);
		_cleanup_free_ char *above = read_value(parent, names[i]);
		/* what cannot be written shows when a process is to join */
		if (own && !own[0] && above)
			(void)!write_value(dir, names[i], above);
	}
}

/* Where some controller cannot be had by children the others can; limits tell what is missing. */
static void enable_controllers(const char *dir)
{
	static const char *const wanted[] = {"cpuset", "cpu", "io", "memory", "pids"};
	_cleanup_free_ char *there = read_value(dir, "cgroup.controllers");
	_cleanup_free_ char *enabled = read_value(dir, "cgroup.subtree_control");

	for (char *c = there; c && *c; c++)
		*c = *c == ' ' ? ',' : *c;
	for (char *c = enabled; c && *c; c++)
		*c = *c == ' ' ? ',' : *c;
	for (size_t i = 0; there && i < ARRAY_SIZE(wanted); i++) {
		if (!has_controller(there, wanted[i]) ||
		    (enabled && has_controller(enabled, wanted[i])))
			continue;
		_cleanup_free_ char *value = xasprintf("+%s", wanted[i]);
		(void)!write_value(dir, "cgroup.subtree_control", value);
	}
}

static bool has_children(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			return true;
	}
	return false;
}

/* One that is there: a dead container's, whose processes are going, or another's. */
static int check_empty(const char *dir, struct dink_err *err)
{
	uint64_t end = dink_now_ms() + EMPTY_MS;

	for (;;) {
		_cleanup_free_ char *procs = read_value(dir, "cgroup.procs");
		if (!(procs && procs[0]) && !has_children(dir))
			return 0;
		if (dink_now_ms() >= end)
			break;
		usleep(AGAIN_US);
	}
	dink_err_set(err, DINK_E_BUSY, 0, "the container's cgroup %s is not empty", dir);
	return dink_err_hint(err, "give the container a cgroup of its own (cgroupsPath)");
}

/* Each folder between the mount and the last, and that. */
static int make_dir(struct json_object *d, bool v2, struct dink_err *err)
{
	const char *mount = dink_json_str_or(d, "mount", "/"),
		   *dir = dink_json_str_or(d, "dir", "/");
	bool cpuset = has_controller(dink_json_str_or(d, "controllers", ""), "cpuset");
	_cleanup_free_ char *parent = xstrdup(mount);
	size_t at = strlen(mount);

	while (dir[at]) {
		at += 1 + strcspn(dir + at + 1, "/");
		_cleanup_free_ char *here = xstrndup(dir, at);
		if (v2)
			enable_controllers(parent);
		if (mkdir(here, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (cpuset)
			inherit_cpuset(parent, here);
		free(parent);
		parent = TAKE_PTR(here);
	}
	return check_empty(dir, err);
}

int dink_cgroup_make(struct json_object *group, struct dink_err *err)
{
	struct json_object *dirs = dink_json_get(group, "dirs");

	for (size_t i = 0; i < dink_json_len(group, "dirs");) {
		struct json_object *d = dir_at(group, i);
		_cleanup_free_ char *dir = xstrdup(dink_json_str_or(d, "dir", "/"));
		int r = make_dir(d, is_v2(group), err);

		if (r == 0) {
			i++;
			continue;
		}
		/* not ours to remove later */
		json_object_array_del_idx(dirs, i, 1);
		if (dink_err_is_set(err))
			return r;
		if (!is_withheld(-r))
			return dink_err_set(err, DINK_E_HOST, -r, "make the cgroup %s", dir);
		note(group, dir, -r);
	}
	return 0;
}

void dink_cgroup_leave_out(struct json_object *group, const char *controller)
{
	for (size_t i = dink_json_len(group, "dirs"); i-- > 0;) {
		if (STREQ(dink_json_str_or(dir_at(group, i), "controllers", ""), controller))
			json_object_array_del_idx(dink_json_get(group, "dirs"), i, 1);
	}
}

int dink_cgroup_join(struct json_object *group, struct dink_err *err)
{
	for (size_t i = 0; i < dink_json_len(group, "dirs"); i++) {
		const char *dir = dink_json_str_or(dir_at(group, i), "dir", "/");
		int r = write_value(dir, "cgroup.procs", "0");

		if (r < 0 && !is_withheld(-r))
			return dink_err_set(err, DINK_E_HOST, -r, "join the cgroup %s", dir);
	}
	return 0;
}

/* --- limits --- */

struct setting {
	struct json_object *group;
	struct dink_err *err;
	int r;
};

static void set(struct setting *s, const char *controller, const char *name, const char *value)
{
	const char *dir = dink_cgroup_dir(s->group, controller);

	if (s->r < 0 || !dir)
		return;
	int r = write_value(dir, name, value);
	if (r == 0)
		return;
	if (is_withheld(-r)) {
		_cleanup_free_ char *what = xasprintf("%s/%s", dir, name);
		note(s->group, what, -r);
		return;
	}
	s->r = dink_err_set(s->err, DINK_E_HOST, -r, "write \"%s\" to %s/%s", value, dir, name);
}

static void set_number(struct setting *s, const char *controller, const char *name, int64_t value)
{
	_cleanup_free_ char *text = xasprintf("%lld", (long long)value);

	set(s, controller, name, text);
}

/*
 * The guest's kernel holds the container to its own limit; the VM's memory was settled when it was
 * created, and a guest gives back none: a smaller bound than this would kill a sound VM.
 */
static void set_memory(struct setting *s, struct json_object *resources)
{
	int64_t limit = dink_json_int_or(resources, "memory.limit", 0);
	int64_t most = dink_json_int_or(s->group, "memory_bytes", 0);

	if (!limit || most <= 0)
		return;
	if (!is_v2(s->group))
		set_number(s, "memory", "memory.limit_in_bytes", limit > 0 ? most : -1);
	else if (limit > 0)
		set_number(s, "memory", "memory.max", most);
	else
		set(s, "memory", "memory.max", "max");
}

/* Shares are 2 to 262144 (1024 is the default), weights 1 to 10000 (100). */
static int64_t weight_of_shares(int64_t shares)
{
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + (shares - 2) * 9999 / 262142;
}

/* The period that an update leaves as it is. */
static int64_t period_there(struct json_object *group)
{
	const char *dir = dink_cgroup_dir(group, "cpu");
	_cleanup_free_ char *text =
		dir ? read_value(dir, is_v2(group) ? "cpu.max" : "cpu.cfs_period_us") : NULL;
	const char *number = text && is_v2(group) ? strchr(text, ' ') : text;
	int64_t period = number ? strtoll(number, NULL, 10) : 0;

	return period > 0 ? period : DEFAULT_PERIOD_US;
}

/*
 * A tenth of a processor more than the container's own: the guest's kernel holds that, and what the
 * VM needs beside it (its kernel and agent, QEMU, virtiofsd) would else be the program's loss twice.
 */
static void set_quota(struct setting *s, struct json_object *resources)
{
	int64_t quota = dink_json_int_or(resources, "cpu.quota", 0);
	int64_t period = dink_json_int_or(resources, "cpu.period", 0);

	if (!quota)
		return;
	if (period <= 0)
		period = period_there(s->group);
	quota = quota > 0 ? quota + period / VM_SHARE : -1;
	if (!is_v2(s->group)) {
		set_number(s, "cpu", "cpu.cfs_period_us", period);
		set_number(s, "cpu", "cpu.cfs_quota_us", quota);
		return;
	}
	_cleanup_free_ char *q = quota > 0 ? xasprintf("%lld", (long long)quota) : xstrdup("max");
	_cleanup_free_ char *text = xasprintf("%s %lld", q, (long long)period);
	set(s, "cpu", "cpu.max", text);
}

static void set_cpu(struct setting *s, struct json_object *resources, bool quota)
{
	int64_t shares = dink_json_int_or(resources, "cpu.shares", 0);
	const char *cpus = dink_json_str_or(resources, "cpu.cpus", "");
	const char *mems = dink_json_str_or(resources, "cpu.mems", "");

	if (shares > 0 && is_v2(s->group))
		set_number(s, "cpu", "cpu.weight", weight_of_shares(shares));
	else if (shares > 0)
		set_number(s, "cpu", "cpu.shares", shares);
	if (quota)
		set_quota(s, resources);
	if (cpus[0])
		set(s, "cpuset", "cpuset.cpus", cpus);
	if (mems[0])
		set(s, "cpuset", "cpuset.mems", mems);
}

/* Lists of {"major","minor","rate"} */
static void set_throttle(struct setting *s, struct json_object *io, const char *key,
			 const char *v1_name, const char *v2_key)
{
	struct json_object *list = dink_json_get(io, key);

	if (!json_object_is_type(list, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(list) && i < THROTTLED_MAX; i++) {
		struct json_object *t = json_object_array_get_idx(list, i);
		_cleanup_free_ char *text = xasprintf(
			"%lld:%lld %s%lld", (long long)dink_json_int_or(t, "major", 0),
			(long long)dink_json_int_or(t, "minor", 0), is_v2(s->group) ? v2_key : "",
			(long long)dink_json_int_or(t, "rate", 0));
		if (is_v2(s->group))
			set(s, "io", "io.max", text);
		else
			set(s, "blkio", v1_name, text);
	}
}

/* The disks and shares of a VM are read and written by QEMU and virtiofsd. */
static void set_io(struct setting *s, struct json_object *resources)
{
	struct json_object *io = dink_json_get(resources, "blockIO");
	int64_t weight = dink_json_int_or(io, "weight", 0);

	if (weight > 0 && is_v2(s->group))
		set_number(s, "io", "io.weight", 1 + (weight - 10) * 9999 / 990);
	else if (weight > 0)
		set_number(s, "blkio", "blkio.weight", weight);
	set_throttle(s, io, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps=");
	set_throttle(s, io, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps=");
	set_throttle(s, io, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops=");
	set_throttle(s, io, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device",
		     "wiops=");
}

int dink_cgroup_limit(struct json_object *group, struct json_object *resources, bool quota,
		      struct dink_err *err)
{
	struct setting s = {.group = group, .err = err};

	if (!group || !json_object_is_type(resources, json_type_object))
		return 0;
	set_memory(&s, resources);
	set_cpu(&s, resources, quota);
	set_io(&s, resources);
	return s.r;
}

/* --- remove --- */

/* Those below it first; 0 or -errno of the last attempt */
static int remove_tree(const char *dir, int depth)
{
	if (rmdir(dir) == 0 || errno == ENOENT)
		return 0;
	int e = errno;
	_cleanup_closedir_ DIR *d = e == EBUSY && depth < DEPTH_MAX ? opendir(dir) : NULL;
	struct dirent *de;
	bool any = false;

	while (d && (de = readdir(d))) {
		_cleanup_free_ char *sub = xasprintf("%s/%s", dir, de->d_name);
		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			any = remove_tree(sub, depth + 1) == 0 || any;
	}
	return any && rmdir(dir) == 0 ? 0 : -e;
}

int dink_cgroup_remove(struct json_object *group, struct dink_err *err)
{
	uint64_t end = dink_now_ms() + GONE_MS;
	int r = 0;

	for (size_t i = 0; i < dink_json_len(group, "dirs"); i++) {
		const char *dir = dink_json_str_or(dir_at(group, i), "dir", "");
		int e = remove_tree(dir, 0);

		/* processes of a pid namespace that has just ended are on their way */
		while (e == -EBUSY && dink_now_ms() < end) {
			usleep(AGAIN_US);
			e = remove_tree(dir, 0);
		}
		if (e < 0 && r == 0 && !is_withheld(-e))
			r = dink_err_set(err, DINK_E_BUSY, -e, "remove the cgroup %s", dir);
	}
	return r;
}
