/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes, tar reading and writing, the layer rewritten from a base, archives told apart. */
#include "tests/unit/unit.h"

#include "images/build.h"
#include "images/tar.h"
#include "provision/base/hash.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <sys/xattr.h>

static int parse(const char *text, struct dink_recipe *r, struct dink_err *err)
{
	_cleanup_free_ char *copy = xstrdup(text);

	return dink_recipe_parse("recipe", copy, r, err);
}

static void recipe_is_read(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};

	assert_int_equal(parse("# words\n\nsuite: bookworm\npackages: bash, dash\npackages: tini\n"
			       "remove: /usr/share/doc\nkeep: /usr/share/doc/a/copyright\n"
			       "cmd: [\"a\", \"b c\"]\nenv: A=1=2\nlabel: x.y=z\n",
			       &r, &err),
			 0);
	assert_string_equal(r.suite, "bookworm");
	assert_int_equal(r.packages.n, 3);
	assert_string_equal(r.packages.v[2], "tini");
	assert_int_equal(r.cmd.n, 2);
	assert_string_equal(r.cmd.v[1], "b c");
	assert_string_equal(r.env.v[0], "A=1=2");
}

static void recipe_is_refused(void **state _unused_)
{
	static const struct {
		const char *text, *words;
		uint32_t line, col;
	} bad[] = {
		{"packages: bash\n", "no 'suite:'", 0, 0},
		{"suite bookworm\n", "expected 'key: value'", 1, 1},
		{"suite: bookworm\nsuite: trixie\n", "second time", 2, 8},
		{"suite: bookworm\npackage: bash\n", "unknown key", 2, 1},
		{"suite: bookworm\npackages: bash --force\n", "no package name", 2, 16},
		{"suite: --help\n", "no name of a suite", 1, 8},
		{"suite: bookworm\nremove: usr/share\n", "starts with '/'", 2, 9},
		{"suite: bookworm\nremove: /a/../b\n", "starts with '/'", 2, 9},
		{"suite: bookworm\ncmd: bash\n", "JSON array", 2, 6},
		{"suite: bookworm\nenv: NOVALUE\n", "NAME=VALUE", 2, 6},
		{"suite: bookworm\nmirror: ftp://x\n", "http", 2, 9},
		{"suite:\n", "missing", 1, 1},
		{"suite: bookworm\ncapability: /bin/x cap_none\n", "PATH CAPABILITY", 2, 20},
		{"from: debian\nfrom: debian\n", "second time", 2, 7},
		{"from: ../debian\n", "no name of a recipe", 1, 7},
		{"suite: bookworm\nfolder: home 1:1 0700\n", "starts with '/'", 2, 9},
		{"suite: bookworm\nfolder: /home/me 1:1\n", "UID:GID MODE", 2, 17},
		{"suite: bookworm\nfolder: /home/me 1:1 0700 x\n", "UID:GID MODE", 2, 17},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		struct dink_recipe r = {};
		assert_true(parse(bad[i].text, &r, &err) < 0);
		assert_int_equal(err.code, DINK_E_SCENARIO);
		if (!strstr(err.msg, bad[i].words))
			fail_msg("%zu: '%s' lacks '%s'", i, err.msg, bad[i].words);
		assert_int_equal(err.src.line, bad[i].line);
		assert_int_equal(err.src.col, bad[i].col);
	}
}

static void removal_knows_folders_and_exceptions(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};

	assert_int_equal(parse("suite: s\nremove: /usr/share/doc\nremove: /etc/*-old\n"
			       "remove: /usr/share/qemu/*\nkeep: /usr/share/qemu/fw/pvh.bin\n",
			       &r, &err),
			 0);
	assert_true(dink_recipe_removes(&r, "usr/share/doc"));
	assert_true(dink_recipe_removes(&r, "usr/share/doc/bash/copyright"));
	assert_false(dink_recipe_removes(&r, "usr/share/docs"));
	assert_true(dink_recipe_removes(&r, "etc/passwd-old"));
	assert_false(dink_recipe_removes(&r, "usr/share/qemu"));
	assert_true(dink_recipe_removes(&r, "usr/share/qemu/keymaps/de"));
	assert_false(dink_recipe_removes(&r, "usr/share/qemu/fw"));
	assert_false(dink_recipe_removes(&r, "usr/share/qemu/fw/pvh.bin"));
	assert_true(dink_recipe_removes(&r, "usr/share/qemu/fw/pvh.bin2"));
}

static char *path_in(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);

	assert_true(unlink(path) == 0 || errno == ENOENT);
	return path;
}

