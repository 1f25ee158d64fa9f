/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The params of a container step: the Engine API's create body, and the mounts that come from
 * results of earlier steps ("binds": {from, member, sub, target, read_only}, resolved by apply).
 */
#include "provision/step/build.h"

#include "loopdev/loopdev.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/step/kinds.h"
#include "provision/vm/guest.h"
#include "provision/vm/oci.h"

#include <sys/stat.h>

/* Debian's golang-github-containers-common; Docker and Podman both understand it. */
#define SECCOMP_BASE "/usr/share/containers/seccomp.json"
enum {
	SECCOMP_MAX = 1 << 20,
	STOP_LEAF_S = 2, /* a shell ignores SIGTERM as PID 1: do not wait long for it */
	STOP_DAEMON_S = 15,
	RUN_TMPFS_MIB = 64,
};

struct spec {
	struct dink_step_ctx *ctx;
	const struct dink_plan *plan;
	const struct step_layer *layers;
	const struct dink_plan_layer *l;
	int index;
	struct json_object *binds, *host;
	struct dink_str disk_options; /* of the disks that this layer's guest mounts */
	bool nested_kvm;
};

/* One mount: from a result of a step (from = its key) or, from NULL, from the path `sub`. */
static void add_bind(struct spec *s, const char *from, const char *member, const char *sub,
		     const char *target, bool read_only)
{
	struct json_object *o = dink_json_new();

	if (from) {
		dink_json_set_str(o, "from", from);
		dink_json_set_str(o, "member", member);
	}
	if (sub)
		dink_json_set_str(o, "sub", sub);
	dink_json_set_str(o, "target", target);
	dink_json_set_bool(o, "read_only", read_only);
	json_object_array_add(s->binds, o);
}

/* Where the guest folder of a kernel is mounted in a layer. */
static char *guest_place(const struct dink_plan *p, const struct dink_plan_layer *l, int kernel)
{
	if (l->guest_kernel == kernel)
		return xstrdup(DINK_GUEST_IN_LAYER);
	return xasprintf("%s/%s", DINK_GUESTS_IN_LAYER, p->kernels[kernel].name);
}

static const struct dink_plan_layer *parent_of(const struct spec *s)
{
	return s->l->parent < 0 ? NULL : &s->plan->layers[s->l->parent];
}

static void bind_guest(struct spec *s, int kernel)
{
	const struct dink_plan_layer *parent = parent_of(s);
	_cleanup_free_ char *target = guest_place(s->plan, s->l, kernel);
	_cleanup_free_ char *from = NULL;

	if (parent) {
		from = guest_place(s->plan, parent, kernel);
		add_bind(s, NULL, NULL, from, target, true);
	} else {
		from = xasprintf("guest:%s", s->plan->kernels[kernel].name);
		add_bind(s, from, "dir", NULL, target, true);
	}
}

/* The cache folder with root.erofs, or in the end the file itself. */
static void bind_image(struct spec *s, int image, const char *sub, const char *target)
{
	const char *name = s->plan->images[image].name;
	_cleanup_free_ char *from = NULL;

	if (parent_of(s)) {
		from = xasprintf("%s/%s%s%s", DINK_IMAGES_IN_LAYER, name, sub ? "/" : "",
				 sub ? sub : "");
		add_bind(s, NULL, NULL, from, target, true);
	} else {
		from = xasprintf("image:%s", name);
		add_bind(s, from, sub ? "erofs" : "dir", NULL, target, true);
	}
}

static void bind_disk_file(struct spec *s, int disk, const char *target, bool read_only)
{
	const struct dink_plan_disk *d = &s->plan->disks[disk];
	_cleanup_free_ char *from = NULL;

	if (parent_of(s))
		from = xasprintf("%s/%s.img", DINK_DISKS_IN_LAYER, d->name);
	else
		from = xasprintf("%s/%s", dink_step_dir(s->ctx), d->file);
	add_bind(s, NULL, NULL, from, target, read_only);
}

