/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint's manifest, and the hash that names its kernel. */
#include "tests/unit/unit.h"

#include "provision/base/sha256.h"
#include "provision/vm/manifest.h"

static const char good[] =
	"{\"version\":1,\"qemu_version\":\"7.2.22\",\"machine\":{\"type\":\"q35\",\"accel\":"
	"\"tcg\","
	"\"memory_mib\":512,\"cpus\":1},\"kernel\":{\"path\":\"/k\",\"size\":1,\"mtime_ns\":1,"
	"\"sha256\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"},"
	"\"disks\":[{\"source\":\"/r\",\"serial\":\"dink-root\",\"readonly\":true,\"size\":1,"
	"\"mtime_ns\":1}],\"nics\":3,\"terminal\":false,\"paused\":false,\"exec_count\":0,"
	"\"stdio\":[2,3,4],\"channel\":{\"next_id\":9,\"streams\":[]}}";

static int parse(const char *text, char **ret_msg)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *m = NULL;
	int r = dink_manifest_parse(text, strlen(text), &m, &err);

	*ret_msg = xstrdup(err.msg ? err.msg : "");
	return r;
}

/* bad() - the good one with a word replaced is refused */
static void bad(const char *from, const char *to)
{
	const char *at = strstr(good, from);
	assert_non_null(at);
	_cleanup_free_ char *text =
		xasprintf("%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
	_cleanup_free_ char *msg = NULL;

	assert_true(parse(text, &msg) < 0);
	assert_true(msg[0] != '\0');
}

static void test_parse(_unused_ void **state)
{
	_cleanup_free_ char *msg = NULL;

	assert_int_equal(parse(good, &msg), 0);
	bad("\"version\":1", "\"version\":2");
	bad("q35", "microvm");
	bad("\"tcg\"", "\"xen\"");
	bad("512", "1");
	bad("512", "99999999999");
	bad("\"nics\":3", "\"nics\":9");
	bad("[2,3,4]", "[2,3]");
	bad("[2,3,4]", "[2,-3,4]");
	bad("\"next_id\":9", "\"next_id\":0");
	bad("\"readonly\":true", "\"readonly\":false");
	bad("\"readonly\":true", "\"readonly\":false,\"file\":\"../x\"");
	bad("\"7.2.22\"", "7");
}

static void test_sha256(_unused_ void **state)
{
	struct dink_sha256 s;
	char hex[65];

	/* FIPS 180-4's own examples, the second in two pieces */
	dink_sha256_start(&s);
	dink_sha256_add(&s, "abc", 3);
	dink_sha256_end(&s, hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	dink_sha256_start(&s);
	dink_sha256_add(&s, "abcdbcdecdefdefgefghfghighij", 28);
	dink_sha256_add(&s, "hijkijkljklmklmnlmnomnopnopq", 28);
	dink_sha256_end(&s, hex);
	assert_string_equal(hex,
			    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_sha256),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