static void put(struct dink_tar_writer *w, mode_t type, const char *name, const char *link,
		const char *data)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, 0755);
	archive_entry_set_uid(e, 7);
	archive_entry_set_gid(e, 3000000000);
	archive_entry_set_uname(e, "someone");
	archive_entry_set_mtime(e, 1000, 5);
	archive_entry_set_ino(e, (la_int64_t)rand());
	if (type == AE_IFLNK)
		archive_entry_set_symlink(e, link);
	if (type == AE_IFCHR) {
		archive_entry_set_rdevmajor(e, 1);
		archive_entry_set_rdevminor(e, 3);
	}
	archive_entry_set_size(e, data ? (la_int64_t)strlen(data) : 0);
	assert_int_equal(dink_tar_put(w, e, name, type == AE_IFREG ? link : NULL, &err), 0);
	if (data && *data)
		assert_int_equal(dink_tar_put_bytes(w, data, strlen(data), &err), 0);
	archive_entry_free(e);
}

static struct dink_tar_writer *create(const char *path, struct dink_hash *hash)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_tar_writer *w;

	assert_int_equal(dink_tar_create(path, hash, &w, &err), 0);
	return w;
}

static void finish(struct dink_tar_writer *w)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	assert_int_equal(dink_tar_finish(w, &err), 0);
}

static void must_be_next(struct dink_tar *t, const char *name, mode_t type)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	assert_int_equal(dink_tar_next(t, &err), 1);
	assert_string_equal(t->name, name);
	assert_int_equal(archive_entry_filetype(t->entry), type);
}

static void tar_keeps_everything(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = path_in(*state, "a.tar"), *text = NULL;
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	struct dink_tar_writer *w = create(path, NULL);
	/* a name of ca-certificates, its letters composed and not: neither may change */
	static const char accents[] = "F\xc5\x91tan/Fo\xcc\x8btan/\xff";
	char deep[1500];
	size_t len;

	memset(deep, 'd', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	deep[700] = '/';
	put(w, AE_IFDIR, "", NULL, NULL);
	put(w, AE_IFDIR, "etc", NULL, NULL);
	put(w, AE_IFREG, "etc/empty", NULL, "");
	put(w, AE_IFREG, deep, NULL, "content");
	put(w, AE_IFLNK, "link", deep, NULL);
	put(w, AE_IFREG, "hard", "etc/empty", NULL);
	put(w, AE_IFCHR, "null", NULL, NULL);
	put(w, AE_IFREG, accents, NULL, "");
	finish(w);

	assert_int_equal(dink_tar_open(path, &t, &err), 0);
	must_be_next(t, "", AE_IFDIR);
	must_be_next(t, "etc", AE_IFDIR);
	must_be_next(t, "etc/empty", AE_IFREG);
	must_be_next(t, deep, AE_IFREG);
	assert_int_equal(archive_entry_uid(t->entry), 7);
	assert_int_equal(archive_entry_gid(t->entry), 3000000000);
	assert_int_equal(archive_entry_mtime(t->entry), 1000);
	assert_int_equal(dink_tar_text(t, 6, &text, &len, &err), -EFBIG);
	dink_err_clear(&err);
	assert_int_equal(dink_tar_text(t, 7, &text, &len, &err), 0);
	assert_string_equal(text, "content");
	must_be_next(t, "link", AE_IFLNK);
	assert_string_equal(archive_entry_symlink(t->entry), deep);
	assert_int_equal(dink_tar_next(t, &err), 1);
	assert_string_equal(t->hardlink, "etc/empty");
	must_be_next(t, "null", AE_IFCHR);
	assert_int_equal(archive_entry_rdevminor(t->entry), 3);
	must_be_next(t, accents, AE_IFREG);
	assert_int_equal(dink_tar_next(t, &err), 0);
}

/* Inode numbers, owners' names and parts of seconds stay outside: same members, same bytes. */
static void tar_is_the_same_twice(void **state)
{
	char digest[2][65];

	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *path = path_in(*state, "twice.tar");
		struct dink_hash *h = dink_hash_new();
		struct dink_tar_writer *w = create(path, h);
		_cleanup_(dink_err_clear) struct dink_err err = {};
		char of_file[65];
		put(w, AE_IFREG, "file", NULL, "text");
		put(w, AE_IFREG, "again", "file", NULL);
		finish(w);
		dink_hash_end(h, digest[i]);
		assert_int_equal(dink_sha256_file(path, of_file, &err), 0);
		assert_string_equal(of_file, digest[i]);
	}
	assert_string_equal(digest[0], digest[1]);
}

/* The second opinion: GNU tar reads what we write. */
static void tar_is_read_by_others(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = path_in(*state, "b.tar");
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	struct dink_tar_writer *w = create(path, NULL);
	char name[301] = "";

	memset(name, 'n', 200);
	put(w, AE_IFREG, name, NULL, "text");
	put(w, AE_IFDIR, "folder", NULL, NULL);
	finish(w);
	dink_cmd_argv(&cmd, "tar", "--list", "--numeric-owner", "--file", path, NULL);
	assert_int_equal(dink_cmd_run(&cmd, &err), 0);
	_cleanup_free_ char *expected = xasprintf("%s\nfolder/\n", name);
	assert_string_equal(cmd.output, expected);
}

