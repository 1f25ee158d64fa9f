/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.json of a checkpoint: what the VM was, so that a restore that cannot work is refused in
 * words. Input: the file's text, from anywhere; what was accepted has every member in its bounds,
 * and names files only inside the image's folder. The image itself is as trusted as the program
 * that runs from it: it holds a guest's memory.
 *
 *	{"version":1,"created":SECONDS,"qemu_version":"7.2.22",
 *	 "machine":{"type":"q35","accel":"tcg","cpu":..,"memory_mib":N,"cpus":N,"tsc_khz":N,
 *	            "firmware":..,"append":..},
 *	 "kernel":{"path","size":N,"mtime_ns":N,"sha256"},
 *	 "disks":[{"source","serial","readonly":B,"size":N,"mtime_ns":N,
 *	           "file":"disk-N" if writable}],
 *	 "nics":N,"terminal":B,"paused":B,"exec_count":N,"stdio":[ID,ID,ID],
 *	 "channel":{dink_chan_export()},"config":{OCI config as the guest has it}}
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/json.h"
#include "provision/vm/oci.h"

enum { DINK_MANIFEST_VERSION = 1, DINK_MANIFEST_MAX = 8 << 20 };

#define DINK_MANIFEST_NAME "manifest.json"

/* What a machine is made of that a state fits: members of a plan, and of a manifest's "machine". */
#define DINK_MACHINE_KEYS "accel", "cpu", "append", "firmware", "tsc_khz", "memory_mib", "cpus"

/* dink_manifest_load() - of the image in dir; a missing one is -ENOENT */
int dink_manifest_load(const char *dir, struct json_object **ret,
		       struct dink_err *err) _must_check_;

/* dink_manifest_parse() - every member checked; the caller owns *ret */
int dink_manifest_parse(const char *text, size_t len, struct json_object **ret,
			struct dink_err *err) _must_check_;

/*
 * dink_manifest_make() - from the monitor's answer to checkpoint; looks at kernel and disks
 * @sha256: the kernel's, which takes too long while a VM stands still
 * Writable disks get their "file".
 */
int dink_manifest_make(struct json_object *answer, const char *sha256, struct json_object **ret,
		       struct dink_err *err) _must_check_;

/* dink_manifest_fits() - whether a bundle can be what was saved */
int dink_manifest_fits(struct json_object *manifest, const struct dink_oci *oci,
		       struct dink_err *err) _must_check_;

/* dink_manifest_check() - kernel and disks of a restore's plan are those that were there */
int dink_manifest_check(struct json_object *manifest, struct json_object *plan,
			struct dink_err *err) _must_check_;
