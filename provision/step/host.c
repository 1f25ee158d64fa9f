/* SPDX-License-Identifier: Apache-2.0 */
/* Steps on the host: the engine, disk files, loop mounts, the forwarder; and the table of kinds. */
#include "loopdev/loopdev.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/engine.h"
#include "provision/engine/place.h"
#include "provision/step/instance.h"
#include "provision/step/kinds.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

enum { ENGINE_ANSWER_MS = 20000, FORWARDER_MS = 30000 };

static const struct dink_step_kind *registered[8];
static size_t n_registered;

void dink_step_kind_register(const struct dink_step_kind *kind)
{
	if (n_registered < ARRAY_SIZE(registered))
		registered[n_registered++] = kind;
}

const struct dink_step_kind *dink_step_kind_find(const char *name)
{
	static const struct dink_step_kind *const kinds[] = {
		&dink_kind_kernel,     &dink_kind_guest,      &dink_kind_image,
		&dink_kind_engine_use, &dink_kind_disk_file,  &dink_kind_disk_clone,
		&dink_kind_scratch,    &dink_kind_loop_mount, &dink_kind_image_load,
		&dink_kind_file,       &dink_kind_container,  &dink_kind_ready,
		&dink_kind_prove_kvm,  &dink_kind_swarm,      &dink_kind_forward,
		&dink_kind_up,
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (STREQ(kinds[i]->name, name))
			return kinds[i];
	for (size_t i = 0; i < n_registered; i++)
		if (STREQ(registered[i]->name, name))
			return registered[i];
	return NULL;
}

/* --- engine-use ---------------------------------------------------------------------------- */

static char *describe_engine(struct json_object *params)
{
	if (dink_json_str_or(params, "socket", NULL))
		return dink_step_describe(params, "use the engine at", "socket");
	return xstrdup("start a private engine");
}

static int apply_engine(struct dink_step_ctx *ctx, struct json_object *params,
			struct json_object **ret, struct dink_err *err)
{
	const char *found = dink_json_str_or(params, "socket", NULL);
	_cleanup_free_ char *socket = found ? xstrdup(found) : NULL;
	int r;

	if (!socket) {
		r = dink_private_engine_use(dink_json_str_or(params, "user", ""), NULL, &socket,
					    dink_step_progress(ctx), err);
		if (r < 0)
			return r;
	}
	*ret = dink_json_new();
	dink_json_set_str(*ret, "socket", socket);
	return 0;
}

static int check_engine(struct dink_step_ctx *ctx, struct json_object *params,
			struct json_object *identity, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_engine_freep) struct dink_engine *e = NULL;
	const char *socket = dink_json_str_or(identity, "socket", NULL);

	(void)ctx;
	(void)err;
	if (!socket)
		return 0;
	if (!dink_json_str_or(params, "socket", NULL)) {
		_cleanup_free_ char *own = dink_private_engine_socket();

		if (!own || !STREQ(own, socket))
			return 0;
	}
	e = dink_engine_new(host, socket);
	return dink_engine_wait_ready(e, ENGINE_ANSWER_MS, &quiet) == 0;
}

static int undo_engine(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object *identity, struct dink_err *err)
{
	(void)ctx;
	(void)identity;
	if (dink_json_str_or(params, "socket", NULL))
		return 0;
	return dink_private_engine_release(dink_json_str_or(params, "user", ""), err);
}

const struct dink_step_kind dink_kind_engine_use = {
	.name = "engine-use",
	.describe = describe_engine,
	.apply = apply_engine,
	.check = check_engine,
	.undo = undo_engine,
};

/* --- disk-file and scratch ------------------------------------------------------------------ */

static char *describe_disk(struct json_object *params)
{
	return dink_step_describe(params, "disk", "name");
}

