/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCI bundle as a VM sees it. Input: config.json as engines write it (bounded, checked). Output:
 * what the host side does itself (network namespace, hooks, shares, disks, size of the VM) and the
 * config as the guest's crun gets it: no host paths, no host namespaces, no host device numbers.
 *
 * Loading reads the bundle and looks at mount sources; it changes nothing.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	DINK_OCI_SHARES_MAX = 256,
	DINK_OCI_DISKS_MAX = 16,
	DINK_OCI_MOUNTS_MAX = 512,
};

/* Destinations with a meaning of their own. */
#define DINK_OCI_ROOT_IMAGE "/.dink-root"  /* an EROFS image: block root */
#define DINK_OCI_ROOT_UPPER "/.dink-upper" /* a disk for its writable upper */

/*
 * In the container's environment: mount options of disks by destination, as
 * "/data=compress=zstd /other=noatime", since an engine's bind mounts carry none. Not passed on.
 */
#define DINK_OCI_DISK_OPTIONS "DINK_DISK_OPTIONS"
/*
 * Environment "DINK_NESTED_KVM=1": the guest's /dev/kvm, as --device /dev/kvm gives it, which an
 * engine refuses where the host has none itself.
 */
#define DINK_OCI_NESTED_KVM "DINK_NESTED_KVM"
/* Environment "DINK_BOOT_TIMEOUT=SECONDS": --boot-timeout for this container. Not passed on. */
#define DINK_OCI_BOOT_TIMEOUT "DINK_BOOT_TIMEOUT"

/* Where the guest mounts them. */
#define DINK_OCI_LOWER_DIR "/run/dink/root-lower"
#define DINK_OCI_UPPER_DIR "/run/dink/root-upper"

/* A file or folder of the host: bind mounted at share/mounts/N; or an overlay of some, made there. */
struct dink_oci_share {
	char *source;
	char *overlay; /* its options (lowerdir=..); NULL = a bind mount */
	bool readonly;
	bool recursive;
};

/* A disk image or block device: virtio-blk. */
struct dink_oci_disk {
	char *source;
	char *serial; /* DINK_ROOT_SERIAL or DINK_DISK_SERIAL + N */
	char *fstype;
	bool readonly;
};

/* What --memory and --cpus give where the config has no limit; 0 = the built-in default. */
struct dink_oci_size {
	uint64_t memory_bytes;
	uint32_t cpus;
};

struct dink_oci {
	struct json_object *config;	 /* adapted, owned */
	struct json_object *hooks;	 /* the original's, owned, may be NULL */
	struct json_object *annotations; /* owned, may be NULL */
	struct json_object *mounts;	 /* setup's "mounts" of the guest channel, owned */
	char *bundle;			 /* absolute */
	char *rootfs;			 /* absolute; NULL with a block root */
	bool block_root;
	bool block_upper;
	bool terminal;
	bool nested; /* /dev/kvm is among its devices: it wants VMs of its own */
	char *hostname;
	char *disk_options;	    /* DINK_OCI_DISK_OPTIONS, NULL = none given */
	char *boot_timeout;	    /* DINK_OCI_BOOT_TIMEOUT, NULL = none given */
	char *resolv;		    /* the host's file behind /etc/resolv.conf, NULL = none */
	char *netns;		    /* path to join, NULL = a new one */
	char *cgroups_path;	    /* of the host, NULL = the runtime chooses */
	struct json_object *limits; /* linux.resources as the host has it, owned, may be NULL */
	struct dink_oci_share shares[DINK_OCI_SHARES_MAX];
	size_t n_shares;
	struct dink_oci_disk disks[DINK_OCI_DISKS_MAX];
	size_t n_disks;
	uint32_t memory_mib;
	uint32_t cpus;
};

/*
 * dink_oci_load() - BUNDLE/config.json
 * @size: may be NULL
 */
int dink_oci_load(const char *bundle, const struct dink_oci_size *size, struct dink_oci **ret,
		  struct dink_err *err) _must_check_;

/* dink_oci_adapt() - the same from a parsed config (taken over, changed in place) */
int dink_oci_adapt(struct json_object *config, const char *bundle, const struct dink_oci_size *size,
		   struct dink_oci **ret, struct dink_err *err) _must_check_;

/* dink_oci_adapt_process() - checks a process object (exec) and takes out what is the host's */
int dink_oci_adapt_process(struct json_object *process, struct dink_err *err) _must_check_;

/* dink_oci_adapt_resources() - linux.resources as the guest's crun takes them (create, update) */
void dink_oci_adapt_resources(struct json_object *resources);

void dink_oci_free(struct dink_oci *o);
DEFINE_CLEANUP_PTR(struct dink_oci, dink_oci_free);

/* dink_oci_adapt_mounts() - of oci_mounts.c: classifies config.mounts */
int dink_oci_adapt_mounts(struct dink_oci *o, struct dink_err *err) _must_check_;
