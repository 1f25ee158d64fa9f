/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes, tar reading and writing, the layer rewritten from a base, archives told apart. */
#include "tests/unit/unit.h"

#include "images/build.h"
#include "images/tar.h"
#include "provision/base/hash.h"
#include "provision/base/proc.h"

#include <fcntl.h>
#include <sys/stat.h>

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

static int open_new(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	return fd;
}

static void put(struct dink_tar_writer *w, char type, const char *name, const char *link,
		const char *data)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *n = xstrdup(name), *l = link ? xstrdup(link) : NULL;
	const struct dink_tar_member m = {.name = n,
					  .link = l,
					  .type = type,
					  .mode = 0755,
					  .uid = 7,
					  .gid = 8,
					  .size = data ? strlen(data) : 0,
					  .mtime = 1000};

	assert_int_equal(dink_tar_put(w, &m, &err), 0);
	if (data && *data)
		assert_int_equal(dink_tar_put_data(w, data, strlen(data), &err), 0);
}

static void tar_keeps_everything(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_close_ int fd = open_new(*state, "a.tar");
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	const struct dink_tar_member *m;
	struct dink_tar_writer *w = dink_tar_writer_new(fd, "a.tar", NULL);
	char deep[1500];

	memset(deep, 'd', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	deep[700] = '/';
	put(w, DINK_TAR_DIR, "etc", NULL, NULL);
	put(w, DINK_TAR_FILE, "etc/empty", NULL, "");
	put(w, DINK_TAR_FILE, deep, NULL, "content");
	put(w, DINK_TAR_SYMLINK, "link", deep, NULL);
	put(w, DINK_TAR_HARDLINK, "hard", "etc/empty", NULL);
	assert_int_equal(dink_tar_finish(w, &err), 0);

	assert_int_equal(dink_tar_open(fd, "a.tar", &t, &err), 0);
	assert_int_equal(dink_tar_next(t, &m, &err), 1);
	assert_string_equal(m->name, "etc");
	assert_int_equal(m->type, DINK_TAR_DIR);
	assert_int_equal(dink_tar_next(t, &m, &err), 1);
	assert_string_equal(m->name, "etc/empty");
	assert_int_equal(dink_tar_next(t, &m, &err), 1);
	assert_string_equal(m->name, deep);
	assert_int_equal(m->size, 7);
	assert_int_equal(m->uid, 7);
	assert_int_equal(m->gid, 8);
	assert_int_equal(m->mtime, 1000);
	char content[8] = "";
	assert_int_equal(pread(fd, content, 7, m->data), 7);
	assert_string_equal(content, "content");
	assert_int_equal(dink_tar_next(t, &m, &err), 1);
	assert_string_equal(m->link, deep);
	assert_int_equal(dink_tar_next(t, &m, &err), 1);
	assert_string_equal(m->link, "etc/empty");
	assert_int_equal(dink_tar_next(t, &m, &err), 0);
}

/* The second opinion: GNU tar reads what we write. */
static void tar_is_read_by_others(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_close_ int fd = open_new(*state, "b.tar");
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	struct dink_tar_writer *w = dink_tar_writer_new(fd, "b.tar", NULL);
	char name[301] = "";

	memset(name, 'n', 200);
	put(w, DINK_TAR_FILE, name, NULL, "text");
	put(w, DINK_TAR_DIR, "folder", NULL, NULL);
	assert_int_equal(dink_tar_finish(w, &err), 0);
	dink_cmd_argv(&cmd, "tar", "--list", "--file", NULL);
	dink_strv_addf(&cmd.argv, "%s/b.tar", (char *)*state);
	assert_int_equal(dink_cmd_run(&cmd, &err), 0);
	_cleanup_free_ char *expected = xasprintf("%s\nfolder/\n", name);
	assert_string_equal(cmd.output, expected);
}

static void tar_refuses_damage(void **state)
{
	_cleanup_close_ int fd = open_new(*state, "c.tar");
	_cleanup_(dink_err_clear) struct dink_err first = {};
	struct dink_tar_writer *w = dink_tar_writer_new(fd, "c.tar", NULL);
	const struct dink_tar_member *m;
	struct stat st;

	put(w, DINK_TAR_FILE, "file", NULL, "0123456789");
	assert_int_equal(dink_tar_finish(w, &first), 0);
	assert_int_equal(fstat(fd, &st), 0);
	/* each byte of the header in turn but the one after the checksum's end */
	for (off_t at = 0; at < 512; at += at == 154 ? 2 : 1) {
		_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
		_cleanup_(dink_err_clear) struct dink_err err = {};
		unsigned char old, flipped;
		assert_int_equal(pread(fd, &old, 1, at), 1);
		flipped = old ^ 0x41;
		assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
		assert_int_equal(dink_tar_open(fd, "c.tar", &t, &err), 0);
		assert_true(dink_tar_next(t, &m, &err) < 0);
		assert_true(dink_err_is_set(&err));
		assert_int_equal(pwrite(fd, &old, 1, at), 1);
	}
	/* shorter and shorter: the data is cut, then the header */
	for (off_t len = 521; len > 0; len -= 7) {
		_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
		_cleanup_(dink_err_clear) struct dink_err err = {};
		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(dink_tar_open(fd, "c.tar", &t, &err), 0);
		assert_true(dink_tar_next(t, &m, &err) < 0);
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

static char *names_of(int fd)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_tar_freep) struct dink_tar *t = NULL;
	const struct dink_tar_member *m;
	_cleanup_str_ struct dink_str s = {};

	assert_int_equal(dink_tar_open(fd, "layer", &t, &err), 0);
	while (dink_tar_next(t, &m, &err) > 0)
		dink_str_addf(&s, "%c%s:%o:%ju ", m->type, m->name, m->mode, (uintmax_t)m->size);
	assert_false(dink_err_is_set(&err));
	return dink_str_take(&s);
}

static void layer_is_rewritten(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};
	_cleanup_close_ int base = open_new(*state, "base.tar"), out = open_new(*state, "l.tar"),
			    twin = open_new(*state, "m.tar");
	struct dink_tar_writer *w = dink_tar_writer_new(base, "base.tar", NULL);
	char id[65], id2[65];

	put(w, DINK_TAR_FILE, "dev/null", NULL, "");
	put(w, DINK_TAR_DIR, "etc", NULL, NULL);
	put(w, DINK_TAR_FILE, "etc/hostname", NULL, "builder");
	put(w, DINK_TAR_FILE, "etc/own", NULL, "theirs");
	put(w, DINK_TAR_FILE, "gone/data", NULL, "0123456789");
	put(w, DINK_TAR_HARDLINK, "kept", "gone/data", NULL);
	assert_int_equal(dink_tar_finish(w, &err), 0);
	write_recipe(*state, "suite: bookworm\nremove: /gone\n");
	assert_int_equal(dink_recipe_read(*state, &r, &err), 0);
	assert_int_equal(dink_image_rewrite(&r, base, out, id, &err), 0);
	assert_int_equal(dink_image_rewrite(&r, base, twin, id2, &err), 0);
	assert_string_equal(id, id2);
	_cleanup_free_ char *names = names_of(out);
	/* the link to what was removed became the file; files/ comes last, with git's modes */
	assert_string_equal(names, "5etc:755:0 0kept:755:10 0etc/own:644:4 0tool:755:10 ");
}

