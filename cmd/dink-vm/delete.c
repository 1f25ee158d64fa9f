/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delete: a container whose monitor is gone leaves a folder; --force ends the monitor first. What an
 * engine forgot to delete (one that was killed while it created; Podman, whose conmon was killed)
 * is swept up by the next create or list.
 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { GONE_MS = 10000, HOLD_MS = 10000, HOLD_STEP_MS = 5 };

/* A pidfd that still means our monitor, or -1 if it is gone. */
static int hold_monitor(const struct dink_vmstate *s)
{
	if (s->monitor.pid <= 0)
		return -1;
	int fd = (int)syscall(SYS_pidfd_open, s->monitor.pid, 0);
	if (fd >= 0 && !dink_vmstate_alive(s)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int end_monitor(const struct dink_vmstate *s, bool force, struct dink_err *err)
{
	_cleanup_close_ int fd = hold_monitor(s);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[32];

	if (fd < 0)
		return 0;
	const char *status = vm_status(s, buf);
	if (STREQ(status, "created"))
		force = true; /* nothing of the user's has run in it */
	if (!force && !STREQ(status, "stopped") && !STREQ(status, "stopping"))
		return dink_err_set(err, DINK_E_BUSY, 0,
				    "cannot delete container %s that is not stopped: %s", s->id,
				    status);
	if (force && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return dink_err_set(err, DINK_E_HOST, errno, "kill the monitor of %s", s->id);
	int n;
	do
		n = poll(&p, 1, GONE_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0
		     : dink_err_set(err, DINK_E_BUSY, 0, "the monitor of %s (pid %d) does not end",
				    s->id, (int)s->monitor.pid);
}

int vm_delete_state(struct dink_vmstate *s, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err hook = {};
	int r = end_monitor(s, false, err);

	if (r < 0)
		return r;
	if (vm_run_hooks(dink_json_get(s->doc, "hooks"), "poststop", s, "stopped", &hook) < 0)
		fprintf(stderr, "dink-vm: warning: %s\n", hook.msg);
	return dink_vmstate_remove(s, err);
}

bool vm_has_creator(const struct dink_vmstate *s)
{
	struct dink_pid creator = {
		.pid = (pid_t)dink_json_int_or(s->doc, "creator", 0),
		.start = (uint64_t)dink_json_int_or(s->doc, "creator_start", 0),
	};

	return creator.pid > 0 && dink_pid_alive(&creator);
}

/*
 * A create that is still at work decides itself what becomes of its container. containerd cleans up
 * after an ended shim by `delete --force` some time later; an engine that restarts a container has
 * a new one of the same name by then. With runc there is nothing to delete until create is through.
 */
static bool is_being_created(const struct dink_vmstate *s)
{
	char buf[32];

	return vm_has_creator(s) && STREQ(vm_status(s, buf), "creating");
}

/* Nobody will ask for it any more: the engine has removed the bundle, and all processes are gone. */
static bool is_forgotten(const struct dink_vmstate *s)
{
	const char *bundle = dink_json_str_or(s->doc, "bundle", NULL);
	struct stat st;

	if (dink_vmstate_alive(s) || vm_has_creator(s))
		return false;
	/* its create was killed: it never was. Or before it could write anything down. */
	if (dink_json_get(s->doc, "creator") || !bundle)
		return true;
	return stat(bundle, &st) < 0 && errno == ENOENT;
}

int vm_hold_root(const char *root, bool alone, int *ret_fd, struct dink_err *err)
{
	_cleanup_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t end = dink_now_ms() + HOLD_MS;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", root);
	/* who has it is through within milliseconds, or was stopped: then it keeps nobody else up */
	while (flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return dink_err_set(err, DINK_E_HOST, errno, "lock %s", root);
		if (dink_now_ms() >= end)
			return dink_err_set(err, DINK_E_BUSY, EWOULDBLOCK,
					    "another dink-vm has locked %s for %d ms", root,
					    HOLD_MS);
		usleep(HOLD_STEP_MS * 1000);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Looked at twice: one that another has swept up may be there again, and be somebody's. */
static void sweep_one(const char *root, const char *id)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL, *held = NULL;
	_cleanup_close_ int hold = -1;

	if (dink_vmstate_load(root, id, &s, &ignored) < 0 || !is_forgotten(s) ||
	    vm_hold_root(root, true, &hold, &ignored) < 0 ||
	    dink_vmstate_load(root, id, &held, &ignored) < 0)
		return;
	/* where the last of its processes are still ending, it is the next one's to sweep */
	if (is_forgotten(held) &&
	    dink_cgroup_remove(dink_json_get(held->doc, "cgroup"), &ignored) == 0)
		(void)!dink_vmstate_remove(held, &ignored);
}

void vm_sweep(const char *root)
{
	_cleanup_closedir_ DIR *d = opendir(root);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] != '.' && e->d_type == DT_DIR)
			sweep_one(root, e->d_name);
	}
}

int vm_discard(struct dink_vmstate *s, struct dink_err *err)
{
	int r = end_monitor(s, true, err);

	return r < 0 ? r : dink_vmstate_remove(s, err);
}

int vm_delete(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	bool force = false;
	const char *id;
	const struct vm_opt opts[] = {{'f', "force", VM_OPT_FLAG, &force, NULL}, {}};
	int r = vm_parse_id("delete", argv, opts, &id, err);

	if (r < 0)
		return r;
	r = dink_vmstate_load(g->root, id, &s, err);
	if (r == -ENOENT && force) {
		/* containerd asks again after a good delete */
		dink_err_clear(err);
		return 0;
	}
	if (r == 0 && force && is_being_created(s))
		return 0;
	if (r == 0 && force)
		r = end_monitor(s, true, err);
	return r < 0 ? r : vm_delete_state(s, err);
}
