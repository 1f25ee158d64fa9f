/* SPDX-License-Identifier: Apache-2.0 */
/* images/cut.h on archives as Docker 20.10, Podman and dink write them, and on hostile ones. */
#include "images/cut.h"

#include "tests/unit/unit.h"

/* What Docker 20.10.24 said of an image of three layers, as it was. */
static const char *const diff_ids[] = {
	"sha256:25c8ebcb626e064a6b9d80de83a051099229200e941ac829d2937d4198c36eb9",
	"sha256:bb54dca0ab54f50b9b8362ffb458c403f1b778be18b2ec74c71f427377e42887",
	"sha256:8674d43accd82ccaf865ec580f5cda84626edff0ff93c560d7711c5babef7c43",
};
static const char *const folders[] = {
	"8e3392cef305abe6631b44509193429fe0faf6fa386a8c1b19a16da7f784d6f5",
	"31f129f9579219c2a9481105d0e32cbbcebcf8d1fcbeb2901b622b944795bf09",
	"ee0af20a5c3f632f6e7a734980cd0c20657b50c1fb31fd6a8bce61b0a4887428",
};
#define EMPTY                                                                                      \
	"\"container_config\":{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\","               \
	"\"AttachStdin\":false,\"AttachStdout\":false,\"AttachStderr\":false,\"Tty\":false,"       \
	"\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":null,\"Cmd\":null,\"Image\":\"\","        \
	"\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,"               \
	"\"Labels\":null},\"os\":\"linux\"}"
