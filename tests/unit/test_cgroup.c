/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's group is put on the host, and what is written into it. */
#include "tests/unit/unit.h"

#include "provision/vm/cgroup.h"

#include <sys/stat.h>

#define V1_MOUNTS                                                                                  \
	"24 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"                                \
	"25 24 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"              \
	"26 24 0:23 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"               \
	"27 24 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"           \
	"28 24 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
#define V1_OWN	  "4:cpuacct,cpu:/\n3:memory:/own/group\n2:name=systemd:/\n1:name=other:/x\n0::/\n"
#define V2_MOUNTS "24 1 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n"
#define V2_OWN	  "0::/user.slice/mine\n"

static struct json_object *plan(const char *mounts, const char *own, const char *path, bool systemd)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_cgroup_where w = {mounts, own, path, "ID", systemd};
	struct json_object *o = NULL;

	if (dink_cgroup_plan(&w, &o, &err) < 0)
		fail_msg("%s: %s", path ? path : "no path", err.msg);
	return o;
}

static void is_at(const char *mounts, const char *own, const char *path, bool systemd,
		  const char *controller, const char *want)
{
	_cleanup_json_ struct json_object *o = plan(mounts, own, path, systemd);
	const char *dir = o ? dink_cgroup_dir(o, controller) : "none";

	if (!dir || !STREQ(dir, want))
		fail_msg("%s: %s instead of %s", path ? path : "no path", dir ? dir : "no dir",
			 want);
}

