/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/caret.h"
#include "provision/base/json.h"
#include "provision/base/units.h"
#include "provision/scenario/table.h"
#include "tests/unit/unit.h"

#include <regex.h>
#include <time.h>

static struct dink_scenario *parse(const char *file, const char *text)
{
	struct dink_problems p = {};
	struct dink_scenario *s = NULL;

	if (dink_scenario_parse(file, text, strlen(text), &s, &p) < 0) {
		_cleanup_free_ char *words = dink_err_format(&p.list[0]);

		fail_msg("%s", words);
	}
	return s;
}

/* Must be refused; the first problem as it is printed. */
static char *refuse(const char *text)
{
	_cleanup_(dink_problems_clear) struct dink_problems p = {};
	struct dink_scenario *s = NULL;

	assert_int_equal(dink_scenario_parse("t.yaml", text, strlen(text), &s, &p), -EINVAL);
	assert_null(s);
	assert_true(p.n > 0);
	assert_int_equal(p.list[0].code, DINK_E_SCENARIO);
	return dink_err_format(&p.list[0]);
}

#define HEAD "dink: 1\nname: t\n"

static const char full[] =
	HEAD "kernels:\n"
	     "  guest: {features: [btrfs, containers]}\n"
	     "  own: {source: ./linux.tar.xz,\n"
	     "    sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}\n"
	     "disks:\n"
	     "  store: {size: 10GiB, compression: zstd}\n"
	     "  data: {size: 64M, filesystem: ext4, label: stuff}\n"
	     "images:\n"
	     "  web: {archive: ../web.tar}\n"
	     "  alpine: {registry: docker.io/library/alpine}\n"
	     "layers:\n"
	     "  proxy:\n"
	     "    image: docker-host\n"
	     "    daemon: docker\n"
	     "    mounts: ['./src:/src:ro', {source: /srv, target: /srv/}]\n"
	     "    ports: ['8080:80', '127.0.0.1:53:5353/udp']\n"
	     "    layers:\n"
	     "      box:\n"
	     "        image: web\n"
	     "        runtime: kata\n"
	     "        kernel: guest\n"
	     "        cpus: 2\n"
	     "        memory: 1GiB\n"
	     "        disks: {store: /var/lib/docker/, data: {target: /d, read_only: true}}\n"
	     "        daemon: podman\n"
	     "        init: none\n"
	     "        hostname: box.example\n"
	     "        env: {A: 1, B: 'x y'}\n"
	     "      no:\n"
	     "        image: alpine\n"
	     "        command: [no, 0o17, '']\n"
	     "        tty: true\n"
	     "        count: 3\n"
	     "        env: [A=1, B=]\n";

static void test_top(void **state _unused_)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse("/x/y/t.yaml", full);
	const struct dink_kernel_spec *own = dink_scenario_kernel(s, "own");

	assert_string_equal(s->name, "t");
	assert_string_equal(s->text, full);
	assert_int_equal(s->n_kernels, 2);
	assert_string_equal(s->kernels[0].name, "guest");
	assert_string_equal(s->kernels[0].source, "debian");
	assert_int_equal(s->kernels[0].features.n, 2);
	assert_string_equal(own->source, "/x/y/linux.tar.xz");
	assert_int_equal(s->disks[0].size_bytes, 10ULL << 30);
	assert_int_equal(s->disks[0].filesystem, DINK_FS_BTRFS);
	assert_int_equal(s->disks[0].compression, DINK_COMPRESS_ZSTD);
	assert_null(s->disks[0].label);
	assert_int_equal(dink_scenario_disk(s, "data")->filesystem, DINK_FS_EXT4);
	assert_string_equal(dink_scenario_disk(s, "data")->label, "stuff");
	assert_int_equal(dink_scenario_image(s, "web")->kind, DINK_IMAGE_ARCHIVE);
	assert_string_equal(dink_scenario_image(s, "web")->where, "/x/y/../web.tar");
	assert_int_equal(dink_scenario_image(s, "alpine")->kind, DINK_IMAGE_REGISTRY);
	assert_null(dink_scenario_image(s, "debian"));
	assert_null(dink_scenario_disk(s, "guest"));
}

