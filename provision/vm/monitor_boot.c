/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The share tree, virtiofsd and QEMU. Both programs are started before anything is waited for:
 * virtiofsd is ready long before the guest's kernel looks for it.
 */
#include "provision/base/clone.h"
#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/net/tap.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/proto.h"
#include "provision/vm/qemu.h"
#include "provision/vm/virtiofs.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LOG_MAX = 256 << 10, SPARE_NICS = 3, QEMU_END_MS = 1000 };

static void read_log(void *ctx, int fd, _unused_ uint32_t events)
{
	struct mon_log *l = ctx;
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		dink_source_remove(TAKE_PTR(l->source));
		return;
	}
	if (l->written < LOG_MAX && dink_fd_write_all(l->out, buf, (size_t)n) == 0)
		l->written += (size_t)n;
	/* the end of it goes into error messages */
	size_t take = (size_t)n < sizeof(l->tail) - 1 ? (size_t)n : sizeof(l->tail) - 1;
	size_t keep =
		l->tail_len + take < sizeof(l->tail) ? l->tail_len : sizeof(l->tail) - 1 - take;
	memmove(l->tail, l->tail + l->tail_len - keep, keep);
	memcpy(l->tail + keep, buf + n - take, take);
	l->tail_len = keep + take;
	l->tail[l->tail_len] = '\0';
}

void mon_drain_logs(struct monitor *m)
{
	struct mon_log *logs[] = {&m->log, &m->console};

	for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
		for (int k = 0; k < 16 && logs[i]->source; k++)
			read_log(logs[i], logs[i]->in, 0);
	}
}

static int open_log(struct monitor *m, struct mon_log *l, const char *name, int in,
		    struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", m->dir, name);

	l->in = in;
	l->out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (l->out < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	if (fcntl(in, F_SETFL, O_NONBLOCK) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make %s non-blocking", name);
	l->source = dink_loop_add(m->loop, in, EPOLLIN, read_log, l);
	return l->source ? 0 : dink_err_set(err, DINK_E_HOST, errno, "watch %s", name);
}

static void see_death(void *ctx, _unused_ int fd, _unused_ uint32_t events);

struct death {
	struct monitor *m;
	struct mon_child *child;
};

/* virtiofsd ends by itself, with 0, where QEMU has gone: then QEMU's end is the one to tell of. */
static bool ended_with_qemu(const struct death *d, int status)
{
	struct pollfd p = {.fd = d->m->qemu.pidfd, .events = POLLIN};

	return d->child == &d->m->virtiofsd && status == 0 && d->m->qemu.pid > 0 &&
	       poll(&p, 1, QEMU_END_MS) > 0;
}

static void describe_death(const struct monitor *m, const char *name, int status,
			   struct dink_err *err)
{
	if (WIFSIGNALED(status)) {
		dink_err_set(err, DINK_E_CHILD, 0, "%s was killed by signal %d", name,
			     WTERMSIG(status));
		if (WTERMSIG(status) == SIGBUS && m->ram_fd >= 0)
			dink_err_hint(err, "the file system with the guest's memory is full: "
					   "make room, or name a folder with --ram-dir");
	} else if (status == 0 && STREQ(name, "QEMU")) {
		/* -no-reboot: a panic is a reboot, too */
		dink_err_set(err, DINK_E_CHILD, 0,
			     "the guest's kernel panicked or went down: see %s/console.log",
			     m->dir);
	} else {
		dink_err_set(err, DINK_E_CHILD, 0, "%s exited %d%s%s", name, WEXITSTATUS(status),
			     m->log.tail_len ? ": " : "", m->log.tail);
	}
}

static void see_death(void *ctx, _unused_ int fd, _unused_ uint32_t events)
{
	struct death *d = ctx;
	struct monitor *m = d->m;
	_cleanup_(dink_err_clear) struct dink_err err = {};
	const char *name = d->child->name;
	int status = 0;

	dink_source_remove(TAKE_PTR(d->child->source));
	waitpid(d->child->pid, &status, WNOHANG);
	d->child->pid = 0;
	mon_trace(m, name);
	if (m->status == MON_STOPPING) {
		if (d->child == &m->qemu)
			dink_loop_quit(m->loop, m->exit_status);
		return;
	}
	if (ended_with_qemu(d, status))
		return;
	mon_drain_logs(m);
	describe_death(m, name, status, &err);
	if (m->console.tail_len)
		dink_err_detail(&err, m->console.tail);
	mon_fail(m, &err);
}

/* QEMU gets its files as descriptors: it needs no capability at all. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &h, none) < 0) {
		static const char text[] = "cannot drop capabilities\n";
		(void)!write(2, text, sizeof(text) - 1);
		_exit(126);
	}
}

static _noreturn_ void exec_child(const struct dink_strv *argv, const int *fds, int n_fds,
				  int log_fd, bool unprivileged)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* may well become descriptor 0 itself; NOLINTNEXTLINE(android-cloexec-open) */
	int null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
		_exit(126);
	for (int i = 0; i < n_fds; i++) {
		if (fcntl(fds[i], F_SETFD, 0) < 0)
			_exit(126);
	}
	if (unprivileged)
		drop_capabilities();
	execv(argv->v[0], argv->v);
	dprintf(2, "execute %s: %s\n", argv->v[0], strerror(errno));
	_exit(127);
}

static int spawn(struct monitor *m, struct mon_child *child, const char *name,
		 const struct dink_strv *argv, const int *fds, int n_fds, int log_fd,
		 bool unprivileged, struct dink_err *err)
{
	child->name = name;
	child->pid = fork();
	if (child->pid < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "fork for %s", name);
	if (child->pid == 0)
		exec_child(argv, fds, n_fds, log_fd, unprivileged);
	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pidfd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "watch %s", name);
	struct death *d = xcalloc(1, sizeof(*d)); /* lives as long as the process */
	*d = (struct death){m, child};
	child->source = dink_loop_add(m->loop, child->pidfd, EPOLLIN, see_death, d);
	return child->source ? 0 : dink_err_set(err, DINK_E_HOST, errno, "watch %s", name);
}

