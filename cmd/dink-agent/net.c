/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network request, by rtnetlink: NICs are found by their place on the PCI bus (a name or a MAC
 * says nothing before they are set) and get name, MAC, MTU, addresses, routes and neighbours. Those
 * without a link have no driver, and so no interface, until there is one for them.
 */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"

#include <arpa/inet.h>
#include <limits.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { NICS_MAX = 64, NL_MAX = 1024, ROUTES_MAX = 512 };

struct nic {
	char device[PATH_MAX]; /* sorts by PCI address */
};

/* As they were found when all of them had their driver. */
static struct nic *cards;
static size_t n_cards;

/* An address of either family. */
struct ip {
	int family;
	uint8_t bytes[16];
	size_t len;
	unsigned prefix;
};

/* One netlink message in the making. */
struct nl {
	struct nlmsghdr h;
	uint8_t body[NL_MAX];
};

/* --- netlink --- */

static void nl_start(struct nl *m, uint16_t type, uint16_t flags, const void *head, size_t n)
{
	memset(m, 0, sizeof(*m));
	m->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
	m->h.nlmsg_type = type;
	m->h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	m->h.nlmsg_seq = 1;
	memcpy(NLMSG_DATA(&m->h), head, n);
}

static void nl_add(struct nl *m, uint16_t type, const void *data, size_t n)
{
	size_t at = NLMSG_ALIGN(m->h.nlmsg_len);
	struct rtattr *a = (struct rtattr *)(void *)((uint8_t *)m + at);

	if (at + RTA_SPACE(n) > sizeof(*m))
		return;
	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), data, n);
	m->h.nlmsg_len = (uint32_t)(at + RTA_SPACE(n));
}

/* nl_send() - 0 or -errno of the kernel's answer */
static int nl_send(struct nl *m)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	union {
		struct nlmsghdr h;
		uint8_t bytes[4096];
	} answer;
	const struct nlmsgerr *e;
	ssize_t n;

	if (fd < 0 || send(fd, m, m->h.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*e)) || answer.h.nlmsg_type != NLMSG_ERROR)
		return n < 0 ? -errno : -EPROTO;
	e = NLMSG_DATA(&answer.h);
	return e->error;
}

/* --- words to numbers --- */

/* parse_ip() - "10.0.0.1", "fd00::1/64"; without a prefix it is the full length */
static bool parse_ip(const char *text, struct ip *ret)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *slash = strchr(copy, '/');
	struct ip ip = {};

	if (slash)
		*slash++ = 0;
	ip.family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	ip.len = ip.family == AF_INET6 ? 16 : 4;
	ip.prefix = (unsigned)ip.len * 8;
	if (inet_pton(ip.family, copy, ip.bytes) != 1)
		return false;
	if (slash) {
		char *end;
		unsigned long v = strtoul(slash, &end, 10);

		if (end == slash || *end || v > ip.len * 8)
			return false;
		ip.prefix = (unsigned)v;
	}
	*ret = ip;
	return true;
}

static bool parse_mac(const char *text, uint8_t ret[6])
{
	unsigned b[6];
	char rest;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5,
		   &rest) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		ret[i] = (uint8_t)b[i];
	return true;
}

/* --- links --- */

static int compare_nics(const void *a, const void *b)
{
	return strcmp(((const struct nic *)a)->device, ((const struct nic *)b)->device);
}

static void learn_cards(void)
{
	_cleanup_closedir_ DIR *d = n_cards ? NULL : opendir("/sys/class/net");
	struct dirent *de;

	if (!cards)
		cards = xcalloc(NICS_MAX, sizeof(*cards));
	while (d && n_cards < NICS_MAX && (de = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("/sys/class/net/%s/device", de->d_name);

		if (de->d_name[0] != '.' && realpath(path, cards[n_cards].device))
			n_cards++;
	}
	if (d)
		qsort(cards, n_cards, sizeof(*cards), compare_nics);
}

/* find_index() - of a card's interface; 0 = it has none */
static unsigned find_index(const struct nic *nic)
{
	_cleanup_free_ char *path = xasprintf("%s/net", nic->device);
	_cleanup_closedir_ DIR *d = opendir(path);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		if (de->d_name[0] != '.')
			return if_nametoindex(de->d_name);
	}
	return 0;
}

static int drive_nic(const struct nic *nic, const char *verb)
{
	_cleanup_free_ char *path = xasprintf("/sys/bus/virtio/drivers/virtio_net/%s", verb);

	return agent_write_file(path, strrchr(nic->device, '/') + 1);
}

