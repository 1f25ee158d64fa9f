/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest folder: what dink-vm needs to start VMs, made by dink and usable without it.
 *
 *	vmlinux, initramfs.cpio, dink-vm, dink-agent, guest.json
 *
 * dink-vm looks for it at --guest DIR, $DINK_VM_GUEST, guest/ beside its own binary,
 * /usr/local/lib/dink/guest, /usr/lib/dink/guest. It is mounted read-only into layers that start
 * VMs, at DINK_GUEST_IN_LAYER.
 */
#pragma once

#include "provision/base/dirs.h"
#include "provision/base/err.h"

/*
 * What goes into guests besides the kernel; absolute paths on this host. dink_guest_find() gives
 * them to the caller, who clears them.
 */
struct dink_guest_programs {
	const char *dink_vm, *agent, *crun;
	const char *guest_lib; /* folder of libraries that stand in for the host's; NULL = none */
};

/*
 * dink_guest_find() - ours are beside this program, or in ../lib/dink of where `make install` put
 * it; crun is the host's. -ENOENT with what to do if one is missing
 */
int dink_guest_find(struct dink_guest_programs *ret, struct dink_err *err) _must_check_;
void dink_guest_programs_clear(struct dink_guest_programs *p);
#define _cleanup_guest_programs_ _cleanup_(dink_guest_programs_clear)

/*
 * dink_initramfs_write() - a newc cpio: dink-agent as /init, crun and the libraries they link,
 * folders; uncompressed since inflating costs more than copying under TCG
 */
int dink_initramfs_write(const char *path, const struct dink_guest_programs *from,
			 struct dink_err *err) _must_check_;

/*
 * dink_guest_make() - fill CACHE/guests/KEY and return it; KEY covers all inputs
 * @vmlinux: from dink_kernel_get()
 */
int dink_guest_make(const char *vmlinux, const struct dink_guest_programs *programs, char **ret_dir,
		    struct dink_err *err) _must_check_;
