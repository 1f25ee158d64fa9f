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
 * dink_initramfs_write() - a newc cpio: dink-agent as /init, crun and the libraries it links,
 * folders; uncompressed since inflating costs more than copying under TCG
 * @agent: path of the static dink-agent; @crun: path of crun on this host
 */
int dink_initramfs_write(const char *path, const char *agent, const char *crun,
			 struct dink_err *err) _must_check_;

/*
 * dink_guest_make() - fill CACHE/guests/KEY and return it; KEY covers all inputs
 * @vmlinux: from dink_kernel_get(); @dink_vm, @agent: the programs
 */
int dink_guest_make(const char *vmlinux, const char *dink_vm, const char *agent, char **ret_dir,
		    struct dink_err *err) _must_check_;
