# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What mount, losetup, mkfs, btrfs, iptables, ip, unshare, newuidmap, skopeo, conmon, containerd and
# the docker client say; see lib.bash.

# --- mount and loop devices ------------------------------------------------------------------

err_mount_unknown_fs() { apart mount -t zfs none /mnt; }
err_mount_bad_superblock() {
	truncate -s 1M "$T/empty.img"
	apart mount -o loop "$T/empty.img" /mnt
}
err_mount_no_source() { apart mount /no/such /mnt; }
err_mount_no_target() { apart mount -t tmpfs none /no/such; }
err_mount_remount() { apart mount -o remount,rw "$T"; }
err_mount_denied() { apart setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin mount -t tmpfs none /mnt; }
err_mount_not_root() { as_nobody "mount -t tmpfs none /mnt"; }
err_umount_busy() {
	# shellcheck disable=SC2016
	apart sh -c 'mount -t tmpfs none /mnt; cd /mnt; umount /mnt'
}
err_mount_remount_busy() {
	outer 'cap("CAP_SYS_ADMIN")' mount -o remount,rw /sys/fs/cgroup/memory
}
err_mount_overlay() {
	# the third overlay on overlay is one too many
	# shellcheck disable=SC2016
	apart sh -c 'mount -t tmpfs none /mnt; cd /mnt
		for i in 1 2 3; do
			mkdir -p l$i u$i w$i m$i; lower=l$i; [ $i = 1 ] || lower=m$((i - 1))
			mount -t overlay overlay -o lowerdir=$lower,upperdir=u$i,workdir=w$i m$i || exit
		done'
}
err_losetup_no_file() { losetup -f /no/such; }
err_losetup_no_device() { apart sh -c 'mount -t tmpfs none /dev; losetup -f /etc/passwd'; }

# --- file systems ----------------------------------------------------------------------------

err_mkfs_too_small() {
	truncate -s 50M "$T/tiny.img"
	mkfs.btrfs -q "$T/tiny.img"
}
err_mkfs_mount_status() {
	mkdir -p -m 700 "$T/of-root" "$T/mounted"
	truncate -s 8M "$T/of-root/a.img"
	mkfs.ext4 -q "$T/of-root/a.img"
	truncate -s 120M "$T/users.img"
	chown 65534 "$T/users.img"
	unshare --mount sh -c 'mount -o loop "$1/of-root/a.img" "$1/mounted" &&
		setpriv --reuid 65534 --regid 65534 --clear-groups mkfs.btrfs -q "$1/users.img"' - "$T"
}
err_mkfs_signature() {
	truncate -s 120M "$T/full.img"
	mkfs.ext4 -q "$T/full.img"
	mkfs.btrfs -q "$T/full.img"
}
err_btrfs_not_btrfs() { btrfs subvolume create "$T/x/y" 2>&1 || btrfs subvolume create "$T/y"; }
# two file systems with the same UUID
btrfs_image() {
	truncate -s 200M "$T/$1"
	mkfs.btrfs -q -f "$T/$1" >/dev/null
}
err_btrfs_nested_subvolume() {
	btrfs_image nested.img
	apart sh -c 'mount -o loop $T/nested.img /mnt; btrfs -q subvolume create /mnt/a; btrfs -q subvolume create /mnt/a/b
		btrfs subvolume delete /mnt/a'
}
err_btrfs_delete_denied() {
	btrfs_image denied.img
	apart sh -c 'mount -o loop $T/denied.img /mnt; chmod 777 /mnt; btrfs -q subvolume create /mnt/a; chown nobody /mnt/a
		su -s /bin/sh nobody -c "btrfs subvolume delete /mnt/a"'
}
err_btrfs_resize() {
	btrfs_image resize.img
	apart sh -c 'mount -o loop $T/resize.img /mnt; btrfs filesystem resize 900m /mnt'
}
err_btrfs_exists() {
	btrfs_image exists.img
	apart sh -c 'mount -o loop $T/exists.img /mnt; btrfs -q subvolume create /mnt/a; btrfs subvolume create /mnt/a'
}
err_btrfs_damaged() {
	btrfs_image damaged.img
	dd if=/dev/zero of="$T/damaged.img" bs=4k seek=16 count=1 conv=notrunc status=none
	btrfs check "$T/damaged.img"
}
err_no_space() {
	truncate -s 120M "$T/fill.img"
	mkfs.btrfs -q -f "$T/fill.img" >/dev/null
	apart sh -c 'mount -o loop $T/fill.img /mnt; cat /dev/zero >/mnt/x'
}
err_btrfs_mounted() {
	btrfs_image mounted.img
	apart sh -c 'mount -o loop $T/mounted.img /mnt; btrfs check $(losetup -n -O NAME -j $T/mounted.img)'
}

# --- packet filter and links -----------------------------------------------------------------

