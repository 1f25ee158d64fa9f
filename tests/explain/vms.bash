# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What QEMU, virtiofsd and libguestfs say; see lib.bash. No guest gets far: most end before it starts.

# qemu OPTION... - stopped at its start, ended by QMP if it gets so far
qemu() {
	(sleep 0.4; echo '{"execute":"qmp_capabilities"}'; echo '{"execute":"quit"}'; sleep 0.1) |
		timeout 5 qemu-system-x86_64 -S -machine "${machine:-q35}" -accel "${accel:-tcg}" -m 64M -nodefaults \
			-display none -qmp stdio "$@" 2>&1
}

err_qemu_no_kvm() { accel=kvm apart bash -c 'mount -t tmpfs none /dev; timeout 5 qemu-system-x86_64 -accel kvm -display none'; }
err_qemu_kvm_denied() { outer few_devices sh -c 'mknod /dev/kvm c 10 232; timeout 5 qemu-system-x86_64 -accel kvm -display none -nodefaults'; }
err_qemu_no_tun() { apart sh -c 'mount -t tmpfs none /dev; timeout 5 qemu-system-x86_64 -display none -nodefaults -netdev tap,id=n,ifname=x0,script=no'; }
err_qemu_tap_denied() { apart setpriv --bounding-set=-net_admin --inh-caps=-net_admin timeout 5 qemu-system-x86_64 -display none -nodefaults -netdev tap,id=n,ifname=x0,script=no; }
err_qemu_tap_busy() {
	# a tap of another, which holds its one queue
	# shellcheck disable=SC2016
	apart sh -c 'tap="-display none -nodefaults -monitor none -netdev tap,id=n,ifname=x0,script=no,downscript=no"
		timeout 2 qemu-system-x86_64 -S $tap 2>/dev/null & sleep 0.6; timeout 1 qemu-system-x86_64 -S $tap; wait'
}
err_qemu_no_vhost_net() { apart sh -c 'mount -t tmpfs none /dev; mkdir /dev/net; mknod /dev/net/tun c 10 200; timeout 5 qemu-system-x86_64 -display none -nodefaults -netdev tap,id=n,ifname=x0,script=no,vhost=on'; }
err_qemu_no_vsock() { qemu -device vhost-vsock-pci,guest-cid=3; }
err_qemu_vhost_user() {
	# virtiofsd ends while QEMU asks for its features
	socat "UNIX-LISTEN:$T/v.sock" SYSTEM:true &
	sleep 0.3
	qemu -chardev "socket,id=c,path=$T/v.sock" -device vhost-user-fs-pci,chardev=c,tag=t
}
err_qemu_no_socket() { qemu -chardev socket,id=c,path=/no/such.sock; }
err_qemu_disk_locked() {
	truncate -s 1M "$T/disk.img"
	local with=(-S -display none -nodefaults -monitor none -drive "if=none,id=d,format=raw,file=$T/disk.img" -device virtio-blk-pci,drive=d)
	timeout 2 qemu-system-x86_64 "${with[@]}" 2>/dev/null &
	sleep 0.6
	timeout 1 qemu-system-x86_64 "${with[@]}"
	wait
}
err_qemu_no_disk() { qemu -drive if=none,id=d,format=raw,file=/no/such.img; }
err_qemu_disk_format() {
	truncate -s 1M "$T/raw.img"
	qemu -drive "if=none,id=d,format=qcow2,file=$T/raw.img"
}
err_qemu_no_kernel() { qemu -kernel /no/such; }
err_qemu_not_pvh() {
	cp /usr/bin/true "$T/elf"
	qemu -kernel "$T/elf"
}
err_qemu_no_memory() { (ulimit -v 700000; accel=tcg,tb-size=16 qemu -m 4096M); }
err_qemu_cpu() { qemu -cpu nope; }
err_qemu_machine() { machine=nope qemu; }
err_qemu_device() { qemu -device nope; }
err_qemu_accel() { accel=nope qemu; }
err_qemu_no_backing() { qemu -object memory-backend-file,id=m,size=64M,mem-path=/no/such; }
err_qemu_migration_blocked() {
	{ echo '{"execute":"qmp_capabilities"}'; echo '{"execute":"migrate","arguments":{"uri":"exec:cat >/dev/null"}}'
		sleep 0.2; echo '{"execute":"quit"}'; } |
		timeout 5 qemu-system-x86_64 -S -machine q35 -accel tcg -m 64M -nodefaults -display none -qmp stdio \
			-drive if=none,id=d,format=raw,file=null-co:// -device nvme,drive=d,serial=x
}
err_qemu_other_memory() {
	{ echo '{"execute":"qmp_capabilities"}'; echo '{"execute":"migrate","arguments":{"uri":"exec:cat >'"$T"'/state"}}'
		sleep 1; echo '{"execute":"quit"}'; } |
		timeout 5 qemu-system-x86_64 -S -machine q35 -accel tcg -m 64M -nodefaults -display none -qmp stdio >/dev/null 2>&1
	timeout 10 qemu-system-x86_64 -S -machine q35 -accel tcg -m 96M -nodefaults -display none -monitor none -incoming "exec:cat $T/state"
}

# virtiofsd_in FILTER OPTION - in a container; it shuts itself in when QEMU connects
virtiofsd_in() {
	outer "cap(\"CAP_SYS_ADMIN\") | $1" sh -c "timeout 3 /usr/lib/qemu/virtiofsd --socket-path=/run/v.sock -o source=/tmp $2 &
		for i in 1 2 3 4 5 6 7 8 9; do
			[ ! -S /run/v.sock ] || break
			sleep 0.1
		done
		socat -u OPEN:/dev/null UNIX-CONNECT:/run/v.sock; wait"
}
err_virtiofsd_pivot_root() { virtiofsd_in 'deny("pivot_root")' --rlimit-nofile=0; }
err_virtiofsd_unshare() { virtiofsd_in 'uncap("CAP_SYS_ADMIN")' --rlimit-nofile=0; }
err_virtiofsd_no_folder() { timeout 5 /usr/lib/qemu/virtiofsd "--socket-path=$T/vf.sock" -o source=/no/such; }
err_virtiofsd_socket() { timeout 5 /usr/lib/qemu/virtiofsd --socket-path=/no/such/dir/v.sock -o source=/tmp; }
err_virtiofsd_not_root() { as_nobody "timeout 5 /usr/lib/qemu/virtiofsd --socket-path=/tmp/x.sock -o source=/tmp"; }

# --- libguestfs ------------------------------------------------------------------------------

guest() {
	truncate -s 16M "$T/guest.img"
	LIBGUESTFS_CACHEDIR=$T TMPDIR=$T LIBGUESTFS_BACKEND=direct "$@" guestfish -a "$T/guest.img" run 2>&1
}
err_guestfs_no_kernel() { guest env; }
err_guestfs_no_disk() { guestfish -a /no/such run; }
err_guestfs_backend() { guest env LIBGUESTFS_BACKEND=libvirt; }
err_guestfs_not_launched() { guestfish ls /; }
