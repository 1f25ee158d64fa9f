/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: what is refused, what the guest does not get, how mounts and sizes come out. */
#include "tests/unit/unit.h"

#include "provision/vm/oci.h"
#include "provision/vm/vmstate.h"

#include <fcntl.h>
#include <sys/stat.h>

#define BASE                                                                                       \
	"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/\"},\"process\":{\"args\":[\"sh\"],"      \
	"\"cwd\":\"/\",\"apparmorProfile\":\"docker-default\"},"
#define NS "\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"network\"},{\"type\":\"pid\"}]"

static int adapt(const char *text, const struct dink_oci_size *size, struct dink_oci **ret,
		 struct dink_err *err)
{
	struct json_object *o = NULL;

	assert_int_equal(dink_json_parse(text, strlen(text), "test", &o, err), 0);
	return dink_oci_adapt(o, "/", size, ret, err);
}

static struct dink_oci *good(const char *text)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_oci *o = NULL;

	if (adapt(text, NULL, &o, &err) < 0)
		print_error("%s\n", err.msg);
	assert_non_null(o);
	return o;
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"[]", "no object"},
		{"{\"ociVersion\":\"2.0\"}", "ociVersion"},
		{"{\"ociVersion\":\"1.0\"}", "no process"},
		{"{\"ociVersion\":\"1.0\",\"process\":{}}", "no linux"},
		{"{\"ociVersion\":\"1.0\",\"process\":{},\"linux\":{}}", "root.path"},
		{"{\"ociVersion\":\"1.0\",\"process\":{\"args\":[]},\"linux\":{},\"root\":{"
		 "\"path\":\"/\"}}",
		 "process.args"},
		{"{\"ociVersion\":\"1.0\",\"process\":{\"args\":[1]},\"linux\":{},\"root\":{"
		 "\"path\":\"/\"}}",
		 "process.args"},
		{"{\"ociVersion\":\"1.0\",\"process\":{\"args\":[\"a\"],\"cwd\":\"x\"},\"linux\":{}"
		 ","
		 "\"root\":{\"path\":\"/\"}}",
		 "process.cwd"},
		{BASE "\"linux\":{}}", "host networking"},
		{BASE "\"linux\":{\"namespaces\":[{\"type\":\"network\"},"
		      "{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"}]}}",
		 "cannot join the pid namespace /proc/1/ns/pid"},
		{BASE "\"linux\":{" NS ",\"devices\":[{\"type\":\"b\",\"path\":\"/dev/sda\"}]}}",
		 "/dev/sda"},
		{BASE "\"mounts\":[{\"destination\":\"rel\"}],\"linux\":{" NS "}}", "mounts[0]"},
		{BASE "\"mounts\":[3],\"linux\":{" NS "}}", "mounts[0]"},
		{BASE
		 "\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/no/such\"}],"
		 "\"linux\":{" NS "}}",
		 "/no/such"},
		{BASE "\"mounts\":[{\"destination\":\"/"
		      ".dink-root\",\"type\":\"bind\",\"source\":\"/\"}],"
		      "\"linux\":{" NS "}}",
		 "no disk image"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		struct dink_oci *o = NULL;
		assert_true(adapt(cases[i].text, NULL, &o, &err) < 0);
		assert_null(o);
		if (!strstr(err.msg, cases[i].want))
			fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.msg, cases[i].want);
	}
}