err_iptables_denied() { without net_admin iptables-legacy -t nat -L; }
err_iptables_nft_denied() { without net_admin iptables-nft -t nat -L; }
err_iptables_no_table() { apart iptables-legacy -t broute -L; }
err_iptables_no_chain() { apart iptables-legacy -t nat -A NOPE -j ACCEPT; }
err_iptables_no_target() { apart iptables-legacy -A FORWARD -j NOPE; }
err_iptables_no_match() { apart iptables-legacy -A FORWARD -m nope -j ACCEPT; }
err_iptables_nft_no_module() { apart iptables-nft -A INPUT -j LED --led-trigger-id x; }
err_iptables_chain_exists() { apart sh -c 'iptables-legacy -t nat -N DOCKER; iptables-legacy -t nat -N DOCKER'; }
err_iptables_no_rule() { apart iptables-legacy -D FORWARD -j ACCEPT; }
err_iptables_lock() {
	# shellcheck disable=SC2016
	apart bash -c 'mount -t tmpfs none /run; exec 9>/run/xtables.lock; flock 9; iptables-legacy -w 1 -L 9>&-'
}
err_iptables_lock_denied() { as_nobody "iptables-legacy -L"; }
err_ip_denied() { apart setpriv --bounding-set=-net_admin --inh-caps=-net_admin ip link add x0 type bridge; }
err_ip_exists() { apart sh -c 'ip link add x0 type bridge; ip link add x0 type bridge'; }
err_ip_no_device() { apart ip link set x0 up; }
err_ip_unknown_type() { apart ip link add x0 type gtp role sgsn; }
err_tun_denied() { apart setpriv --bounding-set=-net_admin --inh-caps=-net_admin ip tuntap add dev x0 mode tap; }
err_tun_missing() { apart sh -c 'mount -t tmpfs none /dev; ip tuntap add dev x0 mode tap'; }
err_ip_address_exists() {
	apart sh -c 'ip link add x0 type bridge; ip addr add 10.94.0.1/24 dev x0; ip addr add 10.94.0.1/24 dev x0'
}
err_tc_no_qdisc() { apart sh -c 'ip link add x0 type bridge; tc qdisc add dev x0 root cake'; }
err_sysctl_missing() { apart sysctl -w net.ipv4.nope=1; }
err_sysctl_read_only() { outer 'cap("CAP_NET_ADMIN")' sysctl -w net.ipv4.ip_forward=1; }
err_port_in_use() { apart sh -c 'ip link set lo up; (socat TCP-LISTEN:80 STDOUT & sleep 0.2; socat TCP-LISTEN:80 STDOUT; kill $!)'; }

# --- user namespaces -------------------------------------------------------------------------

err_newuidmap_not_allowed() { as_nobody "unshare -U --map-users 0,100000,10 true"; }
err_newuidmap_other_user() {
	sleep 5 &
	as_nobody "newuidmap $! 0 100000 10"
	kill $!
}
err_newuidmap_write_denied() {
	# shellcheck disable=SC2016
	apart sh -c 'mount -t tmpfs none /mnt; cp -a /etc /mnt/etc; echo nobody:100000:10 >/mnt/etc/subuid
		mount --bind /mnt/etc /etc
		su -s /bin/sh nobody -c "unshare -U sleep 2 & sleep 0.2; setpriv --no-new-privs newuidmap \$! 0 100000 10"'
}
err_unshare_denied() { without sys_admin unshare --mount true; }
err_unshare_no_room() { unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; unshare -U true'; }

# --- skopeo, the docker client, conmon, containerd -------------------------------------------

err_skopeo_refused() { skopeo inspect docker://127.0.0.1:1/x:y; }
err_skopeo_no_host() { skopeo inspect docker://nope.invalid/x:y; }
err_skopeo_transport() { skopeo copy nope:x "dir:$T/x"; }
err_skopeo_policy() { apart sh -c 'mount -t tmpfs none /etc/containers; HOME=/mnt skopeo copy dir:/no/such dir:/mnt/x'; }
err_skopeo_not_archive() { skopeo copy docker-archive:/etc/passwd "dir:$T/x"; }
err_skopeo_no_image() { skopeo copy dir:/no/such "dir:$T/x"; }
err_docker_no_daemon() { docker -H unix:///no/such.sock ps; }
err_docker_socket_denied() {
	socat "UNIX-LISTEN:$T/s,mode=600,unlink-close" STDOUT &
	sleep 0.2
	as_nobody "docker -H unix://$T/s ps"
	kill $!
}
err_conmon_runtime() { conmon -c x -u x -r /no/such; }
err_conmon_log() { conmon -c x -u x -r /usr/sbin/runc -b "$T" -l k8s-file:/no/such/log; }
err_conmon_usage() { conmon; }
err_containerd_config() { containerd --config /no/such; }
err_containerd_denied() { as_nobody "containerd --root $T/c/root --state $T/c/state"; }
err_ctr_no_daemon() { ctr --connect-timeout 200ms -a /no/such version; }
