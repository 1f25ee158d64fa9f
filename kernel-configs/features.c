/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feature table: what a guest can be asked to do, the fragments that enable it, and the
 * symbols without which it fails, each with what fails. `dink kernel check` reads the needs alone,
 * so they are what cannot be done without, not what is nice to have.
 *
 * The order is that of merging: a later fragment has the last word.
 */
#include "kernel-configs/kernel.h"

#define NEED(sym, reason)                                                                          \
	{                                                                                          \
		.symbol = (sym), .why = (reason)                                                   \
	}
#define NEED_IN(sym, reason, from, to)                                                             \
	{                                                                                          \
		.symbol = (sym), .why = (reason), .since = (from), .until = (to)                   \
	}
#define FRAGMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct dink_kernel_need guest_needs[] = {
	NEED("64BIT", "a 32-bit kernel cannot run dink-agent"),
	NEED("PVH", "QEMU starts vmlinux by it"),
	NEED("BLK_DEV_INITRD", "dink-agent is /init of an initramfs"),
	NEED("DEVTMPFS", "/dev"),
	NEED("TMPFS", "/run, writable layers"),
	NEED("PROC_FS", "/proc"),
	NEED("SYSFS", "/sys"),
	NEED("UNIX98_PTYS", "terminals"),
	NEED("BINFMT_ELF", "programs"),
	NEED("BINFMT_SCRIPT", "scripts"),
	NEED("FUTEX", "threads"),
	NEED("EPOLL", "dink-agent's event loop"),
	NEED("SIGNALFD", "dink-agent"),
	NEED("EVENTFD", "Go and crun"),
	NEED("MULTIUSER", "users other than root"),
	NEED("NET", "networking"),
	NEED("INET", "networking"),
	NEED("UNIX", "the daemon's socket"),
	NEED("PACKET", "DHCP and packet capture"),
	NEED("NAMESPACES", "containers"),
	NEED("UTS_NS", "containers"),
	NEED("IPC_NS", "containers"),
	NEED("PID_NS", "containers"),
	NEED("NET_NS", "containers"),
	NEED("USER_NS", "user namespaces"),
	NEED("CGROUPS", "resource limits"),
	NEED("MEMCG", "--memory"),
	NEED("CGROUP_PIDS", "--pids-limit"),
	NEED("CGROUP_FREEZER", "docker pause"),
	NEED("CPUSETS", "--cpuset-cpus"),
	NEED("CFS_BANDWIDTH", "--cpus"),
	NEED("FAIR_GROUP_SCHED", "--cpu-shares"),
	NEED("CGROUP_BPF", "device rules of cgroup v2"),
	NEED("CGROUP_DEVICE", "device rules of cgroup v1"),
	NEED("BPF_SYSCALL", "device rules of cgroup v2"),
	NEED("SECCOMP", "seccomp profiles"),
	NEED("SECCOMP_FILTER", "seccomp profiles"),
	NEED("VIRTIO_PCI", "all of QEMU's devices"),
	NEED("VIRTIO_BLK", "disks and block roots"),
	NEED("VIRTIO_NET", "the network interface"),
	NEED("VIRTIO_CONSOLE", "the channel between dink-vm and dink-agent"),
	NEED("HW_RANDOM_VIRTIO", "randomness at boot"),
	NEED("PCI_MSI", "interrupts of virtio devices"),
	NEED("ACPI", "power-off, interrupt routing"),
	NEED("SERIAL_8250_CONSOLE", "the console in dink-vm's log"),
	{},
};

static const struct dink_kernel_need containers_needs[] = {
	NEED("KEYS", "runc's session keyrings"),
	NEED("POSIX_MQUEUE", "/dev/mqueue"),
	NEED("VETH", "container interfaces"),
	NEED("BRIDGE", "docker0"),
	NEED("BRIDGE_NETFILTER", "rules between containers of one bridge"),
	NEED("NF_NAT", "published ports"),
	NEED("NF_CONNTRACK", "published ports"),
	NEED("NETFILTER_XT_MARK", "swarm's routing mesh"),
	NEED("NETFILTER_XT_MATCH_ADDRTYPE", "dockerd's rule for published ports"),
	NEED("NETFILTER_XT_MATCH_CONNTRACK", "dockerd's rule for answers"),
	NEED("NETFILTER_XT_MATCH_COMMENT", "podman's rules"),
	NEED("NETFILTER_XT_MATCH_IPVS", "swarm's routing mesh"),
	NEED("IP_VS", "swarm's routing mesh"),
	NEED("OVERLAY_FS", "the overlay2 storage driver"),
	{},
};