/* ... and the other way: xattrs (file capabilities are such) come through. */
static void tar_keeps_xattrs(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};
	_cleanup_free_ char *file = path_in(*state, "capable"), *base = path_in(*state, "x.tar"),
			    *layer = path_in(*state, "y.tar");
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	const char *key;
	const void *value;
	size_t len;
	char id[65];

	assert_int_equal(dink_file_write(file, "x", 1, 0755, &err), 0);
	if (setxattr(file, "user.a", "b\0c", 3, 0) < 0 && errno == ENOTSUP)
		skip();
	dink_cmd_argv(&cmd, "tar", "--create", "--format=pax", "--xattrs", "--file", base, "-C",
		      (char *)*state, "capable", NULL);
	assert_int_equal(dink_cmd_run(&cmd, &err), 0);
	assert_int_equal(parse("suite: s\n", &r, &err), 0);
	assert_int_equal(dink_image_rewrite(&r, base, layer, id, &err), 0);
	assert_int_equal(dink_tar_open(layer, &t, &err), 0);
	must_be_next(t, "capable", AE_IFREG);
	assert_int_equal(archive_entry_xattr_reset(t->entry), 1);
	assert_int_equal(archive_entry_xattr_next(t->entry, &key, &value, &len), ARCHIVE_OK);
	assert_string_equal(key, "user.a");
	assert_int_equal(len, 3);
	assert_memory_equal(value, "b\0c", 3);
}

static void tar_refuses_damage(void **state)
{
	_cleanup_free_ char *path = path_in(*state, "c.tar");
	struct dink_tar_writer *w = create(path, NULL);
	_cleanup_close_ int fd = -1;

	put(w, AE_IFREG, "file", NULL, "0123456789");
	finish(w);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	/* each byte of the header in turn but those after the checksum's digits */
	for (off_t at = 0; at < 512; at += at == 153 ? 3 : 1) {
		_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
		_cleanup_(dink_err_clear) struct dink_err err = {};
		unsigned char old, flipped;
		assert_int_equal(pread(fd, &old, 1, at), 1);
		flipped = old ^ 0x41;
		assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
		assert_true(dink_tar_open(path, &t, &err) < 0 || dink_tar_next(t, &err) < 0);
		assert_true(dink_err_is_set(&err));
		assert_int_equal(pwrite(fd, &old, 1, at), 1);
	}
	/* shorter and shorter: the data is cut, then the header */
	for (off_t len = 521; len > 0; len -= 7) {
		_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_free_ char *text = NULL;
		size_t n;
		assert_int_equal(ftruncate(fd, len), 0);
		assert_true(dink_tar_open(path, &t, &err) < 0 || dink_tar_next(t, &err) < 0 ||
			    dink_tar_text(t, 100, &text, &n, &err) < 0);
	}
}

static void write_recipe(const char *dir, const char *recipe)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *files = xasprintf("%s/files/etc", dir);
	_cleanup_free_ char *path = xasprintf("%s/recipe", dir);
	_cleanup_free_ char *own = xasprintf("%s/files/etc/own", dir);
	_cleanup_free_ char *tool = xasprintf("%s/files/tool", dir);

	assert_int_equal(dink_mkdir_p(files, 0700, &err), 0);
	assert_int_equal(dink_file_write(path, recipe, strlen(recipe), 0644, &err), 0);
	assert_int_equal(dink_file_write(own, "ours", 4, 0600, &err), 0);
	assert_int_equal(dink_file_write(tool, "#!/bin/sh\n", 10, 0700, &err), 0);
}

static char *names_of(const char *path)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	_cleanup_str_ struct dink_str s = {};

	assert_int_equal(dink_tar_open(path, &t, &err), 0);
	while (dink_tar_next(t, &err) > 0)
		dink_str_addf(&s, "%s%s%s:%o:%jd ", t->name, t->hardlink ? "=" : "",
			      t->hardlink ? t->hardlink : "", archive_entry_perm(t->entry),
			      (intmax_t)archive_entry_size(t->entry));
	assert_false(dink_err_is_set(&err));
	return dink_str_take(&s);
}