/* A disk that this layer's guest mounts itself: an engine's bind mount carries no options. */
static void attach_disk(struct spec *s, int disk, const char *target, bool read_only)
{
	const struct dink_disk_spec *d = s->plan->disks[disk].spec;
	const char *compression =
		d->compression == DINK_COMPRESS_NONE ? NULL : dink_compression_name(d->compression);
	const char *options =
		dink_disk_mount_options(dink_filesystem_name(d->filesystem), compression);

	bind_disk_file(s, disk, target, read_only);
	if (options)
		dink_str_addf(&s->disk_options, "%s%s=%s", s->disk_options.len ? " " : "", target,
			      options);
}

static void bind_mounted(struct spec *s, int disk, const char *target, bool read_only)
{
	const char *name = s->plan->disks[disk].name;
	_cleanup_free_ char *from = NULL;

	if (parent_of(s))
		from = xasprintf("%s/%s", DINK_MOUNTS_IN_LAYER, name);
	else
		from = xasprintf("%s/mounts/%s", dink_step_dir(s->ctx), name);
	add_bind(s, NULL, NULL, from, target, read_only);
}

int dink_build_file_index(const struct dink_plan *p, const char *name)
{
	return (int)(dink_scenario_file(p->scenario, name) - p->scenario->files);
}

static void bind_file(struct spec *s, int file, const char *target)
{
	const char *name = s->plan->scenario->files[file].name;
	_cleanup_free_ char *from = NULL;

	if (parent_of(s)) {
		from = xasprintf("%s/%s", DINK_FILES_IN_LAYER, name);
		add_bind(s, NULL, NULL, from, target, true);
	} else {
		from = xasprintf("file:%s", name);
		add_bind(s, from, "path", NULL, target, true);
	}
}

static void bind_carried(struct spec *s)
{
	const struct step_layer *mine = &s->layers[s->index];

	for (size_t c = 0; c < mine->n_carry; c++) {
		const struct carry *k = &mine->carry[c];
		_cleanup_free_ char *target = NULL;

		switch (k->what) {
		case CARRY_GUEST:
			bind_guest(s, k->index);
			break;
		case CARRY_IMAGE:
			target = xasprintf("%s/%s", DINK_IMAGES_IN_LAYER,
					   s->plan->images[k->index].name);
			bind_image(s, k->index, NULL, target);
			break;
		case CARRY_DISKS:
			target = parent_of(s) ? xstrdup(DINK_DISKS_IN_LAYER)
					      : xasprintf("%s/disks", dink_step_dir(s->ctx));
			add_bind(s, NULL, NULL, target, DINK_DISKS_IN_LAYER, false);
			break;
		case CARRY_DISK_MOUNTED:
			target = xasprintf("%s/%s", DINK_MOUNTS_IN_LAYER,
					   s->plan->disks[k->index].name);
			attach_disk(s, k->index, target, k->read_only);
			break;
		case CARRY_MOUNT:
			target = xasprintf("%s/%s", DINK_MOUNTS_IN_LAYER,
					   s->plan->disks[k->index].name);
			bind_mounted(s, k->index, target, k->read_only);
			break;
		case CARRY_FILE:
			target = xasprintf("%s/%s", DINK_FILES_IN_LAYER,
					   s->plan->scenario->files[k->index].name);
			bind_file(s, k->index, target);
			break;
		}
	}
}

static void bind_own(struct spec *s)
{
	for (size_t d = 0; d < s->l->n_disks; d++) {
		const struct dink_plan_mount *m = &s->l->disks[d];

		if (s->l->is_vm)
			attach_disk(s, m->disk, m->target, m->read_only);
		else
			bind_mounted(s, m->disk, m->target, m->read_only);
	}
	if (s->l->block_root)
		bind_image(s, s->l->image, "root.erofs", DINK_BLOCK_ROOT);
	for (size_t i = 0; i < s->l->spec->n_files; i++) {
		const struct dink_layer_file *f = &s->l->spec->files[i];

		bind_file(s, dink_build_file_index(s->plan, f->file), f->target);
	}
	for (size_t i = 0; i < s->l->spec->n_mounts; i++) {
		const struct dink_layer_mount *m = &s->l->spec->mounts[i];

		add_bind(s, NULL, NULL, m->source, m->target, m->read_only);
	}
}

