/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts: what is saved is what is loaded; every damage is refused with the place it is at; the
 * saved hosts of tests/hosts load; the probe of this very host is plausible.
 */
#include "tests/unit/unit.h"

#include "provision/base/dirs.h"
#include "provision/base/json.h"
#include "provision/host/facts.h"
#include "provision/host/probe.h"

#include <glob.h>
#include <linux/capability.h>
#include <sys/utsname.h>

static const char a_host[] = "tests/hosts/debian13-kvm.json";

static struct dink_facts *load(const char *path)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_facts *f = NULL;

	if (dink_facts_load(path, &f, &err) < 0)
		fail_msg("%s", err.msg);
	return f;
}

static void test_save_load(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_facts_freep) struct dink_facts *f = load(a_host), *again = NULL;
	_cleanup_free_ char *path = xasprintf("%s/facts.json", (char *)*state);
	_cleanup_free_ char *a = NULL, *b = NULL;
	_cleanup_json_ struct json_object *ja = NULL, *jb = NULL;

	assert_int_equal(dink_facts_save(f, path, &err), 0);
	again = load(path);
	ja = dink_facts_to_json(f);
	jb = dink_facts_to_json(again);
	a = dink_json_text(ja);
	b = dink_json_text(jb);
	assert_string_equal(a, b);
	assert_int_equal(again->version, 1);
	assert_int_equal(again->cpus, 16);
	assert_int_equal(again->cgroup, DINK_CGROUP_V2);
	assert_true(again->kvm.ok);
	assert_int_equal(again->n_engines, 1);
	assert_string_equal(again->engines[0].version, "26.1.5+dfsg1");
	assert_true(dink_strv_has(&again->engines[0].runtimes, "runc"));
	assert_null(dink_facts_tool(again, "podman"));
	assert_non_null(dink_facts_tool(again, "dockerd"));
	assert_true(dink_facts_can(again, CAP_SYS_RESOURCE));
}

static void test_every_saved_host_loads(void **state _unused_)
{
	glob_t g = {};

	assert_int_equal(glob("tests/hosts/*.json", 0, NULL, &g), 0);
	assert_true(g.gl_pathc >= 14);
	for (size_t i = 0; i < g.gl_pathc; i++)
		dink_facts_free(load(g.gl_pathv[i]));
	globfree(&g);
}

/* Text replaced in a good file, and the message that must follow (after the path). */
struct damage {
	const char *from, *to, *message;
};

static const struct damage damages[] = {
	{"\"dink_facts\": 1", "\"dink_facts\": 2",
	 "dink_facts: version 2 of saved facts is not known here (1 is)"},
	{"\"dink_facts\": 1,", "", "dink_facts: missing"},
	{"\"dink_facts\": 1", "\"dink_facts\": \"1\"",
	 "dink_facts: expected a whole number, found string"},
	{"\"cpus\": 16", "\"cpus\": \"16\"", "cpus: expected a whole number, found string"},
	{"\"cpus\": 16", "\"cpus\": -1", "cpus: -1 is not between 0 and 4294967295"},
	{"\"cpus\": 16", "\"cpus\": 16, \"gpus\": 1", "gpus: unknown member"},
	{"\"machine\": \"x86_64\"", "\"machine\": null", "machine: expected a string, found null"},
	{"\"nofile\": 1048576", "\"nofile\": \"lots\"",
	 "rlimits.nofile: expected a whole number or \"unlimited\", found string"},
	{"\"nofile\": 1048576", "\"files\": 1", "rlimits.files: unknown member"},
	{"\"layout\": \"v2\"", "\"layout\": \"v3\"",
	 "cgroup.layout: \"v3\" is none of none, v1, hybrid, v2"},
	{"\"CAP_CHOWN\"", "\"CAP_CHOWNS\"",
	 "capabilities.bounding[0]: no capability is called \"CAP_CHOWNS\""},
	{"\"CAP_CHOWN\"", "7", "capabilities.bounding: expected a list of strings, found array"},
	{"\"apparmor\": true", "\"apparmor\": 1",
	 "lsm.apparmor: expected true or false, found int"},
	{"\"kind\": \"docker\"", "\"kind\": \"rkt\"",
	 "engines[0].kind: \"rkt\" is neither docker nor podman"},
	{"\"api_version\": \"1.45\",", "", "engines[0].api_version: missing"},
	{"\"podman\": null", "\"podman\": true",
	 "tools.podman: expected an object or null, found "
	 "boolean"},
	{"\"podman\": null", "\"podman\": {\"path\": \"/p\"}", "tools.podman.version: missing"},
	{"\"root_mount_shared\": true", "\"root_mount_shared\": {}",
	 "root_mount_shared: expected true or false, found object"},
};

static char *replace_first(const char *text, const char *from, const char *to)
{
	const char *p = strstr(text, from);

	if (!p)
		fail_msg("the file has no %s", from);
	return xasprintf("%.*s%s%s", (int)(p - text), text, to, p + strlen(from));
}