static void archive_is_identified(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_recipe_clear) struct dink_recipe r = {};
	_cleanup_free_ char *path = xasprintf("%s/x.docker", (char *)*state), *made = NULL,
			    *id = NULL, *ref = NULL;
	_cleanup_close_ int layer = open_new(*state, "layer.tar");
	char zeros[1024] = "", diff[65];
	struct dink_hash *h = dink_hash_new();

	assert_int_equal(write(layer, zeros, sizeof(zeros)), sizeof(zeros));
	dink_hash_add(h, zeros, sizeof(zeros));
	dink_hash_end(h, diff);
	assert_int_equal(parse("suite: s\ncmd: [\"sh\"]\n", &r, &err), 0);
	assert_int_equal(unlink(path) == 0 || errno == ENOENT, 1);
	assert_int_equal(dink_image_archive(&r, path, "x:y", layer, diff, &made, &err), 0);
	assert_int_equal(dink_archive_identify(path, &id, &ref, &err), 0);
	assert_string_equal(id, made);
	assert_string_equal(ref, "x:y");
}

static void archive_of_another_kind_is_refused(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {}, plain = {};
	_cleanup_close_ int fd = open_new(*state, "oci.tar");
	_cleanup_free_ char *path = xasprintf("%s/oci.tar", (char *)*state);
	_cleanup_free_ char *text = xasprintf("%s/text", (char *)*state), *id = NULL, *ref = NULL;
	struct dink_tar_writer *w = dink_tar_writer_new(fd, "oci.tar", NULL);

	put(w, DINK_TAR_FILE, "oci-layout", NULL, "{}");
	assert_int_equal(dink_tar_finish(w, &err), 0);
	assert_true(dink_archive_identify(path, &id, &ref, &err) < 0);
	assert_non_null(strstr(err.msg, "OCI archive"));
	assert_non_null(strstr(err.hint, "skopeo copy"));
	assert_int_equal(dink_file_write(text, "words\n", 6, 0644, &plain), 0);
	assert_true(dink_archive_identify(text, &id, &ref, &plain) < 0);
	assert_int_equal(plain.code, DINK_E_HOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recipe_is_read),
		cmocka_unit_test(recipe_is_refused),
		cmocka_unit_test(removal_knows_folders_and_exceptions),
		cmocka_unit_test_setup_teardown(tar_keeps_everything, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(tar_is_read_by_others, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(tar_refuses_damage, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(layer_is_rewritten, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(archive_is_identified, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(archive_of_another_kind_is_refused, unit_tmpdir,
						unit_rmdir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
