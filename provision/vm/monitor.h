/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor: one process per container, PID 1 of a pid namespace of its own, in the container's
 * network namespace. It starts virtiofsd and QEMU, talks to the guest agent, answers on
 * control.sock, relays the workload's streams and exits with the workload's status. Whatever ends
 * it ends QEMU and virtiofsd too, since their pid namespace goes with it.
 *
 * How it is started: `dink-vm --root ROOT monitor ID` with the container's stdio on 0, 1, 2, the
 * plan (JSON) as a memfd on DINK_MONITOR_PLAN_FD and a socket to the creator on
 * DINK_MONITOR_SYNC_FD. On that socket, one JSON line each:
 *
 *	creator -> monitor	{"hooks":"done"}       the guest's create may go on
 *	monitor -> creator	{"ok":true} | {"ok":false,"error":"..","errno":N}
 *
 * The plan:
 *	{"dir","rootfs":PATH|null,"shares":[{"source","readonly","recursive"}],
 *	 "disks":[{"source","serial","readonly"}],"memory_mib","cpus","accel","qemu","kernel",
 *	 "initrd","append","firmware","tsc_khz","terminal","resolv":PATH,"setup":{..},
 *	 "create":{OCI config},"cgroup":{..} (provision/vm/cgroup.h; the monitor is in it)}
 * and one of
 *	 "restore":{"image":DIR,..}    a checkpoint is loaded instead of booting
 *	 "template":{"image":DIR,"qemu_version":"..","channel":{..}}   a bare guest is loaded and
 *	                               then set up like one that has booted
 *	 "bare":true                   boots for becoming a template: there is no container
 */
#pragma once

enum { DINK_MONITOR_PLAN_FD = 3, DINK_MONITOR_SYNC_FD = 4 };

/* dink_monitor_run() - does not return before the container is gone; the process's exit status */
int dink_monitor_run(void);
