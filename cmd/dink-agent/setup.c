/* SPDX-License-Identifier: Apache-2.0 */
/* The setup request: mounts, the container's root, clock, entropy, host name; and the way back. */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>

enum { MOUNTS_MAX = 256, DISK_WAIT_MS = 10000, ENTROPY_MAX = 4096 };

#define READAHEAD_KB "1024"

#ifndef EXT4_IOC_RESIZE_FS /* Linux 3.3; its header is not for user space */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#endif

static char *mounted[MOUNTS_MAX]; /* in the order they were made */
static size_t n_mounted;

static int mount_one(const char *source, const char *target, const char *fstype,
		     unsigned long flags, const char *data, struct dink_err *err)
{
	if (n_mounted == MOUNTS_MAX)
		return dink_err_set(err, DINK_E_USAGE, E2BIG, "too many mounts");
	int r = dink_mkdir_p(target, 0755, err);
	if (r < 0)
		return r;
	if (mount(source, target, fstype, flags, data && *data ? data : NULL) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "mounting %s (%s) at %s", source,
				    fstype, target);
	mounted[n_mounted++] = xstrdup(target);
	return 0;
}

/* --- options --- */

static const struct {
	const char *word;
	unsigned long set, clear;
} flag_words[] = {
	{"ro", MS_RDONLY, 0},	      {"rw", 0, MS_RDONLY},
	{"nosuid", MS_NOSUID, 0},     {"nodev", MS_NODEV, 0},
	{"noexec", MS_NOEXEC, 0},     {"noatime", MS_NOATIME, 0},
	{"relatime", MS_RELATIME, 0}, {"nodiratime", MS_NODIRATIME, 0},
	{"sync", MS_SYNCHRONOUS, 0},  {"defaults", 0, 0},
};

/* split_options() - flags and what the file system itself reads; ret_data is the caller's */
static unsigned long split_options(const char *options, char **ret_data)
{
	_cleanup_free_ char *copy = xstrdup(options);
	struct dink_str data = {};
	unsigned long flags = 0;
	char *word, *save = NULL;

	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		size_t i;

		for (i = 0; i < ARRAY_SIZE(flag_words); i++) {
			if (STREQ(word, flag_words[i].word))
				break;
		}
		if (i < ARRAY_SIZE(flag_words))
			flags = (flags | flag_words[i].set) & ~flag_words[i].clear;
		else
			dink_str_addf(&data, "%s%s", data.len ? "," : "", word);
	}
	*ret_data = dink_str_take(&data);
	return flags;
}

/* --- disks --- */

