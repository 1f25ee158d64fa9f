/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says about itself and about this process: release, memory, capabilities,
 * limits, cgroups, security modules, mounts. Reads /proc and /sys, changes nothing.
 */
#include "provision/host/probe.h"

#include "provision/base/file.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <sys/utsname.h>

enum { TEXT_MAX = 4 << 20 };

/* A whole file or NULL: what is not there is simply not known. */
static char *read_text(const char *path)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	char *text = NULL;

	if (dink_file_read(path, TEXT_MAX, &text, NULL, &ignored) < 0)
		return NULL;
	return text;
}

/* The rest of the line that begins with key, without blanks and quotes; NULL if there is none. */
static char *line_value(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		if (strncmp(p, key, n) != 0)
			continue;
		p += n + strspn(p + n, " \t\"");
		return xstrndup(p, strcspn(p, "\"\n"));
	}
	return NULL;
}

static uint64_t hex_field(const char *text, const char *key)
{
	_cleanup_free_ char *value = line_value(text, key);

	return value ? strtoull(value, NULL, 16) : 0;
}

static uint64_t hard_limit(int resource)
{
	struct rlimit r;

	if (getrlimit((__rlimit_resource_t)resource, &r) < 0 || r.rlim_max == RLIM_INFINITY)
		return UINT64_MAX;
	return r.rlim_max;
}

static void probe_identity(struct dink_facts *f)
{
	_cleanup_free_ char *os = read_text("/etc/os-release");
	_cleanup_free_ char *boot = read_text("/proc/sys/kernel/random/boot_id");
	_cleanup_free_ char *id = NULL, *version = NULL;
	struct utsname u = {};

	if (uname(&u) < 0)
		snprintf(u.release, sizeof(u.release), "unknown");
	f->kernel_release = xstrdup(u.release);
	f->machine = xstrdup(u.machine);
	if (os) {
		id = line_value(os, "ID=");
		version = line_value(os, "VERSION_ID=");
	}
	f->distribution = version ? xasprintf("%s %s", id ? id : "unknown", version)
				  : xstrdup(id ? id : "unknown");
	f->boot_id = boot ? xstrndup(boot, strcspn(boot, "\n")) : xstrdup("unknown");
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	f->cpus = cpus > 0 ? (uint32_t)cpus : 1;
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	f->memory_bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
	f->uid = geteuid();
}

static void probe_rights(struct dink_facts *f)
{
	_cleanup_free_ char *status = read_text("/proc/self/status");

	if (status) {
		f->cap_bounding = hex_field(status, "CapBnd:");
		f->cap_effective = hex_field(status, "CapEff:");
	}
	f->nofile_hard = hard_limit(RLIMIT_NOFILE);
	f->nproc_hard = hard_limit(RLIMIT_NPROC);
	f->memlock_hard = hard_limit(RLIMIT_MEMLOCK);
}

/* Whether a mountinfo line's type (after " - ") is type. */
static bool mount_is_type(const char *line, const char *type)
{
	const char *dash = strstr(line, " - ");
	size_t n = strlen(type);

	return dash && strncmp(dash + 3, type, n) == 0 && dash[3 + n] == ' ';
}

/* The mount point, the fifth field. */
static bool mount_is_at(const char *line, const char *where)
{
	size_t n = strlen(where);

	for (int i = 0; i < 4 && line; i++) {
		line = strchr(line, ' ');
		if (line)
			line++;
	}
	return line && strncmp(line, where, n) == 0 && line[n] == ' ';
}

/* One line of /proc/self/mountinfo seen: what it says about cgroups and about /. */
static void note_mount(struct dink_facts *f, const char *line, bool *v1, bool *v2, bool *v2_root)
{
	if (mount_is_type(line, "cgroup"))
		*v1 = true;
	if (mount_is_type(line, "cgroup2")) {
		*v2 = true;
		if (mount_is_at(line, "/sys/fs/cgroup"))
			*v2_root = true;
	}
	if (mount_is_at(line, "/")) {
		const char *dash = strstr(line, " - "), *shared = strstr(line, " shared:");

		f->root_mount_shared = shared && dash && shared < dash;
	}
}

static void probe_mounts(struct dink_facts *f)
{
	_cleanup_free_ char *info = read_text("/proc/self/mountinfo");
	bool v1 = false, v2 = false, v2_root = false;
	char *save = NULL;

	for (char *l = info ? strtok_r(info, "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save))
		note_mount(f, l, &v1, &v2, &v2_root);
	if (v2_root)
		f->cgroup = DINK_CGROUP_V2;
	else if (v1)
		f->cgroup = v2 ? DINK_CGROUP_HYBRID : DINK_CGROUP_V1;
	else
		f->cgroup = DINK_CGROUP_NONE;
}

/* v1: the controllers attached to a hierarchy (/proc/cgroups: name hierarchy groups enabled) */
static void add_v1_controllers(struct dink_facts *f)
{
	_cleanup_free_ char *table = read_text("/proc/cgroups");
	char *save = NULL;

	for (char *l = table ? strtok_r(table, "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save)) {
		char name[64];
		unsigned int hierarchy, groups, enabled;

		if (l[0] == '#' ||
		    sscanf(l, "%63s %u %u %u", name, &hierarchy, &groups, &enabled) != 4)
			continue;
		if (hierarchy && enabled)
			dink_strv_add(&f->cgroup_controllers, name);
	}
}

static void probe_controllers(struct dink_facts *f)
{
	char *save = NULL;

	if (f->cgroup == DINK_CGROUP_V2) {
		_cleanup_free_ char *list = read_text("/sys/fs/cgroup/cgroup.controllers");

		for (char *w = list ? strtok_r(list, " \n", &save) : NULL; w;
		     w = strtok_r(NULL, " \n", &save))
			dink_strv_add(&f->cgroup_controllers, w);
	} else if (f->cgroup != DINK_CGROUP_NONE) {
		add_v1_controllers(f);
	}
	dink_strv_sort(&f->cgroup_controllers);
}

static void probe_filesystems(struct dink_facts *f)
{
	_cleanup_free_ char *table = read_text("/proc/filesystems");
	char *save = NULL;

	for (char *l = table ? strtok_r(table, "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save)) {
		const char *tab = strchr(l, '\t');

		if (tab && tab[1])
			dink_strv_add(&f->filesystems, tab + 1);
	}
	dink_strv_sort(&f->filesystems);
}

void dink_probe_proc(struct dink_facts *f)
{
	_cleanup_free_ char *apparmor = read_text("/sys/module/apparmor/parameters/enabled");

	probe_identity(f);
	probe_rights(f);
	probe_mounts(f);
	probe_controllers(f);
	probe_filesystems(f);
	f->apparmor = apparmor && apparmor[0] == 'Y';
	f->selinux = dink_exists("/sys/fs/selinux/enforce");
}
