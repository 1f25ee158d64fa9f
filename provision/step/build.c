/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as steps with dependencies.
 *
 * A container's mounts come from its parent. What a layer further in needs (the guest folder, a
 * disk image, an image's EROFS root, a mounted disk) is therefore carried: mounted into each layer
 * around it at the same well-known place, from the host inward. struct carry lists that per layer.
 */
#include "provision/step/build.h"

#include "provision/base/file.h"
#include "provision/step/kinds.h"

#include <sys/stat.h>

struct build {
	struct dink_step_ctx *ctx;
	const struct dink_plan *plan;
	struct dink_steps *steps;
	struct step_layer *layers;
	int engine, last_clone;
	struct { /* guests that come up without KVM, see take_turn() */
		int *ready;
		size_t n;
	} slow;
	int *kernels, *guests, *images, *disks, *mounts,
		*files;		   /* step indexes, -1 = no such step */
	struct json_object *loads; /* "ADDR:IMAGE" -> step index */
};

static struct json_object *new_params(const char *key, const char *value)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, key, value);
	return o;
}

/* --- what is carried ----------------------------------------------------------------------- */

/* In layer i (-1: the host), thing (what, index) must be there for something further in. */
static void carry_one(struct build *b, int i, enum carry_what what, int index, bool read_only)
{
	struct step_layer *l = &b->layers[i];

	for (size_t c = 0; c < l->n_carry; c++)
		if (l->carry[c].what == what && l->carry[c].index == index) {
			l->carry[c].read_only = l->carry[c].read_only && read_only;
			return;
		}
	l->carry = xreallocarray(l->carry, l->n_carry + 1, sizeof(*l->carry));
	l->carry[l->n_carry++] = (struct carry){what, index, read_only};
}

static void carry_up(struct build *b, int i, enum carry_what what, int index, bool read_only)
{
	for (; i >= 0; i = b->plan->layers[i].parent)
		carry_one(b, i, what, index, read_only);
}

/*
 * A disk of a namespace layer is mounted by the kernel it runs on: the host's (loop-mount), or
 * that of the nearest VM around it, which gets the file as a disk. From there inward it is a
 * folder that is carried on.
 */
static void carry_mounted_disk(struct build *b, int i, int disk, bool read_only)
{
	int a = b->plan->layers[i].parent;

	for (; a >= 0 && !b->plan->layers[a].is_vm; a = b->plan->layers[a].parent)
		carry_one(b, a, CARRY_MOUNT, disk, read_only);
	if (a >= 0) {
		carry_one(b, a, CARRY_DISK_MOUNTED, disk, read_only);
		carry_up(b, b->plan->layers[a].parent, CARRY_DISKS, 0, false);
	} else {
		b->mounts[disk] = 0; /* wanted: the step is made later */
	}
}

static void plan_carries(struct build *b)
{
	for (size_t i = 0; i < b->plan->n_layers; i++) {
		const struct dink_plan_layer *l = &b->plan->layers[i];

		/* The guest is in the layer that starts the VM, and in all around that. */
		if (l->runtime == DINK_RUNTIME_DINK_VM)
			carry_up(b, l->parent, CARRY_GUEST, l->kernel, true);
		if (l->block_root)
			carry_up(b, l->parent, CARRY_IMAGE, l->image, true);
		for (size_t k = 0; k < l->spec->n_files; k++) {
			int file = dink_build_file_index(b->plan, l->spec->files[k].file);

			carry_up(b, l->parent, CARRY_FILE, file, true);
			b->files[file] = 0; /* wanted: the step is made later */
		}
		for (size_t d = 0; d < l->n_disks; d++) {
			if (l->is_vm)
				carry_up(b, l->parent, CARRY_DISKS, 0, false);
			else
				carry_mounted_disk(b, (int)i, l->disks[d].disk,
						   l->disks[d].read_only);
		}
	}
}

