/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of errors: its form, that every entry is found in the words that its program said
 * (tests/golden/explain, renewed by tests/explain), and how lines are matched.
 */
#include "tests/unit/unit.h"

#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/explain/explain.h"

static void explain(const char *text, struct dink_explanation *x)
{
	dink_explain_text(text, strlen(text), NULL, x);
}

/* The entry that a text gets first; NULL if none. */
static const char *first(const char *text)
{
	_cleanup_explanation_ struct dink_explanation x = {};

	explain(text, &x);
	return x.n ? x.v[0].entry->name : NULL;
}

static void check_pattern(const struct dink_explain_entry *e, const char *p)
{
	if (strlen(p) < 12)
		fail_msg("%s: the pattern '%s' is too short to be sure", e->name, p);
	for (const char *c = p; *c; c++)
		if ((*c >= 'A' && *c <= 'Z') || strchr("\"'`\\\t\n", *c) ||
		    (*c == ' ' && c[1] == ' ') || (*c == '*' && (c == p || c[1] == '*')))
			fail_msg("%s: the pattern '%s' is not folded", e->name, p);
}

static void test_form(void **state)
{
	const struct dink_explain_entry *e;
	size_t n = 0;

	(void)state;
	for (; (e = dink_explain_entry_at(n)); n++) {
		assert_ptr_equal(dink_explain_entry_find(e->name), e); /* each name once */
		assert_int_equal(strspn(e->name, "abcdefghijklmnopqrstuvwxyz0123456789-"),
				 strlen(e->name));
		assert_non_null(e->program);
		assert_non_null(e->patterns[0]);
		for (size_t k = 0; k < DINK_EXPLAIN_PATTERNS && e->patterns[k]; k++)
			check_pattern(e, e->patterns[k]);
		if (!e->cause || !e->fix || !e->source)
			fail_msg("%s says not all", e->name);
	}
	assert_true(n >= 60);
	assert_null(dink_explain_entry_find("nope"));
}

/* Every entry has the words of its program, and is what they get. */
static void test_goldens(void **state)
{
	const struct dink_explain_entry *e;

	(void)state;
	for (size_t i = 0; (e = dink_explain_entry_at(i)); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_free_ char *path = xasprintf("tests/golden/explain/%s.txt", e->name);
		_cleanup_free_ char *text = NULL;
		const char *got;

		if (dink_file_read(path, 1 << 20, &text, NULL, &err) < 0)
			fail_msg("%s was not reproduced: %s is missing", e->name, path);
		got = first(text);
		if (!got || !STREQ(got, e->name))
			fail_msg("%s: explained as %s", path, got ? got : "nothing");
	}
}

static void test_no_stray_golden(void **state)
{
	_cleanup_closedir_ DIR *d = opendir("tests/golden/explain");
	struct dirent *f;

	(void)state;
	assert_non_null(d);
	while ((f = readdir(d))) {
		_cleanup_free_ char *name = xstrdup(f->d_name);
		char *dot = strrchr(name, '.');

		if (name[0] == '.' || !dot)
			continue;
		*dot = '\0';
		if (!dink_explain_entry_find(name))
			fail_msg("tests/golden/explain/%s is of no entry", f->d_name);
	}
}

static void test_folding(void **state)
{
	(void)state;
	assert_string_equal(first("mount: /x: unknown filesystem type 'zfs'."), "mount-unknown-fs");
	assert_string_equal(
		first("level=error msg=\"MOUNT: /x:  unknown\tfilesystem\\ntype \\\"zfs\""),
		"mount-unknown-fs");
	assert_string_equal(first("mount: \xe2\x80\x98/x\xe2\x80\x99: unknown \xe2\x80\x9c"
				  "filesystem type\xe2\x80\x9d"),
			    "mount-unknown-fs");
	assert_null(first("unknown file system type"));
	/* pieces are of one line, and in order */
	assert_null(first("unable to resize '/x'\nno enough free space"));
	assert_null(first("no enough free space: unable to resize"));
	assert_null(first(""));
	assert_null(first("\\\\\\"));
	/* from the beginning only */
	assert_string_equal(first("open: No such file or directory"), "tun-missing");
	assert_null(first("the door is open: no such file or directory"));
}

