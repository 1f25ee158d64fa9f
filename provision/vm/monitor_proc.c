/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc of the monitor's mount namespace. Podman asks no runtime for `podman top ID`: it joins that
 * namespace and reads /proc there. So there is a tmpfs with what ps needs of each process of the
 * guest. It is written when somebody opens the folder: the kernel asks us first (fanotify), we ask
 * the guest, and whoever opens it waits for that, though not for long.
 */
#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/proctable.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum {
	OPENERS_MAX = 16,
	ANSWER_MS = 1500, /* a guest that says nothing: the table stays as it was */
	FRESH_MS = 100,	  /* who opens it again at once sees the same */
};

#define TABLE_OPTIONS "4m" /* 256 processes with three pages each, and as many folders */

struct mon_table {
	struct monitor *m;
	int dir; /* where it can be written */
	int events;
	struct dink_source *timer;
	int openers[OPENERS_MAX]; /* that wait, by the descriptor of their event */
	size_t n_openers;
	bool asked;
	bool newest_first; /* so this kernel's tmpfs lists its names */
	uint64_t written_ms;
	pid_t shown[DINK_PROCTABLE_MAX];
	size_t n_shown;
};

/* --- the files --- */

static void write_at(int dir, const char *name, const char *text, size_t len)
{
	_cleanup_close_ int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0444);

	/* what has no room is missing in a table, no more */
	if (fd >= 0 && len > 0 && dink_fd_write_all(fd, text, len) < 0)
		(void)unlinkat(dir, name, 0);
}

static void remove_shown(struct mon_table *t)
{
	static const char *const files[] = {"stat", "status", "cmdline", "ns/pid", "ns/user"};

	for (size_t i = 0; i < t->n_shown; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%d", t->shown[i]);
		_cleanup_close_ int dir = openat(t->dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		for (size_t f = 0; dir >= 0 && f < ARRAY_SIZE(files); f++)
			(void)unlinkat(dir, files[f], 0);
		if (dir >= 0)
			(void)unlinkat(dir, "ns", AT_REMOVEDIR);
		(void)unlinkat(t->dir, name, AT_REMOVEDIR);
	}
	t->n_shown = 0;
}

static void show(struct mon_table *t, const struct dink_proc *p)
{
	/* all are in one, and it is nobody's on the host */
	static const char pid_ns[] = "pid:[1]", user_ns[] = "user:[1]";
	char name[16];

	snprintf(name, sizeof(name), "%d", p->pid);
	if (mkdirat(t->dir, name, 0555) < 0)
		return;
	t->shown[t->n_shown++] = p->pid;
	_cleanup_close_ int dir = openat(t->dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "ns", 0555) < 0 || symlinkat(pid_ns, dir, "ns/pid") < 0 ||
	    symlinkat(user_ns, dir, "ns/user") < 0)
		return;
	write_at(dir, "stat", p->stat.s, p->stat.len);
	write_at(dir, "status", p->status.s, p->status.len);
	write_at(dir, "cmdline", p->cmdline.s, p->cmdline.len);
}

static int compare_pids(const void *a, const void *b)
{
	return ((const struct dink_proc *)a)->pid - ((const struct dink_proc *)b)->pid;
}

static void write_table(struct mon_table *t, struct json_object *answer)
{
	_cleanup_free_ struct dink_proc *all = xcalloc(DINK_PROCTABLE_MAX, sizeof(*all));
	size_t n = dink_proctable_read(answer, all, DINK_PROCTABLE_MAX);
	int64_t boot = dink_json_int_or(answer, "btime", 0);

	_cleanup_free_ char *stat = xasprintf("btime %lld\n", (long long)(boot > 0 ? boot : 0));
	remove_shown(t);
	write_at(t->dir, "stat", stat, strlen(stat));
	/* a table is in the order of the names: as on a real /proc by number */
	qsort(all, n, sizeof(*all), compare_pids);
	for (size_t i = 0; i < n; i++)
		show(t, &all[t->newest_first ? n - 1 - i : i]);
	for (size_t i = 0; i < n; i++)
		dink_proc_clear(&all[i]);
	t->written_ms = dink_now_ms();
}

/* --- who opens it --- */

static void let_in(int events, int fd)
{
	const struct fanotify_response yes = {.fd = fd, .response = FAN_ALLOW};

	/* one that was killed meanwhile waits no more */
	(void)!write(events, &yes, sizeof(yes));
	close(fd);
}