/* --- steps of things that layers need ------------------------------------------------------- */

static void add_kernels(struct build *b)
{
	const struct dink_plan *p = b->plan;

	for (size_t i = 0; i < p->n_kernels; i++) {
		struct json_object *o = new_params("name", p->kernels[i].name);

		dink_json_set_str(o, "source", p->kernels[i].source);
		if (p->kernels[i].sha256)
			dink_json_set_str(o, "sha256", p->kernels[i].sha256);
		dink_json_set(o, "features", dink_json_strv(&p->kernels[i].features));
		b->kernels[i] = dink_steps_add(b->steps, &dink_kind_kernel, o, "kernel:%s",
					       p->kernels[i].name);
		b->guests[i] = dink_steps_add(b->steps, &dink_kind_guest,
					      new_params("kernel", p->kernels[i].name), "guest:%s",
					      p->kernels[i].name);
		dink_steps_dep(b->steps, b->guests[i], b->kernels[i]);
	}
}

static void add_images(struct build *b)
{
	for (size_t i = 0; i < b->plan->n_images; i++) {
		const struct dink_plan_image *img = &b->plan->images[i];
		struct json_object *o;

		b->images[i] = -1;
		if (img->kind == DINK_IMAGE_REGISTRY)
			continue; /* pulled by each engine: see image-load */
		o = new_params("name", img->name);
		dink_json_set_str(o, "where", img->where);
		dink_json_set_bool(o, "shipped", img->shipped);
		b->images[i] = dink_steps_add(b->steps, &dink_kind_image, o, "image:%s", img->name);
	}
}

/* What is not known by its digest may be a secret: it is in the run folder, not with the state. */
static void add_files(struct build *b)
{
	const struct dink_scenario *s = b->plan->scenario;

	for (size_t i = 0; i < s->n_files; i++) {
		const struct dink_file_spec *f = &s->files[i];
		struct json_object *o;
		_cleanup_free_ char *path = xasprintf(
			"%s/files/%s",
			f->sha256 ? dink_step_dir(b->ctx) : dink_step_run_dir(b->ctx), f->name);

		if (b->files[i] < 0)
			continue;
		o = new_params("name", f->name);
		dink_json_set_str(o, "source", f->source);
		if (f->sha256)
			dink_json_set_str(o, "sha256", f->sha256);
		dink_json_set_bool(o, "executable", f->executable);
		dink_json_set_str(o, "path", path);
		b->files[i] = dink_steps_add(b->steps, &dink_kind_file, o, "file:%s", f->name);
	}
}

static void add_engine(struct build *b)
{
	const struct dink_plan *p = b->plan;
	struct json_object *o = new_params("user", p->scenario->name);

	if (p->engine_socket)
		dink_json_set_str(o, "socket", p->engine_socket);
	if (p->engine == DINK_HOST_ENGINE_PRIVATE_PODMAN)
		dink_json_set_bool(o, "podman", true);
	b->engine = dink_steps_add(b->steps, &dink_kind_engine_use, o, "engine");
}

static struct json_object *disk_params(struct build *b, const struct dink_plan_disk *d)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", dink_step_dir(b->ctx), d->file);
	struct json_object *o = new_params("file", file);

	dink_json_set_str(o, "name", d->name);
	if (d->spec->compression != DINK_COMPRESS_NONE)
		dink_json_set_str(o, "compression", dink_compression_name(d->spec->compression));
	return o;
}

static void add_disk(struct build *b, size_t i)
{
	const struct dink_plan_disk *d = &b->plan->disks[i];
	struct json_object *o = disk_params(b, d);

	dink_json_set_int(o, "size_bytes", (int64_t)d->spec->size_bytes);
	dink_json_set_str(o, "filesystem", dink_filesystem_name(d->spec->filesystem));
	/* a derived disk's name has its layer's path in it, a label has 16 bytes */
	dink_json_set_str(o, "label",
			  d->spec->label ? d->spec->label
			  : d->scratch	 ? "scratch"
					 : d->name);
	b->disks[i] =
		dink_steps_add(b->steps, d->scratch ? &dink_kind_scratch : &dink_kind_disk_file, o,
			       "%s:%s", d->scratch ? "scratch" : "disk", d->name);
}

