/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images mounted on the host, for layers that are no VM; undone by identity. */
#include "loopdev/loopdev.h"

#include "provision/base/file.h"
#include "provision/base/macro.h"
#include "provision/base/mem.h"

#include <limits.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* The words of mount(8) that are flags to the kernel; all others are the filesystem's own. */
static const struct {
	const char *word;
	unsigned long flag;
} flag_words[] = {
	{"ro", MS_RDONLY},	   {"rw", 0},
	{"noatime", MS_NOATIME},   {"nodev", MS_NODEV},
	{"nosuid", MS_NOSUID},	   {"noexec", MS_NOEXEC},
	{"relatime", MS_RELATIME}, {"nodiratime", MS_NODIRATIME},
};

static unsigned long split_options(const char *options, char **ret_data)
{
	_cleanup_str_ struct dink_str data = {};
	_cleanup_free_ char *copy = xstrdup(options ? options : "");
	unsigned long flags = 0;
	char *word, *rest = copy;

	while ((word = strsep(&rest, ","))) {
		size_t i = 0;
		while (i < ARRAY_SIZE(flag_words) && !STREQ(word, flag_words[i].word))
			i++;
		if (i < ARRAY_SIZE(flag_words))
			flags |= flag_words[i].flag;
		else if (*word)
			dink_str_addf(&data, "%s%s", data.len ? "," : "", word);
	}
	*ret_data = dink_str_take(&data);
	return flags;
}

/* What an errno of mount(2) means here. */
static int mount_failed(int errnum, const char *file, const char *target, const char *type,
			struct dink_err *err)
{
	dink_err_set(err, DINK_E_HOST, errnum, "mount %s (%s) on %s", file, type, target);
	switch (errnum) {
	case ENODEV:
		return dink_err_hint(err, "this kernel has no %s: modprobe %s", type, type);
	case EPERM:
		return dink_err_hint(err, "mounting needs CAP_SYS_ADMIN");
	case EEXIST:
		return dink_err_hint(err,
				     "a btrfs filesystem with the same id is mounted: is %s a copy "
				     "of another image? btrfstune -u gives it an id of its own",
				     file);
	case EINVAL:
		return dink_err_hint(err, "the kernel does not take the filesystem or an option: "
					  "dmesg | tail");
	default:
		return -errnum;
	}
}

int dink_disk_mount(const char *file, const char *target, const char *options, bool read_only,
		    struct dink_loop_id *ret, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe probe = {};
	_cleanup_free_ char *data = NULL;
	_cleanup_close_ int fd = -1;
	struct dink_loop_id id;

	int r = dink_disk_probe(file, &probe, err);
	if (r < 0)
		return r;
	if (!probe.type || !probe.usage || !STREQ(probe.usage, "filesystem") || probe.ambiguous)
		return dink_err_set(err, DINK_E_HOST, 0, "%s holds no filesystem", file);
	unsigned long flags = split_options(options, &data);
	if (read_only)
		flags |= MS_RDONLY;
	r = dink_loop_attach(file, read_only, &id, &fd, err);
	if (r < 0)
		return dink_err_push(err, "attaching %s", file);
	/* from here the mount keeps the device; on failure autoclear drops it with fd */
	if (mount(id.path, target, probe.type, flags, data) < 0)
		return mount_failed(errno, file, target, probe.type, err);
	*ret = id;
	return 0;
}

/* "\040" and the like, as mountinfo writes spaces, tabs, newlines and backslashes */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

/* The source of the topmost mount at target, NULL if nothing is mounted there. */
static int mount_source(const char *target, char **ret, struct dink_err *err)
{
	_cleanup_free_ char *text = NULL, *source = NULL;
	char *line, *rest;

	int r = dink_file_read("/proc/self/mountinfo", 16 << 20, &text, NULL, err);
	if (r < 0)
		return r;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		/* id parent maj:min root POINT options fields... - type SOURCE super */
		char *dash = strstr(line, " - ");
		char *field = line, *point = NULL;
		for (int i = 0; i < 5 && field; i++)
			point = strsep(&field, " ");
		if (!dash || !point)
			continue;
		unescape(point);
		if (!STREQ(point, target))
			continue;
		char *tail = dash + 3;
		strsep(&tail, " ");
		char *name = strsep(&tail, " ");
		if (!name)
			continue;
		unescape(name);
		/* later lines are mounted over earlier ones */
		free(source);
		source = xstrdup(name);
	}
	*ret = TAKE_PTR(source);
	return 0;
}

int dink_disk_unmount(const char *target, const struct dink_loop_id *id, struct dink_err *err)
{
	_cleanup_free_ char *real = realpath(target, NULL), *source = NULL;

	int ours = dink_loop_is(id, NULL);
	if (ours < 0)
		return dink_err_set(err, DINK_E_HOST, -ours, "look at %s", id->path);
	if (!ours)
		return 0;
	if (real) {
		int r = mount_source(real, &source, err);
		if (r < 0)
			return r;
	}
	if (source && STREQ(source, id->path) && umount2(real, UMOUNT_NOFOLLOW) < 0) {
		dink_err_set(err, errno == EBUSY ? DINK_E_BUSY : DINK_E_HOST, errno, "unmount %s",
			     target);
		return dink_err_hint(err, "fuser --mount --verbose %s", target);
	}
	int r = dink_loop_detach(id, err);
	if (r == 0)
		dink_loop_await_free(id);
	return r;
}

int dink_disk_unmount_at(const char *target, struct dink_err *err)
{
	_cleanup_free_ char *real = realpath(target, NULL), *source = NULL;
	struct dink_loop_id id;
	int r = real ? mount_source(real, &source, err)
		     : dink_err_set(err, DINK_E_HOST, errno, "unmount %s", target);
	unsigned number;

	if (r < 0)
		return r;
	if (!source || sscanf(source, "/dev/loop%u", &number) != 1) {
		dink_err_set(err, DINK_E_USAGE, 0, "no disk image is mounted on %s", target);
		return dink_err_hint(err, "findmnt %s", target);
	}
	r = dink_loop_identify((int)number, &id);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "look at %s", source);
	return dink_disk_unmount(target, &id, err);
}
