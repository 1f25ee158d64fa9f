/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's network: its links are looked for when it starts (Docker 26 and later attach the
 * network after create), and watched from then on: `network connect` and `disconnect` of a running
 * container put a link into its namespace or take one away, and ask no runtime.
 *
 * Each network card of the VM has a number, which is its tap's and the guest's for it. One whose
 * link is gone is free for the next.
 */
#include "provision/net/tap.h"
#include "provision/vm/monitor_internal.h"

#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* A link gets its name, addresses and routes one after the other: they are looked at together. */
enum { QUIET_MS = 50, AGAIN_MS = 500 };

int mon_check_links(struct monitor *m, struct dink_err *err)
{
	int n = dink_links_count(err);

	if (n < 0 || n <= m->n_nics)
		return n < 0 ? n : 0;
	dink_err_set(err, DINK_E_HOST, 0, "%d network links for a VM with %d network cards", n,
		     m->n_nics);
	return dink_err_hint(err, m->n_nics ? "a VM gets one more than there are links when it is "
					      "created, or 3 if there are none yet"
					    : "give /dev/net/tun to where dink-vm runs");
}

static int get_ifindex(struct json_object *link)
{
	return (int)dink_json_int_or(link, "ifindex", 0);
}

static int join_card(int card, struct json_object *link, struct dink_err *err)
{
	return dink_tap_join(card, get_ifindex(link), (int)dink_json_int_or(link, "mtu", 1500),
			     err);
}

/* A route that comes or goes moves the others, which are the same routes still. */
static void forget_order(struct json_object *link)
{
	struct json_object *routes = dink_json_get(link, "routes");

	for (size_t i = 0; i < dink_json_len(routes, ""); i++)
		json_object_object_del(json_object_array_get_idx(routes, i), "order");
}

void mon_set_cards(struct monitor *m, struct json_object *links)
{
	for (size_t i = 0; i < json_object_array_length(links) && i < DINK_LINKS_MAX; i++) {
		if (json_object_deep_copy(json_object_array_get_idx(links, i), &m->cards[i], NULL) <
		    0)
			mon_trace(m, "out of memory for a network link");
		else
			forget_order(m->cards[i]);
	}
}

int mon_join_links(struct monitor *m, struct json_object **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *links = NULL;
	int r = mon_check_links(m, err);

	if (r == 0)
		r = dink_links_scan(&links, err);
	if (r < 0)
		return r;
	size_t n = json_object_array_length(links);
	for (size_t i = 0; i < n; i++) {
		r = join_card((int)i, json_object_array_get_idx(links, i), err);
		if (r < 0)
			return r;
	}
	mon_set_cards(m, links);
	*ret = TAKE_PTR(links);
	return 0;
}

/* --- changes --- */

static struct json_object *find_link(struct json_object *links, int ifindex)
{
	for (size_t i = 0; i < json_object_array_length(links); i++) {
		struct json_object *l = json_object_array_get_idx(links, i);
		if (get_ifindex(l) == ifindex)
			return l;
	}
	return NULL;
}

static int find_card(struct monitor *m, int ifindex)
{
	for (int i = 0; i < m->n_nics && i < DINK_LINKS_MAX; i++) {
		if (m->cards[i] ? get_ifindex(m->cards[i]) == ifindex : ifindex == 0)
			return i;
	}
	return -1;
}

static bool has(struct json_object *list, struct json_object *item)
{
	for (size_t i = 0; i < dink_json_len(list, ""); i++) {
		if (json_object_equal(json_object_array_get_idx(list, i), item))
			return true;
	}
	return false;
}

/* What is in list a and not in list b */
static struct json_object *subtract(struct json_object *a, struct json_object *b)
{
	struct json_object *rest = json_object_new_array();

	for (size_t i = 0; i < dink_json_len(a, ""); i++) {
		struct json_object *item = json_object_array_get_idx(a, i);
		if (!has(b, item))
			json_object_array_add(rest, json_object_get(item));
	}
	return rest;
}

/* What the guest is told of a link; a card that stays as it is keeps running. */
static struct json_object *describe(struct json_object *link, struct json_object *before)
{
	static const char *const shape[] = {"name", "mac", "mtu"};
	static const char *const lists[] = {"addresses", "routes", "neighbours"};
	struct json_object *o, *drop;

