/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink: messages as they are built; and, as root, a real namespace with a veth and a tap. */
#include "tests/unit/unit.h"

#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/net/links.h"
#include "provision/net/netlink.h"
#include "provision/net/tap.h"

#include <net/if.h>
#include <sched.h>
#include <sys/wait.h>

static void test_nesting(void **state)
{
	struct dink_nl_req r;
	const struct ifinfomsg ifi = {};

	(void)state;
	dink_nl_begin(&r, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	dink_nl_nest(&r, 18);
	dink_nl_attr_str(&r, 1, "veth");
	dink_nl_unnest(&r);
	const struct nlmsghdr *h = (const struct nlmsghdr *)r.buf;
	const struct rtattr *tb[20];
	dink_nl_parse(IFLA_RTA(NLMSG_DATA(h)), IFLA_PAYLOAD(h), tb, 19);
	assert_non_null(tb[18]);
	assert_int_equal(tb[18]->rta_len, 4 + 4 + 8);
	dink_nl_parse(RTA_DATA(tb[18]), RTA_PAYLOAD(tb[18]), tb, 19);
	assert_string_equal((const char *)RTA_DATA(tb[1]), "veth");
}

static void test_too_much(void **state)
{
	struct dink_nl_req r;
	const struct ifinfomsg ifi = {};
	char big[1000] = {};

	(void)state;
	dink_nl_begin(&r, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	for (int i = 0; i < 10; i++)
		dink_nl_attr(&r, 1, big, sizeof(big));
	assert_true(r.bad);
	assert_int_equal(dink_nl_talk(-1, &r), -EMSGSIZE);
	dink_nl_begin(&r, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	for (int i = 0; i <= DINK_NL_DEPTH; i++)
		dink_nl_nest(&r, 1);
	assert_true(r.bad);
}

/* An attribute that says it is longer than what is there ends the parsing. */
static void test_lying_length(void **state)
{
	struct {
		struct rtattr a;
		char rest[4];
	} m = {.a = {.rta_len = 200, .rta_type = 1}};
	const struct rtattr *tb[3];

	(void)state;
	dink_nl_parse(&m.a, sizeof(m), tb, 2);
	assert_null(tb[1]);
	m.a.rta_len = 0;
	dink_nl_parse(&m.a, sizeof(m), tb, 2);
	assert_null(tb[1]);
}

static void run_ip(const char *a, const char *b, const char *c, const char *d, const char *e,
		   const char *f, const char *g)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	const char *const v[] = {"ip", a, b, c, d, e, f, g};

	for (size_t i = 0; i < ARRAY_SIZE(v) && v[i]; i++)
		dink_strv_add(&cmd.argv, v[i]);
	if (dink_cmd_run(&cmd, &err) < 0)
		_exit(10);
}

/* In a child: 0 = as expected, else the number of the first thing that is not. */
static int look_at_links(void)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *links = NULL;
	_cleanup_close_ int tap = -1;

	run_ip("link", "add", "eth0", "type", "veth", "peer", "out0");
	run_ip("link", "set", "eth0", "mtu", "1400", "up", NULL);
	run_ip("link", "set", "out0", "up", NULL, NULL, NULL);
	run_ip("addr", "add", "10.9.8.7/24", "dev", "eth0", NULL, NULL);
	run_ip("route", "add", "default", "via", "10.9.8.1", NULL, NULL);
	run_ip("neigh", "add", "10.9.8.1", "lladdr", "02:00:00:00:00:01", "dev", "eth0");
	if (dink_tap_open(0, &tap, &err) < 0)
		return 1;
	if (dink_links_count(&err) != 2 || dink_links_scan(&links, &err) < 0)
		return 2;
	struct json_object *l = NULL;
	for (size_t i = 0; i < json_object_array_length(links); i++) {
		struct json_object *x = json_object_array_get_idx(links, i);
		if (STREQ(dink_json_str_or(x, "name", ""), "eth0"))
			l = x;
	}
	if (!l || dink_json_int_or(l, "mtu", 0) != 1400 || dink_json_len(l, "addresses") != 1 ||
	    dink_json_len(l, "routes") != 1 || dink_json_len(l, "neighbours") != 1)
		return 3;
	const char *text = json_object_to_json_string_ext(
		l, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (!strstr(text, "[\"10.9.8.7/24\"]") ||
	    !strstr(text, "{\"to\":\"default\",\"via\":\"10.9.8.1\",\"order\":0}") ||
	    !strstr(text, "{\"to\":\"10.9.8.1\",\"mac\":\"02:00:00:00:00:01\"}"))
		return 4;
	int ifindex = (int)dink_json_int_or(l, "ifindex", 0);
	/* twice: a container that starts again in a namespace that stayed */
	if (dink_tap_join(0, ifindex, 1400, &err) < 0 || dink_tap_join(0, ifindex, 1400, &err) < 0)
		return 5;
	/* the tap goes with its descriptor */
	close(TAKE_FD(tap));
	return if_nametoindex("dinktap0") ? 6 : 0;
}

static void test_namespace(void **state)
{
	(void)state;
	if (getuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0)
		skip();
	pid_t pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWNET) < 0 ? 20 : look_at_links());
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_lying_length),
		cmocka_unit_test(test_namespace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