static void add_mount(struct build *b, size_t i)
{
	const struct dink_plan_disk *d = &b->plan->disks[i];
	_cleanup_free_ char *target = xasprintf("%s/mounts/%s", dink_step_dir(b->ctx), d->name);
	struct json_object *o;

	if (b->mounts[i] < 0)
		return;
	o = disk_params(b, d);
	dink_json_set_str(o, "target", target);
	b->mounts[i] = dink_steps_add(b->steps, &dink_kind_loop_mount, o, "mount:%s", d->name);
	dink_steps_dep(b->steps, b->mounts[i], b->disks[i]);
}

/* Clones come later: add_clone(). */
static void add_disks(struct build *b)
{
	for (size_t i = 0; i < b->plan->n_disks; i++)
		if (b->plan->disks[i].clone_of < 0)
			add_disk(b, i);
	for (size_t i = 0; i < b->plan->n_disks; i++)
		if (b->plan->disks[i].clone_of < 0)
			add_mount(b, i);
}

/* --- layers -------------------------------------------------------------------------------- */

/* The step after which the engine of a layer (-1: the host) answers. */
static int engine_step(const struct build *b, int layer)
{
	return layer < 0 ? b->engine : b->layers[layer].ready;
}

static const char *engine_address(const struct build *b, int layer)
{
	return layer < 0 ? b->plan->scenario->name : b->plan->layers[layer].path;
}

/*
 * The image in the engine that creates the container. A VM with a block root takes its files from
 * the EROFS image, so the engine's copy is only there for the container to be made of; it is the
 * real one all the same, so that `docker ps`, `inspect` and `image history` in the layer are true.
 */
static int add_load(struct build *b, const struct dink_plan_layer *l, int parent)
{
	const struct dink_plan_image *img = &b->plan->images[l->image];
	const char *addr = engine_address(b, parent);
	_cleanup_free_ char *key =
		xasprintf("%s:%s%s", addr, img->name, l->block_root ? ":block-root" : "");
	struct json_object *known = NULL, *o;
	int step;

	if (json_object_object_get_ex(b->loads, key, &known))
		return json_object_get_int(known);
	o = new_params("engine", addr);
	dink_json_set_str(o, "image", img->name);
	dink_json_set_bool(o, "block_root", l->block_root);
	if (img->kind == DINK_IMAGE_REGISTRY)
		dink_json_set_str(o, "registry", img->where);
	step = dink_steps_add(b->steps, &dink_kind_image_load, o, "load:%s", key);
	dink_steps_dep(b->steps, step, b->images[l->image]);
	dink_steps_dep(b->steps, step, engine_step(b, parent));
	json_object_object_add(b->loads, key, json_object_new_int(step));
	return step;
}

/* --- clones --------------------------------------------------------------------------------- */

static bool uses_disk(const struct dink_plan_layer *l, int disk)
{
	for (size_t d = 0; d < l->n_disks; d++)
		if (l->disks[d].disk == disk)
			return true;
	return false;
}

/*
 * The images that the layers inside of a clone's user need: once, in the disk's writer. Called before
 * the clone's step is made, and after it, when the loads are there for it to wait for.
 */
static void load_for_clone(struct build *b, int disk, int writer)
{
	if (b->layers[writer].ready < 0)
		return;
	for (size_t i = 0; i < b->plan->n_layers; i++) {
		const struct dink_plan_layer *l = &b->plan->layers[i];

		if (l->parent < 0 || !uses_disk(&b->plan->layers[l->parent], disk))
			continue;
		int load = add_load(b, l, writer);
		if (b->disks[disk] >= 0)
			dink_steps_dep(b->steps, b->disks[disk], load);
	}
}

