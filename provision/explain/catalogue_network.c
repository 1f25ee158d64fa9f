/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: iptables, ip, tc, sysctl, sockets, user namespaces and their helpers. */
#include "provision/explain/explain.h"

#define FEATURES(x) "kernels: {guest: {features: [" x "]}}"

static const struct dink_explain_entry entries[] = {
	{
		.name = "iptables-denied",
		.program = "iptables",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"initialize iptables table*permission denied (you must be root)"},
		.cause = "the process has no CAP_NET_ADMIN in the user namespace that owns its "
			 "network "
			 "namespace",
		.fix = "let the layer have a daemon: CAP_NET_ADMIN is among its grants",
		.scenario = "daemon: docker",
		.source = "capabilities(7); docs/privileges.md, docker-daemon",
	},
	{
		.name = "iptables-nft-denied",
		.program = "iptables",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"could not fetch rule set generation id: permission denied"},
		.cause = "nf_tables refuses a process without CAP_NET_ADMIN even to read the rules",
		.fix = "let the layer have a daemon: CAP_NET_ADMIN is among its grants",
		.scenario = "daemon: docker",
		.source = "capabilities(7); iptables-nft(8)",
	},
	{
		.name = "iptables-no-table",
		.program = "iptables",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns =
			{"initialize iptables table*table does not exist (do you need to insmod?)"},
		.cause = "the kernel has no such table of the legacy packet filter; since 6.17 the "
			 "legacy "
			 "tables need NETFILTER_XTABLES_LEGACY and IP_NF_IPTABLES_LEGACY",
		.fix = "a guest kernel with the feature iptables, or iptables-nft in the image",
		.scenario = FEATURES("iptables"),
		.source = "docs/kernels.md; qualcomm-linux/meta-qcom#1090",
	},
	{
		.name = "iptables-nft-no-module",
		.program = "iptables",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"rule_append failed (no such file or directory)",
			     "rule_insert failed (no such file or directory)"},
		.cause = "the kernel lacks the match or target of this rule, or nft_compat for it",
		.fix = "a guest kernel with the features iptables and nftables",
		.scenario = FEATURES("iptables, nftables"),
		.source = "xtables-nft(8); docker-library/docker#486",
	},
	{
		.name = "iptables-no-chain",
		.program = "iptables",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"iptables: no chain/target/match by that name"},
		.cause = "the chain is gone (somebody flushed the rules while the daemon ran), was "
			 "made "
			 "by the other back end (legacy, nft), or the kernel lacks the match",
		.fix = "restart the layer's daemon, which makes its chains anew; use one back end "
		       "in a "
		       "network namespace",
		.source = "iptables(8); docker-library/docker#486, kamal#1762",
	},
	{
		.name = "iptables-no-target",
		.program = "iptables",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"load target*no such file or directory"},
		.cause = "no chain of this name, and no extension for a target of this name in the "
			 "image",
		.fix = "make the chain first, or install the extension's package in the image",
		.source = "iptables-extensions(8)",
	},
	{
		.name = "iptables-no-match",
		.program = "iptables",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"load match*no such file or directory"},
		.cause = "the image has no extension for this match",
		.fix = "install the whole iptables package in the image",
		.source = "iptables-extensions(8)",
	},
	{
		.name = "iptables-chain-exists",
		.program = "iptables",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"iptables: chain already exists"},
		.cause = "another daemon in the same network namespace has made its chains here",
		.fix = "a network namespace for each daemon: give each a layer of its own",
		.source = "iptables(8); docs/design.md, the private engine",
	},
	{
		.name = "iptables-no-rule",
		.program = "iptables",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"iptables: bad rule (does a matching rule exist in that chain?)"},
		.cause = "the rule to be deleted is not there: removed before, or made by the "
			 "other back "
			 "end (legacy, nft)",
		.fix = "compare iptables-legacy-save with iptables-nft-save; delete it where it is",
		.source = "iptables(8)",
	},
	{
		.name = "iptables-lock",
		.program = "iptables",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"another app is currently holding the xtables lock"},
		.cause = "another iptables holds /run/xtables.lock; layers that share /run with "
			 "the host "
			 "wait for one another",
		.fix = "wait longer (iptables -w), and do not mount the host's /run into a layer",
		.scenario = "mounts:",
		.source = "iptables(8), -w",
	},
	{
		.name = "iptables-lock-denied",
		.program = "iptables",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"cant open lock file*xtables.lock"},
		.cause = "the process may not write /run/xtables.lock: it is not root, or /run is "
			 "read-only",
		.fix = "run it as root in a layer with a daemon, whose /run is a tmpfs; or set "
		       "XTABLES_LOCKFILE",
		.scenario = "daemon: docker",
		.source = "iptables(8), XTABLES_LOCKFILE",
	},
	{
		.name = "ip-denied",
		.program = "ip",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"rtnetlink answers: operation not permitted"},
		.cause = "no CAP_NET_ADMIN over this network namespace",
		.fix = "let the layer have a daemon or a virtual machine below it: CAP_NET_ADMIN "
		       "is "
		       "among their grants",
		.scenario = "daemon: docker",
		.source = "capabilities(7); docs/privileges.md",
	},
	{
		.name = "ip-exists",
		.program = "ip",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"rtnetlink answers: file exists"},
		.cause = "a link, route or rule of this name is there already, perhaps left by a "
			 "run "
			 "that was killed",
		.fix = "dink gc lists what nobody owns; ip link del NAME removes a link",
		.source = "ip-link(8); containerlab#1444",
	},
	{
		.name = "ip-no-device",
		.program = "ip",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"cannot find device"},
		.cause = "no such link in this network namespace; engines since Docker 26 attach "
			 "it after "
			 "the container was created",
		.fix = "look in the right namespace (ip netns, nsenter -n); bring the layer up "
		       "anew",
		.source = "ip-link(8); moby#47626, kata-containers#9340",
	},
	{
		.name = "ip-unknown-type",
		.program = "ip",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"error: unknown device type",
			     "rtnetlink answers: operation not supported"},
		.cause = "the kernel has no driver for this kind of link",
		.fix = "a guest kernel with the feature that has it: network (bridge, veth, "
		       "macvlan), "
		       "vxlan, wireguard",
		.scenario = FEATURES("network, vxlan"),
		.source = "ip-link(8); docs/kernels.md",
	},
	{
		.name = "ip-address-exists",
		.program = "ip",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"error: ipv4: address already assigned"},
		.cause = "the link has this address already",
		.fix = "nothing, if it was to be so; else ip addr replace",
		.source = "ip-address(8)",
	},
	{
		.name = "tun-denied",
		.program = "ip",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"ioctl(tunsetiff): operation not permitted"},
		.cause = "/dev/net/tun is there, but making a tap takes CAP_NET_ADMIN",
		.fix = "declare the virtual machine as a layer: its parent is granted what it "
		       "takes",
		.scenario = "runtime: dink-vm",
		.source = "Documentation/networking/tuntap.rst; docs/privileges.md, vm-child",
	},
	{
		.name = "tun-missing",
		.program = "ip",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"open: no such file or directory"},
		.cause = "ip tuntap finds no /dev/net/tun in the layer",
		.fix = "declare the virtual machine as a layer: its parent is granted the device",
		.scenario = "runtime: dink-vm",
		.source = "ip-tuntap(8); docs/privileges.md, vm-child",
	},
	{
		.name = "tc-no-qdisc",
		.program = "tc",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"error: specified qdisc kind is unknown"},
		.cause = "the kernel has no such queueing discipline",
		.fix = "a guest kernel with the features tc and netem",
		.scenario = FEATURES("tc, netem"),
		.source = "tc(8), tc-netem(8); docs/kernels.md",
	},
	{
		.name = "sysctl-missing",
		.program = "sysctl",
		.level = DINK_EXPLAIN_KERNEL,
		.patterns = {"sysctl: cannot stat /proc/sys/"},
		.cause = "the kernel has no such setting: a feature is not built in, or its module "
			 "is not "
			 "loaded (bridge-nf-call-iptables is br_netfilter's)",
		.fix = "a guest kernel with the feature behind it",
		.scenario = FEATURES("containers, iptables"),
		.source = "sysctl(8); kata-containers/runtime#358",
	},
	{
		.name = "sysctl-read-only",
		.program = "sysctl",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"sysctl: *read-only file system", "sysctl: permission denied on key"},
		.cause = "/proc/sys is read-only in a container; only its engine sets namespaced "
			 "values",
		.fix = "a daemon's layer gets net.ipv4.ip_forward=1 from its parent; others belong "
		       "on "
		       "the engine's command line (--sysctl)",
		.scenario = "daemon: docker",
		.source = "proc(5); docs/privileges.md, sysctl",
	},
	{
		.name = "port-in-use",
		.program = "bind",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"bind(*address already in use", "bind: address already in use"},
		.cause = "something in this network namespace listens on the port already",
		.fix = "another port, or another network namespace",
		.scenario = "ports:",
		.source = "bind(2)",
	},
	{
		.name = "newuidmap-not-allowed",
		.program = "newuidmap",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"newuidmap: uid range*not allowed",
			     "newgidmap: gid range*not allowed"},
		.cause = "/etc/subuid or /etc/subgid in the layer gives this user no such range; "
			 "inside a "
			 "user namespace the range must also be mapped by the one around it",
		.fix = "a line USER:START:COUNT in both files of the image, within what the outer "
		       "namespace maps",
		.scenario = "image:",
		.source = "newuidmap(1), subuid(5), user_namespaces(7)",
	},
	{
		.name = "newuidmap-other-user",
		.program = "newuidmap",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"newuidmap: target process*is owned by a different user",
			     "newgidmap: target process*is owned by a different user"},
		.cause = "the caller does not own the process whose namespace is to be mapped",
		.fix = "call it as the user that made the user namespace",
		.source = "newuidmap(1)",
	},
	{
		.name = "newuidmap-write-denied",
		.program = "newuidmap",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"newuidmap: write to uid_map failed: operation not permitted",
			     "newgidmap: write to gid_map failed: operation not permitted"},
		.cause = "newuidmap gained no privilege: no_new_privs is set, its set-uid bit or "
			 "file "
			 "capability is lost in the image, or the outer user namespace does not "
			 "map the "
			 "range; on Ubuntu 24.04 also AppArmor's restriction of user namespaces",
		.fix = "an image whose newuidmap is set-uid, no no-new-privileges on that layer, a "
		       "subuid "
		       "range within the outer mapping",
		.scenario = "image:",
		.source = "user_namespaces(7), newuidmap(1); nerdctl#2847, RootlessKit#421",
	},
	{
		.name = "unshare-denied",
		.program = "unshare",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"unshare failed: operation not permitted"},
		.cause =
			"no CAP_SYS_ADMIN, or the seccomp filter of the layer denies unshare; in a "
			"chroot user namespaces are refused too",
		.fix = "let the layer have a daemon: CAP_SYS_ADMIN opens these calls in its filter",
		.scenario = "daemon: docker",
		.source = "unshare(2); moby#47480",
	},
	{
		.name = "unshare-no-room",
		.program = "unshare",
		.level = DINK_EXPLAIN_HOST,
		.patterns = {"unshare failed: no space left on device"},
		.cause = "a limit on namespaces is reached or 0: user.max_user_namespaces and its "
			 "like, or "
			 "user namespaces nested 32 deep",
		.fix = "sysctl user.max_user_namespaces=N on the host",
		.source = "namespaces(7), /proc/sys/user",
	},
};

const struct dink_explain_table dink_explain_network = {entries, ARRAY_SIZE(entries)};
