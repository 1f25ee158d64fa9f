/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest channel: what dink-vm's monitor (host) and dink-agent (guest PID 1) say to each other
 * over one virtio-serial port. The host treats every byte as hostile.
 *
 * Frame, little-endian:
 *	u32 len      payload bytes that follow the header
 *	u32 id       request id or stream id, chosen by the host, never reused in a guest's life
 *	u8  type     enum dink_frame_type
 *	u8  zero[3]
 *
 * Messages are JSON objects of at most DINK_MSG_MAX bytes. Data frames carry at most
 * DINK_DATA_MAX. Each direction of each stream starts with DINK_WINDOW bytes of credit; a receiver
 * returns credit (u32 bytes) as it has written the bytes onward. A sender past its credit, an
 * unknown type, a non-zero pad, a too long frame: the channel is broken and the VM is ended.
 *
 * Each direction of a stream ends with exactly one EOF by its sender. RESET asks the sender to
 * stop; it answers with its EOF. Every stream that a request names is ended by the guest, also if
 * the request fails.
 *
 * Requests (host -> guest, answered by RESPONSE with the same id: {"ok":true,...} or
 * {"ok":false,"error":"text","errno":N}):
 *
 *	{"op":"hello"} -> {"version":1}       the first request to a clone of a template, whose hello
 *	            event is past: looks for new devices, then release
 *	{"op":"setup","hostname":"..","time_ns":N,"entropy":"BASE64",
 *	 "mounts":[{"type":"virtiofs|block|tmpfs","source":"TAG or virtio-blk serial",
 *	            "target":"/run/..","fstype":"btrfs|ext4|erofs|...",
 *	            "options":"ro,compress=zstd"}],
 *	 "root":{"type":"shared","dir":"/run/dink/share/rootfs"}
 *	     or {"type":"block","lower":"/run/dink/root-lower","upper":"/run/dink/upper"}}
 *	            lower and upper are targets of mounts; without upper it is a tmpfs. The agent
 *	            sets root.path of the config itself. fstype may be left out for block (tried)
 *	{"op":"network","links":[{"index":N,"mac":"..","name":"eth0","mtu":1500,
 *	            "addresses":["172.17.0.2/16"],
 *	            "routes":[{"to":"default","via":"172.17.0.1","src":"..","metric":N,
 *	                       "order":N}],
 *	            "neighbours":[{"to":"172.17.0.1","mac":".."}]}]}
 *	            index = position of the NIC (PCI order); all but index may be left out; a route
 *	            without via is on-link. May be sent again, also for more links; with
 *	            "only":true NICs that no link names have no interface; with "gone":[N..] those
 *	            lose theirs first, and "drop":{"addresses":[..],"routes":[..]} of a link are
 *	            what it has no more. Without "only" a route comes before others to the same
 *	            destination, as the host's do
 *	{"op":"create","config":{OCI config.json as adapted},"terminal":bool,
 *	            "in":ID,"out":ID,"err":ID} -> {"pid":N}  stream ids, 0 or absent =
 *	            /dev/null; with a terminal only "in" is used, both ways
 *	{"op":"start"}
 *	{"op":"exec","exec":"NAME","process":{OCI process},"in":ID,"out":ID,"err":ID} -> {"pid":N}
 *	            a terminal if process.terminal
 *	{"op":"signal","exec":"NAME or absent = init","signal":N,"all":bool}
 *	{"op":"resize","exec":..,"rows":N,"columns":N}
 *	{"op":"connect","path":"/run/docker.sock","stream":ID}   a unix socket, looked up in the
 *	            container's root (before create: the guest's); the stream is then the
 *	            connection, with half-close
 *	{"op":"dns","address":"127.0.0.11","stream":ID}   once: UDP datagrams that come to port 53
 *	            of this address go over the stream and back (provision/vm/dgram.h)
 *	{"op":"pause"} {"op":"resume"}
 *	{"op":"ps","texts":B} -> {"pids":[..],"processes":[{"pid":N,"ppid":N,"uid":N,"gid":N,
 *	            "name":"..","args":[".."]}]}   each without what is too long; with texts the
 *	            first 256 have "stat" and "status" of /proc, and "btime" says when the guest booted
 *	{"op":"stats"} -> {"cpu":{cpu.stat},"memory":{"current":N,"peak":N,"max":N,"stat":{..}},
 *	            "pids":{"current":N,"max":N},"io":[{"device":"M:N","rbytes":N,..}],
 *	            "network":[{"name":"eth0","rx_bytes":N,...}]}     a limit of none is -1
 *	{"op":"update","resources":{OCI linux.resources}}
 *	{"op":"hold","freeze":B,"sync":B}   the container is frozen, and the answer is the last that is
 *	            sent until release or renew: then the VM can be stopped between two frames. With
 *	            sync its disks have all that was written
 *	{"op":"grow","serial":"..","bytes":N}   the filesystem of this disk, which is so long now,
 *	            takes all of it
 *	{"op":"release"}       as if hold had not been
 *	{"op":"renew","time_ns":N,"entropy":"BASE64","hostname":"..","machine_id":"HEX","links":[..]}
 *	            the first request to a clone: identity and network, then release
 *	{"op":"shutdown"}      kill all, sync, unmount; answered when it is safe to end the VM
 *	{"op":"poweroff"}      the same, then the guest powers off (not answered)
 *
 * Events (guest -> host, id 0):
 *	{"event":"hello","version":1}
 *	{"event":"exit","exec":"NAME or absent","status":0-255,"oom":bool}   all output was sent
 *	            before it; oom, not for an exec: the kernel killed something of the container's
 *	{"event":"log","text":".."}
 */
#pragma once

#include <stdint.h>

enum {
	DINK_PROTO_VERSION = 1,
	DINK_FRAME_HEADER = 12,
	DINK_MSG_MAX = 4 << 20,
	DINK_DATA_MAX = 128 << 10,
	DINK_WINDOW = 1 << 20,
	DINK_STREAMS_MAX = 4096,
};

enum dink_frame_type {
	DINK_FRAME_REQUEST = 1,
	DINK_FRAME_RESPONSE = 2,
	DINK_FRAME_EVENT = 3,
	DINK_FRAME_DATA = 4,
	DINK_FRAME_EOF = 5,    /* no more data in this direction */
	DINK_FRAME_CREDIT = 6, /* u32 */
	DINK_FRAME_RESET = 7,  /* the sender no longer takes data on this stream */
};

/* Names both sides agree on. */
#define DINK_PORT_NAME	 "dink.agent.0" /* /dev/virtio-ports/NAME in the guest */
#define DINK_SHARE_TAG	 "dink-share"	/* virtiofs tag: rootfs/ and mounts/N below it */
#define DINK_SHARE_DIR	 "/run/dink/share"
#define DINK_BUNDLE_DIR	 "/run/dink/bundle"
#define DINK_ROOT_SERIAL "dink-root"  /* virtio-blk serial of a block root */
#define DINK_DEVICE_NAME "dinkName"   /* key of a linux.devices entry: its name below /dev */
#define DINK_DISK_SERIAL "dink-disk-" /* + N for disks */
