# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What runc and crun say; see lib.bash.

# --- runc ------------------------------------------------------------------------------------

err_runc_session_key() { nested runc 'rw_cgroups | deny("keyctl")'; }
err_runc_pivot_root() { nested runc 'rw_cgroups | deny("pivot_root")'; }
err_runc_cgroup_read_only() { nested runc .; }
err_runc_cgroup_denied() {
	# the cgroup belongs to root, and so does every process of the layer: only the id differs
	bundle denied .
	outer 'cap("CAP_SYS_ADMIN") | cap("CAP_NET_ADMIN") | rw_cgroups | uncap("CAP_DAC_OVERRIDE")' sh -c "
		chown 5 /sys/fs/cgroup/*; chmod 555 /sys/fs/cgroup/*; runc --root /run/r run -b $T/denied inner"
}
# the first error of the nested-container notes, in the words of a runc of today
err_runc_namespaces_denied() {
	bundle plain .
	outer rw_cgroups runc --root /run/r run -b "$T/plain" inner
}
err_runc_mount_proc() {
	nested runc 'rw_cgroups' '.linux.namespaces += [{type: "user"}] |
		.linux.uidMappings = [{containerID: 0, hostID: 0, size: 1}] | .linux.gidMappings = .linux.uidMappings'
}
err_runc_net_admin() { nested runc 'rw_cgroups | uncap("CAP_NET_ADMIN")'; }
err_runc_caps() { nested runc 'rw_cgroups | uncap("CAP_AUDIT_WRITE")'; }
err_runc_rlimit() { with runc '.process.rlimits = [{type: "RLIMIT_NOFILE", hard: 9999999, soft: 9999999}]'; }
err_runc_not_found() { with runc '.process.args = ["nope"]'; }
err_runc_not_executable() { with runc '.process.args = ["/bin/text"]'; }
err_runc_exec_format() { with runc '.process.args = ["/bin/foreign"]'; }
err_runc_interpreter() { with runc '.process.args = ["/bin/script"]'; }
err_runc_user() { with runc '.process.user = {uid: 4294967295, gid: 0}'; }
err_runc_bind_source() { with runc '.mounts += [{destination: "/tmp", type: "bind", source: "/no/such", options: ["bind"]}]'; }
err_runc_bind_kind() { with runc '.mounts += [{destination: "/tmp", type: "bind", source: "/etc/passwd", options: ["bind"]}]'; }
err_runc_mount_no_fs() { with runc '.mounts += [{destination: "/tmp", type: "zfs", source: "x"}]'; }
err_runc_sysctl_host() { with runc '.linux.namespaces |= map(select(.type != "network")) | .linux.sysctl = {"net.ipv4.ip_forward": "1"}'; }
err_runc_sysctl_unknown() { with runc '.linux.sysctl = {"vm.swappiness": "1"}'; }
err_runc_sysctl_missing() { with runc '.linux.sysctl = {"net.nope": "1"}'; }
err_runc_namespace_gone() { with runc '.linux.namespaces |= map(if .type == "network" then .path = "/proc/4194304/ns/net" else . end)'; }
err_runc_apparmor() { with runc '.process.apparmorProfile = "docker-default"'; }
err_runc_selinux() { with runc '.process.selinuxLabel = "system_u:system_r:container_t:s0"'; }
err_runc_hook() { with runc '.hooks = {prestart: [{path: "/bin/false"}]}'; }
err_runc_memory() { with runc '.linux.resources.memory = {limit: 4096}'; }
err_runc_tty() {
	bundle tty '.process.terminal = true'
	runc --root "$T/runc" create -b "$T/tty" tty </dev/null
}
err_runc_no_config() { runc --root "$T/runc" run -b /proc x; }
err_runc_rootfs() { with runc '.root.path = "/no/such"'; }
err_runc_exists() {
	bundle exists .
	runc --root "$T/runc" create -b "$T/exists" exists </dev/null >/dev/null 2>&1
	runc --root "$T/runc" create -b "$T/exists" exists
	runc --root "$T/runc" delete --force exists
}
err_runc_stopped() {
	bundle stopped '.process.args = ["true"]'
	runc --root "$T/runc" run -d -b "$T/stopped" stopped </dev/null >/dev/null 2>&1
	sleep 0.2
	runc --root "$T/runc" exec stopped true
	runc --root "$T/runc" delete --force stopped
}
err_runc_gone() { runc --root "$T/runc" state nope; }
err_runc_device_cgroup() {
	nested runc 'rw_cgroups | few_devices' '.linux.resources.devices = [{allow: true, type: "c", major: 5, minor: 1, access: "rwm"}]'
}
err_runc_rootless_userns() {
	mkdir -p "$T/rootless-state"
	chmod 777 "$T/rootless-state"
	bundle rootless2 .
	chmod -R a+rX "$T/rootless2"
	as_nobody "runc --root $T/rootless-state run -b $T/rootless2 x"
}

# --- crun ------------------------------------------------------------------------------------

err_crun_keyring() { nested crun 'rw_cgroups | deny("keyctl")'; }
err_crun_pivot_root() { nested crun 'rw_cgroups | deny("pivot_root")'; }
err_crun_cgroup() { crun_cgroups= nested crun .; }
err_crun_device_cgroup() { crun_cgroups= nested crun 'rw_cgroups | few_devices'; }
err_crun_namespaces_denied() {
	bundle plain .
	outer . crun --cgroup-manager=disabled --root /run/r run -b "$T/plain" inner
}
err_crun_mount_proc() {
	nested crun 'rw_cgroups' '.linux.namespaces += [{type: "user"}] |
		.linux.uidMappings = [{containerID: 0, hostID: 0, size: 1}] | .linux.gidMappings = .linux.uidMappings'
}
err_crun_caps() { nested crun 'rw_cgroups | uncap("CAP_AUDIT_WRITE")'; }
err_crun_rlimit() { with crun '.process.rlimits = [{type: "RLIMIT_NOFILE", hard: 9999999, soft: 9999999}]'; }
err_crun_not_found() { with crun '.process.args = ["nope"]'; }
err_crun_not_executable() { with crun '.process.args = ["/bin/text"]'; }
err_crun_exec_format() { with crun '.process.args = ["/bin/foreign"]'; }
err_crun_bind_source() { with crun '.mounts += [{destination: "/tmp", type: "bind", source: "/no/such", options: ["bind"]}]'; }
err_crun_mount_no_fs() { with crun '.mounts += [{destination: "/tmp", type: "zfs", source: "x"}]'; }
err_crun_sysctl_read_only() { nested crun 'rw_cgroups' '.linux.sysctl = {"net.ipv4.ping_group_range": "0 0"}'; }
err_crun_sysctl_host() { with crun '.linux.namespaces |= map(select(.type != "network")) | .linux.sysctl = {"net.ipv4.ip_forward": "1"}'; }
err_crun_apparmor() { with crun '.process.apparmorProfile = "docker-default"'; }
err_crun_hook() { with crun '.hooks = {prestart: [{path: "/bin/false"}]}'; }
err_crun_namespace_gone() { with crun '.linux.namespaces |= map(if .type == "network" then .path = "/proc/4194304/ns/net" else . end)'; }
err_crun_systemd() {
	crun_cgroups=--systemd-cgroup nested crun rw_cgroups
}
err_crun_hybrid() {
	bundle hybrid .
	crun --root "$T/crun" run -b "$T/hybrid" x </dev/null
}
err_crun_exists() {
	bundle exists2 .
	outer 'cap("CAP_SYS_ADMIN") | cap("CAP_NET_ADMIN") | rw_cgroups' sh -c "
		crun() { /usr/bin/crun --cgroup-manager=disabled --root /run/r \$@; }
		crun create -b $T/exists2 exists >/dev/null 2>&1; crun create -b $T/exists2 exists; crun delete --force exists"
}
err_crun_gone() { crun --root "$T/crun" state nope; }
err_crun_rootfs() { with crun '.root.path = "/no/such"'; }
