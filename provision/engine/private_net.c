/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private engine's bridge and packet rules.
 *
 * Two dockerds on one host that both manage iptables break one another: each flushes the chain
 * DOCKER when it starts. So ours is started with --iptables=false, and three rules of our own do
 * what it needs, each marked by a comment and removed by its exact text. Published ports go
 * through docker-proxy.
 *
 * The bridge is known as ours by its MAC address, which is made from the state folder's name.
 */
#include "provision/engine/private.h"

#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/socket.h>

enum { NET_TIMEOUT_MS = 20000 };

void dink_private_net_clear(struct dink_private_net *net)
{
	free(net->iptables);
	*net = (struct dink_private_net){};
}

/* Whether a /20 that begins at `base` (host order) meets a route other than the default one. */
static bool is_routed(const char *routes, uint32_t base)
{
	const char *line = strchr(routes, '\n');

	for (; line && line[1]; line = strchr(line + 1, '\n')) {
		uint32_t dest, mask, both;

		if (sscanf(line + 1, "%*s %" SCNx32 " %*x %*x %*d %*d %*d %" SCNx32, &dest,
			   &mask) != 2)
			continue;
		dest = ntohl(dest);
		mask = ntohl(mask);
		both = mask & 0xfffff000;
		if (mask != 0 && (dest & both) == (base & both))
			return true;
	}
	return false;
}

static uint32_t default_mtu(const char *routes)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL, *path = NULL;
	const char *line = strchr(routes, '\n');
	char dev[32];
	uint32_t dest, mtu = 1500;

	for (; line && line[1]; line = strchr(line + 1, '\n')) {
		if (sscanf(line + 1, "%31s %" SCNx32, dev, &dest) == 2 && dest == 0) {
			path = xasprintf("/sys/class/net/%s/mtu", dev);
			break;
		}
	}
	if (path && dink_file_read(path, 64, &text, NULL, &ignored) == 0 &&
	    sscanf(text, "%" SCNu32, &mtu) == 1 && mtu >= 576 && mtu < 1500)
		return mtu;
	return 1500;
}

/* Candidate n of a state folder: names, subnets and the address that makes the bridge ours. */
static void fill_net(unsigned n, const char *state_dir, struct dink_private_net *ret)
{
	struct dink_hash *hash = dink_hash_new();
	char hex[65];

	*ret = (struct dink_private_net){.mtu = 1500};
	snprintf(ret->bridge, sizeof(ret->bridge), "dinkbr%u", n);
	snprintf(ret->subnet, sizeof(ret->subnet), "10.212.%u.0/24", n * 16);
	snprintf(ret->gateway, sizeof(ret->gateway), "10.212.%u.1/24", n * 16);
	snprintf(ret->pool, sizeof(ret->pool), "10.212.%u.0/20", n * 16);
	dink_hash_adds(hash, state_dir);
	dink_hash_end(hash, hex);
	snprintf(ret->mac, sizeof(ret->mac), "02:%.2s:%.2s:%.2s:%.2s:%.2s", hex, hex + 2, hex + 4,
		 hex + 6, hex + 8);
}

static bool forwarding_is_on(void)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL;

	return dink_file_read("/proc/sys/net/ipv4/ip_forward", 16, &text, NULL, &ignored) == 0 &&
	       text[0] == '1';
}

int dink_private_net_lock(int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open /proc/self/ns/net");
	do {
		r = flock(fd, LOCK_EX);
	} while (r < 0 && errno == EINTR && !dink_interrupted());
	if (r < 0 && errno == EINTR)
		return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "lock the network namespace");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int dink_private_net_choose(unsigned n, const char *state_dir, const char *routes,
			    struct dink_private_net *ret)
{
	_cleanup_free_ char *path = xasprintf("/sys/class/net/dinkbr%u", n);

	if (n >= DINK_PRIVATE_NETS)
		return -ERANGE;
	if (is_routed(routes, UINT32_C(10) << 24 | 212 << 16 | n << 12) || dink_exists(path))
		return -EEXIST;
	fill_net(n, state_dir, ret);
	ret->mtu = default_mtu(routes);
	ret->forwarding = forwarding_is_on(); /* known before it is changed */
	return 0;
}

static int run_ip(struct dink_cmd *cmd, struct dink_err *err)
{
	cmd->timeout_ms = NET_TIMEOUT_MS;
	return dink_cmd_run(cmd, err);
}

/* The rules: {table, chain, then the match}; op is "-I", "-A" or "-D" or "-C". */
static void rule_argv(struct dink_cmd *cmd, const struct dink_private_net *net, int rule,
		      const char *op)
{
	bool insert = STREQ(op, "-I");

	dink_cmd_argv(cmd, net->iptables, "-w", "10", NULL);
	switch (rule) {
	case 0: /* out to the world */
		dink_cmd_argv(cmd, "-t", "nat", insert ? "-A" : op, "POSTROUTING", "-s", net->pool,
			      "!", "-d", net->pool, "-j", "MASQUERADE", NULL);
		break;
	case 1: /* the policy of FORWARD may be DROP, as another dockerd sets it */
		dink_cmd_argv(cmd, "-t", "filter", op, "FORWARD", "-s", net->pool, "-j", "ACCEPT",
			      NULL);
		break;
	default:
		dink_cmd_argv(cmd, "-t", "filter", op, "FORWARD", "-d", net->pool, "-m",
			      "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT",
			      NULL);
		break;
	}
	dink_cmd_argv(cmd, "-m", "comment", "--comment", net->bridge, NULL);
}