static void test_places(void **state)
{
	static const struct {
		const char *path, *memory, *v2;
	} cases[] = {
		{"/docker/ID", "/docker/ID", "/docker/ID"},
		{NULL, "/own/group/ID", "/user.slice/ID"},
		{"", "/own/group/ID", "/user.slice/ID"},
		{"a/b", "/own/group/a/b", "/user.slice/a/b"},
		{"../../../etc", "/own/group/etc", "/user.slice/etc"},
		{"/../../etc/./x//y/../z/", "/etc/x/z", "/etc/x/z"},
		{"/a/..b/...", "/a/..b/...", "/a/..b/..."},
		{"/sys fs:docker:1", "/sys fs:docker:1", "/sys fs:docker:1"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *m = xasprintf("/sys/fs/cgroup/memory%s", cases[i].memory);
		_cleanup_free_ char *u = xasprintf("/sys/fs/cgroup%s", cases[i].v2);
		is_at(V1_MOUNTS, V1_OWN, cases[i].path, false, "memory", m);
		is_at(V2_MOUNTS, V2_OWN, cases[i].path, false, "memory", u);
	}
	is_at(V1_MOUNTS, V1_OWN, "/d", false, "cpu", "/sys/fs/cgroup/cpu,cpuacct/d");
	is_at(V1_MOUNTS, V1_OWN, "/d", false, "name=systemd", "/sys/fs/cgroup/systemd/d");
	_cleanup_json_ struct json_object *o = plan(V1_MOUNTS, V1_OWN, "/d", false);
	assert_int_equal(dink_json_len(o, "dirs"), 3);
	/* one that others share cannot be left out */
	dink_cgroup_leave_out(o, "cpu");
	assert_non_null(dink_cgroup_dir(o, "cpuacct"));
	dink_cgroup_leave_out(o, "memory");
	assert_null(dink_cgroup_dir(o, "memory"));
	assert_int_equal(dink_json_len(o, "dirs"), 2);
	assert_int_equal(dink_json_int_or(o, "version", 0), 1);
}

static void test_no_group(void **state)
{
	static const char *const root[] = {"/", "//", "/..", "/a/..", ".", NULL};

	(void)state;
	for (size_t i = 0; root[i]; i++) {
		assert_null(plan(V1_MOUNTS, V1_OWN, root[i], false));
		assert_null(plan(V2_MOUNTS, V2_OWN, root[i], false));
	}
	assert_null(plan("", V1_OWN, "/d", false));
	assert_null(plan(V1_MOUNTS, "", "/d", false));
	assert_null(plan("garbage\n - cgroup\n1 2 3 - cgroup x memory\n", "::\n:\n3:memory\n", "/d",
			 false));
}

static void test_odd_mounts(void **state)
{
	(void)state;
	/* a container's view: the mount shows a part of the hierarchy */
	is_at("1 1 0:1 /docker/X /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
	      "3:memory:/docker/X/sub\n", NULL, false, "memory", "/sys/fs/cgroup/memory/sub/ID");
	is_at("1 1 0:1 /docker/X /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
	      "3:memory:/docker/XY\n", NULL, false, "memory", "/sys/fs/cgroup/memory/ID");
	/* mounted twice, the usual place last; spaces */
	is_at("1 1 0:1 / /var/x/memory rw - cgroup cgroup rw,memory\n" V1_MOUNTS, V1_OWN, "/d",
	      false, "memory", "/sys/fs/cgroup/memory/d");
	is_at("1 1 0:1 / /var/a\\040b rw - cgroup cgroup rw,memory\n", V1_OWN, "/d", false,
	      "memory", "/var/a b/d");
	/* our own group is the root of version 2 */
	is_at(V2_MOUNTS, "0::/\n", NULL, false, "memory", "/sys/fs/cgroup/ID");
}

static void test_units(void **state)
{
	static const struct {
		const char *path, *want;
	} cases[] = {
		{NULL, "/system.slice/runc-ID.scope"},
		{":docker:1", "/system.slice/docker-1.scope"},
		{"system.slice:docker:1", "/system.slice/docker-1.scope"},
		{"a-b.slice:p:1", "/a.slice/a-b.slice/p-1.scope"},
		{"-.slice:p:1", "/p-1.scope"},
		{"a.slice:p:x.slice", "/a.slice/x.slice"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *want = xasprintf("/sys/fs/cgroup/memory%s", cases[i].want);
		is_at(V1_MOUNTS, V1_OWN, cases[i].path, true, "memory", want);
	}
}

static void refuse(const char *path, bool systemd)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_cgroup_where w = {V1_MOUNTS, V1_OWN, path, "ID", systemd};
	struct json_object *o = NULL;

	if (dink_cgroup_plan(&w, &o, &err) >= 0)
		fail_msg("%s was not refused", path);
	assert_non_null(strstr(err.msg, "cgroupsPath"));
	assert_true(strlen(err.msg) < 300);
}

static void test_refused(void **state)
{
	static const char *const units[] = {
		"/docker/ID",	  "a:b",	  "a.slice:b:c:d",     "a.slice::",
		"x/y.slice:a:b",  "a:b:c",	  ".slice:b:c",	       "-a.slice:b:c",
		"a--b.slice:b:c", "a-.slice:b:c", "a.slice:b/../..:c", "a.slice:b:../../c",
	};
	_cleanup_str_ struct dink_str longest = {}, deepest = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		refuse(units[i], true);
	refuse("/a\nb", false);
	refuse("/a\x7f", false);
	for (int i = 0; i < 300; i++)
		dink_str_addc(&longest, 'a');
	refuse(longest.s, false);
	for (int i = 0; i < 4000; i++)
		dink_str_add(&deepest, "/a");
	refuse(deepest.s, false);
}

/* --- in a folder that is no cgroup, with the files of one --- */

static void put(const char *dir, const char *name, const char *text)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	assert_int_equal(dink_file_write(path, text, strlen(text), 0644, &err), 0);
}

static void has(const char *dir, const char *name, const char *want)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name), *text = NULL;

	assert_int_equal(dink_file_read(path, 4096, &text, NULL, &err), 0);
	assert_string_equal(text, want);
}

static struct json_object *fake_group(const char *root, int version, const char *controllers)
{
	_cleanup_free_ char *dir = xasprintf("%s/a/ID", root);
	struct json_object *o = dink_json_new(), *d = dink_json_new();
	struct json_object *dirs = json_object_new_array();

	dink_json_set_str(d, "controllers", controllers);
	dink_json_set_str(d, "mount", root);
	dink_json_set_str(d, "dir", dir);
	json_object_array_add(dirs, d);
	dink_json_set_int(o, "version", version);
	dink_json_set_int(o, "memory_bytes", 1000);
	dink_json_set(o, "dirs", dirs);
	return o;
}

static void limit(struct json_object *group, const char *text, bool quota)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *r = NULL;

	assert_int_equal(dink_json_parse(text, strlen(text), "test", &r, &err), 0);
	assert_int_equal(dink_cgroup_limit(group, r, quota, &err), 0);
}