static void add_clone(struct build *b, int disk, int writer)
{
	const struct dink_plan_disk *d = &b->plan->disks[disk], *of = &b->plan->disks[d->clone_of];
	_cleanup_free_ char *from = xasprintf("%s/%s", dink_step_dir(b->ctx), of->file);
	struct json_object *o = disk_params(b, d);

	dink_json_set_str(o, "filesystem", dink_filesystem_name(d->spec->filesystem));
	dink_json_set_str(o, "from", from);
	dink_json_set_str(o, "of", of->name);
	if (writer >= 0)
		dink_json_set_str(o, "writer", b->plan->layers[writer].path);
	b->disks[disk] = dink_steps_add(b->steps, &dink_kind_disk_clone, o, "clone:%s", d->name);
	dink_steps_dep(b->steps, b->disks[disk], b->disks[d->clone_of]);
	/* a guest is held for one clone at a time */
	dink_steps_dep(b->steps, b->disks[disk], b->last_clone);
	b->last_clone = b->disks[disk];
}

static int need_layer(struct build *b, int i, struct dink_err *err);

/*
 * Store replication: what a clone is made of is complete when the disk's writer is up and has the
 * images.
 */
static int need_clone(struct build *b, int disk, struct dink_err *err)
{
	int of = b->plan->disks[disk].clone_of;
	int writer = of < 0 ? -1 : dink_plan_writer(b->plan, of);
	int r;

	if (of < 0 || b->disks[disk] >= 0)
		return 0;
	if (writer < 0) {
		add_clone(b, disk, -1);
	} else {
		r = need_layer(b, writer, err);
		if (r < 0)
			return r;
		load_for_clone(b, disk, writer);
		add_clone(b, disk, writer);
		dink_steps_dep(b->steps, b->disks[disk], b->layers[writer].container);
		dink_steps_dep(b->steps, b->disks[disk], b->layers[writer].ready);
		load_for_clone(b, disk, writer);
	}
	add_mount(b, (size_t)disk);
	return 0;
}

/* Before a layer begins: the clones that it uses or carries, and those of what its parent writes. */
static int need_clones(struct build *b, int layer, struct dink_err *err)
{
	const struct dink_plan_layer *l = &b->plan->layers[layer];
	const struct step_layer *s = &b->layers[layer];
	int r = 0;

	for (size_t d = 0; r == 0 && d < l->n_disks; d++)
		r = need_clone(b, l->disks[d].disk, err);
	for (size_t c = 0; r == 0 && c < s->n_carry; c++)
		if (s->carry[c].what == CARRY_MOUNT || s->carry[c].what == CARRY_DISK_MOUNTED)
			r = need_clone(b, s->carry[c].index, err);
	for (size_t d = 0; r == 0 && l->parent >= 0 && d < b->plan->n_disks; d++) {
		int of = b->plan->disks[d].clone_of;

		if (of >= 0 && dink_plan_writer(b->plan, of) == l->parent)
			r = need_clone(b, (int)d, err);
	}
	return r;
}

