/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets to be compared with: what the original docker-in-kata's run.sh gave to both of its outer
 * levels, what a privileged container has, and an engine's default. "*" is all of a kind: among
 * the system calls it is seccomp=unconfined. Data only.
 */
#include "provision/privilege/privilege.h"

#define GRANT(k, w)                                                                                \
	{                                                                                          \
		.kind = DINK_GRANT_##k, .what = (char *)(uintptr_t)(w),                            \
		.reasons = {.v = reason, .n = 1, .cap = 2},                                        \
	}

const struct dink_privileges *dink_privileges_original(void)
{
	static char text[] = "run.sh gives it to both outer levels";
	static char *reason[] = {text, NULL};
	static struct dink_grant grants[] = {
		GRANT(CAPABILITY, "CAP_NET_ADMIN"),
		GRANT(CAPABILITY, "CAP_SYS_ADMIN"),
		GRANT(CAPABILITY, "CAP_SYS_RESOURCE"),
		GRANT(SYSCALL, "*"),
		GRANT(DEVICE, "/dev/kvm rw"),
		GRANT(DEVICE, "/dev/net/tun rw"),
		GRANT(DEVICE, "/dev/vhost-net rw"),
		GRANT(MOUNT, "bind /sys/fs/cgroup ro"),
		GRANT(MOUNT, "tmpfs /run"),
		GRANT(MOUNT, "tmpfs /tmp"),
		GRANT(SYSCTL, "net.ipv4.ip_forward=1"),
	};
	static const struct dink_privileges original = {.grants = grants,
							.n_grants = ARRAY_SIZE(grants)};

	return &original;
}

static const struct dink_privileges *privileged_set(void)
{
	static char text[] = "a privileged container has it";
	static char *reason[] = {text, NULL};
	static struct dink_grant grants[] = {
		GRANT(CAPABILITY, "*"),
		GRANT(SYSCALL, "*"),
		GRANT(DEVICE, "*"),
		GRANT(UNMASK, "*"),
		GRANT(LSM, "apparmor=unconfined"),
		GRANT(LSM, "label=disable"),
	};
	static const struct dink_privileges set = {.grants = grants,
						   .n_grants = ARRAY_SIZE(grants)};

	return &set;
}

const char *const dink_reference_names[] = {"original", "privileged", "docker-default", NULL};

const struct dink_privileges *dink_privileges_reference(const char *name)
{
	static const struct dink_privileges nothing = {};

	if (STREQ(name, "original"))
		return dink_privileges_original();
	if (STREQ(name, "privileged"))
		return privileged_set();
	return STREQ(name, "docker-default") ? &nothing : NULL;
}