/* Made by an earlier run and kept: it is used as it is if it carries what is asked. */
static int check_disk(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object *identity, struct dink_err *err)
{
	_cleanup_(dink_disk_probe_clear) struct dink_disk_probe p = {};
	const char *file = dink_json_str_or(params, "file", "");
	const char *want = dink_json_str_or(params, "filesystem", "");
	int r;

	(void)identity;
	if (!dink_exists(file))
		return 0;
	r = dink_disk_probe(file, &p, err);
	if (r < 0)
		return r;
	if (p.type && STREQ(p.type, want))
		return 1;
	dink_err_set(err, DINK_E_BUSY, 0, "disk %s carries %s, and the scenario asks for %s: %s",
		     dink_json_str_or(params, "name", "?"), p.type ? p.type : "no filesystem", want,
		     file);
	return dink_err_hint(err, "dink down --volumes %s removes it with its data",
			     dink_step_instance(ctx));
}

/*
 * A file that is there already (its journal was lost, or it was put there) is used if it carries
 * what is asked. It is not ours to remove then but by --volumes: the identity says so.
 */
static int apply_made(struct dink_step_ctx *ctx, struct json_object *params,
		      int (*make)(struct dink_step_ctx *ctx, struct json_object *params,
				  struct dink_err *err),
		      struct json_object **ret, struct dink_err *err)
{
	int r = 0, there = check_disk(ctx, params, NULL, err);

	if (there == 0)
		r = make(ctx, params, err);
	if (there < 0 || r < 0)
		return there < 0 ? there : r;
	*ret = dink_json_new();
	dink_json_set_bool(*ret, "made", there == 0);
	return 0;
}

static int make_disk(struct dink_step_ctx *ctx, struct json_object *params, struct dink_err *err)
{
	struct dink_disk_make make = {
		.size_bytes = (uint64_t)dink_json_int_or(params, "size_bytes", 0),
		.filesystem = dink_json_str_or(params, "filesystem", NULL),
		.label = dink_json_str_or(params, "label", NULL),
		.compression = dink_json_str_or(params, "compression", NULL),
	};
	_cleanup_free_ char *dir = xasprintf("%s/disks", dink_step_dir(ctx));
	int r = dink_mkdir_p(dir, 0700, err);

	return r < 0 ? r : dink_disk_create(dink_json_str_or(params, "file", ""), &make, err);
}

static int apply_disk(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object **ret, struct dink_err *err)
{
	return apply_made(ctx, params, make_disk, ret, err);
}

/* The journal is a file: it must not make us remove one that is none of the instance's. */
static int check_place(struct dink_step_ctx *ctx, const char *file, struct dink_err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/disks/", dink_step_dir(ctx));

	if (dink_starts_with(file, dir) && !strchr(file + strlen(dir), '/'))
		return 0;
	return dink_err_set(err, DINK_E_STATE, 0, "disk %s is not in the instance's folder", file);
}

static int tidy_disk(struct dink_step_ctx *ctx, struct json_object *params, struct dink_err *err)
{
	const char *file = dink_json_str_or(params, "file", "");
	_cleanup_free_ char *partial = xasprintf("%s.partial", file);
	_cleanup_free_ char *dir = xasprintf("%s/disks", dink_step_dir(ctx));
	int r = check_place(ctx, file, err);

	if (r < 0)
		return r;
	if (unlink(partial) < 0 && errno != ENOENT)
		return dink_err_set(err, DINK_E_HOST, errno, "remove %s", partial);
	if (rmdir(dir) < 0 && errno != ENOTEMPTY && errno != ENOENT && errno != EEXIST)
		return dink_err_set(err, DINK_E_HOST, errno, "remove %s", dir);
	return 0;
}

static int remove_disk(struct dink_step_ctx *ctx, struct json_object *params, struct dink_err *err)
{
	const char *file = dink_json_str_or(params, "file", "");
	int r = check_place(ctx, file, err);

	if (r == 0)
		r = dink_disk_snapshots_remove(file, err);
	if (r == 0 && unlink(file) < 0 && errno != ENOENT)
		r = dink_err_set(err, DINK_E_HOST, errno, "remove disk %s", file);
	return r < 0 ? r : tidy_disk(ctx, params, err);
}