static const struct dink_kernel_need iptables_needs[] = {
	NEED("NETFILTER_XTABLES", "iptables"),
	NEED_IN("NETFILTER_XTABLES_LEGACY", "ip_tables, which older configurations lose", "6.17",
		NULL),
	NEED_IN("IP_NF_IPTABLES_LEGACY", "ip_tables, which older configurations lose", "6.17",
		NULL),
	NEED("IP_NF_IPTABLES", "iptables-legacy"),
	NEED("IP_NF_FILTER", "the filter table"),
	NEED("IP_NF_NAT", "the nat table"),
	NEED("IP_NF_TARGET_MASQUERADE", "containers' way out"),
	NEED("IP_NF_TARGET_REDIRECT", "redirected ports"),
	NEED("IP_NF_TARGET_REJECT", "rejected packets"),
	NEED("IP6_NF_IPTABLES", "ip6tables-legacy"),
	NEED("IP6_NF_FILTER", "the filter table of IPv6"),
	NEED("IP6_NF_NAT", "the nat table of IPv6"),
	{},
};

static const struct dink_kernel_need nftables_needs[] = {
	NEED("NF_TABLES", "nft"),
	NEED("NF_TABLES_INET", "tables of family inet"),
	NEED("NF_TABLES_IPV4", "tables of family ip"),
	NEED("NF_TABLES_IPV6", "tables of family ip6"),
	NEED("NFT_COMPAT", "iptables-nft's matches and targets"),
	NEED("NFT_CT", "connection state"),
	NEED("NFT_MASQ", "containers' way out"),
	NEED("NFT_NAT", "published ports"),
	NEED("NFT_REJECT", "rejected packets"),
	NEED("NFT_FIB", "addrtype"),
	{},
};

