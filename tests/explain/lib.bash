# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Reproductions of the errors that dink explain knows: each function err_NAME makes the real program
# say the error of the entry NAME (with '-' for '_'). They are in the files beside this one. All that
# they make is below $T, in a mount and a network namespace of their own where they change either.

# explain_prepare - a folder, a small root and one that has the host's programs
explain_prepare() {
	T=$(mktemp -d "${TMPDIR:-/var/tmp}/explain.XXXXXX")
	export T
	chmod 755 "$T"
	mkdir -p "$T"/{rootfs,outer,runc,crun}
	mkdir -p "$T"/rootfs/{bin,proc,sys,dev,etc,tmp,run}
	cp /bin/busybox "$T/rootfs/bin/"
	for a in sh true cat sleep mount mkdir; do ln -s busybox "$T/rootfs/bin/$a"; done
	echo 'root:x:0:0:root:/:/bin/sh' >"$T/rootfs/etc/passwd"
	printf 'no program' >"$T/rootfs/bin/text"
	printf '#!/no/such/shell\n' >"$T/rootfs/bin/script"
	printf 'x' >"$T/rootfs/bin/foreign"
	chmod 755 "$T"/rootfs/bin/{script,foreign}
	mkdir -m 700 "$T/rootfs/closed"
	# the programs of the host for a container that runs containers
	mkdir -p "$T"/outer/{usr,etc,proc,sys,dev,tmp,run,var/tmp,root}
	for a in bin sbin lib lib64; do ln -s "usr/$a" "$T/outer/$a"; done
	runc spec -b "$T"
	mv "$T/config.json" "$T/spec.json"
}

explain_clean() {
	# a reproduction that went wrong may have left one running
	local id
	for id in $(runc --root "$T/runc" list -q); do runc --root "$T/runc" delete --force "$id"; done
	for id in $(crun --root "$T/crun" list -q); do crun --root "$T/crun" delete --force "$id"; done
	rm -rf --one-file-system "$T"
}

# bundle NAME FILTER [COMMAND...] - a bundle in the small root (runs true), changed by a jq filter
bundle() {
	local name=$1 filter=$2 args='["true"]'
	shift 2
	[ $# -eq 0 ] || args=$(jq -cn '$ARGS.positional' --args -- "$@")
	mkdir -p "$T/$name"
	jq --arg root "$T/rootfs" --arg t "$T" --argjson args "$args" '
		.process.terminal = false | .process.args = $args | .hostname = "x" |
		.root = {path: $root, readonly: true} | .process.rlimits = [] |
		'"$filter" "$T/spec.json" >"$T/$name/config.json"
}

# with RUNTIME FILTER - what that runtime says of such a bundle
with() {
	local b=b$BASHPID
	if [ "$1" = crun ]; then # 1.8 takes no hybrid cgroups; a container sees none
		nested crun rw_cgroups "$2"
		return
	fi
	bundle "$b" "$2"
	runc --root "$T/runc" run -b "$T/$b" "$b" 2>&1 </dev/null
}

# A process of the container "outer" has these capabilities more than an engine's default ones.
default_caps='["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FSETID","CAP_FOWNER","CAP_MKNOD","CAP_NET_RAW","CAP_SETGID",
	"CAP_SETUID","CAP_SETFCAP","CAP_SETPCAP","CAP_NET_BIND_SERVICE","CAP_SYS_CHROOT","CAP_KILL","CAP_AUDIT_WRITE"]'

# outer FILTER COMMAND... - the command in a container that has the host's programs; the filter may
# use cap("X"), uncap("X"), deny("CALL") (a seccomp filter's EPERM), rw_cgroups, few_devices, unmasked
outer() {
	local filter=$1 b=o$BASHPID
	shift
	bundle "$b" '
		def cap($c): .process.capabilities |= map_values(. + [$c]);
		def uncap($c): .process.capabilities |= map_values(. - [$c]);
		def deny($c): .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"],
			syscalls: [{names: [$c], action: "SCMP_ACT_ERRNO", errnoRet: 1}]};
		def rw_cgroups: (.mounts[] | select(.type == "cgroup").options) |= map(if . == "ro" then "rw" else . end);
		def few_devices: .linux.resources.devices = [{allow: false, access: "rwm"}];
		def unmasked: .linux.maskedPaths = [] | .linux.readonlyPaths = [];
		.root.path = ($t + "/outer") | .root.readonly = false |
		.linux.resources.devices = [{allow: true, access: "rwm"}] |
		.linux.namespaces += [{type: "cgroup"}] |
		.process.capabilities = ({bounding: 1, effective: 1, permitted: 1} | map_values('"$default_caps"')) |
		.mounts += [{destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"]},
			{destination: "/etc", type: "bind", source: "/etc", options: ["rbind", "ro"]},
			{destination: "/tmp", type: "tmpfs", source: "tmpfs"}, {destination: "/run", type: "tmpfs", source: "tmpfs"},
			{destination: $t, type: "bind", source: $t, options: ["bind", "rw"]}] |
		.process.env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "T=" + $t] |
		'"$filter" "$@"
	runc --root "$T/runc" run -b "$T/$b" "$b" 2>&1 </dev/null
}

# nested RUNTIME FILTER [INNER-FILTER] - a runtime in such a container
nested() {
	local runtime=$1 b=n$BASHPID no_cgroups=()
	[ "$runtime" = runc ] || no_cgroups=(${crun_cgroups---cgroup-manager=disabled})
	bundle "$b" "${3:-.}"
	outer "cap(\"CAP_SYS_ADMIN\") | cap(\"CAP_NET_ADMIN\") | $2" "$runtime" "${no_cgroups[@]}" --root /run/r run -b "$T/$b" inner
}

# without CAPABILITY COMMAND... - root without it
without() {
	local c=$1
	shift
	setpriv --bounding-set="-$c" --inh-caps="-$c" "$@" 2>&1
}

# as_nobody SHELL-COMMAND
as_nobody() { su -s /bin/sh nobody -c "$1" 2>&1; }

# apart COMMAND... - in a mount and a network namespace of its own
apart() { unshare --mount --net --propagation private "$@" 2>&1; }

# explained NAME - runs its reproduction; the entry must be the first that its words get
explained() {
	local name=$1 said got
	said=$("err_${name//-/_}" 2>&1; :)
	got=$("${dink:?}" explain --json - <<<"$said" | jq -r '.matches[0].name')
	[ -z "${EXPLAIN_RENEW:-}" ] || printf '%s\n' "$said" | sed "s,$T,/T,g" >"$EXPLAIN_RENEW/$name.txt"
	[ "$got" = "$name" ] || { printf '%s: explained as %s; it said:\n%s\n' "$name" "$got" "$(tail -n 8 <<<"$said")"; return 1; }
}

# explained_all PREFIX... - all that are defined of these; every failure is shown
explained_all() {
	local name prefix bad=0
	for prefix in "$@"; do
		for name in $(declare -F | sed -n "s/^declare -f err_\(${prefix}_.*\)/\1/p" | tr _ -); do
			explained "$name" || bad=1
		done
	done
	return "$bad"
}