static void test_host_parts_are_gone(void **state)
{
	_cleanup_(dink_oci_freep) struct dink_oci *o = good(
		BASE
		"\"hooks\":{\"prestart\":[{\"path\":\"/x\"}]},\"annotations\":{\"a\":\"b\"},"
		"\"linux\":{\"cgroupsPath\":\"/docker/x\",\"namespaces\":[{\"type\":\"network\","
		"\"path\":\"/run/netns/"
		"n\"},{\"type\":\"uts\"},{\"type\":\"pid\"}],\"resources\":{\"blockIO\":{},"
		"\"memory\":{\"limit\":0,\"swap\":5,\"swappiness\":1},\"cpu\":{\"cpus\":\"0\"}}}}");
	static const char *const gone[] = {"hooks",
					   "linux.cgroupsPath",
					   "linux.resources.blockIO",
					   "linux.resources.memory.swap",
					   "linux.resources.memory.limit",
					   "linux.resources.memory.swappiness",
					   "linux.resources.cpu.cpus",
					   "process.apparmorProfile"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		assert_null(dink_json_get(o->config, gone[i]));
	assert_string_equal(o->netns, "/run/netns/n");
	/* the host's own cgroup takes them as they were */
	assert_string_equal(o->cgroups_path, "/docker/x");
	assert_string_equal(dink_json_str_or(o->limits, "cpu.cpus", ""), "0");
	assert_int_equal(dink_json_int_or(o->limits, "memory.swap", 0), 5);
	assert_int_equal(dink_json_len(o->hooks, "prestart"), 1);
	assert_string_equal(dink_json_str_or(o->annotations, "a", ""), "b");
	const char *ns = json_object_to_json_string_ext(
		dink_json_get(o->config, "linux.namespaces"), JSON_C_TO_STRING_PLAIN);
	assert_string_equal(ns, "[{\"type\":\"uts\"},{\"type\":\"pid\"},{\"type\":\"cgroup\"}]");
}

static void test_mounts(void **state)
{
	_cleanup_free_ char *file = xasprintf("%s/file", (char *)*state);
	_cleanup_free_ char *text = xasprintf(
		BASE
		"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"%s\","
		"\"options\":[\"rbind\",\"ro\",\"rprivate\"]},"
		"{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/tmp\","
		"\"options\":[\"bind\"]},{\"destination\":\"/d\",\"type\":\"none\","
		"\"source\":\"%s\",\"options\":[\"bind\"]},"
		"{\"destination\":\"/o\",\"type\":\"overlay\",\"source\":\"/merge\","
		"\"options\":[\"private\",\"lowerdir=/a:/b\",\"context=x\",\"upperdir=/u\"]}],"
		"\"linux\":{" NS "}}",
		file, (char *)*state);
	_cleanup_close_ int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	_cleanup_(dink_oci_freep) struct dink_oci *o = good(text);
	assert_int_equal(o->n_shares, 3);
	assert_null(o->shares[1].overlay);
	assert_string_equal(o->shares[2].overlay, "lowerdir=/a:/b,upperdir=/u");
	assert_string_equal(o->shares[0].source, file);
	assert_true(o->shares[0].readonly && o->shares[0].recursive);
	assert_false(o->shares[1].readonly || o->shares[1].recursive);
	struct json_object *m = dink_json_get(o->config, "mounts");
	assert_int_equal(json_object_array_length(m), 5);
	assert_string_equal(dink_json_str_or(json_object_array_get_idx(m, 0), "source", ""),
			    "proc");
	assert_string_equal(dink_json_str_or(json_object_array_get_idx(m, 4), "type", ""), "bind");
	assert_string_equal(dink_json_str_or(json_object_array_get_idx(m, 1), "source", ""),
			    "/run/dink/share/mounts/0");
	assert_string_equal(dink_json_str_or(json_object_array_get_idx(m, 2), "type", ""), "tmpfs");
	assert_string_equal(dink_json_str_or(json_object_array_get_idx(m, 3), "source", ""),
			    "/run/dink/share/mounts/1");
}

/* The smallest thing that libblkid takes for a file system: an ext2 superblock. */
static void write_image(const char *path, bool erofs)
{
	_cleanup_free_ unsigned char *b = xcalloc(1, 1 << 20);
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (erofs) {
		static const unsigned char magic[] = {0xe2, 0xe1, 0xf5, 0xe0};
		memcpy(b + 1024, magic, sizeof(magic));
		b[1024 + 12] = 12; /* block size, log2 */
	} else {
		b[1024 + 56] = 0x53;
		b[1024 + 57] = 0xef;
		b[1024 + 0] = 16; /* inodes */
		b[1024 + 5] = 4;  /* blocks: 1024 */
		b[1024 + 76] = 1; /* revision */
	}
	assert_int_equal(dink_file_write(path, b, 1 << 20, 0600, &err), 0);
}

static void test_disks(void **state)
{
	_cleanup_free_ char *disk = xasprintf("%s/ext", (char *)*state);
	_cleanup_free_ char *root = xasprintf("%s/erofs", (char *)*state);
	_cleanup_free_ char *text = xasprintf(
		BASE "\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"%s\","
		     "\"options\":[\"rbind\"]},{\"destination\":\"/.dink-root\",\"type\":\"bind\","
		     "\"source\":\"%s\",\"options\":[\"bind\"]}],\"linux\":{" NS "}}",
		disk, root);
	write_image(disk, false);
	write_image(root, true);
	_cleanup_(dink_oci_freep) struct dink_oci *o = good(text);
	assert_int_equal(o->n_disks, 2);
	assert_int_equal(o->n_shares, 0);
	assert_true(o->block_root);
	assert_null(o->rootfs);
	assert_string_equal(o->disks[0].serial, "dink-disk-0");
	assert_string_equal(o->disks[0].fstype, "ext2");
	assert_false(o->disks[0].readonly);
	assert_string_equal(o->disks[1].serial, "dink-root");
	assert_true(o->disks[1].readonly);
	/* the root is no mount of the container's, the other is */
	assert_int_equal(dink_json_len(o->config, "mounts"), 1);
	assert_int_equal(json_object_array_length(o->mounts), 2);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *wrong =
		xasprintf(BASE "\"mounts\":[{\"destination\":\"/"
			       ".dink-root\",\"type\":\"bind\",\"source\":\"%s\"}],"
			       "\"linux\":{" NS "}}",
			  disk);
	struct dink_oci *none = NULL;
	assert_true(adapt(wrong, NULL, &none, &err) < 0);
	assert_non_null(strstr(err.msg, "not erofs"));
}

static const char *options_of(const struct dink_oci *o, size_t i)
{
	return dink_json_str_or(json_object_array_get_idx(o->mounts, i), "options", NULL);
}

/* What an engine cannot say in a bind mount comes by the environment, and goes no further. */
static void test_disk_options(void **state)
{
	static const char *const process = "\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\","
					   "\"env\":[\"A=1\",\"DINK_DISK_OPTIONS=%s\",\"B=2\"]}";
	_cleanup_free_ char *disk = xasprintf("%s/ext", (char *)*state);
	_cleanup_free_ char *mounts = xasprintf(
		"\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/"
		"\"},\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\","
		"\"source\":\"%s\"},{\"destination\":\"/mnt2\",\"type\":\"bind\",\"source\":\"%s\","
		"\"options\":[\"ro\"]}],\"linux\":{" NS "}}",
		disk, disk);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_oci *none = NULL;

	write_image(disk, false);
	_cleanup_free_ char *p =
		xasprintf(process, "/mn=sync /mnt2=rw,noatime /mnt=compress=zstd:1");
	_cleanup_free_ char *text = xasprintf("{%s,%s", p, mounts);
	_cleanup_(dink_oci_freep) struct dink_oci *o = good(text);
	assert_string_equal(options_of(o, 0), "compress=zstd:1");
	assert_string_equal(options_of(o, 1), "rw,noatime,ro");
	assert_int_equal(dink_json_len(o->config, "process.env"), 2);

	_cleanup_free_ char *bad = xasprintf(process, "/mnt=a;b");
	_cleanup_free_ char *worse = xasprintf("{%s,%s", bad, mounts);
	assert_true(adapt(worse, NULL, &none, &err) < 0);
	assert_non_null(strstr(err.msg, "letters, digits"));
}

static void test_size(void **state)
{
	static const struct {
		const char *resources;
		uint32_t mib;
	} cases[] = {
		{"", 512},
		{",\"resources\":{\"memory\":{\"limit\":268435456}}", 256 + 96},
		{",\"resources\":{\"memory\":{\"limit\":4194304}}", 160},
		{",\"resources\":{\"memory\":{\"limit\":-1}}", 512},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text =
			xasprintf(BASE "\"linux\":{" NS "%s}}", cases[i].resources);
		_cleanup_(dink_oci_freep) struct dink_oci *o = good(text);
		assert_int_equal(o->memory_mib, cases[i].mib);
		assert_int_equal(o->cpus, 1);
	}
	_cleanup_(dink_err_clear) struct dink_err err = {};
	const struct dink_oci_size size = {.memory_bytes = 1ULL << 30};
	struct dink_oci *o = NULL;
	assert_int_equal(adapt(BASE "\"linux\":{" NS "}}", &size, &o, &err), 0);
	assert_int_equal(o->memory_mib, 1024);
	dink_oci_free(o);
}

/* A device of the host's that the config calls /dev/kvm is not KVM. */
static void test_nested(void **state)
{
	static const struct {
		const char *devices;
		bool nested;
	} cases[] = {
		{"", false},
		{"{\"type\":\"c\",\"path\":\"/dev/kvm\",\"major\":10,\"minor\":232}", true},
		{"{\"type\":\"c\",\"path\":\"/dev/kvm\",\"major\":1,\"minor\":3}", false},
		{"{\"type\":\"c\",\"path\":\"/dev/fuse\",\"major\":10,\"minor\":229}", false},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text =
			xasprintf(BASE "\"linux\":{" NS ",\"devices\":[%s]}}", cases[i].devices);
		_cleanup_(dink_oci_freep) struct dink_oci *o = good(text);
		assert_int_equal(o->nested, cases[i].nested);
	}
}

/* The word in the environment is as good as the device, is not passed on, and adds it once. */
static void test_nested_word(void **state)
{
	static const struct {
		const char *word, *devices;
		bool nested;
		size_t n;
	} cases[] = {
		{"DINK_NESTED_KVM=1", "", true, 1},
		{"DINK_NESTED_KVM=0", "", false, 0},
		{"NESTED=1", "", false, 0},
		{"DINK_NESTED_KVM=1",
		 "{\"type\":\"c\",\"path\":\"/dev/kvm\",\"major\":10,\"minor\":232}", true, 1},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = xasprintf(
			"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/\"},\"process\":{"
			"\"args\":[\"x\"],\"cwd\":\"/\",\"env\":[\"A=b\",\"%s\"]},"
			"\"linux\":{" NS ",\"devices\":[%s]}}",
			cases[i].word, cases[i].devices);
		_cleanup_(dink_oci_freep) struct dink_oci *o = good(text);
		assert_int_equal(o->nested, cases[i].nested);
		assert_int_equal(dink_json_len(o->config, "linux.devices"), cases[i].n);
		assert_int_equal(dink_json_len(o->config, "linux.resources.devices"),
				 cases[i].nested && !cases[i].devices[0]);
		_cleanup_free_ char *inner = dink_json_text(o->config);
		assert_null(strstr(inner, "DINK_NESTED_KVM"));
	}
}

static void test_boot_timeout(void **state)
{
	_cleanup_(dink_oci_freep) struct dink_oci *o =
		good("{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/\"},\"process\":{"
		     "\"args\":[\"x\"],\"cwd\":\"/\",\"env\":[\"DINK_BOOT_TIMEOUT=7\",\"A=b\"]},"
		     "\"linux\":{" NS "}}");

	(void)state;
	assert_string_equal(o->boot_timeout, "7");
	assert_int_equal(dink_json_len(o->config, "process.env"), 1);
}

static void test_ids(void **state)
{
	static const char *const bad[] = {"", ".", "..", "../x", "a/b", "-x", "a b", "x\n"};
	static const char *const ok[] = {"a", "A_b.c+d-9"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		assert_true(dink_vmstate_check_id(bad[i], &err) < 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		assert_int_equal(dink_vmstate_check_id(ok[i], &err), 0);
	}
}

static void test_state(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL, *again = NULL, *twice = NULL;

	assert_int_equal(dink_vmstate_new(*state, "x", &s, &err), 0);
	assert_true(dink_vmstate_new(*state, "x", &twice, &err) < 0);
	assert_non_null(strstr(err.msg, "already exists"));
	dink_err_clear(&err);
	assert_int_equal(dink_pid_identify(getpid(), &s->monitor), 0);
	dink_json_set_str(s->doc, "bundle", "/b");
	assert_int_equal(dink_vmstate_save(s, &err), 0);
	assert_int_equal(dink_vmstate_load(*state, "x", &again, &err), 0);
	assert_true(dink_vmstate_alive(again));
	assert_string_equal(dink_json_str_or(again->doc, "bundle", ""), "/b");
	/* the same pid of another life is another process */
	again->monitor.start++;
	assert_false(dink_vmstate_alive(again));
	assert_int_equal(dink_vmstate_remove(again, &err), 0);
	assert_int_equal(dink_vmstate_load(*state, "x", &twice, &err), -ENOENT);
}

static void write_text(const char *dir, const char *name, const char *text)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	assert_int_equal(dink_file_write(path, text, strlen(text), 0600, &err), 0);
}

/* Whoever asks for a list of some folder must not have it swept up. */
static void test_folders_of_others(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *begun = NULL, *other = NULL;
	_cleanup_free_ char *b = xasprintf("%s/begun", (char *)*state);
	_cleanup_free_ char *home = xasprintf("%s/home", (char *)*state);
	_cleanup_free_ char *runc = xasprintf("%s/runc", (char *)*state);

	/* a create that was killed at once */
	assert_int_equal(mkdir(b, 0711), 0);
	assert_int_equal(dink_vmstate_load(*state, "begun", &begun, &err), 0);
	assert_null(dink_json_get(begun->doc, "bundle"));
	/* not as it was made */
	assert_int_equal(mkdir(home, 0755), 0);
	assert_true(dink_vmstate_load(*state, "home", &other, &err) < 0);
	dink_err_clear(&err);
	assert_int_equal(chmod(home, 0700), 0);
	write_text(home, "letter", "");
	assert_true(dink_vmstate_load(*state, "home", &other, &err) < 0);
	dink_err_clear(&err);
	/* another runtime's */
	assert_int_equal(mkdir(runc, 0711), 0);
	write_text(runc, "state.json", "{\"id\":\"runc\",\"init_process_pid\":1}");
	assert_int_equal(dink_vmstate_load(*state, "runc", &other, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not written by dink-vm"));
	assert_null(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_host_parts_are_gone),
		cmocka_unit_test_setup_teardown(test_mounts, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(test_disks, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(test_disk_options, unit_tmpdir, unit_rmdir),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_nested_word),
		cmocka_unit_test(test_boot_timeout),
		cmocka_unit_test(test_ids),
		cmocka_unit_test_setup_teardown(test_state, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(test_folders_of_others, unit_tmpdir, unit_rmdir),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