/* "/dev/net/tun rw" */
static void grant_device(struct spec *s, const char *what)
{
	_cleanup_free_ char *path = xstrndup(what, strcspn(what, " "));
	const char *access = what[strlen(path)] ? what + strlen(path) + 1 : "rwm";
	struct json_object *o;

	/* the guest's own: what runs around it may well have none, and its engine would refuse */
	if (STREQ(path, "/dev/kvm") && s->l->runtime == DINK_RUNTIME_DINK_VM) {
		s->nested_kvm = true;
		return;
	}
	o = dink_json_new();

	dink_json_set_str(o, "PathOnHost", path);
	dink_json_set_str(o, "PathInContainer", path);
	dink_json_set_str(o, "CgroupPermissions", access);
	json_object_array_add(dink_json_member(s->host, "Devices", true), o);
}

/* "tmpfs /run", "volume /var/lib/docker" (anonymous: it goes with the container) */
static void grant_mount(struct spec *s, const char *what)
{
	_cleanup_free_ char *options =
		xasprintf("rw,nosuid,nodev,mode=755,size=%dm", RUN_TMPFS_MIB);
	struct json_object *o;

	if (dink_starts_with(what, "tmpfs ")) {
		dink_json_set_str(dink_json_member(s->host, "Tmpfs", false),
				  what + strlen("tmpfs "), options);
		return;
	}
	if (!dink_starts_with(what, "volume ") ||
	    (dink_starts_with(what, "volume /var/lib/") && !s->l->data_volume))
		return; /* a daemon's store may be a disk or a bind instead */
	o = dink_json_new();
	dink_json_set_str(o, "Type", "volume");
	dink_json_set_str(o, "Target", what + strlen("volume "));
	json_object_array_add(dink_json_member(s->host, "Mounts", true), o);
}

/* "nofile=20000:20000" */
static void grant_rlimit(struct spec *s, const char *what)
{
	_cleanup_free_ char *name = xstrndup(what, strcspn(what, "="));
	struct json_object *o = dink_json_new();
	long long soft = 0, hard = 0;
	int n = sscanf(what + strlen(name), "=%lld:%lld", &soft, &hard);

	dink_json_set_str(o, "Name", name);
	dink_json_set_int(o, "Soft", soft);
	dink_json_set_int(o, "Hard", n == 2 ? hard : soft);
	json_object_array_add(dink_json_member(s->host, "Ulimits", true), o);
}

static void add_string(struct spec *s, const char *key, const char *value)
{
	json_object_array_add(dink_json_member(s->host, key, true), json_object_new_string(value));
}

/*
 * The engine's own lists without what is unmasked: the API takes whole lists only.
 */
static void unmask_paths(struct spec *s)
{
	const struct dink_privileges *p = s->l->privileges;
	bool any = false;

	for (size_t i = 0; p && i < p->n_grants; i++)
		any = any || p->grants[i].kind == DINK_GRANT_UNMASK;
	if (!any)
		return;
	/* an empty list, too, is one: without it the engine takes its own */
	dink_json_member(s->host, "MaskedPaths", true);
	dink_json_member(s->host, "ReadonlyPaths", true);
	for (const char *const *m = dink_masked_paths; *m; m++)
		if (!dink_privileges_unmask(p, *m))
			add_string(s, "MaskedPaths", *m);
	for (const char *const *m = dink_read_only_paths; *m; m++)
		if (!dink_privileges_unmask(p, *m))
			add_string(s, "ReadonlyPaths", *m);
}

