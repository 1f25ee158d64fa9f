/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's initramfs: a well-formed newc archive with the agent, crun and all it links. */
#include "provision/base/file.h"
#include "provision/base/proc.h"
#include "provision/vm/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

struct archive {
	char *data;
	size_t len;
};

struct member {
	unsigned long mode, size, dev_major, dev_minor;
	const char *name;
	const char *data;
};

static unsigned long field(const char *header, int n)
{
	char text[9] = "";

	memcpy(text, header + 6 + n * 8, 8);
	return strtoul(text, NULL, 16);
}

/* next_member() - reads at *at and moves it; false at the trailer */
static bool next_member(const struct archive *a, size_t *at, struct member *ret)
{
	const char *h = a->data + *at;
	size_t name_len;

	assert_true(*at + 110 <= a->len);
	assert_memory_equal(h, "070701", 6);
	assert_int_equal(*at % 4, 0);
	name_len = field(h, 11);
	ret->mode = field(h, 1);
	ret->size = field(h, 6);
	ret->dev_major = field(h, 9);
	ret->dev_minor = field(h, 10);
	ret->name = h + 110;
	assert_int_equal(strlen(ret->name) + 1, name_len);
	*at = (*at + 110 + name_len + 3) & ~(size_t)3;
	ret->data = a->data + *at;
	*at = (*at + ret->size + 3) & ~(size_t)3;
	assert_true(*at <= a->len);
	return !STREQ(ret->name, "TRAILER!!!");
}

static bool find_member(const struct archive *a, const char *name, struct member *ret)
{
	size_t at = 0;

	while (next_member(a, &at, ret)) {
		if (STREQ(ret->name, name))
			return true;
	}
	return false;
}

/* any program that is linked dynamically stands for crun */
static const struct dink_guest_programs from = {.agent = "/bin/sh", .crun = "/bin/ls"};

static int write_archive(const struct dink_guest_programs *p, struct archive *ret)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	char path[] = "/tmp/dink-test-initramfs-XXXXXX";
	int fd = mkstemp(path), r;

	if (fd < 0)
		return -1;
	close(fd);
	r = dink_initramfs_write(path, p, &err);
	if (!r)
		r = dink_file_read(path, 64 << 20, &ret->data, &ret->len, &err);
	unlink(path);
	if (r < 0) {
		_cleanup_free_ char *text = dink_err_format(&err);

		fprintf(stderr, "%s", text);
	}
	return r;
}

static int make_archive(void **state)
{
	*state = xcalloc(1, sizeof(struct archive));
	return write_archive(&from, *state);
}

static int free_archive(void **state)
{
	struct archive *a = *state;

	free(a->data);
	free(a);
	return 0;
}

static void test_init_is_agent(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *want = NULL;
	struct member m;
	size_t len;

	assert_true(find_member(*state, "init", &m));
	assert_int_equal(m.mode, S_IFREG | 0755);
	assert_int_equal(dink_file_read("/bin/sh", 64 << 20, &want, &len, &err), 0);
	assert_int_equal(m.size, len);
	assert_memory_equal(m.data, want, len);
}

static void test_nodes(void **state)
{
	struct member m;

	assert_true(find_member(*state, "dev/console", &m));
	assert_int_equal(m.mode, S_IFCHR | 0600);
	assert_int_equal(m.dev_major, 5);
	assert_int_equal(m.dev_minor, 1);
	assert_true(find_member(*state, "dev", &m));
	assert_int_equal(m.mode, S_IFDIR | 0755);
}

/* every library is there, and every folder comes before what is in it, once */
static void test_libraries(void **state)
{
	const struct archive *a = *state;
	_cleanup_strv_ struct dink_strv seen = {};
	struct member m;
	size_t at = 0;
	bool libc = false;

	assert_true(find_member(a, "usr/bin/crun", &m));
	assert_true(find_member(a, "lib64/ld-linux-x86-64.so.2", &m));
	while (next_member(a, &at, &m)) {
		const char *slash = strrchr(m.name, '/');

		assert_false(dink_strv_has(&seen, m.name));
		if (slash) {
			_cleanup_free_ char *dir = xstrndup(m.name, (size_t)(slash - m.name));

			assert_true(dink_strv_has(&seen, dir));
		}
		libc = libc || strstr(m.name, "/libc.so.6");
		dink_strv_add(&seen, m.name);
	}
	assert_true(libc);
}