static void layer_is_rewritten(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};
	_cleanup_free_ char *base = path_in(*state, "base.tar"), *out = path_in(*state, "l.tar"),
			    *twin = path_in(*state, "m.tar");
	struct dink_tar_writer *w = create(base, NULL);
	char id[65], id2[65];

	put(w, AE_IFCHR, "dev/null", NULL, NULL);
	put(w, AE_IFDIR, "etc", NULL, NULL);
	put(w, AE_IFREG, "etc/hostname", NULL, "builder");
	put(w, AE_IFREG, "etc/own", NULL, "theirs");
	put(w, AE_IFREG, "gone/data", NULL, "0123456789");
	put(w, AE_IFREG, "kept", "gone/data", NULL);
	put(w, AE_IFREG, "kept2", "gone/data", NULL);
	put(w, AE_IFREG, "plain", NULL, "1");
	put(w, AE_IFREG, "plain2", "plain", NULL);
	put(w, AE_IFDIR, "var", NULL, NULL);
	finish(w);
	write_recipe(*state, "suite: bookworm\nremove: /gone\nfolder: /var 0:0 0710\n"
			     "folder: /var/mine 7:7 0700\n");
	assert_int_equal(dink_recipe_read(*state, &r, &err), 0);
	assert_int_equal(dink_image_rewrite(&r, base, out, id, &err), 0);
	assert_int_equal(dink_image_rewrite(&r, base, twin, id2, &err), 0);
	assert_string_equal(id, id2);
	_cleanup_free_ char *names = names_of(out);
	/* the link to what was removed became the file; files/ comes after that, with git's modes;
	 * a folder that the base has already is there once */
	assert_string_equal(names, "etc:755:0 kept:755:10 kept2=kept:755:0 plain:755:1 "
				   "plain2=plain:755:0 var:710:0 etc/own:644:4 tool:755:10 "
				   "var/mine:700:0 ");
}

static void archive_is_identified(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};
	_cleanup_free_ char *path = path_in(*state, "x.docker"), *made = NULL, *id = NULL,
			    *ref = NULL, *layer = path_in(*state, "layer.tar");
	char zeros[1024] = "", diff[65];

	assert_int_equal(dink_file_write(layer, zeros, sizeof(zeros), 0644, &err), 0);
	assert_int_equal(dink_sha256_file(layer, diff, &err), 0);
	assert_int_equal(parse("suite: s\ncmd: [\"sh\"]\n", &r, &err), 0);
	assert_int_equal(dink_image_archive(&r, path, "x:y", layer, diff, &made, &err), 0);
	assert_int_equal(dink_archive_identify(path, &id, &ref, &err), 0);
	assert_string_equal(id, made);
	assert_string_equal(ref, "x:y");
}

static void archive_of_another_kind_is_refused(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {}, plain = {};
	_cleanup_free_ char *path = path_in(*state, "oci.tar"), *text = path_in(*state, "text"),
			    *id = NULL, *ref = NULL;
	struct dink_tar_writer *w = create(path, NULL);

	put(w, AE_IFREG, "oci-layout", NULL, "{}");
	finish(w);
	assert_true(dink_archive_identify(path, &id, &ref, &err) < 0);
	assert_non_null(strstr(err.msg, "OCI archive"));
	assert_non_null(strstr(err.hint, "skopeo copy"));
	assert_int_equal(dink_file_write(text, "words\n", 6, 0644, &plain), 0);
	assert_true(dink_archive_identify(text, &id, &ref, &plain) < 0);
	assert_int_equal(plain.code, DINK_E_HOST);
}

/* An engine and its messages get the name: it is refused unless it is one. */
static void archive_with_a_strange_name_is_refused(void **state)
{
	static const char *const names[] = {"\"-x\"", "\"a b\"", "\"\\u001b[2J\"", "5", "\"\""};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_free_ char *path = path_in(*state, "n.tar"), *id = NULL, *ref = NULL;
		_cleanup_free_ char *manifest = xasprintf(
			"[{\"Config\":\"c.json\",\"RepoTags\":[%s],\"Layers\":[]}]", names[i]);
		struct dink_tar_writer *w = create(path, NULL);
		put(w, AE_IFREG, "manifest.json", NULL, manifest);
		put(w, AE_IFREG, "c.json", NULL, "{}");
		finish(w);
		assert_true(dink_archive_identify(path, &id, &ref, &err) < 0);
		assert_non_null(strstr(err.msg, "the image's name"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recipe_is_read),
		cmocka_unit_test(recipe_is_refused),
		cmocka_unit_test(removal_knows_folders_and_exceptions),
		cmocka_unit_test_setup_teardown(tar_keeps_everything, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(tar_is_the_same_twice, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(tar_keeps_xattrs, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(archive_with_a_strange_name_is_refused, unit_tmpdir,
						unit_rmdir),
		cmocka_unit_test_setup_teardown(tar_is_read_by_others, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(tar_refuses_damage, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(layer_is_rewritten, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(archive_is_identified, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(archive_of_another_kind_is_refused, unit_tmpdir,
						unit_rmdir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