static const struct dink_kernel_need btrfs_needs[] = {
	NEED("BTRFS_FS", "the btrfs storage driver, btrfs disks"),
	NEED("BTRFS_FS_POSIX_ACL", "ACLs in images"),
	{},
};
static const struct dink_kernel_need ext4_needs[] = {
	NEED("EXT4_FS", "ext4 disks"),
	NEED("EXT4_FS_POSIX_ACL", "ACLs in images"),
	NEED("EXT4_FS_SECURITY", "file capabilities"),
	{},
};
static const struct dink_kernel_need overlay_needs[] = {
	NEED("OVERLAY_FS", "overlay2, the writable layer over a block root"),
	{},
};
static const struct dink_kernel_need erofs_needs[] = {
	NEED("EROFS_FS", "block roots"),
	NEED("EROFS_FS_XATTR", "file capabilities in block roots"),
	{},
};
static const struct dink_kernel_need fuse_needs[] = {
	NEED("FUSE_FS", "fuse-overlayfs"),
	{},
};
static const struct dink_kernel_need virtiofs_needs[] = {
	NEED("FUSE_FS", "virtiofs is built on it"),
	NEED("VIRTIO_FS", "shared roots and volumes"),
	{},
};
static const struct dink_kernel_need p9_needs[] = {
	NEED("NET_9P", "shares by 9p"),
	NEED("NET_9P_VIRTIO", "shares by 9p"),
	NEED("9P_FS", "shares by 9p"),
	{},
};
static const struct dink_kernel_need vsock_needs[] = {
	NEED("VSOCKETS", "sockets between guest and host"),
	NEED("VIRTIO_VSOCKETS", "sockets between guest and host"),
	{},
};
static const struct dink_kernel_need vxlan_needs[] = {
	NEED("VXLAN", "overlay networks"),
	NEED("BRIDGE_VLAN_FILTERING", "overlay networks"),
	{},
};
static const struct dink_kernel_need netem_needs[] = {
	NEED("NET_SCHED", "queueing disciplines"),
	NEED("NET_SCH_NETEM", "delay and loss"),
	NEED("NET_SCH_TBF", "rates"),
	{},
};
static const struct dink_kernel_need tc_needs[] = {
	NEED("NET_SCHED", "queueing disciplines"),
	NEED("NET_SCH_INGRESS", "ingress and clsact, which dink-vm joins taps by"),
	NEED("NET_CLS_ACT", "actions"),
	NEED("NET_CLS_U32", "the u32 classifier"),
	NEED("NET_CLS_MATCHALL", "the matchall classifier"),
	NEED("NET_ACT_MIRRED", "mirred, which dink-vm joins taps by"),
	{},
};
static const struct dink_kernel_need network_needs[] = {
	NEED("VXLAN", "overlay networks"),
	NEED("MACVLAN", "the macvlan driver"),
	NEED("IPVLAN", "the ipvlan driver"),
	NEED("VLAN_8021Q", "VLANs"),
	NEED("DUMMY", "dummy interfaces"),
	NEED("IFB", "impairments of incoming packets"),
	NEED("NET_SCH_NETEM", "delay and loss"),
	NEED("NET_SCH_INGRESS", "ingress and clsact"),
	{},
};
static const struct dink_kernel_need tun_needs[] = {
	NEED("TUN", "tap interfaces of virtual machines, VPNs"),
	{},
};
static const struct dink_kernel_need loop_needs[] = {
	NEED("BLK_DEV_LOOP", "disk images attached in the guest"),
	{},
};
static const struct dink_kernel_need kvm_needs[] = {
	NEED("KVM", "/dev/kvm"),
	NEED("KVM_INTEL", "/dev/kvm on Intel processors"),
	NEED("KVM_AMD", "/dev/kvm on AMD processors"),
	NEED("TUN", "tap interfaces of virtual machines"),
	NEED("VHOST_NET", "networking of virtual machines"),
	NEED("VHOST_VSOCK", "the channel of virtual machines"),
	{},
};
static const struct dink_kernel_need security_needs[] = {
	NEED("SECURITY", "security modules"),
	NEED("SECURITY_LANDLOCK", "landlock"),
	NEED("SECURITY_YAMA", "restricted ptrace"),
	{},
};
static const struct dink_kernel_need guestfs_needs[] = {
	NEED("SCSI_VIRTIO", "the appliance's disks"),
	NEED("BLK_DEV_SD", "the appliance's disks"),
	NEED("EXT4_FS", "the appliance's own root"),
	NEED("VIRTIO_CONSOLE", "guestfsd's channel"),
	NEED("SERIAL_8250_CONSOLE", "the appliance's console"),
	NEED("BLK_DEV_DM", "list-filesystems, which looks into /dev/mapper"),
	{},
};
static const struct dink_kernel_need xfs_needs[] = {
	NEED("XFS_FS", "xfs disks"),
	NEED("XFS_QUOTA", "overlay2's size limits"),
	{},
};
static const struct dink_kernel_need dm_needs[] = {
	NEED("BLK_DEV_DM", "the devicemapper storage driver"),
	NEED("DM_THIN_PROVISIONING", "the devicemapper storage driver"),
	{},
};
static const struct dink_kernel_need ipsec_needs[] = {
	NEED("XFRM_USER", "encrypted overlay networks"),
	NEED("INET_ESP", "encrypted overlay networks"),
	NEED("CRYPTO_GCM", "encrypted overlay networks"),
	{},
};
static const struct dink_kernel_need wireguard_needs[] = {
	NEED("WIREGUARD", "wg interfaces"),
	{},
};
static const struct dink_kernel_need systemd_needs[] = {
	NEED("AUTOFS_FS", "automount units"), NEED("CGROUPS", "services"),
	NEED("INOTIFY_USER", "path units"),   NEED("FHANDLE", "udev"),
	NEED("DMIID", "systemd-detect-virt"), {},
};
static const struct dink_kernel_need ia32_needs[] = {
	NEED("IA32_EMULATION", "32-bit programs"),
	{},
};
static const struct dink_kernel_need apparmor_needs[] = {
	NEED("SECURITY_APPARMOR", "the docker-default profile"),
	{},
};
static const struct dink_kernel_need hugepages_needs[] = {
	NEED("HUGETLBFS", "huge pages set aside ahead"),
	NEED("CGROUP_HUGETLB", "limits of huge pages"),
	{},
};
static const struct dink_kernel_need hardening_needs[] = {
	NEED_IN("SPECULATION_MITIGATIONS", "speculation attacks between layers", NULL, "6.8"),
	NEED_IN("CPU_MITIGATIONS", "speculation attacks between layers", "6.9", NULL),
	NEED("STACKPROTECTOR_STRONG", "overflows in the kernel"),
	NEED("HARDENED_USERCOPY", "overflows in the kernel"),
	{},
};

