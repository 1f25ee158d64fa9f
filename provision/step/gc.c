/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/step/gc.h"

#include "loopdev/loopdev.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/proc.h"
#include "provision/engine/engine.h"
#include "provision/scenario/scenario.h"
#include "provision/step/lock.h"
#include "provision/step/step.h"

#include <sys/mount.h>
#include <sys/stat.h>

enum { PROC_TEXT_MAX = 4 << 20 };

const char *dink_leftover_kind_name(enum dink_leftover_kind k)
{
	static const char *const names[DINK_LEFT_MAX_] = {
		[DINK_LEFT_CONTAINER] = "container", [DINK_LEFT_PROCESS] = "process",
		[DINK_LEFT_MOUNT] = "mount",	     [DINK_LEFT_LOOP] = "loop device",
		[DINK_LEFT_ENGINE] = "engine",	     [DINK_LEFT_SOCKETS] = "sockets",
		[DINK_LEFT_FOLDER] = "folder",
	};

	return k < DINK_LEFT_MAX_ ? names[k] : "?";
}

/* Whether a journal owns what bears this name: then `down` is the way. */
static bool is_owned(const char *name)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
	_cleanup_free_ char *path = xasprintf("%s/instances/%s/journal", dink_state_dir(), name);

	return dink_journal_load(path, &j, &quiet) == 0 && dink_journal_is_live(j);
}

static struct dink_leftover *add(struct dink_leftovers *l, enum dink_leftover_kind kind,
				 const char *instance, const char *what)
{
	struct dink_leftover *x;

	l->v = xreallocarray(l->v, l->n + 1, sizeof(*l->v));
	x = &l->v[l->n++];
	*x = (struct dink_leftover){
		.kind = kind,
		.instance = xstrdup(instance),
		.what = xstrdup(what),
	};
	return x;
}

/* NAME of DIR/NAME/..., if path is below dir; caller frees. */
static char *name_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (strncmp(path, dir, n) != 0 || path[n] != '/' || !path[n + 1])
		return NULL;
	return xstrndup(path + n + 1, strcspn(path + n + 1, "/"));
}

static void find_containers(struct dink_leftovers *l, const char *socket)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_engine_freep) struct dink_engine *e = dink_engine_new(host, socket);
	_cleanup_json_ struct json_object *list = NULL;

	/* filters={"label":["dink.instance"]} */
	if (dink_engine_call(
		    e, "GET",
		    "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22dink.instance%22%5D%7D",
		    NULL, &list, NULL, &quiet) < 0 ||
	    !json_object_is_type(list, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i), *labels, *name, *state;
		const char *instance;

		labels = dink_json_get(o, "Labels");
		if (!labels || !json_object_object_get_ex(labels, "dink.instance", &name) ||
		    !json_object_object_get_ex(labels, "dink.state", &state) ||
		    !STREQ(json_object_get_string(state), dink_state_dir()))
			continue;
		instance = json_object_get_string(name);
		if (dink_name_is_valid(instance) && !is_owned(instance))
			add(l, DINK_LEFT_CONTAINER, instance, dink_json_str_or(o, "Id", ""))
				->where = xstrdup(socket);
	}
}

static void find_in_engines(struct dink_leftovers *l)
{
	_cleanup_free_ char *private = dink_private_engine_socket();
	const char *user = getenv("DOCKER_HOST");

	if (private)
		find_containers(l, private);
	if (user && dink_starts_with(user, "unix://"))
		find_containers(l, user + strlen("unix://"));
	else if (dink_exists("/run/docker.sock"))
		find_containers(l, "/run/docker.sock");
}

/* A forwarder names its sockets in its arguments. */
static void look_at_process(struct dink_leftovers *l, const char *pid)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", pid), *text = NULL;
	bool forward = false;
	struct dink_leftover *x;
	struct dink_pid id;
	size_t len;

	if (atoi(pid) <= 1 || dink_file_read(path, PROC_TEXT_MAX, &text, &len, &quiet) < 0)
		return;
	for (const char *a = text; a < text + len; a += strlen(a) + 1) {
		_cleanup_free_ char *name = name_below(a, dink_run_dir());

		if (forward && name && !is_owned(name) && dink_pid_is_near(atoi(pid)) &&
		    dink_pid_identify(atoi(pid), &id) == 0) {
			x = add(l, DINK_LEFT_PROCESS, name, pid);
			x->pid = id.pid;
			x->start = (int64_t)id.start;
			return;
		}
		forward = forward || STREQ(a, "forward");
	}
}

static void find_processes(struct dink_leftovers *l)
{
	_cleanup_closedir_ DIR *d = opendir("/proc");
	struct dirent *e;

	while (d && (e = readdir(d)))
		look_at_process(l, e->d_name);
}

/* Field 5 of mountinfo; the innermost is listed last, so it is added first. */
static void find_mounts(struct dink_leftovers *l)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *text = NULL, *dir = xasprintf("%s/instances", dink_state_dir());
	_cleanup_strv_ struct dink_strv points = {};
	char *rest, *line;

	if (dink_file_read("/proc/self/mountinfo", PROC_TEXT_MAX, &text, NULL, &quiet) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		for (int i = 0; line && i < 4; i++)
			strsep(&line, " ");
		if (line)
			dink_strv_own(&points, xstrndup(line, strcspn(line, " ")));
	}
	for (size_t i = points.n; i-- > 0;) {
		_cleanup_free_ char *name = name_below(points.v[i], dir);

		if (name && !is_owned(name))
			add(l, DINK_LEFT_MOUNT, name, points.v[i]);
	}
}

