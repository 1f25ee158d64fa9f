/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's command line. Pure: opts in, argv out. Values that come from users (paths, names) go
 * through one writer that doubles commas and refuses control characters, so that no value can add
 * an option of its own.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum { DINK_QEMU_NICS_MAX = 8, DINK_QEMU_DISKS_MAX = 16, DINK_QEMU_SHARE_QUEUE = 512 };

struct dink_qemu_disk {
	/*
	 * Open and inherited by QEMU, which then needs no right to the path: for reading and, if
	 * the disk is writable, for both (QEMU writes only once the guest's device is there)
	 */
	int fd;
	int rw_fd; /* -1 = read-only */
	const char *serial;
};

struct dink_qemu_opts {
	const char *program; /* path of qemu-system-x86_64 */
	const char *name;    /* shown as the process's guest name */
	const char *accel;   /* "tcg" or "kvm" */
	const char *cpu;     /* NULL = what suits accel */
	const char *kernel;
	const char *initrd;
	const char *append;   /* added to the kernel's command line; NULL = nothing */
	const char *firmware; /* qboot.rom, quicker than SeaBIOS; NULL = QEMU's default */
	uint32_t tsc_khz;     /* of the host, for TCG; 0 = unknown, the guest calibrates */
	uint32_t memory_mib;
	uint32_t cpus;
	int channel_fd; /* connected sockets, inherited by QEMU */
	int qmp_fd;
	int console_fd; /* -1 = none */
	int share_fd;	/* vhost-user to virtiofsd; -1 = none */
	const char *share_tag;
	/*
	 * Guest RAM in a file, so that it need not be copied for a checkpoint; -1 = nowhere.
	 * Private: the file is a checkpoint's and stays as it is, and there may be many clones.
	 */
	int ram_fd;
	bool ram_private;
	bool incoming; /* wait for migrate-incoming instead of booting */
	int taps[DINK_QEMU_NICS_MAX];
	int n_taps;
	struct dink_qemu_disk disks[DINK_QEMU_DISKS_MAX];
	int n_disks;
};

/* Names on the command line that QMP commands need. */
#define DINK_QEMU_PORT	"late"	/* PCI port for one device more */
#define DINK_QEMU_SHARE "share" /* chardev to virtiofsd */

/* dink_qopt_add() - ",key=value" (or "key=value" first), commas doubled; -EINVAL on control bytes
 */
int dink_qopt_add(struct dink_str *opt, const char *key, const char *value) _must_check_;

int dink_qemu_argv(const struct dink_qemu_opts *o, struct dink_strv *ret,
		   struct dink_err *err) _must_check_;