static const struct dink_kernel_feature table[] = {
	{"guest", "every guest of dink-vm", true,
	 FRAGMENTS("base", "virtio", "containers", "cgroups"), guest_needs},
	{"overlay", "overlayfs", true, FRAGMENTS("overlay"), overlay_needs},
	{"ext4", "ext4 disks", true, FRAGMENTS("ext4"), ext4_needs},
	{"btrfs", "btrfs disks and dockerd's btrfs storage driver", true, FRAGMENTS("btrfs"),
	 btrfs_needs},
	{"erofs", "read-only block roots", true, FRAGMENTS("erofs"), erofs_needs},
	{"fuse", "file systems in user space", true, FRAGMENTS("shares"), fuse_needs},
	{"virtiofs", "folders of the host", true, FRAGMENTS("shares"), virtiofs_needs},
	{"9p", "shares of virtual machines by 9p", true, FRAGMENTS("shares"), p9_needs},
	{"vsock", "sockets between guest and host (vsock)", true, FRAGMENTS("vsock"), vsock_needs},
	{"containers", "dockerd and podman", true, FRAGMENTS("netfilter"), containers_needs},
	{"iptables", "dockerd and podman with iptables-legacy", true, FRAGMENTS("iptables"),
	 iptables_needs},
	{"nftables", "dockerd and podman with iptables-nft or nft", true, FRAGMENTS("nftables"),
	 nftables_needs},
	{"network", "virtual links of network scenarios", true, FRAGMENTS("network"),
	 network_needs},
	{"vxlan", "overlay networks", true, FRAGMENTS("network"), vxlan_needs},
	{"netem", "delay, loss and rates", true, FRAGMENTS("network"), netem_needs},
	{"tc", "traffic control", true, FRAGMENTS("network"), tc_needs},
	{"tun", "tap interfaces", true, FRAGMENTS("containers"), tun_needs},
	{"loop", "loop devices", true, FRAGMENTS("loop"), loop_needs},
	{"nested-kvm", "virtual machines inside the guest", true, FRAGMENTS("nested-kvm"),
	 kvm_needs},
	{"security", "landlock and yama", true, FRAGMENTS("security"), security_needs},
	{"guestfs", "the libguestfs appliance", true, FRAGMENTS("guestfs"), guestfs_needs},
	{"xfs", "xfs disks", false, FRAGMENTS("xfs"), xfs_needs},
	{"devicemapper", "device mapper, thin pools, encrypted disks", false,
	 FRAGMENTS("devicemapper"), dm_needs},
	{"ipsec", "encrypted overlay networks", false, FRAGMENTS("ipsec"), ipsec_needs},
	{"wireguard", "WireGuard", false, FRAGMENTS("wireguard"), wireguard_needs},
	{"systemd", "systemd as PID 1", false, FRAGMENTS("systemd"), systemd_needs},
	{"ia32", "32-bit programs", false, FRAGMENTS("ia32"), ia32_needs},
	{"apparmor", "AppArmor", false, FRAGMENTS("apparmor"), apparmor_needs},
	{"hugepages", "huge pages set aside ahead", false, FRAGMENTS("hugepages"), hugepages_needs},
	{"hardening", "layers of one guest that do not trust each other", false,
	 FRAGMENTS("hardening"), hardening_needs},
};

const struct dink_kernel_feature *dink_kernel_feature_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (STREQ(table[i].name, name))
			return &table[i];
	return NULL;
}

bool dink_kernel_feature_is_known(const char *name)
{
	return dink_kernel_feature_find(name) != NULL;
}

const char *const *dink_kernel_features(void)
{
	static const char *names[ARRAY_SIZE(table) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		names[i] = table[i].name;
	return names;
}