static int set_link(unsigned index, unsigned up, uint16_t attr, const void *data, size_t n)
{
	struct ifinfomsg head = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = (int)index,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP,
	};
	struct nl m;

	nl_start(&m, RTM_NEWLINK, 0, &head, sizeof(head));
	if (n)
		nl_add(&m, attr, data, n);
	return nl_send(&m);
}

int agent_loopback_up(struct dink_err *err)
{
	int r = set_link(1, 1, 0, NULL, 0);

	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "loopback") : 0;
}

/* free_name() - another NIC may have the wanted name before its turn comes */
static int free_name(unsigned index, const char *name)
{
	unsigned other = if_nametoindex(name);
	char spare[IF_NAMESIZE];

	if (!other || other == index)
		return 0;
	snprintf(spare, sizeof(spare), "was%u", other);
	int r = set_link(other, 0, 0, NULL, 0);
	return r < 0 ? r : set_link(other, 0, IFLA_IFNAME, spare, strlen(spare) + 1);
}

/* shape_link() - name, MAC, MTU, up */
static int shape_link(struct json_object *l, unsigned index, struct dink_err *err)
{
	const char *name = dink_json_str_or(l, "name", "");
	const char *mac = dink_json_str_or(l, "mac", "");
	uint32_t mtu = (uint32_t)dink_json_int_or(l, "mtu", 0);
	uint8_t hw[6];
	int r = 0;

	if (strlen(name) >= IF_NAMESIZE || (*mac && !parse_mac(mac, hw)))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "link '%s' with MAC '%s'", name,
				    mac);
	/* one that is up keeps its name, also where the same request takes it down */
	if (*name || *mac)
		r = set_link(index, 0, 0, NULL, 0);
	if (!r && *name)
		r = free_name(index, name);
	if (!r && *name)
		r = set_link(index, 0, IFLA_IFNAME, name, strlen(name) + 1);
	if (!r && *mac)
		r = set_link(index, 0, IFLA_ADDRESS, hw, sizeof(hw));
	if (!r && mtu)
		r = set_link(index, 0, IFLA_MTU, &mtu, sizeof(mtu));
	if (!r)
		r = set_link(index, 1, 0, NULL, 0);
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "link %s (MAC %s, MTU %u)", name, mac,
				    mtu)
		     : 0;
}

/* --- addresses, routes, neighbours --- */

static int put_address(const char *text, unsigned index, bool gone, struct dink_err *err)
{
	struct ip ip;
	struct ifaddrmsg head = {.ifa_index = index};
	struct nl m;
	int r;

	if (!parse_ip(text, &ip))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "address '%s'", text);
	head.ifa_family = (uint8_t)ip.family;
	head.ifa_prefixlen = (uint8_t)ip.prefix;
	/* the host's own stack answered for this address until now: no need to probe for it */
	head.ifa_flags = ip.family == AF_INET6 ? IFA_F_NODAD : 0;
	nl_start(&m, gone ? RTM_DELADDR : RTM_NEWADDR, gone ? 0 : NLM_F_CREATE | NLM_F_REPLACE,
		 &head, sizeof(head));
	nl_add(&m, IFA_LOCAL, ip.bytes, ip.len);
	nl_add(&m, IFA_ADDRESS, ip.bytes, ip.len);
	if (ip.family == AF_INET && ip.prefix < 31) {
		uint8_t all[4];

		for (unsigned i = 0; i < 4; i++) {
			unsigned bits = ip.prefix > i * 8 ? ip.prefix - i * 8 : 0;

			all[i] = ip.bytes[i] | (uint8_t)(bits >= 8 ? 0 : 0xff >> bits);
		}
		nl_add(&m, IFA_BROADCAST, all, 4);
	}
	r = nl_send(&m);
	return r < 0 && r != -EEXIST && !gone
		       ? dink_err_set(err, DINK_E_HOST, -r, "address %s", text)
		       : 0;
}

/* put_route() - type and flags: to have it behind others to one place, before them, or no more */
static int put_route(struct json_object *o, unsigned index, uint16_t type, uint16_t flags,
		     struct dink_err *err)
{
	const char *to = dink_json_str_or(o, "to", "default");
	const char *via = dink_json_str_or(o, "via", "");
	const char *src = dink_json_str_or(o, "src", "");
	uint32_t metric = (uint32_t)dink_json_int_or(o, "metric", 0);
	struct ip dst = {}, gw = {}, from = {};
	struct rtmsg head = {
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = *via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};
	struct nl m;
	int r;