static void grant(struct spec *s, const struct dink_grant *g)
{
	const char *eq = strchr(g->what, '=');
	_cleanup_free_ char *key = eq ? xstrndup(g->what, (size_t)(eq - g->what)) : NULL;

	switch (g->kind) {
	case DINK_GRANT_CAPABILITY:
		add_string(s, "CapAdd", g->what);
		break;
	case DINK_GRANT_DEVICE:
		grant_device(s, g->what);
		break;
	case DINK_GRANT_MOUNT:
		grant_mount(s, g->what);
		break;
	case DINK_GRANT_SYSCTL:
		if (eq)
			dink_json_set_str(dink_json_member(s->host, "Sysctls", false), key, eq + 1);
		break;
	case DINK_GRANT_RLIMIT:
		grant_rlimit(s, g->what);
		break;
	case DINK_GRANT_NAMESPACE: /* cgroup=private: every layer has it */
	case DINK_GRANT_SYSCALL:   /* together, as one profile */
		break;
	case DINK_GRANT_LSM:
		add_string(s, "SecurityOpt", g->what);
		break;
	default:
		break;
	}
}

/*
 * The profile is a file of the instance, named by its content: a journal of a thousand layers
 * would otherwise hold a thousand copies.
 */
static int save_seccomp(struct spec *s, char **ret, struct dink_err *err)
{
	_cleanup_free_ char *base = NULL, *text = NULL, *dir = NULL, *path = NULL;
	struct dink_hash *h;
	char hex[65];
	size_t len;
	int r;

	r = dink_file_read(SECCOMP_BASE, SECCOMP_MAX, &base, &len, err);
	if (r < 0) {
		dink_err_push(err, "the engine's default seccomp profile");
		return dink_err_hint(err, "apt-get install golang-github-containers-common");
	}
	r = dink_privileges_seccomp(s->l->privileges, base, len, &text, err);
	if (r < 0)
		return r;
	h = dink_hash_new();
	dink_hash_adds(h, text);
	dink_hash_end(h, hex);
	dir = xasprintf("%s/seccomp", dink_step_dir(s->ctx));
	path = xasprintf("%s/%.16s.json", dir, hex);
	r = dink_mkdir_p(dir, 0700, err);
	if (r == 0 && !dink_exists(path))
		r = dink_file_write(path, text, strlen(text), 0600, err);
	if (r == 0)
		*ret = TAKE_PTR(path);
	return r;
}

static void publish_ports(struct spec *s, struct json_object *body)
{
	for (size_t i = 0; i < s->l->spec->n_ports; i++) {
		const struct dink_layer_port *p = &s->l->spec->ports[i];
		_cleanup_free_ char *inner = xasprintf("%u/%s", p->inner, p->udp ? "udp" : "tcp");
		_cleanup_free_ char *outer = xasprintf("%u", p->outer);
		struct json_object *o = dink_json_new();

		if (p->address)
			dink_json_set_str(o, "HostIp", p->address);
		dink_json_set_str(o, "HostPort", outer);
		json_object_array_add(
			dink_json_member(dink_json_member(s->host, "PortBindings", false), inner,
					 true),
			o);
		dink_json_member(dink_json_member(body, "ExposedPorts", false), inner, false);
	}
}

static void set_resources(struct spec *s)
{
	const struct dink_layer *spec = s->l->spec;

	if (spec->memory_bytes)
		dink_json_set_int(s->host, "Memory", (int64_t)spec->memory_bytes);
	if (spec->cpus)
		dink_json_set_int(s->host, "NanoCpus", (int64_t)spec->cpus * 1000000000);
	if (s->l->runtime_name)
		dink_json_set_str(s->host, "Runtime", s->l->runtime_name);
	dink_json_set_str(s->host, "CgroupnsMode", "private");
}

