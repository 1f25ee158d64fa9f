/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of dink_facts_probe(), one file each. Private to provision/host.
 *
 * None of them fails: what cannot be learned is "not usable" with a reason, because a host that
 * lacks something is a fact about it and no defect.
 */
#pragma once

#include "provision/base/progress.h"
#include "provision/host/facts.h"

/* Marks a thing usable, or not with a reason (formatted, owned by u). */
void dink_usable_yes(struct dink_usable *u);
void dink_usable_no(struct dink_usable *u, const char *fmt, ...) _printf_(2, 3);

void dink_probe_proc(struct dink_facts *f);    /* what /proc, /sys, uname and limits say */
void dink_probe_storage(struct dink_facts *f); /* file systems, loop, space, writable folders */
void dink_probe_net(struct dink_facts *f);     /* tun, bridge, veth, iptables, nft, userns, vhost */
/*
 * dink_probe_find() - a program by the PATH, or where daemons and helpers live and an ordinary user's
 * PATH does not look; caller frees, NULL if it is not there
 */
char *dink_probe_find(const char *name);
/* @versions: ask each program for its version; else only where a plan needs it */
void dink_probe_tools(struct dink_facts *f, bool versions);
void dink_probe_engines(struct dink_facts *f);
void dink_probe_kata(struct dink_facts *f); /* after tools and engines */
/* @boot: boot a probe guest unless a result is cached; else only the cached result is used */
void dink_probe_kvm(struct dink_facts *f, bool boot, const struct dink_progress *progress);

/*
 * dink_probe_guest() - boot a kernel without a root until it panics and QEMU ends
 * @accel: "kvm", or "tcg" to try the probe itself
 * Return: true if it did; else *ret_why (owned by the caller) says why not
 */
bool dink_probe_guest(const char *qemu, const char *kernel, const char *accel, const char *cpu,
		      uint32_t timeout_ms, char **ret_why);

/*
 * dink_probe_thread() - run fn in a thread of its own with fresh namespaces (CLONE_NEWNET,
 * CLONE_NEWNS), which end with it; returns fn's value, or -errno if they were refused
 */
int dink_probe_thread(int namespaces, int (*fn)(void *ctx), void *ctx);
