/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: dockerd and its client, containerd, podman, conmon, skopeo. */
#include "provision/explain/explain.h"

static const struct dink_explain_entry entries[] = {
	{
		.name = "dockerd-ip-forward",
		.program = "dockerd",
		.level = DINK_EXPLAIN_LAYER,
		.patterns =
			{"enabling ip forwarding failed: open /proc/sys/*: read-only file system",
			 "enabling ip forwarding failed"},
		.cause = "dockerd turns forwarding on at its start, and /proc/sys is read-only in "
			 "the "
			 "layer",
		.fix = "let the layer have a daemon: its parent sets net.ipv4.ip_forward=1; by "
		       "hand "
		       "--sysctl net.ipv4.ip_forward=1",
		.scenario = "daemon: docker",
		.source = "docs/privileges.md, docker-daemon",
	},
	{
		.name = "dockerd-nat-chain",
		.program = "dockerd",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error initializing network controller: *failed to create nat chain "
			     "docker: iptables failed",
			     "error initializing network controller: *iptables failed"},
		.cause = "dockerd could not make its packet filter chains: no CAP_NET_ADMIN in the "
			 "layer, "
			 "or the kernel lacks iptables' tables; iptables' own words follow",
		.fix = "let the layer have a daemon: CAP_NET_ADMIN is among its grants; in a guest "
		       "the "
		       "features iptables and nftables",
		.scenario = "daemon: docker",
		.source = "docs/privileges.md, docker-daemon; kata-containers/runtime#358",
	},
	{
		.name = "dockerd-storage-driver",
		.program = "dockerd",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error initializing graphdriver: driver not supported"},
		.cause = "the storage driver does not work on the file system of /var/lib/docker: "
			 "overlay2 "
			 "not on the layer's own overlay or on virtiofs; or mounting takes "
			 "CAP_SYS_ADMIN; or "
			 "there is no driver of this name",
		.fix = "a disk or volume at /var/lib/docker; a scenario's daemon has one and the "
		       "driver "
		       "that fits it",
		.scenario = "disks: {store: /var/lib/docker}",
		.source = "docs/privileges.md, docker-daemon; kata-containers/runtime#1888, "
			  "moby#51654",
	},
	{
		.name = "dockerd-driver-prerequisites",
		.program = "dockerd",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"prerequisites for driver not satisfied"},
		.cause = "the btrfs or zfs driver wants /var/lib/docker on that very file system",
		.fix = "a disk with filesystem: btrfs at /var/lib/docker; on ext4 the driver is "
		       "overlay2",
		.scenario = "disks: {store: /var/lib/docker}",
		.source = "docs/disks.md; moby daemon/graphdriver/btrfs",
	},
	{
		.name = "dockerd-pidfile",
		.program = "dockerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"pid file found, ensure docker is not running"},
		.cause = "another dockerd runs with this pid file, or a killed one left it and its "
			 "number "
			 "lives again",
		.fix = "a tmpfs on /run, as layers with a daemon have; else remove the file",
		.scenario = "daemon: docker",
		.source = "docs/privileges.md, tmpfs /run",
	},
	{
		.name = "dockerd-flag-conflict",
		.program = "dockerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"specified both as a flag and in the configuration file"},
		.cause = "the image's daemon.json sets what the command line sets, too",
		.fix = "remove it from /etc/docker/daemon.json in the image: dink gives the "
		       "storage driver "
		       "on the command line",
		.scenario = "image:",
		.source = "dockerd(8), --config-file",
	},
	{
		.name = "dockerd-config",
		.program = "dockerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"unable to configure the docker daemon with file*"},
		.cause = "daemon.json is no JSON, or has a key that this dockerd does not know",
		.fix = "mend the file in the image: jq . /etc/docker/daemon.json",
		.scenario = "image:",
		.source = "dockerd(8), --config-file",
	},
	{
		.name = "dockerd-not-root",
		.program = "dockerd",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"dockerd needs to be started with root privileges"},
		.cause = "dockerd was started by an ordinary user",
		.fix = "as the layer's root; or dockerd-rootless.sh, which takes newuidmap and "
		       "slirp4netns",
		.source = "dockerd(8); RootlessKit",
	},
	{
		.name = "dockerd-no-containerd",
		.program = "dockerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"failed to start containerd: exec: *executable file not found"},
		.cause = "the layer's image has dockerd without containerd",
		.fix = "install containerd in the image; the recipe docker-host has both",
		.scenario = "image: docker-host",
		.source = "dockerd(8), --containerd",
	},
	{
		.name = "dockerd-containerd-timeout",
		.program = "dockerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"failed to start containerd: timeout waiting for containerd to start"},
		.cause = "a killed daemon left containerd's pid file, whose number now is another "
			 "process's; or the machine is too slow for the 15 s that dockerd waits",
		.fix = "a tmpfs on /run, as layers with a daemon have; the recipe docker-host, "
		       "whose dockerd waits longer",
		.scenario = "daemon: docker",
		.source = "docs/privileges.md, tmpfs /run; docs/design.md, departures",
	},
	{
		.name = "dockerd-mirror",
		.program = "dockerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"invalid mirror: unsupported scheme"},
		.cause = "a registry mirror is a URL with http:// or https://",
		.fix = "write the scheme",
		.source = "dockerd(8), --registry-mirror",
	},
	{
		.name = "docker-no-daemon",
		.program = "docker",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"cannot connect to the docker daemon at*is the docker daemon running"},
		.cause = "nobody listens on that socket: the daemon ended, is not up yet, or "
			 "DOCKER_HOST "
			 "names another place",
		.fix = "dink env LAYER prints the DOCKER_HOST of a layer; dink explain LAYER why "
		       "it ended",
		.source = "docker(1), DOCKER_HOST",
	},
	{
		.name = "docker-socket-denied",
		.program = "docker",
		.level = DINK_EXPLAIN_HOST,
		.patterns =
			{"permission denied while trying to connect to the docker daemon socket",
			 "permission denied while trying to connect to the docker api"},
		.cause =
			"the socket is root's (or the group docker's); who may write to it is root",
		.fix = "as root, or as a member of the group; the sockets of a user's own instance "
		       "are his",
		.source = "unix(7); docker(1)",
	},
	{
		.name = "docker-name-conflict",
		.program = "docker",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"conflict. the container name*is already in use"},
		.cause = "a container of this name is there, running or ended",
		.fix = "dink down NAME removes an instance's; docker rm the other, or another name",
		.source = "docker-create(1), --name; containerlab#1444",
	},
	{
		.name = "docker-unknown-runtime",
		.program = "docker",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"unknown runtime specified", "unknown or invalid runtime name"},
		.cause = "the daemon has no runtime of this name in its configuration; Docker "
			 "before 23 "
			 "takes no containerd shim's name either",
		.fix = "let dink choose the engine: it registers dink-vm and runsc with its own; "
		       "else "
		       "\"runtimes\" in daemon.json",
		.scenario = "runtime: dink-vm",
		.source = "dockerd(8), --add-runtime",
	},
	{
		.name = "docker-no-such-container",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"error response from daemon: no such container"},
		.cause = "this daemon has no such container: it is another level's, or was removed",
		.fix = "dink status shows which layer holds it; dink env LAYER points docker there",
		.source = "docker-ps(1)",
	},
	{
		.name = "docker-not-running",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"error response from daemon: container * is not running"},
		.cause = "the container has ended",
		.fix = "dink logs LAYER says what it said last; a command that stays",
		.scenario = "command: [sleep, infinity]",
		.source = "docker-exec(1)",
	},
	{
		.name = "docker-no-tty",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"the input device is not a tty"},
		.cause = "-t, and standard input is no terminal (a pipe, CI)",
		.fix = "leave -t out; dink exec takes a terminal only where there is one",
		.source = "docker-exec(1), --tty; devcontainers/cli#607",
	},
	{
		.name = "docker-bind-source",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"bind source path does not exist"},
		.cause = "the path is not there in the layer of the daemon; a path of the host "
			 "means nothing "
			 "to a daemon further in",
		.fix = "make it there; dink carries the scenario's mounts through every layer on "
		       "the way",
		.scenario = "mounts:",
		.source = "docker-run(1), --mount",
	},
	{
		.name = "docker-seccomp-profile",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"for seccomp profile*failed", "decoding seccomp profile failed"},
		.cause = "the seccomp profile is no JSON, or not of the engine's form",
		.fix = "dink privileges explain SCENARIO/LAYER --seccomp prints one that engines "
		       "take",
		.source = "docker-run(1), --security-opt seccomp",
	},
	{
		.name = "docker-memory-minimum",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"minimum memory limit allowed is"},
		.cause = "no container starts with so little",
		.fix = "at least 8 MiB; 128 MiB for a VM, 256 MiB with a daemon in it",
		.scenario = "memory: 512MiB",
		.source = "docker-run(1), --memory; dink-scenario(5)",
	},
	{
		.name = "docker-cpus",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"range of cpus is from"},
		.cause = "more processors than the daemon's machine (the guest, for a daemon in a "
			 "VM) has",
		.fix = "fewer, or more for the VM around",
		.scenario = "cpus: 2",
		.source = "docker-run(1), --cpus",
	},
	{
		.name = "docker-device",
		.program = "docker",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error gathering device information while adding custom device"},
		.cause = "the device is not in the layer of the daemon",
		.fix = "devices flow inward from the host only where a layer's needs name them; "
		       "dink plan "
		       "says which",
		.source = "docker-run(1), --device; docs/privileges.md",
	},
	{
		.name = "docker-no-network",
		.program = "docker",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"error response from daemon: network * not found"},
		.cause = "this daemon has no such network: it is another level's, or was removed",
		.fix = "docker network ls at that level (dink env LAYER)",
		.source = "docker-network-ls(1)",
	},
	{
		.name = "docker-subnet-overlap",
		.program = "docker",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"pool overlaps with other one on this address space",
			     "could not find an available, non-overlapping ipv4 address pool"},
		.cause = "another network of the daemon, or a route of its layer, has this subnet",
		.fix = "another subnet; dink gives each level its own",
		.source = "docker-network-create(1), --subnet; moby#32842",
	},
	{
		.name = "docker-port-taken",
		.program = "docker",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns =
			{"driver failed programming external connectivity*address already in use",
			 "driver failed programming external connectivity*port is already "
			 "allocated"},
		.cause = "something in the daemon's layer listens on the published port already",
		.fix = "another port on the left side",
		.scenario = "ports: [\"8081:80\"]",
		.source = "docker-run(1), --publish",
	},
	{
		.name = "docker-storage-quota",
		.program = "docker",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"filesystem does not support, or has not enabled quotas",
			     "--storage-opt is supported only for overlay over xfs"},
		.cause = "a size for a container's root takes a driver with quotas: btrfs, zfs, or "
			 "overlay2 "
			 "on xfs with pquota",
		.fix = "a btrfs disk at /var/lib/docker, or no size",
		.scenario = "disks: {store: /var/lib/docker}",
		.source = "docker-create(1), --storage-opt",
	},
	{
		.name = "docker-no-swarm",
		.program = "docker",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"this node is not a swarm manager"},
		.cause = "the daemon is in no swarm, or a worker in it",
		.fix = "docker swarm init at that level, or ask a manager",
		.source = "docker-swarm-init(1)",
	},
	{
		.name = "docker-registry-host",
		.program = "docker",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"error response from daemon: get*lookup*no such host",
			     "error response from daemon: get*dial tcp*i/o timeout"},
		.cause = "the daemon's layer finds no such registry: a wrong name, no resolver, or "
			 "no way "
			 "out",
		.fix = "dink image copy brings an image in without a registry; check resolv.conf "
		       "in the "
		       "layer",
		.scenario = "images: {web: {archive: ./web.tar}}",
		.source = "docker-pull(1); docs/images.md",
	},
	{
		.name = "containerd-config",
		.program = "containerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"containerd: failed to load toml"},
		.cause = "containerd's configuration is not there or is no TOML",
		.fix = "containerd config default prints a whole one",
		.source = "containerd-config.toml(5)",
	},
	{
		.name = "containerd-denied",
		.program = "containerd",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"containerd: mkdir *: permission denied",
			     "containerd: mkdir *: read-only file system"},
		.cause = "containerd cannot make its folders: it is not root, or the place is "
			 "read-only",
		.fix = "as the layer's root; /run as tmpfs and /var/lib on a volume, as layers "
		       "with a "
		       "daemon have",
		.scenario = "daemon: docker",
		.source = "containerd(8), --root, --state",
	},
	{
		.name = "ctr-no-daemon",
		.program = "containerd",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"ctr: failed to dial"},
		.cause = "no containerd answers on that socket",
		.fix = "dockerd's own is at EXEC-ROOT/containerd/containerd.sock, namespace moby",
		.source = "ctr(8), --address",
	},
	{
		.name = "podman-short-name",
		.program = "podman",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"did not resolve to an alias and no unqualified-search registries"},
		.cause = "the image's name has no registry, and no default one is configured",
		.fix = "the whole name, such as docker.io/library/debian:12",
		.scenario = "images: {web: {registry: docker.io/library/nginx:1}}",
		.source = "containers-registries.conf(5)",
	},
	{
		.name = "podman-no-runtime",
		.program = "podman",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"default oci runtime*not found: invalid argument"},
		.cause = "no runtime of this name in containers.conf or on PATH",
		.fix = "install crun or runc in the image",
		.scenario = "image:",
		.source = "containers.conf(5), runtime",
	},
	{
		.name = "podman-no-conmon",
		.program = "podman",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"could not find a working conmon binary"},
		.cause = "podman starts every container through conmon, which is not there",
		.fix = "install conmon in the image, or conmon_path in containers.conf",
		.scenario = "image:",
		.source = "containers.conf(5), conmon_path",
	},
	{
		.name = "podman-overlay-on-overlay",
		.program = "podman",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"overlay is not supported over overlayfs"},
		.cause = "podman's storage is on the layer's own overlay, and overlay does not "
			 "stack there",
		.fix = "a volume or disk at /var/lib/containers, as a layer with daemon: podman "
		       "has; "
		       "fuse-overlayfs or vfs else",
		.scenario = "daemon: podman",
		.source = "containers-storage.conf(5), mount_program; docs/privileges.md, Podman",
	},
	{
		.name = "podman-driver-mismatch",
		.program = "podman",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"database storage graph driver*does not match",
			     "database graph driver*does not match"},
		.cause = "podman's database was made with another storage driver",
		.fix = "the old driver in storage.conf, or podman system reset, which removes all "
		       "images",
		.source = "podman-system-reset(1)",
	},
	{
		.name = "podman-no-network",
		.program = "podman",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"unable to find network with name or id"},
		.cause = "podman has no such network (root's and a user's are apart)",
		.fix = "podman network ls as the same user",
		.source = "podman-network(1)",
	},
	{
		.name = "podman-name-taken",
		.program = "podman",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"the container name*is already in use by"},
		.cause = "a container of this name is there, running or ended",
		.fix = "podman rm it, --replace, or another name",
		.source = "podman-create(1), --name",
	},
	{
		.name = "podman-no-such-container",
		.program = "podman",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"no container with name or id"},
		.cause = "podman has no such container: it is another level's, another user's, or "
			 "removed",
		.fix = "dink status shows which layer holds it",
		.source = "podman-ps(1)",
	},
	{
		.name = "podman-no-image",
		.program = "podman",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"error: *: image not known"},
		.cause = "podman has no such image, and was told not to pull it",
		.fix = "dink image copy brings one in from another level",
		.source = "podman-run(1), --pull; docs/images.md",
	},
	{
		.name = "podman-no-home",
		.program = "podman",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"cannot resolve home", "cannot resolve /*: no such file or directory"},
		.cause = "the user has no home folder, or may not reach it",
		.fix = "make it in the image, owned by the user",
		.scenario = "image:",
		.source = "podman(1), rootless mode",
	},
	{
		.name = "conmon-runtime",
		.program = "conmon",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"[conmon:e]: runtime path*is not valid"},
		.cause = "the runtime that podman named is not in this layer",
		.fix = "install crun or runc in the image; [engine.runtimes] in containers.conf",
		.scenario = "image:",
		.source = "conmon(8), --runtime",
	},
	{
		.name = "conmon-log",
		.program = "conmon",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"[conmon:e]: failed to open log file"},
		.cause = "the container's log cannot be written: its folder is gone or read-only, "
			 "or the "
			 "disk is full",
		.fix = "log_driver in containers.conf, room on the disk of /var/lib/containers",
		.source = "conmon(8), --log-path",
	},
	{
		.name = "conmon-usage",
		.program = "conmon",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"conmon: container id not provided", "conmon: option parsing failed"},
		.cause = "conmon is older or newer than the podman that calls it, or was called by "
			 "hand",
		.fix = "podman and conmon of one release",
		.source = "conmon(8)",
	},
	{
		.name = "skopeo-refused",
		.program = "skopeo",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"pinging container registry*connection refused"},
		.cause = "no registry listens there; 127.0.0.1 is the layer's own",
		.fix = "the registry's address as seen from this level",
		.source = "skopeo-copy(1)",
	},
	{
		.name = "skopeo-no-host",
		.program = "skopeo",
		.level = DINK_EXPLAIN_LAYER,
		.patterns = {"pinging container registry*no such host"},
		.cause = "the name of the registry is not found from this level",
		.fix = "a resolver in the layer, or the registry's address",
		.source = "skopeo-copy(1), resolv.conf(5)",
	},
	{
		.name = "skopeo-transport",
		.program = "skopeo",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"invalid image name*unknown transport"},
		.cause = "an image name without a transport",
		.fix = "docker://HOST/NAME, docker-archive:FILE, oci:DIR, dir:DIR",
		.source = "containers-transports(5)",
	},
	{
		.name = "skopeo-policy",
		.program = "skopeo",
		.level = DINK_EXPLAIN_ENGINE,
		.patterns = {"error loading trust policy",
			     "policy.json: no such file or directory"},
		.cause = "there is no /etc/containers/policy.json",
		.fix = "install golang-github-containers-common in the image, or --insecure-policy",
		.scenario = "image:",
		.source = "containers-policy.json(5)",
	},
	{
		.name = "skopeo-not-archive",
		.program = "skopeo",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"loading tar component manifest.json"},
		.cause = "the file is no archive of docker save",
		.fix = "oci-archive: for an OCI archive; dink image build makes docker archives",
		.source = "containers-transports(5)",
	},
	{
		.name = "skopeo-no-image",
		.program = "skopeo",
		.level = DINK_EXPLAIN_WORKLOAD,
		.patterns = {"invalid source name*no such file or directory"},
		.cause = "the folder or file of the source is not there",
		.fix = "its path as seen from here",
		.source = "containers-transports(5)",
	},
};

const struct dink_explain_table dink_explain_engines = {entries, ARRAY_SIZE(entries)};
