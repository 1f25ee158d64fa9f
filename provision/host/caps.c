/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of capabilities, the layouts of cgroups and how versions compare: the small words
 * that facts are written in. Pure.
 */
#include "provision/host/facts.h"

static const char *const capability_names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

const char *dink_capability_name(int capability)
{
	if (capability < 0 || (size_t)capability >= ARRAY_SIZE(capability_names))
		return NULL;
	return capability_names[capability];
}

int dink_capability_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
		if (STREQ(name, capability_names[i]))
			return (int)i;
	return -1;
}

const char *dink_cgroup_layout_name(enum dink_cgroup_layout l)
{
	switch (l) {
	case DINK_CGROUP_NONE:
		return "none";
	case DINK_CGROUP_V1:
		return "v1";
	case DINK_CGROUP_HYBRID:
		return "hybrid";
	case DINK_CGROUP_V2:
		return "v2";
	}
	return "?";
}

bool dink_version_at_least(const char *version, unsigned int major, unsigned int minor)
{
	char *end = NULL;
	unsigned long have_major = 0, have_minor = 0;

	if (!version || version[0] < '0' || version[0] > '9')
		return false;
	have_major = strtoul(version, &end, 10);
	if (*end == '.')
		have_minor = strtoul(end + 1, NULL, 10);
	return have_major > major || (have_major == major && have_minor >= minor);
}