static void depend_on_things(struct build *b, int step, int layer)
{
	const struct dink_plan_layer *l = &b->plan->layers[layer];
	const struct step_layer *s = &b->layers[layer];

	for (size_t c = 0; c < s->n_carry; c++) {
		int i = s->carry[c].index;

		switch (s->carry[c].what) {
		case CARRY_GUEST:
			dink_steps_dep(b->steps, step, b->guests[i]);
			break;
		case CARRY_IMAGE:
			dink_steps_dep(b->steps, step, b->images[i]);
			break;
		case CARRY_MOUNT:
			dink_steps_dep(b->steps, step, b->mounts[i]);
			break;
		case CARRY_DISKS:
			/* it is the folder: a clone comes into it when what it is made of is up */
			for (size_t d = 0; d < b->plan->n_disks; d++)
				if (b->plan->disks[d].clone_of < 0)
					dink_steps_dep(b->steps, step, b->disks[d]);
			break;
		case CARRY_DISK_MOUNTED:
			dink_steps_dep(b->steps, step, b->disks[i]);
			break;
		case CARRY_FILE:
			dink_steps_dep(b->steps, step, b->files[i]);
			break;
		}
	}
	for (size_t d = 0; d < l->n_disks; d++) {
		dink_steps_dep(b->steps, step, b->disks[l->disks[d].disk]);
		dink_steps_dep(b->steps, step, b->mounts[l->disks[d].disk]);
	}
	for (size_t k = 0; k < l->spec->n_files; k++) {
		int file = dink_build_file_index(b->plan, l->spec->files[k].file);

		dink_steps_dep(b->steps, step, b->files[file]);
	}
	for (size_t k = 0; k < l->spec->reach.n; k++) {
		int to = dink_plan_reached(b->plan, layer, l->spec->reach.v[k]);

		if (to >= 0)
			dink_steps_dep(b->steps, step, b->layers[to].container);
	}
	if (l->block_root)
		dink_steps_dep(b->steps, step, b->images[l->image]);
	/* A VM on the host needs the guest itself, deeper ones have it carried to their parent. */
	if (l->kernel >= 0)
		dink_steps_dep(b->steps, step, b->guests[l->kernel]);
}

/*
 * A daemon gives its own containerd 15 s to start, whatever the machine is busy with. So of guests
 * without KVM, whose boot is all computing, as many come up at once as there are processors.
 */
static void take_turn(struct build *b, int i)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t at_once = cpus > 0 ? (size_t)cpus : 1;

	if (!b->plan->layers[i].is_vm || b->layers[i].ready < 0 ||
	    !STREQ(b->plan->acceleration, "tcg"))
		return;
	if (b->slow.n >= at_once)
		dink_steps_dep(b->steps, b->layers[i].container,
			       b->slow.ready[b->slow.n - at_once]);
	b->slow.ready = xreallocarray(b->slow.ready, b->slow.n + 1, sizeof(*b->slow.ready));
	b->slow.ready[b->slow.n++] = b->layers[i].ready;
}

/* Its VMs come after it: each would find no answer there and run without. */
static void prove_kvm(struct build *b, int i)
{
	const struct dink_plan_layer *l = &b->plan->layers[i];
	struct step_layer *s = &b->layers[i];

	if (!l->needs_guest ||
	    !dink_privileges_have(l->privileges, DINK_GRANT_DEVICE, "/dev/kvm rw"))
		return;
	s->kvm = dink_steps_add(b->steps, &dink_kind_prove_kvm, new_params("layer", l->path),
				"kvm:%s", l->path);
	dink_steps_dep(b->steps, s->kvm, s->ready);
}

static int add_layer(struct build *b, int i, struct dink_err *err)
{
	const struct dink_plan_layer *l = &b->plan->layers[i];
	struct step_layer *s = &b->layers[i];
	struct json_object *params = NULL;
	int load = add_load(b, l, l->parent);
	int r = dink_build_container(b->ctx, b->plan, b->layers, i, &params, err);

	if (r < 0)
		return dink_err_push(err, "preparing layer %s", l->path);
	s->container =
		dink_steps_add(b->steps, &dink_kind_container, params, "container:%s", l->path);
	dink_steps_dep(b->steps, s->container, load);
	dink_steps_dep(b->steps, s->container, engine_step(b, l->parent));
	if (l->is_vm && l->parent >= 0)
		dink_steps_dep(b->steps, s->container, b->layers[l->parent].kvm);
	depend_on_things(b, s->container, i);
	if (l->spec->daemon == DINK_DAEMON_NONE)
		return 0;
	s->ready = dink_steps_add(b->steps, &dink_kind_ready, new_params("layer", l->path),
				  "ready:%s", l->path);
	dink_steps_dep(b->steps, s->ready, s->container);
	prove_kvm(b, i);
	take_turn(b, i);
	return 0;
}