static int make_share(struct monitor *m, const char *dir, struct dink_err *err)
{
	const char *rootfs = dink_json_str_or(m->plan, "rootfs", NULL);
	struct json_object *shares = dink_json_get(m->plan, "shares");
	int r = dink_share_begin(dir, err);

	if (r == 0 && rootfs) {
		/* never read-only here: crun makes mount points in it before it makes it so */
		r = dink_share_bind(dir, "rootfs", rootfs, false, true, err);
	}
	for (size_t i = 0; r == 0 && i < json_object_array_length(shares); i++) {
		struct json_object *s = json_object_array_get_idx(shares, i);
		_cleanup_free_ char *rel = xasprintf("mounts/%zu", i);
		const char *overlay = dink_json_str_or(s, "overlay", NULL);
		if (overlay) {
			r = dink_share_overlay(dir, rel, overlay, err);
			continue;
		}
		r = dink_share_bind(dir, rel, dink_json_str_or(s, "source", ""),
				    dink_json_bool_or(s, "readonly", false),
				    dink_json_bool_or(s, "recursive", false), err);
	}
	return r < 0 ? r : dink_share_end(dir, err);
}

/* A connected socket for QEMU; virtiofsd listens on the other side. */
static int start_virtiofsd(struct monitor *m, int log_fd, int *ret_fd, struct dink_err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/share", m->dir);
	_cleanup_free_ char *sock = xasprintf("%s/virtiofs.sock", m->dir);
	_cleanup_strv_ struct dink_strv argv = {};
	_cleanup_close_ int listener = -1, fd = -1;
	bool rust = false;
	_cleanup_free_ char *program = dink_virtiofsd_find(&rust);

	if (!program) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "virtiofsd");
		return dink_err_hint(err,
				     "apt-get install qemu-system-common (Debian 12) or virtiofsd");
	}
	int r = make_share(m, dir, err);
	if (r == 0)
		r = dink_unix_listen(sock, 0600, &listener, err);
	if (r == 0)
		r = dink_unix_connect(sock, &fd, err);
	if (r < 0)
		return r;
	dink_virtiofsd_argv(program, rust, dir, listener, &argv);
	r = spawn(m, &m->virtiofsd, "virtiofsd", &argv, &listener, 1, log_fd, false, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int make_pair(int ret[2], struct dink_err *err)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a socket pair");
	return 0;
}

