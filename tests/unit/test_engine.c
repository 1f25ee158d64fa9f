/* SPDX-License-Identifier: Apache-2.0 */
/* The engine client's pure parts: framing, heads, names, subnets, places as text. */
#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/engine/copy.h"
#include "provision/engine/engine.h"
#include "provision/engine/hijack.h"
#include "provision/engine/http.h"
#include "provision/engine/mux.h"
#include "provision/engine/private.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

static int collect(void *ctx, int stream, const char *bytes, size_t n)
{
	struct dink_str *s = ctx;

	dink_str_addn(&s[stream - 1], bytes, n);
	return 0;
}

static void mux_takes_any_slicing(void **state _unused_)
{
	static const char text[] = "\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err\1\0\0\0\0\0\0\0"
				   "\1\0\0\0\0\0\0\2!!";
	size_t n = sizeof(text) - 1;

	for (size_t step = 1; step <= n; step++) {
		struct dink_str got[3] = {};
		struct dink_mux m = {};

		for (size_t at = 0; at < n; at += step)
			assert_int_equal(dink_mux_feed(&m, text + at, at + step < n ? step : n - at,
						       collect, got),
					 0);
		assert_true(dink_mux_is_whole(&m));
		assert_string_equal(got[0].s, "out!!");
		assert_string_equal(got[1].s, "err");
		dink_str_clear(&got[0]);
		dink_str_clear(&got[1]);
	}
}

static void mux_refuses_what_is_no_frame(void **state _unused_)
{
	struct dink_str got[3] = {};
	struct dink_mux m = {};

	assert_int_equal(dink_mux_feed(&m, "OCI runtime", 11, collect, got), -EPROTO);
	m = (struct dink_mux){};
	assert_int_equal(dink_mux_feed(&m, "\1\0\0\0\0\0\0\5ab", 10, collect, got), 0);
	assert_false(dink_mux_is_whole(&m));
	dink_str_clear(&got[0]);
}

static void head_is_parsed(void **state _unused_)
{
	static const char text[] = "HTTP/1.1 101 UPGRADED\r\nContent-Type: x\r\n"
				   "content-length:  17\r\nConnection: Upgrade\r\n\r\nrest";
	struct dink_http_head h = {};

	for (size_t n = 0; n < sizeof(text) - 5; n++)
		assert_int_equal(dink_http_head_parse(text, n, &h), 0);
	assert_int_equal(dink_http_head_parse(text, sizeof(text) - 1, &h), 1);
	assert_int_equal(h.status, 101);
	assert_int_equal(h.content_length, 17);
	assert_string_equal(text + h.size, "rest");
	assert_false(h.chunked);
}

static void bad_heads_are_refused(void **state _unused_)
{
	static const char *const bad[] = {
		"SSH-2.0-OpenSSH\r\n\r\n",
		"HTTP/1.1 xyz\r\n\r\n    ",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
		"HTTP/1.1\r\n\r\n",
	};
	struct dink_http_head h;
	char *big = xmalloc(DINK_HEAD_MAX + 1);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(dink_http_head_parse(bad[i], strlen(bad[i]), &h), -EPROTO);
	memset(big, 'a', DINK_HEAD_MAX);
	memcpy(big, "HTTP/1.1 200 OK\r\n", 17);
	assert_int_equal(dink_http_head_parse(big, DINK_HEAD_MAX - 1, &h), 0);
	assert_int_equal(dink_http_head_parse(big, DINK_HEAD_MAX, &h), -EPROTO);
	free(big);
}

static void refusal_has_the_daemons_words(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	static const char body[] = "{\"message\":\"No such image: x\"}";
	_cleanup_free_ char *text = NULL;

	assert_int_equal(dink_http_refused("POST", "/containers/create?name=a", 404, body,
					   sizeof(body) - 1, &err),
			 -ENOENT);
	assert_int_equal(err.code, DINK_E_CHILD);
	text = dink_err_format(&err);
	assert_string_equal(text,
			    "the engine refused POST /containers/create (404): No such image: x\n");
	dink_err_clear(&err);
	assert_int_equal(dink_http_refused("GET", "/x", 500, "plain", 5, &err), -EREMOTEIO);
	assert_non_null(strstr(err.msg, "(500): plain"));
}

static void urls_are_escaped(void **state _unused_)
{
	_cleanup_free_ char *s = dink_url_escape("a/b c?&%\xc3");

	assert_string_equal(s, "a%2Fb%20c%3F%26%25%C3");
}