#define RUN                                                                                        \
	"\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,\"AttachStderr\":false,"       \
	"\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":[\"PATH=/usr/local/sbin:"   \
	"/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"X=1\"],"
#define REST                                                                                       \
	"\"Image\":\"sha256:6c99109e14bb9c504781b8bb44c4b5628571962bd0758907da482f2a5b9b509e\","   \
	"\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":"    \
	"{\"org.opencontainers.image.title\":\"debian\"}},"
static const char *const jsons[] = {
	"{\"id\":\"8e3392cef305abe6631b44509193429fe0faf6fa386a8c1b19a16da7f784d6f5\","
	"\"created\":\"1970-01-01T00:00:00Z\"," EMPTY,
	"{\"id\":\"31f129f9579219c2a9481105d0e32cbbcebcf8d1fcbeb2901b622b944795bf09\","
	"\"parent\":\"8e3392cef305abe6631b44509193429fe0faf6fa386a8c1b19a16da7f784d6f5\","
	"\"created\":\"1970-01-01T00:00:00Z\"," EMPTY,
	"{\"id\":\"ee0af20a5c3f632f6e7a734980cd0c20657b50c1fb31fd6a8bce61b0a4887428\","
	"\"parent\":\"31f129f9579219c2a9481105d0e32cbbcebcf8d1fcbeb2901b622b944795bf09\","
	"\"created\":\"2026-11-22T13:22:22.569821012Z\",\"container\":"
	"\"be006e5314c07f2a8514bbf0329bcab22ee1333b748a920d845b6285946cb7e0\","
	"\"container_config\":{\"Hostname\":\"be006e5314c0\",\"Domainname\":\"\"," RUN
	"\"Cmd\":[\"/bin/sh\",\"-c\",\"#(nop) \",\"ENV X=1\"]," REST
	"\"docker_version\":\"20.10.24+dfsg1\",\"config\":{\"Hostname\":\"\","
	"\"Domainname\":\"\"," RUN "\"Cmd\":[\"bash\"]," REST
	"\"architecture\":\"amd64\",\"os\":\"linux\"}",
};

static void add_ids(struct dink_strv *ids)
{
	for (int i = 0; i < 3; i++)
		dink_strv_add(ids, diff_ids[i]);
}

static void test_v1_names(void **state)
{
	_cleanup_strv_ struct dink_strv ids = {}, chains = {};
	_cleanup_free_ char *other = xstrdup(jsons[1]);

	(void)state;
	add_ids(&ids);
	dink_chain_ids(&ids, &chains);
	for (int i = 0; i < 3; i++)
		assert_int_equal(dink_cut_v1(folders[i], jsons[i], strlen(jsons[i]), &chains), i);
	/* another folder's json, one that was changed, one that is cut off, none */
	assert_int_equal(dink_cut_v1(folders[0], jsons[1], strlen(jsons[1]), &chains), -1);
	strstr(other, "1970")[0] = '2';
	assert_int_equal(dink_cut_v1(folders[1], other, strlen(other), &chains), -1);
	for (size_t n = 0; n < strlen(jsons[1]); n++)
		assert_int_equal(dink_cut_v1(folders[1], jsons[1], n, &chains), -1);
}

static void test_hostile_json(void **state)
{
	static const char *const bad[] = {
		"{",
		"}",
		"{}",
		"[]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{\"a\":\"",
		"{\"a\":\"\\",
		"{\"parent\":1}",
		"{\"parent\":\"x\"}",
		"{\"layer_id\":\"x\"}",
		"{\"a\":[}]}",
		"{\"a\":]}",
		"{\"a\":{]]]]]]]",
		"{\"\":\"\",\"\":\"\"}",
	};
	_cleanup_strv_ struct dink_strv ids = {}, chains = {};
	_cleanup_str_ struct dink_str many = {};

	(void)state;
	add_ids(&ids);
	dink_chain_ids(&ids, &chains);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(dink_cut_v1(folders[0], bad[i], strlen(bad[i]), &chains), -1);
	for (int i = 0; i < 1000; i++)
		dink_str_addf(&many, "%c\"k%d\":%d", i ? ',' : '{', i, i);
	dink_str_addc(&many, '}');
	assert_int_equal(dink_cut_v1(folders[0], many.s, many.len, &chains), -1);
}

/* --- whole archives ------------------------------------------------------------------------- */

static void add_number(char *at, size_t n, unsigned long long v)
{
	char text[32];

	snprintf(text, sizeof(text), "%0*llo", (int)n - 1, v);
	memcpy(at, text, n);
}

static void add_member(struct dink_str *tar, const char *name, char type, const char *data,
		       size_t n)
{
	static const char zeros[512];
	char h[512] = {};
	unsigned int sum = 0;

	memcpy(h, name, strnlen(name, 100));
	add_number(h + 100, 8, 0644);
	add_number(h + 124, 12, n);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	dink_str_addn(tar, h, 512);
	if (n)
		dink_str_addn(tar, data, n);
	dink_str_addn(tar, zeros, (512 - n % 512) % 512);
}

static void end_archive(struct dink_str *tar)
{
	static const char zeros[1024];

	dink_str_addn(tar, zeros, sizeof(zeros));
}

struct seen {
	size_t bytes[4]; /* of -1, 0, 1, 2 */
	struct dink_str all, stubs;
	int stop_at; /* a layer that ends the feeding; -2 = none */
};

static int take(void *ctx, int layer, const void *bytes, size_t n, struct dink_err *err)
{
	struct seen *s = ctx;

	if (layer == s->stop_at)
		return dink_err_set(err, DINK_E_HOST, EPIPE, "stopped");
	s->bytes[layer + 1] += n;
	dink_str_addn(&s->all, bytes, n);
	return 0;
}

static int take_stub(void *ctx, int layer, const void *bytes, size_t n, struct dink_err *err)
{
	struct seen *s = ctx;

	(void)err;
	assert_in_range(layer, 0, 2);
	dink_str_addn(&s->stubs, bytes, n);
	return 0;
}

/* In steps of `step` bytes; 0 or what feeding or the end said. */
static int cut(const struct dink_str *tar, size_t step, struct seen *s)
{
	_cleanup_strv_ struct dink_strv ids = {};
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_cut *c;
	int r = 0;

	add_ids(&ids);
	c = dink_cut_new(&ids, take, take_stub, s);
	for (size_t at = 0; r == 0 && at < tar->len; at += step)
		r = dink_cut_feed(c, tar->s + at, tar->len - at < step ? tar->len - at : step,
				  &err);
	if (r == 0)
		r = dink_cut_end(c, &err);
	assert_int_equal(r < 0, dink_err_is_set(&err));
	dink_cut_free(c);
	return r;
}

/* An archive for itself, of so many empty members that are layers. */
static void check_stubs(struct dink_str *stubs, size_t n)
{
	struct seen s = {.stop_at = -2};
	struct dink_str again = {};

	dink_str_addn(&again, stubs->s, stubs->len);
	end_archive(&again);
	/* what Docker calls its layers is not known without their "json" */
	assert_int_equal(cut(&again, 4096, &s), 0);
	if (s.stubs.len)
		assert_int_equal(s.stubs.len, stubs->len);
	assert_in_range(stubs->len, n * 512, n * 2048);
	dink_str_clear(&s.all);
	dink_str_clear(&s.stubs);
	dink_str_clear(&again);
}

static void check_cut(const struct dink_str *tar, size_t a, size_t b, size_t c, size_t stubs)
{
	static const size_t steps[] = {1, 7, 511, 512, 513, 4096, 1 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct seen s = {.stop_at = -2};

		assert_int_equal(cut(tar, steps[i], &s), 0);
		assert_int_equal(s.bytes[1], a);
		assert_int_equal(s.bytes[2], b);
		assert_int_equal(s.bytes[3], c);
		assert_int_equal(s.all.len, tar->len);
		assert_memory_equal(s.all.s, tar->s, tar->len);
		check_stubs(&s.stubs, stubs);
		dink_str_clear(&s.all);
		dink_str_clear(&s.stubs);
	}
}

static void check_layers(const struct dink_str *tar, size_t a, size_t b, size_t c)
{
	check_cut(tar, a, b, c, 3);
}

static void add_folder(struct dink_str *tar, int layer, const char *data, size_t n)
{
	char name[100];

	snprintf(name, sizeof(name), "%s/", folders[layer]);
	add_member(tar, name, '5', "", 0);
	snprintf(name, sizeof(name), "%s/VERSION", folders[layer]);
	add_member(tar, name, '0', "1.0", 3);
	snprintf(name, sizeof(name), "%s/json", folders[layer]);
	add_member(tar, name, '0', jsons[layer], strlen(jsons[layer]));
	snprintf(name, sizeof(name), "%s/layer.tar", folders[layer]);
	add_member(tar, name, '0', data, n);
}

static void test_docker(void **state)
{
	_cleanup_str_ struct dink_str tar = {};
	char data[3000] = "layer";

	(void)state;
	add_folder(&tar, 1, data, 1024);
	add_folder(&tar, 0, data, 3000);
	add_member(&tar, "config.json", '0', "{}", 2);
	add_folder(&tar, 2, data, 1);
	add_member(&tar, "manifest.json", '0', "[]", 2);
	end_archive(&tar);
	/* each with its header, rounded up to blocks */
	check_layers(&tar, 512 + 3072, 512 + 1024, 512 + 512);
}

static void test_podman_and_newer_docker(void **state)
{
	_cleanup_str_ struct dink_str tar = {};
	char data[600] = "layer", name[100];

	(void)state;
	snprintf(name, sizeof(name), "%s.tar", diff_ids[0] + 7);
	add_member(&tar, name, '0', data, 600);
	snprintf(name, sizeof(name), "blobs/sha256/%s", diff_ids[1] + 7);
	add_member(&tar, name, '0', data, 10);
	snprintf(name, sizeof(name), "%s/layer.tar", diff_ids[2] + 7);
	add_member(&tar, name, '2', "", 0); /* a link: everybody's */
	/* a pax header goes with the member it tells of */
	snprintf(name, sizeof(name), "85 path=./%s/layer.tar\n", diff_ids[2] + 7);
	add_member(&tar, "pax", 'x', name, strlen(name));
	add_member(&tar, "short", '0', data, 5);
	end_archive(&tar);
	assert_int_equal(strlen(name), 85);
	check_layers(&tar, 512 + 1024, 512 + 512, 1024 + 512 + 512);
}

static void test_long_name_and_size(void **state)
{
	_cleanup_str_ struct dink_str tar = {};
	char data[600] = "layer", name[100];

	(void)state;
	snprintf(name, sizeof(name), "%s.tar", diff_ids[0] + 7);
	add_member(&tar, "././@LongLink", 'L', name, strlen(name) + 1);
	add_member(&tar, "pax", 'x', "12 size=600\n", 12);
	add_member(&tar, "short", '0', data, 0);
	dink_str_addn(&tar, data, 600);
	dink_str_addn(&tar, data + 100, 424);
	end_archive(&tar);
	check_cut(&tar, 1024 + 1024 + 512 + 1024, 0, 0, 0);
}

static void test_broken(void **state)
{
	_cleanup_str_ struct dink_str tar = {}, other = {};
	struct seen s = {.stop_at = -2};
	char data[600] = "layer";

	(void)state;
	add_folder(&tar, 0, data, 600);
	end_archive(&tar);
	for (size_t n = 0; n + 1024 < tar.len; n += 100) {
		struct dink_str torn = {.s = tar.s, .len = n};

		assert_true(cut(&torn, 512, &s) < 0);
	}
	/* a sink's refusal is handed on */
	s.stop_at = 0;
	assert_int_equal(cut(&tar, 512, &s), -EPIPE);
	s.stop_at = -2;
	tar.s[0]++; /* the header's sum is wrong now */
	assert_true(cut(&tar, 512, &s) < 0);
	add_member(&other, "x", 'S', data, 600);
	assert_true(cut(&other, 512, &s) < 0);
	dink_str_clear(&other);
	add_member(&other, "x", 'x', "99999999 path=a\n", 16);
	assert_true(cut(&other, 512, &s) < 0);
	dink_str_clear(&s.all);
	dink_str_clear(&s.stubs);
}

/* A header may not ask us to hold a gigabyte. */
static void test_bounds(void **state)
{
	_cleanup_str_ struct dink_str tar = {};
	struct seen s = {.stop_at = -2};
	_cleanup_free_ char *much = xcalloc(1, DINK_CUT_EXTRA_MAX + 1);

	(void)state;
	add_member(&tar, "x", 'L', much, DINK_CUT_EXTRA_MAX + 1);
	assert_true(cut(&tar, 4096, &s) < 0);
	assert_int_equal(s.all.len, 0);
	dink_str_clear(&tar);
	for (int i = 0; i < 8; i++)
		add_member(&tar, "x", 'K', much, DINK_CUT_EXTRA_MAX);
	assert_true(cut(&tar, 4096, &s) < 0);
	dink_str_clear(&tar);
	for (int i = 0; i <= DINK_CUT_MEMBERS_MAX; i++)
		add_member(&tar, "x", '0', "", 0);
	end_archive(&tar);
	assert_true(cut(&tar, 4096, &s) < 0);
	dink_str_clear(&s.all);
	dink_str_clear(&s.stubs);
}

/* --- archives that are not trusted ---------------------------------------------------------- */

/* Fed as one that must be "app:1"; 0 or an error. */
static int cut_strict(const struct dink_str *tar)
{
	struct seen s = {.stop_at = -2};
	_cleanup_strv_ struct dink_strv ids = {};
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_cut *c;
	int r;

	add_ids(&ids);
	c = dink_cut_new(&ids, take, take_stub, &s);
	dink_cut_strict(c, "app:1");
	r = dink_cut_feed(c, tar->s, tar->len, &err);
	if (r == 0)
		r = dink_cut_end(c, &err);
	dink_cut_free(c);
	dink_str_clear(&s.all);
	dink_str_clear(&s.stubs);
	return r;
}

static int with_file(const char *name, char type, const char *text)
{
	_cleanup_str_ struct dink_str tar = {};
	static const char good[] = "[{\"Config\":\"c.json\",\"RepoTags\":[\"app:1\"]}]\n";

	add_member(&tar, "manifest.json", '0', good, strlen(good));
	add_member(&tar, name, type, text, type == '0' ? strlen(text) : 0);
	end_archive(&tar);
	return cut_strict(&tar);
}

static void test_names_in_the_manifest(void **state)
{
	static const char *const good[] = {
		"[{\"RepoTags\":[\"app:1\"]}]", "[{\"RepoTags\":[\"localhost/app:1\"]}]",
		"[{\"RepoTags\":null}]",	"[{\"RepoTags\":[],\"Layers\":[\"x\"]}]",
		"[{\"Config\":\"x\"}]",
	};
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"[{},{}]",
		"[1]",
		"[{\"RepoTags\":[\"debian:latest\"]}]",
		"[{\"RepoTags\":[\"app:1\",\"debian:latest\"]}]",
		"[{\"RepoTags\":[\"xapp:1\"]}]",
		"[{\"RepoTags\":[1]}]",
		"[{\"RepoTags\":\"app:1\"}]",
		"[{\"RepoTags\":[\"app:1\"],\"repotags\":[\"debian:latest\"]}]",
		"[{\"RepoTag\\u017f\":[\"debian:latest\"]}]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(with_file("manifest.json", '0', good[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(with_file("manifest.json", '0', bad[i]) < 0);
	assert_true(with_file("./manifest.json", '0', bad[5]) < 0);
	assert_int_equal(with_file("index.json", '0',
				   "{\"manifests\":[{\"annotations\":{"
				   "\"io.containerd.image.name\":\"docker.io/library/app:1\"}}]}"),
			 0);
	assert_true(with_file("index.json", '0',
			      "{\"manifests\":[{\"annotations\":{"
			      "\"io.containerd.image.name\":\"docker.io/library/debian:1\"}}]}") <
		    0);
	assert_true(with_file("index.json", '0', "{\"Manifests\":[]}") < 0);
}

static void test_members_of_untrusted(void **state)
{
	static const char *const names[] = {
		"../x",	      "/x",   "a/../manifest.json", "a//b", "a/./b", ".", "a/",
		"BZh91AY&SY", "BZh9", "a\xc3\xa4",	    "a b",  "a\nb"};
	_cleanup_str_ struct dink_str tar = {};

	(void)state;
	assert_int_equal(with_file("a/b", '0', "x"), 0);
	assert_int_equal(with_file("a/b/", '5', ""), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_true(with_file(names[i], '0', "x") < 0);
	for (const char *type = "123467gSV"; *type; type++)
		assert_true(with_file("a", *type, "") < 0);
	/* no manifest at all: an engine would go by the list "repositories" */
	add_member(&tar, "repositories", '0', "{}", 2);
	end_archive(&tar);
	assert_true(cut_strict(&tar) < 0);
}

/* A size that Go's reader takes for another one would hide a manifest from us. */
static void test_sizes_that_readers_differ_on(void **state)
{
	static const char sizes[][13] = {"\0\0\0\0\0\0\0\0"
					 "0100",
					 " \0"
					 "0000000100",
					 "x0000000100", "-0000000100"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_str_ struct dink_str tar = {};
		struct seen s = {.stop_at = -2};
		unsigned int sum = 0;

		add_member(&tar, "x", '0', "", 0);
		memcpy(tar.s + 124, sizes[i], 12);
		memset(tar.s + 148, ' ', 8);
		for (int k = 0; k < 512; k++)
			sum += (unsigned char)tar.s[k];
		snprintf(tar.s + 148, 8, "%06o", sum);
		end_archive(&tar);
		assert_true(cut(&tar, 512, &s) < 0);
		dink_str_clear(&s.all);
		dink_str_clear(&s.stubs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_names),
		cmocka_unit_test(test_hostile_json),
		cmocka_unit_test(test_docker),
		cmocka_unit_test(test_podman_and_newer_docker),
		cmocka_unit_test(test_long_name_and_size),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_names_in_the_manifest),
		cmocka_unit_test(test_members_of_untrusted),
		cmocka_unit_test(test_sizes_that_readers_differ_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