static void test_outer_layer(void **state _unused_)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse("t.yaml", full);
	const struct dink_layer *l = s->layers[0];

	assert_int_equal(s->n_layers, 1);
	assert_string_equal(l->name, "proxy");
	assert_int_equal(l->mark.line, 14);
	assert_int_equal(l->mark.col, 3);
	assert_int_equal(l->mark.endcol, 8);
	assert_null(l->parent);
	assert_int_equal(l->runtime, DINK_RUNTIME_RUNC);
	assert_int_equal(l->runtime_mark.line, 0);
	assert_int_equal(l->daemon, DINK_DAEMON_DOCKER);
	assert_int_equal(l->daemon_mark.line, 16);
	assert_int_equal(l->count, 1);
	assert_int_equal(l->n_mounts, 2);
	assert_string_equal(l->mounts[0].source, "./src");
	assert_true(l->mounts[0].read_only);
	assert_string_equal(l->mounts[1].target, "/srv");
	assert_false(l->mounts[1].read_only);
	assert_int_equal(l->n_ports, 2);
	assert_null(l->ports[0].address);
	assert_int_equal(l->ports[0].outer, 8080);
	assert_string_equal(l->ports[1].address, "127.0.0.1");
	assert_int_equal(l->ports[1].inner, 5353);
	assert_true(l->ports[1].udp);
}

static void test_inner_layers(void **state _unused_)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse("t.yaml", full);
	const struct dink_layer *box = s->layers[0]->children[0], *no = s->layers[0]->children[1];

	assert_ptr_equal(box->parent, s->layers[0]);
	assert_int_equal(box->runtime, DINK_RUNTIME_KATA);
	assert_string_equal(box->kernel, "guest");
	assert_int_equal(box->cpus, 2);
	assert_int_equal(box->memory_bytes, 1 << 30);
	assert_int_equal(box->n_disks, 2);
	assert_string_equal(box->disks[0].disk, "store");
	assert_string_equal(box->disks[0].target, "/var/lib/docker");
	assert_true(box->disks[1].read_only);
	assert_int_equal(box->init, DINK_INIT_NONE);
	assert_string_equal(box->env.v[1], "B=x y");
	/* plain scalars are what they look like, whatever YAML 1.1 makes of them */
	assert_string_equal(no->name, "no");
	assert_string_equal(no->command.v[0], "no");
	assert_string_equal(no->command.v[1], "0o17");
	assert_string_equal(no->command.v[2], "");
	assert_true(no->tty);
	assert_int_equal(no->count, 3);
	assert_string_equal(no->env.v[1], "B=");
}

static void test_write_back(void **state _unused_)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse("t.yaml", full), *t = NULL;
	_cleanup_json_ struct json_object *a = dink_scenario_to_json(s), *b = NULL;
	const char *text = json_object_to_json_string_ext(a, JSON_C_TO_STRING_NOSLASHESCAPE);

	t = parse("t.yaml", text);
	b = dink_scenario_to_json(t);
	assert_true(json_object_equal(a, b));
	assert_string_equal(dink_json_str_or(a, "layers.proxy.runtime", ""), "runc");
	assert_int_equal(dink_json_int_or(a, "layers.proxy.layers.no.count", 0), 3);
}

static void test_byte_order_mark(void **state _unused_)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s =
		parse("t.yaml", "\xef\xbb\xbf" HEAD "layers: {box: {image: debian}}\n");

	assert_int_equal(s->name_mark.line, 2);
	assert_int_equal(s->name_mark.col, 7);
}

static void test_carriage_returns(void **state _unused_)
{
	_cleanup_free_ char *words = refuse("dink: 1\r\nname: t\r\nlayers: {box: {imag: x}}\r\n");

	assert_string_equal(words, "t.yaml:3:16: unknown key 'imag' in layer 'box'\n"
				   "    layers: {box: {imag: x}}\n"
				   "                   ^~~~\n"
				   "  hint: did you mean 'image'?\n");
}

static void test_relative_folder(void **state _unused_)
{
	const char *text = HEAD "layers: {box: {image: debian, mounts: ['./a:/a', '../b:/b']}}\n";
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse("sub/t.yaml", text);

	assert_string_equal(s->layers[0]->mounts[0].source, "./sub/a");
	assert_string_equal(s->layers[0]->mounts[1].source, "./sub/../b");
}

static void test_problem_at_mark(void **state _unused_)
{
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = parse("t.yaml", full);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *words = NULL;
	struct dink_layer *box = s->layers[0]->children[0];

	assert_true(dink_scenario_problem(s, box->kernel_mark, &err, "no kernel %d", 1) < 0);
	words = dink_err_format(&err);
	assert_string_equal(words, "t.yaml:23:17: no kernel 1\n"
				   "            kernel: guest\n"
				   "                    ^~~~~\n");
}