static int open_taps(struct monitor *m, struct dink_qemu_opts *o, struct dink_err *err)
{
	bool bare = dink_json_bool_or(m->plan, "bare", false);
	int64_t fixed = bare ? 0 : dink_json_int_or(m->plan, "restore.nics", -1);
	int want = fixed >= 0 ? (int)fixed : dink_links_count(err);

	if (want < 0)
		return want;
	if (want == 0 && fixed < 0) {
		/*
		 * Links come later: by a hook while the guest boots (Docker until 25) or before
		 * start. How many is not known yet; a spare card costs the guest 10 ms, and 30 ms
		 * to be taken away at start. Without /dev/net/tun, do without.
		 */
		if (access("/dev/net/tun", R_OK | W_OK) < 0)
			return 0;
		want = SPARE_NICS;
	} else if (fixed < 0 && want < DINK_QEMU_NICS_MAX) {
		want++; /* for `network connect` */
	}
	if (want > DINK_QEMU_NICS_MAX)
		return dink_err_set(err, DINK_E_HOST, 0,
				    "%d network links: a VM has at most %d network cards", want,
				    DINK_QEMU_NICS_MAX);
	for (; o->n_taps < want; o->n_taps++) {
		int r = dink_tap_open(o->n_taps, &o->taps[o->n_taps], err);
		if (r < 0)
			return r;
	}
	m->n_nics = o->n_taps;
	return 0;
}

/*
 * A restored container's writable disk is a copy of its own: nameless, beside the image, where the
 * file system may share its blocks.
 */
static int open_copy(struct monitor *m, const char *path, struct dink_err *err)
{
	const char *dir = dink_json_str_or(m->plan, "restore.image", "");
	_cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (from < 0 || fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "copy the disk %s", path);
	int r = dink_clone_fd(from, fd, path, NULL, err);
	return r < 0 ? r : TAKE_FD(fd);
}

/*
 * One writer, or readers: the lock that loop mounts of dink's take, too (loopdev/loop.c). It goes
 * with QEMU. QEMU's own locks come too late: a clone takes them when it has been loaded.
 */