static char *find_disk(const char *serial)
{
	_cleanup_closedir_ DIR *d = opendir("/sys/block");
	struct dirent *de;

	while (d && (de = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("/sys/block/%s/serial", de->d_name);
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_free_ char *text = NULL;

		if (de->d_name[0] == '.' || dink_file_read(path, 256, &text, NULL, &err) < 0)
			continue;
		text[strcspn(text, "\n")] = 0;
		if (STREQ(text, serial))
			return xasprintf("/dev/%s", de->d_name);
	}
	return NULL;
}

static char *wait_disk(const char *serial)
{
	for (int waited = 0; waited < DISK_WAIT_MS; waited += 10) {
		char *dev = find_disk(serial);

		if (dev)
			return dev;
		usleep(10000);
	}
	return NULL;
}

static int mount_disk(struct json_object *m, const char *serial, const char *target,
		      unsigned long flags, const char *data, struct dink_err *err)
{
	static const char *const tried[] = {"btrfs", "ext4", "xfs", "erofs", NULL};
	const char *fstype = dink_json_str_or(m, "fstype", NULL);
	_cleanup_free_ char *dev = wait_disk(serial);
	int r = -ENODEV;

	if (!dev)
		return dink_err_set(err, DINK_E_HOST, ENODEV, "no disk with serial '%s'", serial);
	if (fstype && *fstype)
		return mount_one(dev, target, fstype,
				 flags | (STREQ(fstype, "erofs") ? MS_RDONLY : 0), data, err);
	for (size_t i = 0; tried[i] && r < 0; i++) {
		dink_err_clear(err);
		r = mount_one(dev, target, tried[i],
			      flags | (STREQ(tried[i], "erofs") ? MS_RDONLY : 0), data, err);
	}
	return r;
}

/*
 * The kernel asks for 128 KiB at a time, and each request costs the emulated processor an exit and an
 * interrupt (docs/performance.md). What cannot be set is only slower.
 */
static void set_readahead(const char *target)
{
	struct stat st;

	if (stat(target, &st) < 0)
		return;
	_cleanup_free_ char *path =
		xasprintf("/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
	int r = agent_write_file(path, READAHEAD_KB);
	if (r < 0)
		agent_say("%s: %s", path, strerror(-r));
}

/* The kernel hears of it by an interrupt, and works on that in its own time. */
static int wait_length(const char *dev, uint64_t bytes)
{
	for (int waited = 0; waited < DISK_WAIT_MS; waited += 10) {
		_cleanup_close_ int fd = open(dev, O_RDONLY | O_CLOEXEC);
		uint64_t now = 0;

		if (fd < 0 || ioctl(fd, BLKGETSIZE64, &now) < 0)
			return -errno;
		if (now >= bytes)
			return 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

static int take_room(int fd, uint64_t bytes)
{
	struct btrfs_ioctl_vol_args all = {.name = "max"};
	struct statfs fs;
	uint64_t blocks;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type == BTRFS_SUPER_MAGIC)
		return ioctl(fd, BTRFS_IOC_RESIZE, &all) < 0 ? -errno : 0;
	if (fs.f_type != EXT4_SUPER_MAGIC || fs.f_bsize <= 0)
		return -EOPNOTSUPP;
	blocks = bytes / (uint64_t)fs.f_bsize;
	return ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0 ? -errno : 0;
}

int agent_grow(struct json_object *msg, struct dink_err *err)
{
	const char *serial = dink_json_str_or(msg, "serial", "");
	uint64_t bytes = (uint64_t)dink_json_int_or(msg, "bytes", 0);
	_cleanup_free_ char *dev = find_disk(serial), *target = NULL;
	int r = -ENODEV;

	if (!dink_starts_with(serial, DINK_DISK_SERIAL) || !dev)
		return dink_err_set(err, DINK_E_HOST, ENODEV, "no disk with serial '%s'", serial);
	target = xasprintf("/run/dink/disks/%s", serial + strlen(DINK_DISK_SERIAL));
	_cleanup_close_ int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", target);
	r = wait_length(dev, bytes);
	if (r == 0)
		r = take_room(fd, bytes);
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "growing the filesystem of %s", serial)
		     : 0;
}

static int do_mount(struct json_object *m, struct dink_err *err)
{
	const char *type, *source, *target;
	_cleanup_free_ char *data = NULL;
	unsigned long flags;

	if (dink_json_need_str(m, "mount", "type", &type, err) < 0 ||
	    dink_json_need_str(m, "mount", "source", &source, err) < 0 ||
	    dink_json_need_str(m, "mount", "target", &target, err) < 0)
		return -EINVAL;
	flags = split_options(dink_json_str_or(m, "options", ""), &data);
	if (target[0] != '/')
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "mount target '%s'", target);
	if (STREQ(type, "block"))
		return mount_disk(m, source, target, flags, data, err);
	if (STREQ(type, "tmpfs"))
		return mount_one(source, target, type, flags, data, err);
	if (STREQ(type, "virtiofs")) {
		int r = mount_one(source, target, type, flags, data, err);

		if (r == 0)
			set_readahead(target);
		return r;
	}
	return dink_err_set(err, DINK_E_USAGE, EINVAL, "mount type '%s'", type);
}

/* --- the root --- */

static int make_block_root(struct agent *a, struct json_object *root, struct dink_err *err)
{
	const char *lower, *upper = dink_json_str_or(root, "upper", NULL);
	_cleanup_free_ char *data = NULL, *up = NULL, *work = NULL;

	if (dink_json_need_str(root, "root", "lower", &lower, err) < 0)
		return -EINVAL;
	if (!upper || !*upper) {
		upper = AGENT_DIR "/upper";
		if (mount_one("tmpfs", upper, "tmpfs", 0, "mode=0755,size=75%", err) < 0)
			return -EIO;
	}
	up = xasprintf("%s/upper", upper);
	work = xasprintf("%s/work", upper);
	if (dink_mkdir_p(up, 0755, err) < 0 || dink_mkdir_p(work, 0755, err) < 0)
		return -EIO;
	data = xasprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, up, work);
	if (mount_one("overlay", AGENT_BLOCK_DIR, "overlay", 0, data, err) < 0)
		return -EIO;
	free(a->root);
	a->root = xstrdup(AGENT_BLOCK_DIR);
	return 0;
}