/* PID 1's whole argv: an image's own entrypoint is replaced where the plan has a command. */
static void set_command(struct spec *s, struct json_object *body)
{
	const struct dink_strv *argv = &s->l->command;
	_cleanup_strv_ struct dink_strv env = {};

	if (argv->n > 0) {
		struct json_object *first = json_object_new_array();
		struct json_object *rest = json_object_new_array();

		json_object_array_add(first, json_object_new_string(argv->v[0]));
		for (size_t i = 1; i < argv->n; i++)
			json_object_array_add(rest, json_object_new_string(argv->v[i]));
		dink_json_set(body, "Entrypoint", first);
		dink_json_set(body, "Cmd", rest);
	}
	dink_strv_addv(&env, s->l->env.v);
	if (s->disk_options.len > 0 && s->l->runtime == DINK_RUNTIME_DINK_VM)
		dink_strv_addf(&env, "%s=%s", DINK_OCI_DISK_OPTIONS, s->disk_options.s);
	if (s->nested_kvm)
		dink_strv_add(&env, DINK_OCI_NESTED_KVM "=1");
	if (env.n > 0)
		dink_json_set(body, "Env", dink_json_strv(&env));
	if (s->l->spec->tty) {
		dink_json_set_bool(body, "Tty", true);
		dink_json_set_bool(body, "OpenStdin", true);
	}
	dink_json_set_int(body, "StopTimeout",
			  s->l->spec->daemon == DINK_DAEMON_NONE ? STOP_LEAF_S : STOP_DAEMON_S);
}

/* All of them, as `docker run --gpus all` asks for them. */
static void request_gpus(struct spec *s)
{
	struct json_object *o = dink_json_new(), *sets = json_object_new_array();
	struct json_object *set = json_object_new_array();

	json_object_array_add(set, json_object_new_string("gpu"));
	json_object_array_add(sets, set);
	dink_json_set_str(o, "Driver", "nvidia");
	dink_json_set_int(o, "Count", -1);
	dink_json_set(o, "Capabilities", sets);
	json_object_array_add(dink_json_member(s->host, "DeviceRequests", true), o);
}

static struct json_object *make_body(struct spec *s)
{
	struct json_object *body = dink_json_new(), *labels = dink_json_new();

	dink_json_set_str(body, "Hostname",
			  s->l->spec->hostname ? s->l->spec->hostname : s->l->name);
	if (s->l->spec->rootless)
		dink_json_set_str(body, "User", s->l->spec->rootless);
	/* what systemd takes as the word to end, where others are told by SIGTERM */
	if (s->l->spec->init == DINK_INIT_SYSTEMD)
		dink_json_set_str(body, "StopSignal", "SIGRTMIN+3");
	dink_json_set_str(labels, "dink.instance", s->plan->scenario->name);
	dink_json_set_str(labels, "dink.layer", s->l->path);
	dink_json_set_str(labels, "dink.state", dink_state_dir());
	dink_json_set(body, "Labels", labels);
	for (size_t i = 0; s->l->privileges && i < s->l->privileges->n_grants; i++)
		grant(s, &s->l->privileges->grants[i]);
	set_command(s, body);
	unmask_paths(s);
	set_resources(s);
	if (s->l->spec->gpu == DINK_GPU_NVIDIA)
		request_gpus(s);
	publish_ports(s, body);
	dink_json_set(body, "HostConfig", s->host);
	return body;
}

/* Whether the guest must unmount a kept disk before its VM ends. */
static bool needs_good_order(const struct spec *s)
{
	for (size_t i = 0; s->l->is_vm && i < s->l->n_disks; i++)
		if (!s->plan->disks[s->l->disks[i].disk].scratch && !s->l->disks[i].read_only)
			return true;
	for (size_t c = 0; c < s->layers[s->index].n_carry; c++)
		if (s->layers[s->index].carry[c].what == CARRY_DISK_MOUNTED)
			return true;
	return false;
}