#define LIMITS                                                                                     \
	"{\"memory\":{\"limit\":5},\"cpu\":{\"shares\":1024,\"quota\":150000,\"period\":100000,"   \
	"\"cpus\":\"0-1\"}}"

static void test_limits(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *v1 = fake_group(*state, 1, "memory,cpu,cpuset,blkio"),
					  *v2 = fake_group(*state, 2, "");
	static const char *const files[] = {
		"memory.limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us",
		"cpuset.cpus",		 "memory.max", "cpu.weight",	   "cpu.max"};
	_cleanup_free_ char *dir = xasprintf("%s/a/ID", (char *)*state);

	put(*state, "cpuset.cpus", "0-3\n");
	assert_int_equal(dink_cgroup_make(v1, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		put(dir, files[i], "");
	limit(v1, LIMITS, false);
	has(dir, "memory.limit_in_bytes", "1000");
	has(dir, "cpu.shares", "1024");
	has(dir, "cpuset.cpus", "0-1");
	has(dir, "cpu.cfs_quota_us", "");
	limit(v1, LIMITS, true);
	has(dir, "cpu.cfs_quota_us", "160000");
	has(dir, "cpu.cfs_period_us", "100000");
	assert_null(dink_json_get(v1, "note"));
	limit(v2, LIMITS, true);
	has(dir, "memory.max", "1000");
	has(dir, "cpu.weight", "39");
	has(dir, "cpu.max", "160000 100000");
	/* a period that is not asked for stays */
	put(dir, "cpu.max", "max 50000\n");
	limit(v2, "{\"cpu\":{\"quota\":-1}}", true);
	has(dir, "cpu.max", "max 50000\n");
	/* what is not asked for, or of no sense, is left alone; a controller that lacks is noted */
	limit(v2, "{\"memory\":{\"limit\":0},\"cpu\":{\"quota\":0},\"blockIO\":7}", true);
	has(dir, "memory.max", "1000");
	limit(v2, "{\"blockIO\":{\"weight\":10}}", true);
	assert_non_null(strstr(dink_json_str_or(v2, "note", ""), "io.weight"));
}

static void test_others_group(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *o = fake_group(*state, 1, "memory");
	_cleanup_free_ char *dir = xasprintf("%s/a/ID", (char *)*state);

	assert_int_equal(dink_mkdir_p(dir, 0755, &err), 0);
	put(dir, "cgroup.procs", "1\n");
	assert_true(dink_cgroup_make(o, &err) < 0);
	assert_non_null(strstr(err.msg, "not empty"));
	/* and is not taken away */
	assert_int_equal(dink_json_len(o, "dirs"), 0);
}

static void test_withheld(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *o = fake_group("/proc/none", 1, "memory");

	(void)state;
	assert_int_equal(dink_cgroup_make(o, &err), 0);
	assert_int_equal(dink_json_len(o, "dirs"), 0);
	assert_non_null(dink_json_get(o, "note"));
	assert_int_equal(dink_cgroup_join(o, &err), 0);
	limit(o, LIMITS, true);
	assert_int_equal(dink_cgroup_remove(o, &err), 0);
	assert_int_equal(dink_cgroup_remove(NULL, &err), 0);
	assert_int_equal(dink_cgroup_join(NULL, &err), 0);
}

static void test_memory(void **state)
{
	(void)state;
	uint64_t bare = dink_cgroup_memory(160, true, 0);
	assert_true(bare >= (160ULL + 128) << 20);
	assert_true(dink_cgroup_memory(160, false, 0) >= bare + (64 << 20));
	assert_true(dink_cgroup_memory(160, true, 20000) >= bare + 20000 * 2048);
	/* a guest knows no more inodes than its memory holds */
	assert_true(dink_cgroup_memory(160, true, UINT64_MAX) < bare + (1 << 30));
	assert_true(dink_cgroup_memory(1 << 20, false, UINT64_MAX) > 1ULL << 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_no_group),
		cmocka_unit_test(test_odd_mounts),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_refused),
		cmocka_unit_test_setup_teardown(test_limits, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(test_others_group, unit_tmpdir, unit_rmdir),
		cmocka_unit_test(test_withheld),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