static void test_damage_is_named(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/facts.json", (char *)*state);
	_cleanup_free_ char *text = NULL;

	assert_int_equal(dink_file_read(a_host, 1 << 20, &text, NULL, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		_cleanup_(dink_err_clear) struct dink_err e = {};
		_cleanup_free_ char *bad = replace_first(text, damages[i].from, damages[i].to);
		_cleanup_free_ char *want = xasprintf("%s: %s", path, damages[i].message);
		struct dink_facts *f = NULL;

		assert_int_equal(dink_file_write(path, bad, strlen(bad), 0600, &e), 0);
		assert_true(dink_facts_load(path, &f, &e) < 0);
		assert_null(f);
		assert_int_equal(e.code, DINK_E_STATE);
		assert_string_equal(e.msg, want);
	}
}

static void test_missing_file(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_facts *f = NULL;

	assert_true(dink_facts_load("/nonexistent/facts.json", &f, &err) < 0);
	assert_true(dink_err_is_set(&err));
	assert_int_equal(err.errnum, ENOENT);
}

static void test_versions(void **state _unused_)
{
	assert_true(dink_version_at_least("23.0.1", 23, 0));
	assert_true(dink_version_at_least("26.1.5+dfsg1", 23, 0));
	assert_false(dink_version_at_least("20.10.24+dfsg1", 23, 0));
	assert_true(dink_version_at_least("6.1.0-37-amd64", 5, 9));
	assert_true(dink_version_at_least("5.10", 5, 9));
	assert_false(dink_version_at_least("5.8.99", 5, 9));
	assert_false(dink_version_at_least("4.19.0", 5, 9));
	assert_false(dink_version_at_least("unknown", 0, 0));
	assert_false(dink_version_at_least(NULL, 0, 0));
}

static void test_capability_names(void **state _unused_)
{
	for (int c = 0; c <= CAP_LAST_CAP; c++) {
		const char *name = dink_capability_name(c);

		assert_non_null(name);
		assert_int_equal(dink_capability_from_name(name), c);
	}
	assert_string_equal(dink_capability_name(CAP_NET_ADMIN), "CAP_NET_ADMIN");
	assert_string_equal(dink_capability_name(CAP_SYS_ADMIN), "CAP_SYS_ADMIN");
	assert_string_equal(dink_capability_name(CAP_AUDIT_WRITE), "CAP_AUDIT_WRITE");
	assert_null(dink_capability_name(CAP_LAST_CAP + 1));
	assert_null(dink_capability_name(-1));
	assert_int_equal(dink_capability_from_name("CAP_NOTHING"), -1);
}

/* Whatever is not usable says why, on whatever host this runs. */
static void test_probe_here(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL, *again = NULL;
	_cleanup_free_ char *path = xasprintf("%s/here.json", (char *)*state);
	struct utsname u;

	assert_int_equal(uname(&u), 0);
	assert_int_equal(dink_facts_probe(0, NULL, &f, &err), 0);
	assert_string_equal(f->kernel_release, u.release);
	assert_string_equal(f->machine, u.machine);
	assert_int_equal(f->uid, geteuid());
	assert_true(f->cpus >= 1);
	assert_true(f->memory_bytes > 16 << 20);
	assert_true(dink_strv_has(&f->filesystems, "proc"));
	assert_int_equal(strlen(f->boot_id), 36);
	assert_non_null(dink_facts_tool(f, "gcc"));
	assert_null(dink_facts_tool(f, "gcc")->version); /* only asked for with PROBE_VERSIONS */
	for (const struct dink_usable *const *l =
		     (const struct dink_usable *const[]){&f->loop, &f->btrfs, &f->overlay, &f->tun,
							 &f->kvm, &f->veth, &f->bridge, &f->kata,
							 NULL};
	     *l; l++)
		assert_true((*l)->ok == ((*l)->why == NULL));
	assert_int_equal(dink_facts_save(f, path, &err), 0);
	again = load(path);
	assert_int_equal(again->cap_bounding, f->cap_bounding);
	assert_int_equal(again->nofile_hard, f->nofile_hard);
	assert_int_equal(again->n_tools, f->n_tools);
}

static int count_links(void *ctx _unused_)
{
	glob_t g = {};
	int n = glob("/sys/class/net/probe-*", 0, NULL, &g) == 0 ? (int)g.gl_pathc : 0;

	globfree(&g);
	return n;
}

/* The probe makes its links elsewhere: nothing of it is in our own network namespace. */
static void test_probe_leaves_nothing(void **state _unused_)
{
	assert_int_equal(count_links(NULL), 0);
}

static char *any_kernel(void)
{
	_cleanup_free_ char *ours = xasprintf("%s/*/*/vmlinux", dink_cache_dir());
	const char *const patterns[] = {ours, "/boot/vmlinuz-*"};
	char *found = NULL;

	for (size_t i = 0; !found && i < ARRAY_SIZE(patterns); i++) {
		glob_t g = {};

		if (glob(patterns[i], 0, NULL, &g) == 0)
			found = xstrdup(g.gl_pathv[0]);
		globfree(&g);
	}
	return found;
}

/* The probe guest itself, where KVM cannot be had: emulated, it must boot and end by itself. */
static void test_probe_guest(void **state _unused_)
{
	_cleanup_free_ char *qemu = dink_which("qemu-system-x86_64"), *kernel = any_kernel();
	_cleanup_free_ char *why = NULL, *no = NULL;
	if (!qemu || !kernel) {
		print_message("needs QEMU and a kernel (dink kernel build)\n");
		skip();
	}
	assert_true(dink_probe_guest(qemu, kernel, "tcg", "qemu64", 60000, &why));
	assert_null(why);
	assert_false(dink_probe_guest(qemu, kernel, "tcg", "no-such-cpu", 10000, &no));
	assert_non_null(strstr(no, "no-such-cpu"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_save_load, unit_tmpdir, unit_rmdir),
		cmocka_unit_test(test_every_saved_host_loads),
		cmocka_unit_test_setup_teardown(test_damage_is_named, unit_tmpdir, unit_rmdir),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_capability_names),
		cmocka_unit_test_setup_teardown(test_probe_here, unit_tmpdir, unit_rmdir),
		cmocka_unit_test(test_probe_leaves_nothing),
		cmocka_unit_test(test_probe_guest),
	};

	return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
