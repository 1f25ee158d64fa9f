/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsystemd.so.0 as a guest has it. Debian's crun links the real one to speak to a systemd, of
 * which a guest has none: dink-agent never asks crun for it (--systemd-cgroup, sd_notify). The
 * real one and what it links would be more than half of the initramfs. Each function says that
 * there is no systemd. dink_initramfs_write() takes this one only where it has all that crun wants;
 * the symbol versions are those of systemd's libsystemd.sym.
 */
#include <errno.h>
#include <stddef.h>

#define RETURNS_ENOSYS(name)                                                                       \
	int name(void);                                                                            \
	int name(void)                                                                             \
	{                                                                                          \
		return -ENOSYS;                                                                    \
	}

#define RETURNS_NULL(name)                                                                         \
	void *name(void);                                                                          \
	void *name(void)                                                                           \
	{                                                                                          \
		return NULL;                                                                       \
	}

RETURNS_ENOSYS(sd_bus_call)
RETURNS_ENOSYS(sd_bus_default_system)
RETURNS_ENOSYS(sd_bus_default_user)
RETURNS_ENOSYS(sd_bus_error_get_errno)
RETURNS_ENOSYS(sd_bus_match_signal_async)
RETURNS_ENOSYS(sd_bus_message_append)
RETURNS_ENOSYS(sd_bus_message_append_strv)
RETURNS_ENOSYS(sd_bus_message_close_container)
RETURNS_ENOSYS(sd_bus_message_new_method_call)
RETURNS_ENOSYS(sd_bus_message_open_container)
RETURNS_ENOSYS(sd_bus_message_read)
RETURNS_ENOSYS(sd_bus_process)
RETURNS_ENOSYS(sd_bus_wait)
RETURNS_ENOSYS(sd_journal_send_with_location)
RETURNS_ENOSYS(sd_notify)
RETURNS_ENOSYS(sd_notify_barrier)
RETURNS_NULL(sd_bus_error_free)
RETURNS_NULL(sd_bus_message_unref)
RETURNS_NULL(sd_bus_unref)