/* "reach": {name, engine, container}: whose address is asked for when the layer is made. */
static void add_reached(struct spec *s, struct json_object *o)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->l->spec->reach.n; i++) {
		const char *name = s->l->spec->reach.v[i];
		int to = dink_plan_reached(s->plan, s->index, name);
		const struct dink_plan_layer *l = to < 0 ? NULL : &s->plan->layers[to];
		struct json_object *one;

		if (!l)
			continue;
		one = dink_json_new();
		dink_json_set_str(one, "name", name);
		dink_json_set_str(one, "engine",
				  l->parent < 0 ? s->plan->scenario->name
						: s->plan->layers[l->parent].path);
		dink_json_set_str(one, "container", l->container);
		json_object_array_add(list, one);
	}
	if (json_object_array_length(list) > 0)
		dink_json_set(o, "reach", list);
	else
		json_object_put(list);
}

int dink_build_container(struct dink_step_ctx *ctx, const struct dink_plan *p,
			 const struct step_layer *layers, int layer, struct json_object **ret,
			 struct dink_err *err)
{
	const struct dink_plan_layer *l = &p->layers[layer];
	struct spec s = {.ctx = ctx, .plan = p, .layers = layers, .l = l, .index = layer};
	_cleanup_json_ struct json_object *o = dink_json_new();
	_cleanup_free_ char *seccomp = NULL;
	int r;

	if (dink_privileges_wants_seccomp(l->privileges)) {
		r = save_seccomp(&s, &seccomp, err);
		if (r < 0)
			return r;
		dink_json_set_str(o, "seccomp", seccomp);
		if (l->parent < 0 && p->engine_kind == DINK_ENGINE_PODMAN)
			dink_json_set_bool(o, "seccomp_by_path", true);
	}
	s.binds = json_object_new_array();
	s.host = dink_json_new();
	bind_carried(&s);
	bind_own(&s);
	dink_json_set_str(o, "layer", l->path);
	if (l->parent >= 0)
		dink_json_set_str(o, "parent", p->layers[l->parent].path);
	dink_json_set_str(o, "container", l->container);
	dink_json_set_str(o, "image", p->images[l->image].name);
	if (p->images[l->image].kind == DINK_IMAGE_REGISTRY)
		dink_json_set_str(o, "registry", p->images[l->image].where);
	dink_json_set_str(o, "runtime", dink_runtime_name(l->runtime));
	/* The private engine has a runtime for each guest folder, named when it is known. */
	if (l->parent < 0 && l->kernel >= 0 && p->engine == DINK_HOST_ENGINE_PRIVATE)
		dink_json_set_str(o, "runtime_guest", p->kernels[l->kernel].name);
	/* What the private engine does not know by itself: it has runc. */
	if (l->parent < 0 && p->engine == DINK_HOST_ENGINE_PRIVATE &&
	    (l->runtime == DINK_RUNTIME_CRUN || l->runtime == DINK_RUNTIME_RUNSC))
		dink_json_set_str(o, "runtime_program", dink_runtime_name(l->runtime));
	if (l->runtime_option)
		dink_json_set_str(o, "runtime_option", l->runtime_option);
	dink_json_set_bool(o, "vm", l->is_vm);
	dink_json_set_bool(o, "block_root", l->block_root);
	dink_json_set_bool(o, "good_order", needs_good_order(&s));
	/* What runs in the daemon's containers has no longer than each of them has by itself. */
	if (l->spec->daemon != DINK_DAEMON_NONE)
		dink_json_set_int(o, "grace_s", STOP_LEAF_S);
	if (l->spec->daemon != DINK_DAEMON_NONE) {
		dink_json_set_str(o, "daemon", dink_daemon_name(l->spec->daemon));
		dink_json_set_str(o, "socket", dink_plan_socket(l->spec));
	}
	dink_json_set(o, "binds", s.binds);
	add_reached(&s, o);
	dink_json_set(o, "spec", make_body(&s));
	dink_str_clear(&s.disk_options);
	*ret = TAKE_PTR(o);
	return 0;
}