static void copied_names_stay_inside(void **state _unused_)
{
	static const struct {
		const char *name, *top, *want;
	} cases[] = {
		{"src/", "new", "new"},
		{"src/a", "new", "new/a"},
		{"./a/b", "new", "new/a/b"},
		{"src/a", "", "a"},
		{"src", "", "."},
		{"/etc/passwd", "new", "new/passwd"},
		{"src/../../x", "new", NULL},
		{"..", "new", NULL},
		{"a/..", "", NULL},
		{"a/b..c/..d", "t", "t/b..c/..d"},
		{"a//etc", "", "etc"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = dink_copy_rename(cases[i].name, cases[i].top);

		if (cases[i].want)
			assert_string_equal(got, cases[i].want);
		else
			assert_null(got);
	}
}

static void subnets_avoid_routes(void **state _unused_)
{
	static const char head[] =
		"Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";
	_cleanup_free_ char *routes = xasprintf(
		"%seth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
		"br0\t0005D40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", /* 10.212.5.0/24 */
		head);
	_cleanup_free_ char *wide = xasprintf(
		"%stun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n", head); /* 10/8 */
	struct dink_private_net net = {}, other = {};

	/* 10.212.5.0 lies in 10.212.0.0/20, the default route in none */
	assert_int_equal(dink_private_net_choose(0, "/s", routes, &net), -EEXIST);
	/* number 15: no other engine of this machine is likely to have it */
	assert_int_equal(dink_private_net_choose(15, "/s", routes, &net), 0);
	assert_string_equal(net.bridge, "dinkbr15");
	assert_string_equal(net.gateway, "10.212.240.1/24");
	assert_string_equal(net.pool, "10.212.240.0/20");
	assert_int_equal(dink_private_net_choose(15, "/t", routes, &other), 0);
	assert_string_not_equal(net.mac, other.mac);
	assert_int_equal(dink_private_net_choose(15, "/s", wide, &net), -EEXIST);
	assert_int_equal(dink_private_net_choose(16, "/s", head, &net), -ERANGE);
}

static void places_are_text_and_back(void **state _unused_)
{
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_place_freep) struct dink_place *self = dink_place_container(host, getpid());
	_cleanup_(dink_place_freep) struct dink_place *back = NULL, *other = NULL;
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = dink_place_text(self), *again = NULL, *reused = NULL;

	assert_int_equal(dink_place_parse(text, &back, &err), 0);
	again = dink_place_text(back);
	assert_string_equal(text, again);
	/* the same pid with another start is another process */
	reused = xasprintf("host/container:%d@7", (int)getpid());
	assert_int_equal(dink_place_parse(reused, &other, &err), -ESRCH);
	dink_err_clear(&err);
	assert_true(dink_place_parse("nowhere", &other, &err) < 0);
	dink_err_clear(&err);
	assert_true(dink_place_parse("host/container:x@1", &other, &err) < 0);
	dink_err_clear(&err);
	/* no monitor: its command line says so */
	assert_true(dink_place_vm(host, getpid(), &other, &err) < 0);
	assert_non_null(strstr(err.msg, "is no dink-vm monitor"));
}

/* A tar stream that tries to write through a link it brought. */
static void extraction_follows_no_link(void **state _unused_)
{
	char tmp[] = "/tmp/dink-test-XXXXXX";
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *src = NULL, *out = NULL, *outside = NULL, *evil = NULL, *tar = NULL;
	_cleanup_close_ int fd = -1;

	assert_non_null(mkdtemp(tmp));
	src = xasprintf("%s/src", tmp);
	out = xasprintf("%s/out", tmp);
	outside = xasprintf("%s/outside", tmp);
	tar = xasprintf("%s/t.tar", tmp);
	assert_int_equal(mkdir(src, 0700) | mkdir(out, 0700) | mkdir(outside, 0700), 0);
	/* in the target, what a hostile layer left there by an earlier copy */
	evil = xasprintf("%s/link", out);
	assert_int_equal(symlink(outside, evil), 0);
	free(evil);
	evil = xasprintf("%s/file", src);
	assert_int_equal(dink_file_write(evil, "x", 1, 0600, &err), 0);
	fd = open(tar, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(dink_copy_pack(src, "link", fd, &err), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	/* the link is replaced or refused, never followed */
	(void)!dink_copy_extract(fd, out, "link", &err);
	free(evil);
	evil = xasprintf("%s/file", outside);
	assert_false(dink_exists(evil));
	dink_err_clear(&err);
	/* under another name all is well */
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(dink_copy_extract(fd, out, "fine", &err), 0);
	free(evil);
	evil = xasprintf("%s/fine/file", out);
	assert_true(dink_exists(evil));
	assert_int_equal(dink_rm_rf(tmp, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mux_takes_any_slicing),
		cmocka_unit_test(mux_refuses_what_is_no_frame),
		cmocka_unit_test(head_is_parsed),
		cmocka_unit_test(bad_heads_are_refused),
		cmocka_unit_test(refusal_has_the_daemons_words),
		cmocka_unit_test(urls_are_escaped),
		cmocka_unit_test(copied_names_stay_inside),
		cmocka_unit_test(subnets_avoid_routes),
		cmocka_unit_test(places_are_text_and_back),
		cmocka_unit_test(extraction_follows_no_link),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