/* Problems are found in several passes, and shown by place; of too many, the first by place. */
static void test_order(void **state _unused_)
{
	_cleanup_(dink_problems_clear) struct dink_problems p = {};
	_cleanup_str_ struct dink_str text = {};
	struct dink_scenario *s = NULL;

	dink_str_add(&text, HEAD "layers:\n");
	for (int i = 0; i < 15; i++)
		dink_str_addf(&text, "  a%d: {image: x, kernel: k, cpus: 0}\n", i);
	assert_int_equal(dink_scenario_parse("t", text.s, text.len, &s, &p), -EINVAL);
	assert_int_equal(p.n, DINK_PROBLEMS_MAX);
	assert_true(p.more);
	for (size_t i = 0; i < p.n; i++)
		assert_int_equal(p.list[i].src.line, 4 + i / 3);
}

static void test_misspelled_is_told_once(void **state _unused_)
{
	_cleanup_(dink_problems_clear) struct dink_problems p = {};
	struct dink_scenario *s = NULL;
	const char *text =
		HEAD "layers:\n  a:\n    imgae: x\n    daemon: dokcer\n"
		     "    runtime: katta\n    kernel: 7/8\n    layers: {b: {image: x}}\n";

	assert_int_equal(dink_scenario_parse("t", text, strlen(text), &s, &p), -EINVAL);
	assert_int_equal(p.n, 4);
}

/* The rules as code and as what the schema prints; POSIX knows no look-ahead and no \x. */
static void test_rules_agree(void **state _unused_)
{
	static const struct dink_rule *const rules[] = {
		&dink_rule_name,
		&dink_rule_image,
		&dink_rule_sha256,
		&dink_rule_registry,
	};
	static const char *const words[] = {
		"a",
		"A",
		"a.b",
		".a",
		"-",
		"a_b",
		"a b",
		"",
		"a/b",
		"alpine:3.20",
		"a\n",
		"a@b",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		regex_t re;

		assert_int_equal(regcomp(&re, rules[i]->pattern, REG_EXTENDED | REG_NOSUB), 0);
		for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
			bool matches = regexec(&re, words[k], 0, NULL, 0) == 0;

			if (matches != rules[i]->ok(words[k]))
				fail_msg("%s: '%s'", rules[i]->pattern, words[k]);
		}
		regfree(&re);
	}
}

static void test_paths(void **state _unused_)
{
	static const char *const good[] = {"/a", "/a/b/", "/.a", "/a/..b", "/...", NULL};
	static const char *const bad[] = {"/",	  "",	  "a",	    "/a/../b",	   "/a/.", "//a",
					  "/a//", "/a:b", "/.dink", "/.dink-root", "/a\n", NULL};

	for (size_t i = 0; good[i]; i++)
		assert_true(dink_rule_target.ok(good[i]));
	for (size_t i = 0; bad[i]; i++)
		assert_false(dink_rule_target.ok(bad[i]));
}

static void test_name_suggest(void **state _unused_)
{
	_cleanup_free_ char *a = dink_name_suggest("My Scenario!"), *b = dink_name_suggest("--"),
			    *c = dink_name_suggest("\xc3\xa9t\xc3\xa9");

	assert_string_equal(a, "my-scenario");
	assert_null(b);
	assert_string_equal(c, "t");
}

/* Long, wide, combining, broken: the caret stands under what is meant. */
static void test_caret(void **state _unused_)
{
	static const struct {
		const char *text, *expected;
		uint32_t col, endcol;
	} cases[] = {
		{"ab cd", "    ab cd\n       ^~\n", 4, 6},
		{"\tx", "    \tx\n    \t^\n", 2, 0},
		{"\xe4\xba\x8c x", "    \xe4\xba\x8c x\n       ^\n", 3, 4},
		{"\xe4\xba\x8c x", "    \xe4\xba\x8c x\n    ^~\n", 1, 2},
		{"a\xcc\x81z", "    a\xcc\x81z\n     ^\n", 3, 4},
		{"a\xffz", "    a?z\n      ^\n", 3, 4},
		{"a", "    a\n     ^\n", 2, 0},
		{"", "    \n    ^\n", 1, 0},
		{"a\x1bz", "    a?z\n     ^\n", 2, 3},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dink_src src = {.text = (char *)cases[i].text,
				       .line = 1,
				       .col = cases[i].col,
				       .endcol = cases[i].endcol};
		_cleanup_str_ struct dink_str out = {};

		dink_caret_add(&out, &src);
		assert_string_equal(out.s, cases[i].expected);
	}
}

