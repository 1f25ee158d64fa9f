# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Shared by tests of dink-vm by the OCI command line (after vm.bash): bundles in $T/NAME, containers
# with their state in $T/state.

# vm_prepare, and what bundles are made of: a root on a disk, a volume
oci_prepare() {
	need "root" test "$(id -u)" = 0
	need "mkfs.erofs (apt-get install erofs-utils)" command -v mkfs.erofs
	vm_prepare
	mkfs.erofs "$T/root.erofs" "$T/rootfs" >/dev/null 2>&1
	mkdir "$T/volume"
}

run_vm() { timeout 60 "$T/dink-vm" --root "$T/state" "$@"; }

# bundle NAME COMMAND [JQ] - a container with its root and a volume on virtiofs
bundle() {
	mkdir -p "$T/$1"
	rm -f "$T/$1/config.json"
	run_vm spec --bundle "$T/$1"
	jq --arg root "$T/rootfs" --arg volume "$T/volume" --arg command "$2" \
		'.root = {path: $root, readonly: false} | .process.terminal = false
		 | .process.args = ["sh", "-c", $command]
		 | .mounts += [{destination: "/volume", type: "bind", source: $volume, options: ["rbind", "rw"]}]
		 | '"${3:-.}" <"$T/$1/config.json" >"$T/$1/new"
	mv "$T/$1/new" "$T/$1/config.json"
}

# block_bundle NAME COMMAND - the same with a block root and nothing of the host's: it can be saved
block_bundle() {
	bundle "$1" "$2" '.mounts |= map(select(.destination != "/volume"))
		| .mounts += [{destination: "/.dink-root", type: "bind", source: "'"$T/root.erofs"'", options: ["rbind", "ro"]}]'
}