static int make_root(struct agent *a, struct json_object *msg, struct dink_err *err)
{
	struct json_object *root = dink_json_get(msg, "root");
	const char *type = dink_json_str_or(root, "type", "shared");

	if (STREQ(type, "block"))
		return make_block_root(a, root, err);
	if (!STREQ(type, "shared"))
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "root type '%s'", type);
	free(a->root);
	a->root = xstrdup(dink_json_str_or(root, "dir", DINK_SHARE_DIR "/rootfs"));
	return 0;
}

/* --- small things --- */

void agent_set_clock(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	if (ns > 0 && clock_settime(CLOCK_REALTIME, &ts) < 0)
		agent_say("clock: %s", strerror(errno));
}

static int decode_digit(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static size_t decode_base64(const char *text, uint8_t *to, size_t max)
{
	uint32_t bits = 0;
	int have = 0;
	size_t n = 0;

	for (; *text && n < max; text++) {
		int v = decode_digit(*text);

		if (v < 0)
			break;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			to[n++] = bits >> have & 0xff;
		}
	}
	return n;
}

/* agent_add_entropy() - the clones of one template must not draw the same numbers */
void agent_add_entropy(const char *base64)
{
	_cleanup_close_ int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	_cleanup_free_ struct rand_pool_info *pool = xcalloc(1, sizeof(*pool) + ENTROPY_MAX);
	size_t n = decode_base64(base64, (uint8_t *)pool->buf, ENTROPY_MAX);

	if (fd < 0 || !n)
		return;
	pool->entropy_count = (int)n * 8;
	pool->buf_size = (int)n;
	if (ioctl(fd, RNDADDENTROPY, pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		agent_say("entropy: %s", strerror(errno));
}

int agent_setup(struct agent *a, struct json_object *msg, struct dink_err *err)
{
	struct json_object *mounts = dink_json_get(msg, "mounts");
	const char *hostname = dink_json_str_or(msg, "hostname", NULL);
	size_t n = dink_json_len(msg, "mounts");

	agent_set_clock(dink_json_int_or(msg, "time_ns", 0));
	agent_add_entropy(dink_json_str_or(msg, "entropy", ""));
	if (hostname && *hostname && sethostname(hostname, strlen(hostname)) < 0)
		agent_say("host name '%s': %s", hostname, strerror(errno));
	for (size_t i = 0; i < n; i++) {
		int r = do_mount(json_object_array_get_idx(mounts, i), err);

		if (r < 0)
			return r;
	}
	return dink_json_get(msg, "root") ? make_root(a, msg, err) : 0;
}

void agent_unmount(struct agent *a)
{
	free(a->root);
	a->root = NULL;
	while (n_mounted) {
		char *target = mounted[--n_mounted];

		/* what cannot be unmounted can still be made clean */
		if (umount2(target, 0) < 0 &&
		    mount(NULL, target, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
			agent_say("unmounting %s: %s", target, strerror(errno));
		free(target);
	}
	sync();
}