static void test_same_bytes(void **state)
{
	struct archive *again = NULL;

	assert_int_equal(make_archive((void **)&again), 0);
	assert_int_equal(again->len, ((struct archive *)*state)->len);
	assert_memory_equal(again->data, ((struct archive *)*state)->data, again->len);
	free_archive((void **)&again);
}

/* has_library() - does crun's archive hold it, with the libraries of guest_lib? */
static bool has_library(const char *crun, const char *guest_lib, const char *name)
{
	const struct dink_guest_programs p = {
		.agent = "/bin/sh", .crun = crun, .guest_lib = guest_lib};
	struct archive a = {};
	struct member m;
	bool found;

	assert_int_equal(write_archive(&p, &a), 0);
	found = find_member(&a, name, &m);
	free(a.data);
	return found;
}

/* our libsystemd instead of the host's, but only if it has all that crun wants of it */
static void test_stand_in(void **state)
{
	static const char stand_in[] = "lib/libsystemd.so.0",
			  real[] = "lib/x86_64-linux-gnu/libsystemd.so.0";
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *crun = dink_which("crun"), *wrong = NULL;
	_cleanup_free_ char *lib = realpath("build/guest-lib", NULL);
	char dir[] = "/tmp/dink-test-lib-XXXXXX";

	(void)state;
	if (!crun)
		skip();
	assert_non_null(lib);
	assert_true(has_library(crun, lib, stand_in));
	assert_false(has_library(crun, lib, real));
	assert_true(has_library(crun, NULL, real));

	assert_non_null(mkdtemp(dir));
	wrong = xasprintf("%s/libsystemd.so.0", dir);
	assert_int_equal(symlink("/lib/x86_64-linux-gnu/libc.so.6", wrong), 0);
	assert_true(has_library(crun, dir, real));
	assert_false(has_library(crun, dir, stand_in));
	assert_int_equal(dink_rm_rf(dir, &err), 0);
}

static void test_missing_input(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	(void)state;
	const struct dink_guest_programs none = {.agent = "/no/agent", .crun = "/bin/ls"};

	assert_int_equal(dink_initramfs_write("/tmp/dink-test-none", &none, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/no/agent"));
	assert_false(dink_exists("/tmp/dink-test-none"));
}

/* the guest folder: made once, found again, another key for another input */
static void test_guest_folder(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL, *cpio = NULL;
	const struct dink_guest_programs p = {
		.dink_vm = "/bin/ls", .agent = "/bin/sh", .crun = "/bin/ls"};
	char cache[] = "/tmp/dink-test-cache-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(cache));
	setenv("DINK_CACHE_DIR", cache, 1);
	assert_int_equal(dink_guest_make("/bin/cat", &p, &a, &err), 0);
	assert_int_equal(dink_guest_make("/bin/cat", &p, &b, &err), 0);
	assert_string_equal(a, b);
	assert_int_equal(dink_guest_make("/bin/true", &p, &c, &err), 0);
	assert_string_not_equal(a, c);
	for (size_t i = 0; i < 5; i++) {
		static const char *const names[] = {"vmlinux", "initramfs.cpio", "dink-vm",
						    "dink-agent", "guest.json"};

		free(cpio);
		cpio = xasprintf("%s/%s", a, names[i]);
		assert_true(dink_exists(cpio));
	}
	assert_int_equal(dink_rm_rf(cache, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_is_agent), cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_libraries),     cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_missing_input), cmocka_unit_test(test_guest_folder),
		cmocka_unit_test(test_stand_in),
	};

	return cmocka_run_group_tests(tests, make_archive, free_archive);
}