/* Without an identity it is not known whether the file was there before: it is data then. */
static int undo_disk(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object *identity, struct dink_err *err)
{
	if (dink_step_takes_data(ctx) || dink_json_bool_or(identity, "made", false))
		return remove_disk(ctx, params, err);
	return tidy_disk(ctx, params, err);
}

static int undo_scratch(struct dink_step_ctx *ctx, struct json_object *params,
			struct json_object *identity, struct dink_err *err)
{
	(void)identity;
	return remove_disk(ctx, params, err);
}

const struct dink_step_kind dink_kind_disk_file = {
	.name = "disk-file",
	.describe = describe_disk,
	.apply = apply_disk,
	.check = check_disk,
	.undo = undo_disk,
	.tidy = tidy_disk,
	.keeps_data = true,
};

static char *describe_clone(struct json_object *params)
{
	return xasprintf("disk %s from %s", dink_json_str_or(params, "name", "?"),
			 dink_json_str_or(params, "of", "?"));
}

/* A layer that writes the disk meanwhile stands still with all of it written out. */
static int make_clone(struct dink_step_ctx *ctx, struct json_object *params, struct dink_err *err)
{
	const struct dink_disk_clone_how how = {
		.at_rest = dink_json_str_or(params, "writer", NULL) != NULL,
		.progress = dink_step_progress(ctx),
	};
	_cleanup_reach_ struct dink_reach reached = {};
	_cleanup_close_ int held = -1;
	const struct dink_place *vm;
	int r = 0;

	if (how.at_rest) {
		r = dink_reach_from(dink_step_journal(ctx), dink_step_instance(ctx),
				    dink_json_str_or(params, "writer", ""), &reached, err);
		vm = r == 0 ? reached.hops[reached.n_hops - 1].place : NULL;
		if (r == 0 && !vm)
			r = dink_err_set(err, DINK_E_CHILD, ESRCH, "%s does not run",
					 dink_json_str_or(params, "writer", ""));
		if (r == 0)
			r = dink_place_hold(vm, &held, err);
	}
	return r < 0 ? r
		     : dink_disk_clone(dink_json_str_or(params, "from", ""),
				       dink_json_str_or(params, "file", ""), &how, err);
}

static int apply_clone(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object **ret, struct dink_err *err)
{
	return apply_made(ctx, params, make_clone, ret, err);
}

const struct dink_step_kind dink_kind_disk_clone = {
	.name = "disk-clone",
	.describe = describe_clone,
	.apply = apply_clone,
	.check = check_disk,
	.undo = undo_disk,
	.tidy = tidy_disk,
	.keeps_data = true,
};

const struct dink_step_kind dink_kind_scratch = {
	.name = "scratch",
	.describe = describe_disk,
	.apply = apply_disk,
	.check = check_disk,
	.undo = undo_scratch,
};

/* --- loop-mount ---------------------------------------------------------------------------- */

static char *describe_mount(struct json_object *params)
{
	return dink_step_describe(params, "mount disk", "name");
}

static int apply_mount(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object **ret, struct dink_err *err)
{
	const char *target = dink_json_str_or(params, "target", "");
	const char *compression = dink_json_str_or(params, "compression", NULL);
	_cleanup_free_ char *options = compression ? xasprintf("compress=%s", compression) : NULL;
	struct dink_loop_id id = {};
	int r = dink_mkdir_p(target, 0755, err);

	(void)ctx;
	if (r == 0)
		r = dink_disk_mount(dink_json_str_or(params, "file", ""), target, options, false,
				    &id, err);
	if (r < 0)
		return r;
	*ret = dink_loop_id_to_json(&id);
	return 0;
}

static bool is_mount_point(const char *path)
{
	_cleanup_free_ char *up = xasprintf("%s/..", path);
	struct stat a, b;

	return stat(path, &a) == 0 && stat(up, &b) == 0 && a.st_dev != b.st_dev;
}