static void find_loops(struct dink_leftovers *l)
{
	_cleanup_free_ char *dir = xasprintf("%s/instances", dink_state_dir());
	_cleanup_closedir_ DIR *d = opendir("/sys/block");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_(dink_err_clear) struct dink_err quiet = {};
		_cleanup_free_ char *path = xasprintf("/sys/block/%s/loop/backing_file", e->d_name);
		_cleanup_free_ char *file = NULL, *name = NULL;
		struct dink_loop_id id;
		struct dink_leftover *x;
		int number;

		if (sscanf(e->d_name, "loop%d", &number) != 1 ||
		    dink_file_read(path, 1 << 16, &file, NULL, &quiet) < 0)
			continue;
		file[strcspn(file, "\n")] = '\0'; /* "... (deleted)" if it is */
		name = name_below(file, dir);
		if (!name || is_owned(name) || dink_loop_identify(number, &id) < 0)
			continue;
		x = add(l, DINK_LEFT_LOOP, name, id.path);
		x->where = xstrdup(file);
		x->loop = id;
	}
}

/* Its users are instances; one without any is nobody's. */
static void find_engine(struct dink_leftovers *l)
{
	_cleanup_free_ char *what = dink_private_engine_leftover();

	if (what)
		add(l, DINK_LEFT_ENGINE, "no-instance", what);
}

static bool is_folder(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Folders named for instances: DIR/NAME. */
static void find_folders(struct dink_leftovers *l, const char *dir, enum dink_leftover_kind kind)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		_cleanup_(dink_err_clear) struct dink_err quiet = {};
		_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		_cleanup_free_ char *journal = xasprintf("%s/journal", path);
		_cleanup_free_ char *disks = xasprintf("%s/disks", path);

		if (!dink_name_is_valid(e->d_name) || is_owned(e->d_name))
			continue;
		if (kind == DINK_LEFT_SOCKETS && !is_folder(path))
			continue; /* the cached answer about KVM */
		/* RUN also has the private engine's folder and the locks. */
		if (kind == DINK_LEFT_SOCKETS &&
		    (STREQ(e->d_name, "engine") || STREQ(e->d_name, "locks")))
			continue;
		if (kind == DINK_LEFT_FOLDER && dink_journal_load(journal, &j, &quiet) == 0)
			continue; /* down, with its disks kept */
		add(l, kind, e->d_name, path)->has_disks =
			kind == DINK_LEFT_FOLDER && dink_exists(disks);
	}
}

int dink_gc_find(struct dink_leftovers *ret, struct dink_err *err)
{
	_cleanup_free_ char *instances = xasprintf("%s/instances", dink_state_dir());
	_cleanup_free_ char *users = xasprintf("%s/engine/users", dink_state_dir());

	(void)err;
	find_in_engines(ret);
	find_processes(ret);
	find_mounts(ret);
	find_loops(ret);
	find_folders(ret, users, DINK_LEFT_ENGINE);
	find_engine(ret);
	find_folders(ret, dink_run_dir(), DINK_LEFT_SOCKETS);
	find_folders(ret, instances, DINK_LEFT_FOLDER);
	return 0;
}

static int remove_container(const struct dink_leftover *l, struct dink_err *err)
{
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_engine_freep) struct dink_engine *e = dink_engine_new(host, l->where);

	return dink_engine_remove(e, l->what, err);
}

static int unmount(const char *target, struct dink_err *err)
{
	if (umount2(target, UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return dink_err_set(err, DINK_E_BUSY, errno, "unmount %s", target);
	return 0;
}

static int remove_one(const struct dink_leftover *l, bool volumes, struct dink_err *err)
{
	struct dink_pid pid = {.pid = (pid_t)l->pid, .start = (uint64_t)l->start};

	switch (l->kind) {
	case DINK_LEFT_CONTAINER:
		return remove_container(l, err);
	case DINK_LEFT_PROCESS:
		return dink_pid_end(&pid, 2000, err);
	case DINK_LEFT_MOUNT:
		return unmount(l->what, err);
	case DINK_LEFT_LOOP:
		return dink_loop_detach(&l->loop, err);
	case DINK_LEFT_ENGINE:
		return dink_private_engine_release(l->instance, err);
	case DINK_LEFT_FOLDER:
		if (l->has_disks && !volumes) {
			dink_err_set(err, DINK_E_BUSY, 0, "%s has disks with data in them",
				     l->what);
			return dink_err_hint(err, "dink gc --force --volumes removes them, too");
		}
		return dink_rm_rf(l->what, err);
	case DINK_LEFT_SOCKETS:
		return dink_rm_rf(l->what, err);
	default:
		return 0;
	}
}

/* Under the instance's lock: an `up` that has begun meanwhile owns what it finds. */
int dink_gc_remove(const struct dink_leftover *l, bool volumes, struct dink_err *err)
{
	int lock = -1, r = dink_instance_lock(l->instance, false, &lock, err);

	if (r < 0)
		return r;
	if (is_owned(l->instance)) {
		r = dink_err_set(err, DINK_E_BUSY, 0, "%s is up again", l->instance);
		dink_err_hint(err, "dink down %s", l->instance);
	} else {
		r = remove_one(l, volumes, err);
	}
	dink_instance_unlock(l->instance, lock);
	return r;
}

void dink_leftovers_clear(struct dink_leftovers *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].instance);
		free(l->v[i].what);
		free(l->v[i].where);
	}
	free(l->v);
	*l = (struct dink_leftovers){};
}