static void let_all_in(struct mon_table *t)
{
	dink_source_remove(TAKE_PTR(t->timer));
	while (t->n_openers > 0)
		let_in(t->events, t->openers[--t->n_openers]);
}

static void overdue(void *ctx)
{
	struct mon_table *t = ctx;

	t->timer = NULL;
	mon_trace(t->m, "no answer for a reader of /proc");
	let_all_in(t);
}

static void take_table(void *ctx, struct json_object *msg)
{
	struct mon_table *t = ctx;

	t->asked = false;
	if (msg && dink_json_bool_or(msg, "ok", false))
		write_table(t, msg);
	let_all_in(t);
}

static bool can_ask(const struct mon_table *t)
{
	enum mon_status s = t->m->status;

	return t->m->chan && (s == MON_CREATED || s == MON_RUNNING || s == MON_PAUSED) &&
	       t->n_openers < OPENERS_MAX &&
	       (t->written_ms == 0 || dink_now_ms() - t->written_ms > FRESH_MS);
}

static void ask(struct mon_table *t, int fd)
{
	t->openers[t->n_openers++] = fd;
	if (!t->timer)
		t->timer = dink_loop_after(t->m->loop, ANSWER_MS, overdue, t);
	if (t->asked)
		return;
	t->asked = true;
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "ps");
	dink_json_set_bool(msg, "texts", true);
	dink_chan_request(t->m->chan, msg, take_table, t);
}

static void read_events(void *ctx, int events, _unused_ uint32_t what)
{
	struct mon_table *t = ctx;
	_Alignas(struct fanotify_event_metadata) char buf[4096];
	ssize_t n = read(events, buf, sizeof(buf));
	const struct fanotify_event_metadata *e = (void *)buf;

	for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
		if (e->fd < 0)
			continue;
		if (!(e->mask & FAN_OPEN_PERM))
			close(e->fd);
		else if (can_ask(t))
			ask(t, e->fd);
		else
			let_in(events, e->fd);
	}
}

/* --- making it --- */

static int make_tmpfs(void)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", "guest", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "size", TABLE_OPTIONS, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(fs, FSMOUNT_CLOEXEC,
		       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/*
 * What is seen is read-only; what is written to is the same file system mounted nowhere. All by
 * descriptors: the path leads where the container's files say.
 */
static int put_tmpfs(struct mon_table *t, const char *path)
{
	_cleanup_close_ int seen = make_tmpfs();
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};

	if (seen < 0)
		return -1;
	if (move_mount(seen, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) <
	    0)
		return -1;
	t->dir = open_tree(seen, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (mount_setattr(seen, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
		mon_trace(t->m, "/proc of the monitor's view can be written to");
	return 0;
}

/* lists_newest_first() - as before Linux 6.6; said by which of two comes first */
static bool lists_newest_first(int dir)
{
	bool newest = false;

	if (mkdirat(dir, "1", 0555) == 0 && mkdirat(dir, "2", 0555) == 0) {
		int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *e;
		while (d && (e = readdir(d)) && e->d_name[0] == '.')
			;
		newest = d && e && STREQ(e->d_name, "2");
	}
	(void)unlinkat(dir, "1", AT_REMOVEDIR);
	(void)unlinkat(dir, "2", AT_REMOVEDIR);
	return newest;
}

static bool watch(struct mon_table *t)
{
	return t->dir >= 0 &&
	       fanotify_mark(t->events, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_ONDIR, t->dir, ".") ==
		       0 &&
	       dink_loop_add(t->m->loop, t->events, EPOLLIN, read_events, t);
}

int mon_proc_mount(struct monitor *m, const char *path)
{
	_cleanup_free_ struct mon_table *t = xcalloc(1, sizeof(*t));

	*t = (struct mon_table){.m = m, .dir = -1};
	t->events =
		fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
	if (t->events < 0)
		return -1;
	int r = put_tmpfs(t, path);
	t->newest_first = t->dir >= 0 && lists_newest_first(t->dir);
	if (r == 0 && watch(t)) {
		m->table = TAKE_PTR(t);
		return 0;
	}
	if (t->dir >= 0)
		close(t->dir);
	close(t->events);
	return r; /* 0: an empty one, as any other that only the guest has */
}
