/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/net/links.h"

#include "provision/base/json.h"
#include "provision/net/netlink.h"
#include "provision/net/tap.h"

#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <net/if_arp.h>

struct scan {
	struct json_object *links;
	int64_t routes; /* seen so far */
};

static struct json_object *find_link(struct json_object *links, int ifindex)
{
	for (size_t i = 0; i < json_object_array_length(links); i++) {
		struct json_object *l = json_object_array_get_idx(links, i);
		if (dink_json_int_or(l, "ifindex", -1) == ifindex)
			return l;
	}
	return NULL;
}

static char *format_mac(const struct rtattr *a)
{
	const unsigned char *m = RTA_DATA(a);
	return xasprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static bool attr_is_string(const struct rtattr *a)
{
	return a && RTA_PAYLOAD(a) > 0 && memchr(RTA_DATA(a), 0, RTA_PAYLOAD(a)) != NULL;
}

static int add_link(void *ctx, const struct nlmsghdr *h)
{
	struct scan *s = ctx;
	const struct ifinfomsg *ifi = NLMSG_DATA(h);
	const struct rtattr *tb[IFLA_MAX + 1];

	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(*ifi)))
		return 0;
	dink_nl_parse(IFLA_RTA(ifi), IFLA_PAYLOAD(h), tb, IFLA_MAX);
	if ((ifi->ifi_flags & IFF_LOOPBACK) || ifi->ifi_type != ARPHRD_ETHER ||
	    !attr_is_string(tb[IFLA_IFNAME]) || !tb[IFLA_ADDRESS] ||
	    RTA_PAYLOAD(tb[IFLA_ADDRESS]) != 6)
		return 0;
	const char *name = RTA_DATA(tb[IFLA_IFNAME]);
	if (dink_starts_with(name, DINK_TAP_PREFIX))
		return 0;
	size_t n = json_object_array_length(s->links);
	if (n >= DINK_LINKS_MAX)
		return -E2BIG;
	_cleanup_free_ char *mac = format_mac(tb[IFLA_ADDRESS]);
	struct json_object *l = dink_json_new();
	dink_json_set_int(l, "index", (int64_t)n);
	dink_json_set_int(l, "ifindex", ifi->ifi_index);
	dink_json_set_str(l, "name", name);
	dink_json_set_str(l, "mac", mac);
	uint32_t mtu = 1500;
	if (tb[IFLA_MTU] && RTA_PAYLOAD(tb[IFLA_MTU]) == sizeof(mtu))
		memcpy(&mtu, RTA_DATA(tb[IFLA_MTU]), sizeof(mtu));
	dink_json_set_int(l, "mtu", mtu);
	dink_json_set(l, "addresses", json_object_new_array());
	dink_json_set(l, "routes", json_object_new_array());
	dink_json_set(l, "neighbours", json_object_new_array());
	json_object_array_add(s->links, l);
	return 0;
}

static bool format_address(int family, const struct rtattr *a, char ret[INET6_ADDRSTRLEN])
{
	size_t want = family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
	return a && want && RTA_PAYLOAD(a) == want &&
	       inet_ntop(family, RTA_DATA(a), ret, INET6_ADDRSTRLEN);
}

static int add_address(void *ctx, const struct nlmsghdr *h)
{
	struct scan *s = ctx;
	const struct ifaddrmsg *ifa = NLMSG_DATA(h);
	const struct rtattr *tb[IFA_MAX + 1];
	char text[INET6_ADDRSTRLEN];

	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*ifa)))
		return 0;
	struct json_object *l = find_link(s->links, (int)ifa->ifa_index);
	/* link-local IPv6 is made anew by the guest from the same MAC */
	if (!l || (ifa->ifa_family == AF_INET6 && ifa->ifa_scope == RT_SCOPE_LINK))
		return 0;
	dink_nl_parse(IFA_RTA(ifa), IFA_PAYLOAD(h), tb, IFA_MAX);
	if (!format_address(ifa->ifa_family, tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], text))
		return 0;
	_cleanup_free_ char *cidr = xasprintf("%s/%u", text, ifa->ifa_prefixlen);
	json_object_array_add(dink_json_get(l, "addresses"), json_object_new_string(cidr));
	return 0;
}

