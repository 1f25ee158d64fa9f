/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates: the checkpoint of a guest that has booted and has no container, no disk, no network
 * card and no share yet. Containers of the same kernel and size are loaded from it instead of
 * booting, and find their devices on the PCI bus when they wake. One is made on first use, kept in
 * ROOT/.templates/KEY until the host boots, and a few at most.
 *
 * Nothing here can fail a container: without a template it boots.
 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/sha256.h"
#include "provision/vm/manifest.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>

enum {
	KEPT = 4,
	KEY_CHARS = 64,
	/* what a guest has touched when it has booted, and room to spare */
	ROOM_BYTES = 256 << 20,
	FAILED_S = 60,
};

/* What the machine is made of; the rest of a plan is the container's. */
static const char *const machine[] = {DINK_MACHINE_KEYS, "qemu", "kernel", "initrd", NULL};

static void add_file(struct dink_sha256 *s, const char *path)
{
	struct stat st = {};

	/* one that is not there fails the container in its own words */
	(void)!stat(path, &st);
	const int64_t what[] = {(int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size,
				st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
	dink_sha256_add(s, what, sizeof(what));
}

static void make_key(struct json_object *plan, char ret[65])
{
	struct dink_sha256 s;

	dink_sha256_start(&s);
	for (const char *const *key = machine; *key; key++) {
		struct json_object *v = dink_json_get(plan, *key);
		const char *text = v ? json_object_get_string(v) : "";

		dink_sha256_add(&s, text, strlen(text) + 1);
		if (text[0] == '/')
			add_file(&s, text);
	}
	/* the devices that all guests have, and the protocol, are this program's */
	add_file(&s, "/proc/self/exe");
	dink_sha256_end(&s, ret);
}

struct template
{
	char *root;
	char key[65];
	char *dir;   /* ROOT/KEY */
	char *fresh; /* the same while it is made */
};

static void clear_template(struct template *t)
{
	free(t->root);
	free(t->dir);
	free(t->fresh);
}

/* The folder is there only as a whole. */
static bool is_made(const struct template *t)
{
	_cleanup_free_ char *path = xasprintf("%s/" DINK_MANIFEST_NAME, t->dir);

	/* the time of the last use, for drop_oldest() */
	return utimensat(AT_FDCWD, path, NULL, 0) == 0;
}

static int make(struct json_object *plan, const struct template *t, struct dink_err *err)
{
	static const char *const limits[] = {"boot_timeout_ms", NULL};
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *state = NULL;
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_json_ struct json_object *bare = dink_json_new();
	_cleanup_free_ char *id = xasprintf("%s.vm", t->key);
	_cleanup_close_ int hold = -1;
	/* one without a manifest */
	int r = dink_exists(t->dir) ? dink_rm_rf(t->dir, err) : 0;

	if (r < 0)
		return r;
	dink_json_copy(bare, plan, machine);
	dink_json_copy(bare, plan, limits);
	dink_json_set(bare, "disks", json_object_new_array());
	dink_json_set_bool(bare, "bare", true);
	r = vm_launch_bare(t->root, id, bare, &state, &hold, err);
	if (r < 0)
		return r;
	r = vm_save(state, t->fresh, false, t->key, err);
	(void)!vm_discard(state, &ignored);
	if (r == 0 && rename(t->fresh, t->dir) < 0)
		r = dink_err_set(err, DINK_E_HOST, errno, "rename %s", t->fresh);
	return r;
}

/* The one used longest ago goes, until there are few enough. Who is reading it has it open. */
static bool drop_oldest(const char *root)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_closedir_ DIR *d = opendir(root);
	_cleanup_free_ char *oldest = NULL;
	struct timespec when = {};
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("%s/%s/" DINK_MANIFEST_NAME, root, e->d_name);
		struct stat st;

		if (strlen(e->d_name) != KEY_CHARS || stat(path, &st) < 0)
			continue;
		n++;
		if (oldest &&
		    (st.st_mtim.tv_sec > when.tv_sec ||
		     (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec >= when.tv_nsec)))
			continue;
		free(oldest);
		oldest = xasprintf("%s/%s", root, e->d_name);
		when = st.st_mtim;
	}
	return n > KEPT && dink_rm_rf(oldest, &ignored) == 0;
}

/* Not tried again at once, since each try costs a boot; later, since it may have been killed. */
static bool has_failed(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && time(NULL) - st.st_mtim.tv_sec < FAILED_S;
}

/* KEY.what: a template's VM, its files while they are saved, why it failed. */
static bool is_scrap(const char *name)
{
	return strspn(name, "0123456789abcdef") == KEY_CHARS && name[KEY_CHARS] == '.';
}

