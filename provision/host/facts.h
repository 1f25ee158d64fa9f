/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about the host: what this process really can use, learned by trying, in one struct that
 * can be saved and loaded, so that "the plan on host X" is a unit test.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether a thing can be used, and if not, why (one line, owned, NULL when usable). */
struct dink_usable {
	bool ok;
	char *why;
};

enum dink_cgroup_layout { DINK_CGROUP_NONE, DINK_CGROUP_V1, DINK_CGROUP_HYBRID, DINK_CGROUP_V2 };

enum dink_engine_kind { DINK_ENGINE_DOCKER, DINK_ENGINE_PODMAN };

/* An engine whose socket answered. */
struct dink_engine_fact {
	enum dink_engine_kind kind;
	char *socket; /* path */
	char *version;
	char *api_version;
	char *storage_driver;
	struct dink_strv runtimes;
};

struct dink_tool_fact {
	char *name;    /* "qemu-system-x86_64", "dockerd", "mmdebstrap", ... */
	char *path;    /* NULL = not there */
	char *version; /* first version-like word, NULL unknown */
};

struct dink_facts {
	int version; /* of this layout: 1 */
	char *kernel_release;
	char *machine;	    /* uname -m */
	char *distribution; /* "debian 12" */
	uint32_t cpus;
	uint64_t memory_bytes;
	uint32_t uid;
	uint64_t cap_bounding; /* bit n = capability n */
	uint64_t cap_effective;
	uint64_t nofile_hard, nproc_hard, memlock_hard; /* UINT64_MAX = unlimited */
	enum dink_cgroup_layout cgroup;
	struct dink_strv cgroup_controllers;
	struct dink_usable loop, btrfs, overlay, erofs, fuse, tun, vhost_vsock, vhost_net, kvm;
	struct dink_usable
		nvidia; /* a GPU of theirs, with the runtime that hands it to containers */
	struct dink_usable iptables_legacy, nftables, user_namespaces, bridge, veth;
	struct dink_usable kata; /* the official one: a containerd shim an engine here can name */
	bool kvm_wants_kernel;	 /* not saved: KVM is proved once there is a kernel to boot */
	/* not saved, being no property of the host: why $DOCKER_HOST names no engine that answers
	 */
	char *docker_host_why;
	bool apparmor, selinux;
	bool root_mount_shared;
	char *boot_id;
	struct dink_strv filesystems;		     /* /proc/filesystems */
	uint64_t state_free_bytes, cache_free_bytes; /* space where state and cache live */
	struct dink_usable state_writable, cache_writable;
	struct dink_engine_fact *engines;
	size_t n_engines;
	struct dink_tool_fact *tools;
	size_t n_tools;
};

/*
 * What dink_facts_probe() learns beyond what is quick. Versions are for people: the plan uses two of
 * them, dockerd's where the official Kata is installed and runsc's where the kernel is new, and those
 * are always asked for.
 */
enum {
	DINK_PROBE_KVM = 1,	 /* boot a probe guest with a deadline if nothing is cached */
	DINK_PROBE_VERSIONS = 2, /* run each tool once to learn its version */
};

/*
 * dink_facts_probe() - learn about this host; slow things (KVM) are cached per boot in run_dir
 * @what: DINK_PROBE_*, or 0 for what a plan needs
 */
struct dink_progress;
int dink_facts_probe(unsigned int what, const struct dink_progress *progress,
		     struct dink_facts **ret, struct dink_err *err) _must_check_;
/*
 * dink_prove_kvm() - whether KVM works here and nothing else, for who starts VMs without dink; the
 * result is kept as dink_facts_probe() keeps it. @ret is empty, its text is the caller's.
 */
void dink_prove_kvm(const char *qemu, struct dink_usable *ret);
int dink_facts_load(const char *path, struct dink_facts **ret, struct dink_err *err) _must_check_;
int dink_facts_save(const struct dink_facts *f, const char *path,
		    struct dink_err *err) _must_check_;
struct json_object *dink_facts_to_json(const struct dink_facts *f);
void dink_facts_free(struct dink_facts *f);
DEFINE_CLEANUP_PTR(struct dink_facts, dink_facts_free);

/* dink_facts_tool() - NULL if it is not installed */
const struct dink_tool_fact *dink_facts_tool(const struct dink_facts *f, const char *name);
bool dink_facts_can(const struct dink_facts *f, int capability); /* CAP_* in the bounding set */
/*
 * dink_runsc_is_fooled() - whether runsc, where it is installed, starts with --network=host alone
 *
 * Linux 6.11 shows net.core.rmem_default in every network namespace, which runsc took for the mark of
 * the host's own: it gives that no network stack and does not start (google/gvisor#10704, of July
 * 2024). A release whose version is not known, or is before 2025, is taken to do so.
 */
bool dink_runsc_is_fooled(const struct dink_facts *f);

/* dink_capability_name() - "CAP_NET_ADMIN"; NULL beyond the last one this program knows */
const char *dink_capability_name(int capability);
/* dink_capability_from_name() - the number, -1 if there is no such capability */
int dink_capability_from_name(const char *name);
const char *dink_cgroup_layout_name(enum dink_cgroup_layout l); /* "none", "v1", "hybrid", "v2" */
/* dink_version_at_least() - whether a version's leading numbers are >= major.minor; NULL: no */
bool dink_version_at_least(const char *version, unsigned int major, unsigned int minor);