static int check_mount(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object *identity, struct dink_err *err)
{
	struct dink_loop_id ids[4];

	(void)ctx;
	(void)identity;
	(void)err;
	return is_mount_point(dink_json_str_or(params, "target", "")) &&
	       dink_loop_find(dink_json_str_or(params, "file", ""), ids, ARRAY_SIZE(ids)) > 0;
}

/*
 * Between intent and identity the loop device is found by its backing file, which is ours alone.
 */
static int undo_mount(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object *identity, struct dink_err *err)
{
	const char *target = dink_json_str_or(params, "target", "");
	const char *file = dink_json_str_or(params, "file", "");
	struct dink_loop_id ids[4] = {};
	int n = dink_loop_find(file, ids, ARRAY_SIZE(ids)), r = 0;

	(void)ctx;
	if (identity) {
		r = dink_loop_id_from_json(identity, &ids[0], err);
		n = 1;
	}
	for (int i = 0; r == 0 && i < n && i < (int)ARRAY_SIZE(ids); i++) {
		r = dink_disk_unmount(target, &ids[i], err);
		if (r >= 0)
			r = dink_loop_detach(&ids[i], err);
	}
	if (r < 0)
		return r;
	if (rmdir(target) < 0 && errno != ENOENT)
		return dink_err_set(err, DINK_E_HOST, errno, "remove the mount point %s", target);
	return 0;
}

const struct dink_step_kind dink_kind_loop_mount = {
	.name = "loop-mount",
	.describe = describe_mount,
	.apply = apply_mount,
	.check = check_mount,
	.undo = undo_mount,
};

/* --- forward ------------------------------------------------------------------------------- */

static char *describe_forward(struct json_object *params)
{
	size_t n = dink_json_len(params, "sockets");

	return xasprintf("offer %zu engine socket%s", n, n == 1 ? "" : "s");
}

static int forward_argv(struct dink_step_ctx *ctx, struct json_object *params,
			struct dink_strv *argv, struct dink_err *err)
{
	struct json_object *list = dink_json_get(params, "sockets");

	dink_strv_addf(argv, "%s/dink", dink_program_dir());
	dink_strv_add(argv, "forward");
	for (size_t i = 0; i < dink_json_len(params, "sockets"); i++) {
		struct json_object *s = json_object_array_get_idx(list, i);
		const char *layer = dink_json_str_or(s, "layer", "");
		_cleanup_reach_ struct dink_reach reach = {};
		const struct dink_reach_hop *h;
		int r;

		r = dink_reach_from(dink_step_journal(ctx), dink_step_instance(ctx), layer, &reach,
				    err);
		if (r < 0)
			return r;
		h = &reach.hops[reach.n_hops - 1];
		if (!h->place)
			return dink_err_set(err, DINK_E_CHILD, 0, "%s does not run", layer);
		dink_strv_own(argv, dink_place_text(h->place));
		dink_strv_addl(argv, h->socket, dink_json_str_or(s, "listen", ""), NULL);
	}
	return 0;
}

/* The forwarder says one byte on its stdout once it listens everywhere. */
static int wait_forwarder(int fd, struct dink_err *err)
{
	int r = dink_wait_fd(fd, POLLIN, dink_now_ms() + FORWARDER_MS);
	char byte;

	if (r == -EINTR)
		return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
	if (r < 0)
		return dink_err_set(err, DINK_E_CHILD, -r,
				    "the forwarder of the layers' sockets is not ready after %d s",
				    FORWARDER_MS / 1000);
	if (read(fd, &byte, 1) != 1)
		return dink_err_set(err, DINK_E_CHILD, 0, "the forwarder ended at its start");
	return 0;
}