static int lock_disk(int fd, const char *path, bool ro, struct dink_err *err)
{
	if (flock(fd, (ro ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
		return 0;
	dink_err_set(err, DINK_E_BUSY, errno, "lock the disk %s", path);
	return dink_err_hint(err, "a container or a mount has it: one writer at a time");
}

static int open_disk(struct monitor *m, struct json_object *d, struct dink_qemu_disk *ret,
		     struct dink_err *err)
{
	const char *path = dink_json_str_or(d, "source", "");
	bool ro = dink_json_bool_or(d, "readonly", false);

	ret->serial = dink_json_str_or(d, "serial", "");
	ret->fd = ret->rw_fd = -1;
	if (!ro && dink_json_get(m->plan, "restore")) {
		ret->rw_fd = open_copy(m, path, err);
		if (ret->rw_fd < 0)
			return ret->rw_fd;
		_cleanup_free_ char *again = xasprintf("/proc/self/fd/%d", ret->rw_fd);
		ret->fd = open(again, O_RDONLY | O_CLOEXEC);
	} else {
		ret->fd = open(path, O_RDONLY | O_CLOEXEC);
		ret->rw_fd = ret->fd < 0 || ro ? -1 : open(path, O_RDWR | O_CLOEXEC);
	}
	if (ret->fd < 0 || (ret->rw_fd < 0 && !ro))
		return dink_err_set(err, DINK_E_HOST, errno, "open the disk %s", path);
	return lock_disk(ro ? ret->fd : ret->rw_fd, path, ro, err);
}

/* Disks are opened here and handed over, so that QEMU needs no right to the file itself. */
static int open_disks(struct monitor *m, struct dink_qemu_opts *o, struct dink_err *err)
{
	struct json_object *disks = dink_json_get(m->plan, "disks");

	for (size_t i = 0; i < json_object_array_length(disks) && i < DINK_QEMU_DISKS_MAX; i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		int r = open_disk(m, d, &o->disks[o->n_disks], err);

		if (r < 0)
			return r;
		o->n_disks++;
	}
	return 0;
}

static int start_qemu(struct monitor *m, struct dink_qemu_opts *o, int log_fd, struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv argv = {};
	int fds[6 + DINK_QEMU_NICS_MAX + 2 * DINK_QEMU_DISKS_MAX], n = 0;
	int r = dink_qemu_argv(o, &argv, err);

	if (r < 0)
		return r;
	fds[n++] = o->channel_fd;
	fds[n++] = o->qmp_fd;
	fds[n++] = o->console_fd;
	if (o->share_fd >= 0)
		fds[n++] = o->share_fd;
	for (int i = 0; i < o->n_taps; i++)
		fds[n++] = o->taps[i];
	for (int i = 0; i < o->n_disks; i++)
		fds[n++] = o->disks[i].fd;
	for (int i = 0; i < o->n_disks; i++) {
		if (o->disks[i].rw_fd >= 0)
			fds[n++] = o->disks[i].rw_fd;
	}
	/* these two stay open here, too: a checkpoint takes the memory over */
	int own = n;
	if (o->ram_fd >= 0)
		fds[n++] = o->ram_fd;
	if (m->state_fd >= 0)
		fds[n++] = m->state_fd;
	r = spawn(m, &m->qemu, "QEMU", &argv, fds, n, log_fd, true, err);
	for (int i = 0; i < own; i++)
		close(fds[i]);
	return r;
}

static void fill_options(struct monitor *m, struct dink_qemu_opts *o)
{
	o->program = dink_json_str_or(m->plan, "qemu", "");
	o->name = dink_json_str_or(m->plan, "id", "");
	o->accel = dink_json_str_or(m->plan, "accel", "tcg");
	o->cpu = dink_json_str_or(m->plan, "cpu", NULL);
	o->kernel = dink_json_str_or(m->plan, "kernel", "");
	o->initrd = dink_json_str_or(m->plan, "initrd", "");
	o->append = dink_json_str_or(m->plan, "append", NULL);
	o->firmware = dink_json_str_or(m->plan, "firmware", NULL);
	o->tsc_khz = (uint32_t)dink_json_int_or(m->plan, "tsc_khz", 0);
	o->memory_mib = (uint32_t)dink_json_int_or(m->plan, "memory_mib", 512);
	o->cpus = (uint32_t)dink_json_int_or(m->plan, "cpus", 1);
	o->share_tag = DINK_SHARE_TAG;
	o->share_fd = -1;
	o->ram_fd = m->ram_fd;
	o->incoming = mon_image(m);
	o->ram_private = dink_json_get(m->plan, "restore");
}

static int open_image(struct monitor *m, const char *name, int *ret_fd, struct dink_err *err)
{
	const char *dir = dink_json_str_or(mon_image(m), "image", "");
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? dink_err_set(err, DINK_E_HOST, errno, "open %s", path) : 0;
}

/*
 * The guest's memory in a file without a name, so that a killed monitor leaves none behind, and a
 * checkpoint gives it one.
 */
static int open_ram(struct monitor *m, struct dink_err *err)
{
	const char *dir = dink_json_str_or(m->plan, "ram_dir", m->dir);
	uint64_t bytes = (uint64_t)dink_json_int_or(m->plan, "memory_mib", 512) << 20;

	if (dink_json_get(m->plan, "restore")) {
		m->no_ckpt = "it was restored: its memory is private to it and in no file";
		int r = open_image(m, "ram", &m->ram_fd, err);
		return r < 0 ? r : open_image(m, "state", &m->state_fd, err);
	}
	if (dink_json_str_or(m->plan, "rootfs", NULL) || dink_json_len(m->plan, "shares") > 0) {
		m->no_ckpt = "it shares files with the host by virtiofs, which QEMU cannot save: "
			     "give it a block root (an EROFS image at /.dink-root) and disk "
			     "images in place of folders and files";
		return 0;
	}
	if (!dink_has_room(dir, bytes)) {
		m->no_ckpt = "the state folder had no room for its memory when it was created: "
			     "name a folder with --ram-dir";
		return 0;
	}
	m->ram_fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (m->ram_fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		m->no_ckpt = "the file system of its state folder knows no nameless files: name "
			     "another folder with --ram-dir";
		return 0;
	}
	if (m->ram_fd < 0 || ftruncate(m->ram_fd, (off_t)bytes) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make the guest's memory in %s", dir);
	return 0;
}

static int load_template(struct monitor *m, struct dink_err *err)
{
	_cleanup_close_ int from = -1;
	int r = open_image(m, "ram", &from, err);

	if (r == 0)
		r = open_image(m, "state", &m->state_fd, err);
	if (r < 0)
		return r;
	/* a copy, which costs less than the boot it saves: virtiofsd has to see what is written */
	if (m->ram_fd < 0)
		m->ram_fd = memfd_create("dink-vm-ram", MFD_CLOEXEC);
	if (m->ram_fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make the guest's memory");
	return dink_clone_fd(from, m->ram_fd, "the template's memory", NULL, err);
}

/* A template that went meanwhile, or for which there is no room, costs nothing but time. */
static int boot_instead(struct monitor *m, struct dink_err *err)
{
	dink_debug("vm", "%s", err->msg);
	dink_err_clear(err);
	json_object_object_del(m->plan, "template");
	if (m->ram_fd >= 0)
		close(TAKE_FD(m->ram_fd));
	if (m->state_fd >= 0)
		close(TAKE_FD(m->state_fd));
	return open_ram(m, err);
}

extern const struct dink_qmp_ops mon_qmp_ops;
extern const struct dink_chan_ops mon_chan_ops;

int mon_boot(struct monitor *m, struct dink_err *err)
{
	struct dink_qemu_opts o = {};
	int channel[2], qmp[2], console[2], log[2];
	int r;

	/* before: what is opened in a mount namespace of our own cannot be linked outside */
	r = open_ram(m, err);
	if (r == 0 && dink_json_get(m->plan, "template") && load_template(m, err) < 0)
		r = boot_instead(m, err);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a mount namespace");
	if (pipe2(log, O_CLOEXEC) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
	r = open_log(m, &m->log, "monitor.log", log[0], err);
	if (r < 0)
		return r;
	fill_options(m, &o);
	if (dink_json_str_or(m->plan, "rootfs", NULL) || dink_json_len(m->plan, "shares") > 0)
		r = start_virtiofsd(m, log[1], &o.share_fd, err);
	if (r == 0)
		r = make_pair(channel, err);
	if (r == 0)
		r = make_pair(qmp, err);
	if (r == 0)
		r = make_pair(console, err);
	if (r == 0)
		r = open_taps(m, &o, err);
	if (r == 0)
		r = open_disks(m, &o, err);
	if (r < 0)
		return r;
	o.channel_fd = channel[1];
	o.qmp_fd = qmp[1];
	o.console_fd = console[1];
	r = open_log(m, &m->console, "console.log", console[0], err);
	if (r == 0)
		r = start_qemu(m, &o, log[1], err);
	close(log[1]);
	if (r < 0)
		return r;
	if (fcntl(channel[0], F_SETFL, O_NONBLOCK) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make the channel non-blocking");
	m->qmp = dink_qmp_new(m->loop, qmp[0], &mon_qmp_ops, m);
	m->chan = dink_chan_new(m->loop, channel[0], true, &mon_chan_ops, m);
	/* last: while QEMU starts */
	return mon_drop_mounts(m, err);
}