	if ((!STREQ(to, "default") && !parse_ip(to, &dst)) || (*via && !parse_ip(via, &gw)) ||
	    (*src && !parse_ip(src, &from)))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "route to '%s' via '%s'", to, via);
	if (!dst.family)
		dst.family = gw.family ? gw.family : from.family ? from.family : AF_INET;
	head.rtm_family = (uint8_t)dst.family;
	head.rtm_dst_len = (uint8_t)dst.prefix;
	nl_start(&m, type, flags, &head, sizeof(head));
	if (dst.prefix)
		nl_add(&m, RTA_DST, dst.bytes, dst.len);
	if (*via)
		nl_add(&m, RTA_GATEWAY, gw.bytes, gw.len);
	if (*src)
		nl_add(&m, RTA_PREFSRC, from.bytes, from.len);
	if (metric)
		nl_add(&m, RTA_PRIORITY, &metric, sizeof(metric));
	nl_add(&m, RTA_OIF, &index, sizeof(index));
	r = nl_send(&m);
	/* what went with its address is gone, too */
	return r < 0 && r != -EEXIST && type == RTM_NEWROUTE
		       ? dink_err_set(err, DINK_E_HOST, -r, "route to %s via '%s'", to, via)
		       : 0;
}

static int add_neighbour(struct json_object *o, unsigned index, struct dink_err *err)
{
	const char *to = dink_json_str_or(o, "to", ""), *mac = dink_json_str_or(o, "mac", "");
	struct ndmsg head = {.ndm_ifindex = (int)index, .ndm_state = NUD_PERMANENT};
	uint8_t hw[6];
	struct ip ip;
	struct nl m;
	int r;

	if (!parse_ip(to, &ip) || !parse_mac(mac, hw))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "neighbour '%s' at '%s'", to, mac);
	head.ndm_family = (uint8_t)ip.family;
	nl_start(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	nl_add(&m, NDA_DST, ip.bytes, ip.len);
	nl_add(&m, NDA_LLADDR, hw, sizeof(hw));
	r = nl_send(&m);
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "neighbour %s", to) : 0;
}

static int fill_link(struct json_object *l, unsigned index, struct dink_err *err)
{
	struct json_object *list = dink_json_get(l, "drop.routes");
	int r = 0;

	for (size_t i = 0, n = dink_json_len(l, "drop.routes"); i < n && !r; i++)
		r = put_route(json_object_array_get_idx(list, i), index, RTM_DELROUTE, 0, err);
	list = dink_json_get(l, "drop.addresses");
	for (size_t i = 0, n = dink_json_len(l, "drop.addresses"); i < n && !r; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(list, i));

		r = put_address(text ? text : "", index, true, err);
	}
	list = dink_json_get(l, "addresses");
	for (size_t i = 0, n = dink_json_len(l, "addresses"); i < n && !r; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(list, i));

		r = put_address(text ? text : "", index, false, err);
	}
	list = dink_json_get(l, "neighbours");
	for (size_t i = 0, n = dink_json_len(l, "neighbours"); i < n && !r; i++)
		r = add_neighbour(json_object_array_get_idx(list, i), index, err);
	return r;
}

/* A route and the interface that it is of. */
struct way {
	struct json_object *route;
	unsigned index;
};

/* gateways are reached by on-link routes: those first */
static int compare_ways(const void *a, const void *b)
{
	struct json_object *x = ((const struct way *)a)->route;
	struct json_object *y = ((const struct way *)b)->route;
	int via = !!*dink_json_str_or(x, "via", "") - !!*dink_json_str_or(y, "via", "");
	int64_t n = dink_json_int_or(x, "order", 0), m = dink_json_int_or(y, "order", 0);

	return via ? via : n < m ? -1 : n > m;
}

/* add_routes() - of all links, in the order that the host has them in */
static int add_routes(struct json_object *links, const unsigned *index, bool late,
		      struct dink_err *err)
{
	_cleanup_free_ struct way *ways = xcalloc(ROUTES_MAX, sizeof(*ways));
	size_t n = 0, n_links = links ? json_object_array_length(links) : 0;
	int r = 0;

	for (size_t i = 0; i < n_links; i++) {
		struct json_object *l = json_object_array_get_idx(links, i);
		struct json_object *list = dink_json_get(l, "routes");

		for (size_t k = 0, m = dink_json_len(l, "routes"); k < m && n < ROUTES_MAX; k++)
			ways[n++] = (struct way){json_object_array_get_idx(list, k), index[i]};
	}
	qsort(ways, n, sizeof(*ways), compare_ways);
	for (size_t i = 0; i < n && !r; i++)
		r = put_route(ways[i].route, ways[i].index, RTM_NEWROUTE,
			      late ? NLM_F_CREATE : NLM_F_CREATE | NLM_F_APPEND, err);
	return r;
}

