/* SPDX-License-Identifier: Apache-2.0 */
/* What a bare kernel lacks before the first request: file systems, cgroups, loopback, the port. */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { PORT_WAIT_MS = 20000, PORT_STEP_MS = 5 };

void agent_say(const char *fmt, ...)
{
	_cleanup_close_ int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char text[512];
	va_list ap;
	int n = snprintf(text, sizeof(text), "dink-agent: ");

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "%s\n", text);
}

void agent_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	/* without ACPI there is no power switch; a stopped CPU is the best that is left */
	reboot(RB_HALT_SYSTEM);
	for (;;)
		pause();
}

/*
 * move_root() - the initramfs cannot be pivoted away from, since it is attached to nothing. Bound
 * onto itself it can, and nothing is copied.
 */
static void move_root(void)
{
	mkdir("/newroot", 0755);
	if (mount("/", "/newroot", NULL, MS_BIND, NULL) < 0 || chdir("/newroot") < 0 ||
	    mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		agent_say("moving the root: %s", strerror(errno));
}

static void mount_basics(void)
{
	static const struct {
		const char *type, *target, *options;
		unsigned long flags;
	} mounts[] = {
		{"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=0755", MS_NOSUID},
		{"devpts", "/dev/pts", "gid=5,mode=0620,ptmxmode=0666", MS_NOSUID | MS_NOEXEC},
		{"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
		{"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV},
		{"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV},
		{"cgroup2", "/sys/fs/cgroup", "nsdelegate", MS_NOSUID | MS_NODEV | MS_NOEXEC},
	};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].target, 0755);
		if (mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags,
			  mounts[i].options) < 0 &&
		    errno != EBUSY)
			agent_say("mounting %s: %s", mounts[i].target, strerror(errno));
	}
}

/*
 * mount_null() - crun masks files with the guest's /dev/null, and /proc/mounts tells where that
 * comes from. Other runtimes mask with the container's own: a tmpfs with these options.
 */
static void mount_null(void)
{
	static const char dir[] = "/run/null", node[] = "/run/null/null";

	mkdir(dir, 0755);
	if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_STRICTATIME, "size=65536k,mode=755") < 0 ||
	    mknod(node, S_IFCHR | 0666, makedev(1, 3)) < 0 || chmod(node, 0666) < 0 ||
	    mount(node, "/dev/null", NULL, MS_BIND, NULL) < 0)
		agent_say("a /dev/null of its own: %s", strerror(errno));
}

/* enable_controllers() - each by itself, so that one the kernel refuses does not cost the others */
static void enable_controllers(void)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;
	char *word, *save = NULL;

	if (dink_file_read("/sys/fs/cgroup/cgroup.controllers", 4096, &text, NULL, &err) < 0) {
		agent_say("no cgroup v2: %s", err.msg);
		return;
	}
	for (word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		char plus[64];

		snprintf(plus, sizeof(plus), "+%s", word);
		if (agent_write_file("/sys/fs/cgroup/cgroup.subtree_control", plus) < 0)
			agent_say("cgroup controller %s cannot be enabled", word);
	}
}

static void raise_limits(void)
{
	/* containers' own limits are set by crun and may be as high as this */
	struct rlimit files = {.rlim_cur = 65536, .rlim_max = 1048576};

	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		agent_say("open files: %s", strerror(errno));
}

/* fill_stdio() - without a console the first pipes would become 0, 1 and 2 */
static void fill_stdio(void)
{
	int fd;

	do {
		/* NOLINTNEXTLINE(android-cloexec-open): these are for the children */
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

void agent_boot(void)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	umask(022);
	move_root();
	mount_basics();
	mount_null();
	fill_stdio();
	enable_controllers();
	raise_limits();
	/* the root of a user namespace passes through to its container's files */
	mkdir(AGENT_DIR, 0711);
	mkdir(AGENT_CRUN_ROOT, 0700);
	if (agent_loopback_up(&err) < 0)
		agent_say("loopback: %s", err.msg);
	if (sethostname("guest", 5) < 0)
		agent_say("host name: %s", strerror(errno));
}

/* open_named_port() - by its name in sysfs; -1 while it is not there */
static int open_named_port(void)
{
	static const char base[] = "/sys/class/virtio-ports";
	_cleanup_closedir_ DIR *d = opendir(base);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		_cleanup_free_ char *name = xasprintf("%s/%s/name", base, de->d_name);
		_cleanup_free_ char *dev = xasprintf("%s/%s/dev", base, de->d_name);
		_cleanup_free_ char *node = xasprintf("/dev/%s", de->d_name);
		_cleanup_(dink_err_clear) struct dink_err err = {};
		_cleanup_free_ char *text = NULL, *numbers = NULL;
		unsigned maj, min;

		if (de->d_name[0] == '.' || dink_file_read(name, 256, &text, NULL, &err) < 0)
			continue;
		text[strcspn(text, "\n")] = 0;
		if (!STREQ(text, DINK_PORT_NAME))
			continue;
		if (!dink_exists(node) && dink_file_read(dev, 64, &numbers, NULL, &err) == 0 &&
		    sscanf(numbers, "%u:%u", &maj, &min) == 2)
			mknod(node, S_IFCHR | 0600, makedev(maj, min));
		return open(node, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	return -1;
}

int agent_open_port(struct dink_err *err)
{
	int fd = -1, waited;

	for (waited = 0; waited < PORT_WAIT_MS; waited += PORT_STEP_MS) {
		struct pollfd p = {.events = POLLOUT};

		if (fd < 0)
			fd = open_named_port();
		p.fd = fd;
		/* a hang-up means that nobody has opened the other end yet */
		if (fd >= 0 && poll(&p, 1, 0) > 0 && !(p.revents & POLLHUP))
			return fd;
		usleep(PORT_STEP_MS * 1000);
	}
	if (fd >= 0)
		close(fd);
	return dink_err_set(err, DINK_E_HOST, ENODEV, "no virtio port %s with a host behind it",
			    DINK_PORT_NAME);
}