static void test_caret_of_long_line(void **state _unused_)
{
	char line[5001];
	struct dink_src src = {.text = line, .line = 1, .col = 2501, .endcol = 5001};
	_cleanup_str_ struct dink_str out = {};
	const char *below;

	memset(line, 'a', 5000);
	line[5000] = '\0';
	line[2500] = '!';
	dink_caret_add(&out, &src);
	assert_true(out.len < 250);
	below = strchr(out.s, '\n') + 1;
	assert_int_equal(strchr(out.s, '!') - out.s, strchr(below, '^') - below);
	assert_memory_equal(out.s, "    ...a", 8);
}

/* A thousand layers, each with all that has to be looked up, and no square in it. */
static void test_large(void **state _unused_)
{
	_cleanup_str_ struct dink_str text = {};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	clock_t begin;

	dink_str_add(&text, HEAD "disks:\n");
	for (int i = 0; i < 8000; i++)
		dink_str_addf(&text, "  d%d: {size: 1GiB}\n", i);
	dink_str_add(&text, "layers:\n");
	for (int i = 0; i < 8000; i++)
		dink_str_addf(&text, "  l%d: {image: debian, disks: {d%d: /d}, ports: ['%d:1']}\n",
			      i, i, i + 1);
	begin = clock();
	s = parse("t", text.s);
	assert_int_equal(s->n_layers, 8000);
	/* 60 ms by itself; a square would be seconds, sanitizers and a busy machine are not */
	assert_true(clock() - begin < 2 * CLOCKS_PER_SEC);
}

/* As many problems as there can be, all of the kind that looks for a near name. */
static void test_many_problems(void **state _unused_)
{
	_cleanup_(dink_problems_clear) struct dink_problems p = {};
	_cleanup_str_ struct dink_str text = {};
	struct dink_scenario *s = NULL;
	clock_t begin;

	dink_str_add(&text, HEAD "disks:\n");
	for (int i = 0; i < 10000; i++)
		dink_str_addf(&text, "  d%d: {size: 1GiB}\n", i);
	dink_str_add(&text, "layers:\n");
	for (int i = 0; i < 10000; i++)
		dink_str_addf(&text, "  l%d: {image: x, disks: {e%d: /d}}\n", i, i);
	begin = clock();
	assert_int_equal(dink_scenario_parse("t", text.s, text.len, &s, &p), -EINVAL);
	assert_int_equal(p.n, DINK_PROBLEMS_MAX);
	assert_true(clock() - begin < 2 * CLOCKS_PER_SEC);
}

static void test_load(void **state)
{
	_cleanup_(dink_problems_clear) struct dink_problems p = {};
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_scenario_freep) struct dink_scenario *s = NULL;
	_cleanup_free_ char *path = xasprintf("%s/t.yaml", (char *)*state);
	_cleanup_free_ char *none = xasprintf("%s/none.yaml", (char *)*state);
	_cleanup_free_ char *src = xasprintf("%s/src", (char *)*state);
	const char *text = HEAD "layers: {box: {image: debian, mounts: ['./src:/src']}}\n";

	assert_int_equal(dink_file_write(path, text, strlen(text), 0600, &err), 0);
	assert_int_equal(dink_scenario_load(path, &s, &p), 0);
	assert_string_equal(s->layers[0]->mounts[0].source, src);
	assert_string_equal(s->file, path);
	assert_int_equal(dink_scenario_load(none, &s, &p), -EINVAL);
	assert_int_equal(p.list[0].code, DINK_E_USAGE);
	assert_int_equal(p.list[0].errnum, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_top),
		cmocka_unit_test(test_outer_layer),
		cmocka_unit_test(test_inner_layers),
		cmocka_unit_test(test_write_back),
		cmocka_unit_test(test_byte_order_mark),
		cmocka_unit_test(test_carriage_returns),
		cmocka_unit_test(test_relative_folder),
		cmocka_unit_test(test_problem_at_mark),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_misspelled_is_told_once),
		cmocka_unit_test(test_rules_agree),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_name_suggest),
		cmocka_unit_test(test_caret),
		cmocka_unit_test(test_caret_of_long_line),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_many_problems),
		cmocka_unit_test_setup_teardown(test_load, unit_tmpdir, unit_rmdir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
