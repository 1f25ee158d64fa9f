/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/net/tap.h"

#include "provision/base/mem.h"
#include "provision/net/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <sys/ioctl.h>

/* Up (mtu 0) or a new MTU. */
static int set_link(int nl, int ifindex, int mtu)
{
	struct dink_nl_req r;
	struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex};

	if (mtu == 0) {
		ifi.ifi_flags = IFF_UP;
		ifi.ifi_change = IFF_UP;
	}
	dink_nl_begin(&r, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	if (mtu)
		dink_nl_attr_u32(&r, IFLA_MTU, (uint32_t)mtu);
	return dink_nl_talk(nl, &r);
}

int dink_tap_open(int n, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int nl = -1;
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	if (fd < 0) {
		dink_err_set(err, DINK_E_HOST, errno, "open /dev/net/tun");
		return dink_err_hint(err, "a VM with a network needs the device /dev/net/tun");
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), DINK_TAP_PREFIX "%d", n);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		if (errno == EBUSY)
			return dink_err_set(err, DINK_E_HOST, 0,
					    "another VM has this network namespace: a network card "
					    "belongs to one kernel");
		return dink_err_set(err, DINK_E_HOST, errno, "make the tap %s", ifr.ifr_name);
	}
	int r = dink_nl_open(&nl, err);
	if (r < 0)
		return r;
	r = ioctl(nl, SIOCGIFINDEX, &ifr) < 0 ? -errno : set_link(nl, ifr.ifr_ifindex, 0);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "bring up the tap %s", ifr.ifr_name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int add_ingress(int nl, int ifindex)
{
	struct dink_nl_req r;
	const struct tcmsg t = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0),
		.tcm_parent = TC_H_INGRESS,
	};

	dink_nl_begin(&r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &t, sizeof(t));
	dink_nl_attr_str(&r, TCA_KIND, "ingress");
	int rc = dink_nl_talk(nl, &r);
	/* one is left from an earlier life of a container whose netns stayed: its filters go */
	if (rc != -EEXIST)
		return rc;
	dink_nl_begin(&r, RTM_DELQDISC, 0, &t, sizeof(t));
	dink_nl_attr_str(&r, TCA_KIND, "ingress");
	rc = dink_nl_talk(nl, &r);
	if (rc < 0)
		return rc;
	dink_nl_begin(&r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &t, sizeof(t));
	dink_nl_attr_str(&r, TCA_KIND, "ingress");
	return dink_nl_talk(nl, &r);
}

static void add_mirred(struct dink_nl_req *r, uint16_t acts, int to)
{
	const struct tc_mirred m = {
		.action = TC_ACT_STOLEN,
		.eaction = TCA_EGRESS_REDIR,
		.ifindex = (uint32_t)to,
	};

	dink_nl_nest(r, acts);
	dink_nl_nest(r, 1);
	dink_nl_attr_str(r, TCA_ACT_KIND, "mirred");
	dink_nl_nest(r, TCA_ACT_OPTIONS);
	dink_nl_attr(r, TCA_MIRRED_PARMS, &m, sizeof(m));
	dink_nl_unnest(r);
	dink_nl_unnest(r);
	dink_nl_unnest(r);
}

/* u32 with one key that every frame matches: in every kernel with tc; matchall is not. */
static int add_redirect(int nl, int from, int to)
{
	struct dink_nl_req r;
	const struct tcmsg t = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = from,
		.tcm_parent = TC_H_MAKE(TC_H_INGRESS, 0),
		.tcm_info = TC_H_MAKE(1 << 16, htons(ETH_P_ALL)),
	};
	const struct tc_u32_sel sel = {.flags = TC_U32_TERMINAL, .nkeys = 1};
	/* the selector and its one key, all zero: mask 0 matches every frame */
	unsigned char u[sizeof(sel) + sizeof(struct tc_u32_key)] = {};

	memcpy(u, &sel, sizeof(sel));
	dink_nl_begin(&r, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &t, sizeof(t));
	dink_nl_attr_str(&r, TCA_KIND, "u32");
	dink_nl_nest(&r, TCA_OPTIONS);
	add_mirred(&r, TCA_U32_ACT, to);
	dink_nl_attr(&r, TCA_U32_SEL, u, sizeof(u));
	dink_nl_unnest(&r);
	int rc = dink_nl_talk(nl, &r);
	if (rc != -ENOENT)
		return rc;
	dink_nl_begin(&r, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &t, sizeof(t));
	dink_nl_attr_str(&r, TCA_KIND, "matchall");
	dink_nl_nest(&r, TCA_OPTIONS);
	add_mirred(&r, TCA_MATCHALL_ACT, to);
	dink_nl_unnest(&r);
	return dink_nl_talk(nl, &r);
}

int dink_tap_join(int n, int link_ifindex, int mtu, struct dink_err *err)
{
	_cleanup_close_ int nl = -1;
	_cleanup_free_ char *name = xasprintf(DINK_TAP_PREFIX "%d", n);
	int tap = (int)if_nametoindex(name);
	int r = dink_nl_open(&nl, err);

	if (r < 0)
		return r;
	if (tap == 0)
		return dink_err_set(err, DINK_E_HOST, errno, "find the tap %s", name);
	const char *what = "set the MTU of the tap";
	int rc = set_link(nl, tap, mtu);
	if (rc == 0) {
		what = "bring up the container's link";
		rc = set_link(nl, link_ifindex, 0);
	}
	if (rc == 0) {
		what = "add an ingress qdisc to the container's link";
		rc = add_ingress(nl, link_ifindex);
	}
	if (rc == 0) {
		what = "add an ingress qdisc to the tap";
		rc = add_ingress(nl, tap);
	}
	if (rc == 0) {
		what = "redirect the link's frames to the tap";
		rc = add_redirect(nl, link_ifindex, tap);
	}
	if (rc == 0) {
		what = "redirect the tap's frames to the link";
		rc = add_redirect(nl, tap, link_ifindex);
	}
	if (rc < 0)
		return dink_err_set(err, DINK_E_HOST, -rc, "%s (tap %s)", what, name);
	return 0;
}