/* With what has to be there before it, in the order in which steps are made. */
static int need_layer(struct build *b, int i, struct dink_err *err)
{
	const struct dink_plan_layer *l = &b->plan->layers[i];
	int r;

	if (b->layers[i].container >= 0)
		return 0;
	if (b->layers[i].is_needed) {
		dink_err_set(
			err, DINK_E_SCENARIO, 0,
			"layer %s waits for a clone of a disk that is written by a layer which "
			"waits for it",
			l->path);
		return dink_err_hint(err, "let one of the two disks have no writer");
	}
	b->layers[i].is_needed = true;
	r = l->parent < 0 ? 0 : need_layer(b, l->parent, err);
	if (r == 0)
		r = need_clones(b, i, err);
	for (size_t k = 0; r == 0 && k < l->spec->reach.n; k++) {
		int to = dink_plan_reached(b->plan, i, l->spec->reach.v[k]);

		if (to >= 0)
			r = need_layer(b, to, err);
	}
	return r < 0 ? r : add_layer(b, i, err);
}

/* --- swarms -------------------------------------------------------------------------------- */

static bool is_node_of(const struct dink_plan *p, int layer, int parent)
{
	const struct dink_plan_layer *l = &p->layers[layer];

	return l->parent == parent && l->spec->swarm != DINK_SWARM_NONE;
}

/* Nodes and what is in them: a swarm is begun when they have nothing else to do. */
static void wait_for_nodes(struct build *b, int step, int parent)
{
	for (size_t i = 0; i < b->plan->n_layers; i++) {
		int a = (int)i;

		while (a >= 0 && !is_node_of(b->plan, a, parent))
			a = b->plan->layers[a].parent;
		if (a < 0)
			continue;
		dink_steps_dep(b->steps, step, b->layers[i].container);
		dink_steps_dep(b->steps, step, b->layers[i].ready);
	}
}

/* The layers of one engine (-1: the host's) that are nodes: one step for all of them. */
static void add_swarm(struct build *b, int parent)
{
	struct json_object *nodes = json_object_new_array(), *o;
	const char *engine = engine_address(b, parent);
	int step;

	for (size_t i = 0; i < b->plan->n_layers; i++) {
		const struct dink_plan_layer *l = &b->plan->layers[i];

		if (!is_node_of(b->plan, (int)i, parent))
			continue;
		o = new_params("layer", l->path);
		dink_json_set_str(o, "role", dink_swarm_name(l->spec->swarm));
		json_object_array_add(nodes, o);
	}
	o = new_params("engine", engine);
	dink_json_set(o, "nodes", nodes);
	dink_json_set_bool(o, "slow", STREQ(b->plan->acceleration, "tcg"));
	step = dink_steps_add(b->steps, &dink_kind_swarm, o, "swarm:%s", engine);
	wait_for_nodes(b, step, parent);
}

static void add_swarms(struct build *b)
{
	_cleanup_free_ bool *has_nodes = xcalloc(b->plan->n_layers + 1, sizeof(*has_nodes));

	for (size_t i = 0; i < b->plan->n_layers; i++)
		if (b->plan->layers[i].spec->swarm != DINK_SWARM_NONE)
			has_nodes[b->plan->layers[i].parent + 1] = true;
	for (size_t i = 0; i <= b->plan->n_layers; i++)
		if (has_nodes[i])
			add_swarm(b, (int)i - 1);
}