static int apply_forward(struct dink_step_ctx *ctx, struct json_object *params,
			 struct json_object **ret, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_close_ int ready = -1, theirs = -1, pidfd = -1;
	struct dink_pid id;
	pid_t pid;
	int fds[2];
	int r = dink_mkdir_p(dink_step_run_dir(ctx), 0700, err);

	if (r == 0)
		r = forward_argv(ctx, params, &cmd.argv, err);
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
	ready = fds[0];
	theirs = cmd.out = fds[1];
	cmd.new_session = true;
	r = dink_cmd_spawn(&cmd, &pid, &pidfd, err);
	if (r < 0)
		return r;
	close(TAKE_FD(theirs));
	if (dink_pid_identify(pid, &id) < 0)
		return dink_err_set(err, DINK_E_CHILD, ESRCH, "the forwarder ended at its start");
	*ret = dink_json_new();
	dink_json_set_int(*ret, "pid", id.pid);
	dink_json_set_int(*ret, "start", (int64_t)id.start);
	dink_json_set(*ret, "argv", dink_json_strv(&cmd.argv));
	return wait_forwarder(ready, err);
}

static struct dink_pid forwarder_pid(struct json_object *identity)
{
	return (struct dink_pid){.pid = (pid_t)dink_json_int_or(identity, "pid", 0),
				 .start = (uint64_t)dink_json_int_or(identity, "start", 0)};
}

/* Its arguments name the layers' processes: a layer that was started anew is another one. */
static int check_forward(struct dink_step_ctx *ctx, struct json_object *params,
			 struct json_object *identity, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	struct dink_pid id = forwarder_pid(identity);
	_cleanup_strv_ struct dink_strv argv = {};
	_cleanup_json_ struct json_object *now = NULL;

	(void)err;
	if (id.pid <= 0 || !dink_pid_alive(&id) || forward_argv(ctx, params, &argv, &quiet) < 0)
		return 0;
	now = dink_json_strv(&argv);
	return json_object_equal(now, dink_json_get(identity, "argv")) != 0;
}

/*
 * Without an identity dink died between fork and journal; the forwarder is then found by its own
 * argument, the path of a socket in this instance's folder.
 */
static int end_stray_forwarder(const char *listen, struct dink_err *err)
{
	_cleanup_closedir_ DIR *d = opendir("/proc");
	struct dirent *e;
	int r = 0;

	while (r == 0 && d && (e = readdir(d))) {
		_cleanup_(dink_err_clear) struct dink_err quiet = {};
		_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", e->d_name);
		_cleanup_free_ char *text = NULL;
		struct dink_pid id;
		pid_t pid = (pid_t)atoi(e->d_name);
		bool forward = false, mine = false;
		size_t len;

		if (pid <= 1 || dink_file_read(path, 1 << 20, &text, &len, &quiet) < 0)
			continue;
		for (const char *a = text; a < text + len; a += strlen(a) + 1) {
			forward = forward || STREQ(a, "forward");
			mine = mine || STREQ(a, listen);
		}
		if (forward && mine && dink_pid_is_near(pid) && dink_pid_identify(pid, &id) == 0)
			r = dink_pid_end(&id, 2000, err);
	}
	return r;
}

static int undo_forward(struct dink_step_ctx *ctx, struct json_object *params,
			struct json_object *identity, struct dink_err *err)
{
	struct json_object *list = dink_json_get(params, "sockets");
	struct dink_pid id = forwarder_pid(identity);
	int r = 0;

	(void)ctx;
	if (identity && id.pid > 0)
		r = dink_pid_end(&id, 2000, err);
	for (size_t i = 0; r == 0 && i < dink_json_len(params, "sockets"); i++) {
		struct json_object *s = json_object_array_get_idx(list, i);
		const char *listen = dink_json_str_or(s, "listen", "");

		if (!identity && i == 0)
			r = end_stray_forwarder(listen, err);
		if (r == 0 && unlink(listen) < 0 && errno != ENOENT)
			r = dink_err_set(err, DINK_E_HOST, errno, "remove %s", listen);
	}
	return r;
}

const struct dink_step_kind dink_kind_forward = {
	.name = "forward",
	.describe = describe_forward,
	.apply = apply_forward,
	.check = check_forward,
	.undo = undo_forward,
};