/* Under the lock, so what is there is of a maker that was killed. */
static void remove_scrap(const char *root, const char *name)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *vm = NULL;
	_cleanup_free_ char *path = xasprintf("%s/%s", root, name);

	if (STREQ(name + KEY_CHARS, ".failed") && has_failed(path))
		return;
	if (STREQ(name + KEY_CHARS, ".vm") && dink_vmstate_load(root, name, &vm, &ignored) == 0)
		(void)!vm_discard(vm, &ignored);
	else
		(void)!dink_rm_rf(path, &ignored);
}

static void remove_scraps(const char *root)
{
	_cleanup_closedir_ DIR *d = opendir(root);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (is_scrap(e->d_name))
			remove_scrap(root, e->d_name);
	}
}

static bool has_scraps(const char *root)
{
	_cleanup_closedir_ DIR *d = opendir(root);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (is_scrap(e->d_name))
			return true;
	}
	return false;
}

/* One maker; the others wait, which is quicker than booting beside it. */
static int find_or_make(struct json_object *plan, const struct template *t, struct dink_err *err)
{
	_cleanup_free_ char *lock = xasprintf("%s/lock", t->root);
	_cleanup_free_ char *failed = xasprintf("%s/%s.failed", t->root, t->key);
	_cleanup_close_ int held = -1;
	int r = is_made(t) ? 0 : dink_lock(lock, true, &held, err);

	if (r < 0 || held < 0 || is_made(t))
		return r;
	remove_scraps(t->root);
	if (has_failed(failed))
		return dink_err_set(err, DINK_E_HOST, 0, "it could not be made: see %s", failed);
	if (!dink_has_room(t->root, ROOM_BYTES))
		return dink_err_set(err, DINK_E_HOST, ENOSPC, "%s", t->root);
	r = make(plan, t, err);
	if (r < 0) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_free_ char *text = dink_err_format(err);
		(void)!dink_file_write(failed, text, strlen(text), 0600, &ignored);
		return r;
	}
	unlink(failed);
	while (drop_oldest(t->root))
		;
	return 0;
}

static int add_template(struct json_object *plan, const struct template *t, struct dink_err *err)
{
	static const char *const taken[] = {"qemu_version", "channel", NULL};
	_cleanup_json_ struct json_object *manifest = NULL;
	int r = dink_manifest_load(t->dir, &manifest, err);

	if (r < 0)
		return r;
	struct json_object *o = dink_json_new();
	dink_json_set_str(o, "image", t->dir);
	dink_json_copy(o, manifest, taken);
	dink_json_set(plan, "template", o);
	return 0;
}

static int use_template(const struct vm_globals *g, struct json_object *plan, struct dink_err *err)
{
	_cleanup_free_ char *beside = xasprintf("%s/.templates", g->root);
	_cleanup_(clear_template) struct template t = {};
	const char *root = g->template_dir ? g->template_dir : beside;
	char real[PATH_MAX];
	int r = dink_mkdir_p(root, 0700, err);

	if (r < 0)
		return r;
	if (!realpath(root, real))
		return dink_err_set(err, DINK_E_HOST, errno, "%s", root);
	t.root = xstrdup(real);
	make_key(plan, t.key);
	t.dir = xasprintf("%s/%s", t.root, t.key);
	t.fresh = xasprintf("%s.new", t.dir);
	r = find_or_make(plan, &t, err);
	return r < 0 ? r : add_template(plan, &t, err);
}

static bool wants_templates(const struct vm_globals *g)
{
	return !g->template_dir || !STREQ(g->template_dir, "none");
}

void vm_sweep_templates(const struct vm_globals *g)
{
	_cleanup_free_ char *beside = xasprintf("%s/.templates", g->root);
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	const char *root = g->template_dir ? g->template_dir : beside;
	_cleanup_free_ char *lock = xasprintf("%s/lock", root);
	_cleanup_close_ int held = -1;

	/* who makes one has the lock, and sweeps itself */
	if (wants_templates(g) && has_scraps(root) && dink_lock(lock, false, &held, &ignored) == 0)
		remove_scraps(root);
}

void vm_use_template(const struct vm_globals *g, struct json_object *plan)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	/* with KVM a boot is quick, and nobody has measured this */
	if (!STREQ(dink_json_str_or(plan, "accel", ""), "tcg") || !wants_templates(g))
		return;
	vm_sweep_templates(g);
	if (use_template(g, plan, &err) < 0 && g->debug)
		fprintf(stderr, "dink-vm: no template: %s\n", err.msg);
}