/* remove_nic() - a card without a link has no place in a container: its driver lets go of it */
static void remove_nic(const struct nic *nic)
{
	int r = find_index(nic) ? drive_nic(nic, "unbind") : 0;

	if (r < 0)
		agent_say("removing a network card: %s", strerror(-r));
}

/* del_addresses() - IPv4's: the others go with the link going down, as do routes and neighbours */
static int del_addresses(unsigned index)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct nl ask;
	struct ifaddrmsg head = {.ifa_family = AF_INET};
	union {
		struct nlmsghdr h;
		uint8_t bytes[16384];
	} answer;
	bool done = false;

	nl_start(&ask, RTM_GETADDR, NLM_F_DUMP, &head, sizeof(head));
	if (fd < 0 || send(fd, &ask, ask.h.nlmsg_len, 0) < 0)
		return -errno;
	while (!done) {
		ssize_t n = recv(fd, &answer, sizeof(answer), 0);
		size_t left = n > 0 ? (size_t)n : 0;

		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		for (struct nlmsghdr *h = &answer.h; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			const struct ifaddrmsg *a = NLMSG_DATA(h);
			struct nl m;

			done |= h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR;
			if (h->nlmsg_type != RTM_NEWADDR || a->ifa_index != index ||
			    h->nlmsg_len > sizeof(m))
				continue;
			memcpy(&m, h, h->nlmsg_len);
			m.h.nlmsg_type = RTM_DELADDR;
			m.h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
			/* a secondary one goes with its first */
			int r = nl_send(&m);
			if (r < 0 && r != -EADDRNOTAVAIL)
				return r;
		}
	}
	return 0;
}

int agent_network_forget(struct dink_err *err)
{
	learn_cards();
	for (size_t i = 0; i < n_cards; i++) {
		unsigned index = find_index(&cards[i]);
		int r = index ? set_link(index, 0, 0, NULL, 0) : 0;

		if (index && r == 0)
			r = del_addresses(index);
		if (r < 0)
			return dink_err_set(err, DINK_E_HOST, -r,
					    "forgetting the addresses of a network card");
	}
	return 0;
}

/* take_card() - the number of its interface; ret 0 and an error if there is none */
static unsigned take_card(int64_t at, struct dink_err *err)
{
	if (at < 0 || (size_t)at >= n_cards) {
		(void)!dink_err_set(err, DINK_E_HOST, ENODEV,
				    "no network card %lld: the guest has %zu", (long long)at,
				    n_cards);
		return 0;
	}
	unsigned index = find_index(&cards[at]);
	if (index)
		return index;
	int r = drive_nic(&cards[at], "bind");
	index = r < 0 ? 0 : find_index(&cards[at]);
	if (!index)
		(void)!dink_err_set(err, DINK_E_HOST, r < 0 ? -r : ENODEV, "network card %lld",
				    (long long)at);
	return index;
}

static void drop_gone(struct json_object *msg)
{
	struct json_object *gone = dink_json_get(msg, "gone");

	for (size_t i = 0, n = dink_json_len(msg, "gone"); i < n; i++) {
		int64_t at = json_object_get_int64(json_object_array_get_idx(gone, i));

		if (at >= 0 && (size_t)at < n_cards)
			remove_nic(&cards[at]);
	}
}

int agent_network(struct json_object *msg, struct dink_err *err)
{
	struct json_object *links = dink_json_get(msg, "links");
	bool used[NICS_MAX] = {}, only = dink_json_bool_or(msg, "only", false);
	unsigned index[NICS_MAX];
	size_t n = dink_json_len(msg, "links");
	int r = 0;

	learn_cards();
	drop_gone(msg);
	if (n > NICS_MAX)
		return dink_err_set(err, DINK_E_USAGE, E2BIG, "%zu links", n);
	for (size_t i = 0; i < n; i++) {
		struct json_object *l = json_object_array_get_idx(links, i);
		int64_t at = dink_json_int_or(l, "index", -1);

		index[i] = take_card(at, err);
		if (!index[i])
			return -ENODEV;
		used[at] = true;
		r = shape_link(l, index[i], err);
		if (!r)
			r = fill_link(l, index[i], err);
		if (r < 0)
			return r;
	}
	r = add_routes(links, index, !only, err);
	for (size_t i = 0; only && i < n_cards; i++) {
		if (!used[i])
			remove_nic(&cards[i]);
	}
	return r;
}
