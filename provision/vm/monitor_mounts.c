/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What QEMU and virtiofsd keep of the host's mounts. Their namespace is a copy of the host's, and on
 * a host whose mounts are not shared nothing that is unmounted there later is unmounted here: for as
 * long as this VM runs it would hold other containers' network namespaces (and with these the links
 * on a bridge), other people's disks and their loop devices. So once everything is open that was
 * named by a path, all mounts go but those that lead to the share and to the programs' own files.
 */
#include "provision/base/file.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/virtiofs.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/mount.h>

/* Programs load from these, also later. */
static const char *const systems[] = {"/usr", "/lib", "/lib64", "/etc", "/dev", "/proc", "/sys"};

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return dink_starts_with(path, folder) && (path[n] == '/' || path[n] == '\0');
}

static void add_need(struct dink_strv *needs, const char *path)
{
	char real[PATH_MAX];

	if (path && realpath(path, real))
		dink_strv_add(needs, real);
}

static void list_needs(struct monitor *m, struct dink_strv *needs)
{
	static const char *const files[] = {"dir",    "qemu",	  "kernel",
					    "initrd", "firmware", "resolv"};
	bool rust;
	_cleanup_free_ char *virtiofsd = dink_virtiofsd_find(&rust);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		add_need(needs, dink_json_str_or(m->plan, files[i], NULL));
	add_need(needs, dink_json_str_or(mon_image(m), "image", NULL));
	add_need(needs, virtiofsd);
}

static bool is_needed(const struct dink_strv *needs, const char *mount)
{
	if (STREQ(mount, "/"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(systems); i++) {
		if (is_below(mount, systems[i]))
			return true;
	}
	for (size_t i = 0; i < needs->n; i++) {
		/* what leads there, and for the state folder what is in it: the share */
		if (is_below(needs->v[i], mount) || is_below(mount, needs->v[i]))
			return true;
	}
	return false;
}

int mon_drop_mounts(struct monitor *m, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv mounts = {}, needs = {};
	int r = dink_mount_points(&mounts, err);

	list_needs(m, &needs);
	/* the innermost is listed last; what is locked by a user namespace stays */
	for (size_t i = r < 0 ? 0 : mounts.n; i-- > 0;) {
		if (!is_needed(&needs, mounts.v[i]))
			(void)umount2(mounts.v[i], MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	return r;
}