static int add_route(void *ctx, const struct nlmsghdr *h)
{
	struct scan *s = ctx;
	const struct rtmsg *rtm = NLMSG_DATA(h);
	const struct rtattr *tb[RTA_MAX + 1];
	char to[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN];
	uint32_t metric;
	int oif = 0;

	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*rtm)))
		return 0;
	/* what the kernel adds by itself with an address comes by itself in the guest too */
	if (rtm->rtm_type != RTN_UNICAST || rtm->rtm_table != RT_TABLE_MAIN ||
	    rtm->rtm_protocol == RTPROT_KERNEL || rtm->rtm_protocol == RTPROT_RA)
		return 0;
	dink_nl_parse(RTM_RTA(rtm), RTM_PAYLOAD(h), tb, RTA_MAX);
	if (!tb[RTA_OIF] || RTA_PAYLOAD(tb[RTA_OIF]) != sizeof(oif))
		return 0;
	memcpy(&oif, RTA_DATA(tb[RTA_OIF]), sizeof(oif));
	struct json_object *l = find_link(s->links, oif);
	if (!l)
		return 0;
	struct json_object *r = dink_json_new();
	bool six = rtm->rtm_family == AF_INET6;
	if (format_address(rtm->rtm_family, tb[RTA_DST], to)) {
		_cleanup_free_ char *cidr = xasprintf("%s/%u", to, rtm->rtm_dst_len);
		dink_json_set_str(r, "to", cidr);
	} else {
		dink_json_set_str(r, "to", six ? "::/0" : "default");
	}
	if (format_address(rtm->rtm_family, tb[RTA_GATEWAY], via))
		dink_json_set_str(r, "via", via);
	if (tb[RTA_PRIORITY] && RTA_PAYLOAD(tb[RTA_PRIORITY]) == sizeof(metric)) {
		memcpy(&metric, RTA_DATA(tb[RTA_PRIORITY]), sizeof(metric));
		dink_json_set_int(r, "metric", metric);
	}
	dink_json_set_int(r, "order", s->routes++);
	json_object_array_add(dink_json_get(l, "routes"), r);
	return 0;
}

static int add_neighbour(void *ctx, const struct nlmsghdr *h)
{
	struct scan *s = ctx;
	const struct ndmsg *nd = NLMSG_DATA(h);
	const struct rtattr *tb[NDA_MAX + 1];
	char text[INET6_ADDRSTRLEN];

	if (h->nlmsg_type != RTM_NEWNEIGH || h->nlmsg_len < NLMSG_LENGTH(sizeof(*nd)) ||
	    !(nd->ndm_state & NUD_PERMANENT))
		return 0;
	struct json_object *l = find_link(s->links, nd->ndm_ifindex);
	dink_nl_parse((const struct rtattr *)((const char *)nd + NLMSG_ALIGN(sizeof(*nd))),
		      NLMSG_PAYLOAD(h, sizeof(*nd)), tb, NDA_MAX);
	if (!l || !format_address(nd->ndm_family, tb[NDA_DST], text) || !tb[NDA_LLADDR] ||
	    RTA_PAYLOAD(tb[NDA_LLADDR]) != 6)
		return 0;
	struct json_object *n = dink_json_new();
	_cleanup_free_ char *mac = format_mac(tb[NDA_LLADDR]);
	dink_json_set_str(n, "to", text);
	dink_json_set_str(n, "mac", mac);
	json_object_array_add(dink_json_get(l, "neighbours"), n);
	return 0;
}

static int dump(int fd, uint16_t type, const void *family, size_t len, dink_nl_fn fn,
		struct scan *s, const char *what, struct dink_err *err)
{
	struct dink_nl_req r;

	dink_nl_begin(&r, type, 0, family, len);
	int rc = dink_nl_dump(fd, &r, fn, s);
	if (rc == -E2BIG)
		return dink_err_set(err, DINK_E_HOST, 0,
				    "the container's network namespace has more than %d links",
				    DINK_LINKS_MAX);
	return rc < 0 ? dink_err_set(err, DINK_E_HOST, -rc, "list %s", what) : 0;
}

int dink_links_scan(struct json_object **ret, struct dink_err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_json_ struct json_object *links = json_object_new_array();
	struct scan s = {.links = links};
	int r = dink_nl_open(&fd, err);

	if (r < 0)
		return r;
	const struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
	r = dump(fd, RTM_GETLINK, &ifi, sizeof(ifi), add_link, &s, "network links", err);
	if (r < 0 || json_object_array_length(links) == 0)
		goto out;
	const struct ifaddrmsg ifa = {.ifa_family = AF_UNSPEC};
	r = dump(fd, RTM_GETADDR, &ifa, sizeof(ifa), add_address, &s, "addresses", err);
	if (r < 0)
		return r;
	const struct rtmsg rtm = {.rtm_family = AF_UNSPEC};
	r = dump(fd, RTM_GETROUTE, &rtm, sizeof(rtm), add_route, &s, "routes", err);
	if (r < 0)
		return r;
	const struct ndmsg nd = {.ndm_family = AF_UNSPEC};
	r = dump(fd, RTM_GETNEIGH, &nd, sizeof(nd), add_neighbour, &s, "neighbours", err);
out:
	if (r < 0)
		return r;
	*ret = TAKE_PTR(links);
	return 0;
}

int dink_links_count(struct dink_err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_json_ struct json_object *links = json_object_new_array();
	struct scan s = {.links = links};
	const struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
	int r = dink_nl_open(&fd, err);

	if (r < 0)
		return r;
	r = dump(fd, RTM_GETLINK, &ifi, sizeof(ifi), add_link, &s, "network links", err);
	return r < 0 ? r : (int)json_object_array_length(links);
}