/* RUN/NAME/proxy.kata.sock: the address below the instance, dots for slashes as in containers. */
static void add_forward(struct build *b)
{
	struct json_object *list = json_object_new_array();
	size_t skip = strlen(b->plan->scenario->name) + 1;
	struct json_object *o;
	int step;

	for (size_t i = 0; i < b->plan->n_layers; i++) {
		const struct dink_plan_layer *l = &b->plan->layers[i];
		_cleanup_free_ char *listen = NULL;

		if (b->layers[i].ready < 0)
			continue;
		listen = xasprintf("%s/%s.sock", dink_step_run_dir(b->ctx), l->container + skip);
		o = new_params("layer", l->path);
		dink_json_set_str(o, "listen", listen);
		json_object_array_add(list, o);
	}
	o = new_params("instance", b->plan->scenario->name);
	dink_json_set(o, "sockets", list);
	if (json_object_array_length(list) == 0) {
		json_object_put(o);
		return;
	}
	step = dink_steps_add(b->steps, &dink_kind_forward, o, "forward");
	for (size_t i = 0; i < b->plan->n_layers; i++)
		dink_steps_dep(b->steps, step, b->layers[i].ready);
}

static void add_up(struct build *b)
{
	int last = (int)b->steps->n;
	int step = dink_steps_add(b->steps, &dink_kind_up,
				  new_params("instance", b->plan->scenario->name), "up");

	for (size_t i = 0; i < b->plan->n_layers; i++)
		dink_steps_dep(b->steps, step, b->layers[i].container);
	for (int i = 0; i < last; i++)
		if (b->steps->v[i].kind == &dink_kind_swarm)
			dink_steps_dep(b->steps, step, i);
	dink_steps_dep(b->steps, step, last - 1);
}

static int *new_indexes(size_t n)
{
	int *v = xcalloc(n + 1, sizeof(int));

	for (size_t i = 0; i < n; i++)
		v[i] = -1;
	return v;
}

static void free_build(struct build *b)
{
	for (size_t i = 0; i < b->plan->n_layers; i++)
		free(b->layers[i].carry);
	free(b->layers);
	free(b->kernels);
	free(b->guests);
	free(b->images);
	free(b->disks);
	free(b->mounts);
	free(b->files);
	free(b->slow.ready);
	json_object_put(b->loads);
}

static int save_plan(struct dink_step_ctx *ctx, const struct dink_plan *p, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = dink_plan_to_json(p);
	_cleanup_free_ char *text = dink_json_text(o);
	_cleanup_free_ char *path = xasprintf("%s/plan.json", dink_step_dir(ctx));

	return dink_file_write(path, text, strlen(text), 0600, err);
}

int dink_steps_build(struct dink_step_ctx *ctx, const struct dink_plan *p, struct dink_steps *ret,
		     struct dink_err *err)
{
	_cleanup_steps_ struct dink_steps steps = {};
	struct build b = {.ctx = ctx, .plan = p, .steps = &steps, .last_clone = -1};
	int r;

	b.layers = xcalloc(p->n_layers + 1, sizeof(*b.layers));
	b.kernels = new_indexes(p->n_kernels);
	b.guests = new_indexes(p->n_kernels);
	b.images = new_indexes(p->n_images);
	b.disks = new_indexes(p->n_disks);
	b.mounts = new_indexes(p->n_disks);
	b.files = new_indexes(p->scenario->n_files);
	b.loads = dink_json_new();
	for (size_t i = 0; i < p->n_layers; i++)
		b.layers[i].container = b.layers[i].ready = b.layers[i].kvm = -1;
	plan_carries(&b);
	add_kernels(&b);
	add_images(&b);
	add_files(&b);
	add_engine(&b);
	add_disks(&b);
	r = save_plan(ctx, p, err);
	for (size_t i = 0; r == 0 && i < p->n_layers; i++)
		r = need_layer(&b, (int)i, err);
	add_swarms(&b);
	add_forward(&b);
	add_up(&b);
	free_build(&b);
	if (r < 0)
		return r;
	*ret = steps;
	steps = (struct dink_steps){};
	return 0;
}