static void test_best_of_a_line(void **state)
{
	(void)state;
	/* "no space" alone would be the disk's */
	assert_string_equal(first("unshare: unshare failed: No space left on device"),
			    "unshare-no-room");
	assert_string_equal(first("cat: write error: No space left on device"), "no-space");
}

/* Words that others use, too, are not enough to know who said them. */
static void test_not_too_wide(void **state)
{
	static const char *const others[] = {
		"losetup: /dev/loop0: Inappropriate ioctl for device",
		"OCI runtime exec failed: chdir to cwd (\"/etc/passwd\"): not a directory: unknown",
		"open /usr/lib/plugins/bridge: no such file or directory",
		"curl: checksum of rootfs.tar: no such file or directory",
		"Error: a network for container web already exists",
		"tar: header length mismatch",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (first(others[i]))
			fail_msg("%s: %s", first(others[i]), others[i]);
	assert_string_equal(first("crun: container `x` already exists"), "crun-exists");
	assert_string_equal(first("qemu-system-x86_64: Length mismatch: pc.ram: 0x4000000 in != "
				  "0x6000000: Invalid argument"),
			    "qemu-other-memory");
}

static void test_counts_and_order(void **state)
{
	_cleanup_explanation_ struct dink_explanation x = {};

	(void)state;
	explain("all is well\numount: /a: target is busy.\n\nunknown filesystem type 'x'\n"
		"umount: /b: target is busy.",
		&x);
	assert_int_equal(x.n, 2);
	assert_string_equal(x.v[0].entry->name, "umount-busy");
	assert_int_equal(x.v[0].line, 2);
	assert_int_equal(x.v[0].count, 2);
	assert_string_equal(x.v[0].text, "umount: /a: target is busy.");
	assert_int_equal(x.v[1].line, 4);
}

static void test_bounds(void **state)
{
	_cleanup_explanation_ struct dink_explanation x = {};
	size_t n = DINK_EXPLAIN_TEXT_MAX + (1 << 20);
	_cleanup_free_ char *text = xmalloc(n + 1);
	static const char error[] = "\x1b[31munknown filesystem type 'x'";

	(void)state;
	memset(text, 'u', n);
	text[n] = '\0';
	/* in front of what is read */
	memcpy(text, error, sizeof(error) - 1);
	explain(text, &x);
	assert_int_equal(x.n, 0);
	/* a line of any length is looked at to its end */
	memcpy(text + n - sizeof(error), error, sizeof(error) - 1);
	explain(text, &x);
	assert_int_equal(x.n, 1);
	assert_true(strlen(x.v[0].text) < 512);
	assert_null(strchr(x.v[0].text, '\x1b'));
}

static void test_error_gets_lines(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {}, other = {};

	(void)state;
	(void)dink_err_set(&err, DINK_E_CHILD, 0, "the layer ended before its engine answered");
	dink_err_detail(&err, "starting\nmount: /x: unknown filesystem type 'btrfs'.\n");
	(void)dink_err_hint(&err, "first");
	dink_explain_err(&err);
	assert_int_equal(strncmp(err.hint, "first\n  explain: mount-unknown-fs (kernel): ", 43), 0);
	assert_non_null(strstr(err.hint, "\n  explain: fix: "));
	(void)dink_err_set(&other, DINK_E_CHILD, 0, "nobody knows");
	dink_explain_err(&other);
	assert_null(other.hint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_goldens),
		cmocka_unit_test(test_no_stray_golden),
		cmocka_unit_test(test_folding),
		cmocka_unit_test(test_best_of_a_line),
		cmocka_unit_test(test_not_too_wide),
		cmocka_unit_test(test_counts_and_order),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_error_gets_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