	for (size_t i = 0; before && i < ARRAY_SIZE(shape); i++) {
		if (!json_object_equal(dink_json_get(link, shape[i]),
				       dink_json_get(before, shape[i])))
			before = NULL;
	}
	if (!before)
		return json_object_get(link);
	o = dink_json_new();
	drop = dink_json_new();
	dink_json_set(o, "index", json_object_get(dink_json_get(link, "index")));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct json_object *is = dink_json_get(link, lists[i]);
		struct json_object *was = dink_json_get(before, lists[i]);
		dink_json_set(o, lists[i], subtract(is, was));
		dink_json_set(drop, lists[i], subtract(was, is));
	}
	dink_json_set(o, "drop", drop);
	return o;
}

static void drop_links(struct monitor *m, struct json_object *links, struct json_object *gone)
{
	for (int i = 0; i < DINK_LINKS_MAX; i++) {
		if (!m->cards[i] || find_link(links, get_ifindex(m->cards[i])))
			continue;
		json_object_put(TAKE_PTR(m->cards[i]));
		json_object_array_add(gone, json_object_new_int(i));
		mon_trace(m, "a network link is gone");
	}
}

static void add_link(struct monitor *m, struct json_object *link, struct json_object *told)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	int card = find_card(m, get_ifindex(link));
	bool is_new = card < 0;

	if (is_new)
		card = find_card(m, 0);
	if (card < 0) {
		mon_trace(m, "no network card is left for another link");
		return;
	}
	dink_json_set_int(link, "index", card);
	forget_order(link);
	if (!is_new && json_object_equal(link, m->cards[card]))
		return;
	/* it may have gone again meanwhile, which is told next */
	if (is_new && join_card(card, link, &err) < 0) {
		mon_trace(m, err.msg);
		return;
	}
	json_object_array_add(told, describe(link, m->cards[card]));
	json_object_put(m->cards[card]);
	m->cards[card] = json_object_get(link);
	mon_trace(m, is_new ? "another network link" : "a network link changed");
}

static void take_changes(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;

	if (msg && !dink_json_bool_or(msg, "ok", false))
		mon_trace(m, dink_json_str_or(msg, "error", "the guest refused its network"));
}

static void look(void *ctx)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *links = NULL;
	struct monitor *m = ctx;

	m->links_timer = NULL;
	if (m->status == MON_STOPPING)
		return;
	/* the guest has its first links in a moment; it does not listen while it is saved */
	if (m->status < MON_RUNNING || m->ckpt) {
		m->links_timer = dink_loop_after(m->loop, AGAIN_MS, look, m);
		return;
	}
	if (dink_links_scan(&links, &err) < 0) {
		mon_trace(m, err.msg);
		return;
	}
	struct json_object *gone = json_object_new_array(), *told = json_object_new_array();
	struct json_object *msg = dink_json_new();
	drop_links(m, links, gone);
	for (size_t i = 0; i < json_object_array_length(links); i++)
		add_link(m, json_object_array_get_idx(links, i), told);
	bool any = json_object_array_length(gone) > 0 || json_object_array_length(told) > 0;
	dink_json_set_str(msg, "op", "network");
	dink_json_set(msg, "gone", gone);
	dink_json_set(msg, "links", told);
	if (any)
		dink_chan_request(m->chan, json_object_get(msg), take_changes, m);
	json_object_put(msg);
	/* Docker has a name server for those of a user network */
	if (any)
		mon_relay_dns(m);
}

/* What they say is of no interest: all of it is looked at anew. False = there was nothing. */
static bool drain(struct monitor *m)
{
	char buf[8192];
	bool any = false;
	ssize_t n;

	while ((n = recv(m->links_fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0 ||
	       (n < 0 && (errno == EINTR || errno == ENOBUFS)))
		any = true;
	return any;
}

static void read_links(void *ctx, _unused_ int fd, _unused_ uint32_t events)
{
	struct monitor *m = ctx;

	if (drain(m) && !m->links_timer)
		m->links_timer = dink_loop_after(m->loop, QUIET_MS, look, m);
}

void mon_watch_links(struct monitor *m)
{
	struct sockaddr_nl addr = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
			     RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE,
	};

	if (m->n_nics == 0 || m->links_fd >= 0)
		return;
	m->links_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (m->links_fd < 0 || bind(m->links_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    !dink_loop_add(m->loop, m->links_fd, EPOLLIN, read_links, m))
		mon_trace(m, "links that come later are not seen");
}

void mon_see_links(struct monitor *m)
{
	if (m->links_fd < 0 || (!drain(m) && !m->links_timer))
		return;
	dink_source_remove(TAKE_PTR(m->links_timer));
	look(m);
}