enum { RULES = 3 };

static const char *const programs[] = {"iptables", "iptables-legacy", "iptables-nft"};

static int change_rule(const struct dink_private_net *net, int rule, const char *op,
		       int *ret_status, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	int r;

	rule_argv(&cmd, net, rule, op);
	cmd.ok_to_fail = ret_status != NULL;
	r = run_ip(&cmd, err);
	if (r >= 0 && ret_status)
		*ret_status = cmd.status;
	return r;
}

/* nf_tables or legacy: whichever this kernel takes rules from. */
static int add_rules(struct dink_private_net *net, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err first = {};

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		_cleanup_(dink_err_clear) struct dink_err why = {};
		int r = 0;

		free(net->iptables);
		net->iptables = xstrdup(programs[i]);
		for (int rule = 0; rule < RULES && r >= 0; rule++)
			r = change_rule(net, rule, "-I", NULL, &why);
		if (r >= 0)
			return 0;
		if (why.code == DINK_E_INTR) {
			dink_err_move(err, &why);
			return r;
		}
		for (int rule = 0; rule < RULES; rule++) {
			_cleanup_(dink_err_clear) struct dink_err ignored = {};
			int status;

			(void)!change_rule(net, rule, "-D", &status, &ignored);
		}
		if (!dink_err_is_set(&first))
			dink_err_move(&first, &why);
	}
	dink_err_move(err, &first);
	return dink_err_push(err, "adding the private engine's packet rules");
}

static int set_forwarding(bool on, struct dink_err *err)
{
	static const char path[] = "/proc/sys/net/ipv4/ip_forward";
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, on ? "1\n" : "0\n", 2) != 2)
		return dink_err_set(err, DINK_E_HOST, errno, "write %s", path);
	return 0;
}

int dink_private_net_up(struct dink_private_net *net, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd add = DINK_CMD_INIT, addr = DINK_CMD_INIT, up = DINK_CMD_INIT;
	int r;

	dink_cmd_argv(&add, "ip", "link", "add", "name", net->bridge, "address", net->mac, "type",
		      "bridge", NULL);
	dink_cmd_argv(&addr, "ip", "address", "add", net->gateway, "broadcast", "+", "dev",
		      net->bridge, NULL);
	dink_cmd_argv(&up, "ip", "link", "set", net->bridge, "up", NULL);
	r = run_ip(&add, err);
	if (r >= 0)
		r = run_ip(&addr, err);
	if (r >= 0)
		r = run_ip(&up, err);
	if (r < 0)
		return dink_err_push(err, "making the private engine's bridge");
	if (!net->forwarding && (r = set_forwarding(true, err)) < 0)
		return r;
	return add_rules(net, err);
}

static bool bridge_is_ours(const struct dink_private_net *net)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("/sys/class/net/%s/address", net->bridge);
	_cleanup_free_ char *text = NULL;

	return dink_file_read(path, 64, &text, NULL, &ignored) == 0 &&
	       strncmp(text, net->mac, strlen(net->mac)) == 0;
}

bool dink_private_net_is_taken(const struct dink_private_net *net)
{
	_cleanup_free_ char *path = xasprintf("/sys/class/net/%s", net->bridge);

	return net->bridge[0] && dink_exists(path) && !bridge_is_ours(net);
}

int dink_private_net_find(const char *state_dir, struct dink_private_net *ret)
{
	for (unsigned n = 0; n < DINK_PRIVATE_NETS; n++) {
		fill_net(n, state_dir, ret);
		ret->forwarding = true; /* what it was is not known: it stays */
		if (bridge_is_ours(ret))
			return 0;
	}
	*ret = (struct dink_private_net){};
	return -ENOENT;
}

/* Whether any other bridge is there, which may need forwarding. */
static bool other_bridges(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/class/net");
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		_cleanup_free_ char *path = xasprintf("/sys/class/net/%s/bridge", d->d_name);

		if (d->d_name[0] != '.' && dink_exists(path))
			return true;
	}
	return false;
}

/* Each rule may be there more than once after crashes; -C tells without complaint. */
static int remove_rules(const struct dink_private_net *net, struct dink_err *err)
{
	for (int rule = 0; rule < RULES; rule++) {
		for (int again = 0; again < 16; again++) {
			int status = 1, r = change_rule(net, rule, "-C", &status, err);

			if (r < 0)
				return r;
			if (status != 0)
				break;
			r = change_rule(net, rule, "-D", NULL, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* After a crash it is not known which program took the rules: what is not there has none. */
static void remove_rules_of_any(const struct dink_private_net *net)
{
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_free_ char *program = xstrdup(programs[i]);
		struct dink_private_net with = *net;

		with.iptables = program;
		(void)!remove_rules(&with, &ignored);
	}
}

int dink_private_net_down(const struct dink_private_net *net, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd del = DINK_CMD_INIT;
	int r = 0;

	if (!net->bridge[0])
		return 0;
	if (net->iptables)
		r = remove_rules(net, err);
	else
		remove_rules_of_any(net);
	if (r >= 0 && bridge_is_ours(net)) {
		dink_cmd_argv(&del, "ip", "link", "delete", net->bridge, NULL);
		r = run_ip(&del, err);
	}
	if (r >= 0 && !net->forwarding && !other_bridges())
		r = set_forwarding(false, err);
	return r;
}
