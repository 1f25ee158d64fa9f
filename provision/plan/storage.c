/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks, and the storage driver of each daemon, always by name: a daemon left to guess falls to
 * vfs where it cannot use overlay, which copies whole images.
 */
#include "provision/plan/internal.h"

#define SCRATCH_BYTES (10ull << 30)

char *dink_plan_data_root(const struct dink_layer *l)
{
	const char *name = l->daemon == DINK_DAEMON_PODMAN ? "containers" : "docker";

	if (l->daemon == DINK_DAEMON_NONE)
		return NULL;
	if (l->rootless)
		return xasprintf("/home/%s/.local/share/%s", l->rootless, name);
	return xasprintf("/var/lib/%s", name);
}

static int add_disk(struct dink_plan *p, size_t *cap, const struct dink_disk_spec *spec,
		    struct dink_disk_spec *own)
{
	if (p->n_disks == *cap) {
		*cap = *cap ? *cap * 2 : 8;
		p->disks = xreallocarray(p->disks, *cap, sizeof(*p->disks));
	}
	p->disks[p->n_disks] = (struct dink_plan_disk){
		.name = xstrdup(spec->name),
		.file = xasprintf("disks/%s.img", spec->name),
		.spec = spec,
		.own = own,
		.scratch = own != NULL,
		.clone_of = -1,
	};
	return (int)p->n_disks++;
}

static void use_disk(struct dink_plan_layer *l, int disk, const char *target, bool read_only)
{
	l->disks = xreallocarray(l->disks, l->n_disks + 1, sizeof(*l->disks));
	l->disks[l->n_disks++] = (struct dink_plan_mount){
		.disk = disk, .target = xstrdup(target), .read_only = read_only};
}

static int find_disk(const struct dink_plan *p, const char *name)
{
	for (size_t i = 0; i < p->scenario->n_disks; i++)
		if (STREQ(p->scenario->disks[i].name, name))
			return (int)i; /* the scenario's disks come first, in its order */
	return -1;
}

/* What a layer's own disk is called: host-1 of "net" has net's "store" as "store.host-1". */
static char *name_own(const struct dink_plan *p, const struct dink_plan_layer *l, const char *disk)
{
	return xasprintf("%s.%s", disk, l->container + strlen(p->scenario->name) + 1);
}

static int add_clone(struct dink_plan *p, size_t *cap, const struct dink_plan_layer *l, int of)
{
	char *name = name_own(p, l, p->disks[of].name);
	int i = add_disk(p, cap, p->disks[of].spec, NULL);
	struct dink_plan_disk *d = &p->disks[i];

	free(d->name);
	free(d->file);
	d->name = name;
	d->file = xasprintf("disks/%s.img", name);
	d->clone_of = of;
	return i;
}

int dink_plan_writer(const struct dink_plan *p, int disk)
{
	for (size_t i = 0; i < p->n_layers; i++)
		for (size_t d = 0; d < p->layers[i].n_disks; d++)
			if (p->layers[i].disks[d].disk == disk && !p->layers[i].disks[d].read_only)
				return (int)i;
	return -1;
}

/* Only a guest can be brought to rest for the moment in which its disk is cloned. */
static int check_clones(struct dink_plan *p, struct dink_err *err)
{
	for (size_t i = 0; i < p->n_disks; i++) {
		const struct dink_plan_disk *d = &p->disks[i];
		int writer = d->clone_of < 0 ? -1 : dink_plan_writer(p, d->clone_of);

		if (writer < 0 || p->layers[writer].is_vm)
			continue;
		dink_plan_layer_error(
			p, &p->layers[writer], DINK_E_SCENARIO, err,
			"layer %s writes disk %s, which others have clones of, and is "
			"no virtual machine",
			p->layers[writer].path, p->disks[d->clone_of].name);
		return dink_err_hint(err, "runtime: kata, or let nobody write it");
	}
	return 0;
}

/* The disk of l under its daemon's store: mounted at the data root or at a folder above it. */
static const struct dink_plan_mount *disk_under(const struct dink_plan_layer *l, const char *root)
{
	for (size_t i = 0; i < l->n_disks; i++) {
		const char *t = l->disks[i].target;
		size_t n = strlen(t);

		if (strncmp(root, t, n) == 0 && (root[n] == '\0' || root[n] == '/'))
			return &l->disks[i];
	}
	return NULL;
}

/* overlay2 for docker is called overlay by podman; btrfs is btrfs in both. */
static const char *driver_on(enum dink_daemon d, bool btrfs)
{
	if (btrfs)
		return "btrfs";
	return d == DINK_DAEMON_PODMAN ? "overlay" : "overlay2";
}

/* A VM's root is a tmpfs overlay or a share, and neither may hold a daemon's store. */
static void derive_scratch(struct dink_plan *p, size_t *cap, struct dink_plan_layer *l)
{
	struct dink_disk_spec *own = xcalloc(1, sizeof(*own));
	_cleanup_free_ char *root = dink_plan_data_root(l->spec);

	own->name = name_own(p, l, "scratch");
	own->size_bytes = SCRATCH_BYTES;
	own->filesystem = DINK_FS_EXT4;
	use_disk(l, add_disk(p, cap, own, own), root, false);
}

static int choose_driver(struct dink_plan *p, size_t *cap, struct dink_plan_layer *l,
			 const struct dink_facts *f, bool in_vm, struct dink_err *err)
{
	_cleanup_free_ char *root = dink_plan_data_root(l->spec);
	const struct dink_plan_mount *m = disk_under(l, root);
	const struct dink_disk_spec *spec;

	if (!m && l->runtime == DINK_RUNTIME_DINK_VM) {
		derive_scratch(p, cap, l);
		m = &l->disks[l->n_disks - 1];
	}
	if (m && m->read_only)
		return dink_plan_layer_error(p, l, DINK_E_SCENARIO, err,
					     "layer %s runs %s, and the disk under %s is read-only",
					     l->path, dink_daemon_name(l->spec->daemon), root);
	if (m) {
		spec = p->disks[m->disk].spec;
		l->storage_driver =
			xstrdup(driver_on(l->spec->daemon, spec->filesystem == DINK_FS_BTRFS));
		l->storage_reason = xasprintf(
			"%s disk %s%s at %s", dink_filesystem_name(spec->filesystem), spec->name,
			p->disks[m->disk].scratch ? " (derived)" : "", m->target);
		return 0;
	}
	if (!in_vm && !f->overlay.ok) {
		dink_err_set(err, DINK_E_HOST, 0,
			     "layer %s runs %s on a volume, and overlay is not usable here: %s",
			     l->path, dink_daemon_name(l->spec->daemon),
			     f->overlay.why ? f->overlay.why : "");
		return dink_err_hint(err, "give the layer a btrfs disk: disks: {NAME: %s}", root);
	}
	l->data_volume = true;
	l->storage_driver = xstrdup(driver_on(l->spec->daemon, false));
	l->storage_reason = xasprintf("a volume of the parent's engine at %s", root);
	return 0;
}

static int check_host_mounts(const struct dink_plan *p, const struct dink_plan_layer *l,
			     const struct dink_facts *f, bool in_vm, struct dink_err *err)
{
	if (in_vm || l->n_disks == 0)
		return 0;
	if (!f->loop.ok) {
		dink_plan_layer_error(
			p, l, DINK_E_HOST, err,
			"layer %s mounts disk %s on this host, and loop devices are not "
			"usable: %s",
			l->path, p->disks[l->disks[0].disk].name,
			f->loop.why ? f->loop.why : "not probed");
		return dink_err_hint(err, "%s, or make the layer a VM (runtime: kata)",
				     f->uid == 0 ? "modprobe loop" : "run dink as root");
	}
	for (size_t i = 0; i < l->n_disks; i++) {
		const struct dink_plan_disk *d = &p->disks[l->disks[i].disk];

		if (d->spec->filesystem == DINK_FS_BTRFS && !f->btrfs.ok) {
			dink_plan_layer_error(
				p, l, DINK_E_HOST, err,
				"layer %s mounts the btrfs disk %s on this host, which "
				"cannot: %s",
				l->path, d->name, f->btrfs.why ? f->btrfs.why : "not probed");
			return dink_err_hint(err, "modprobe btrfs, or set filesystem: ext4");
		}
	}
	return 0;
}

/* Podman's overlay driver reads other stores beside its own, its btrfs driver does not. */
static int check_image_stores(const struct dink_plan *p, const struct dink_plan_layer *l,
			      struct dink_err *err)
{
	for (size_t i = 0; i < l->n_disks; i++) {
		const struct dink_plan_mount *m = &l->disks[i];

		if (!m->image_store || STREQ(l->storage_driver, "overlay"))
			continue;
		dink_plan_layer_error(p, l, DINK_E_SCENARIO, err,
				      "layer %s keeps images with %s, and podman reads the image "
				      "store %s with overlay only",
				      l->path, l->storage_driver, p->disks[m->disk].name);
		return dink_err_hint(err, "filesystem: ext4 for both disks");
	}
	return 0;
}

int dink_plan_storage(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err)
{
	_cleanup_free_ bool *in_vm = xcalloc(p->n_layers + 1, sizeof(bool));
	size_t cap = 0;
	int r;

	for (size_t i = 0; i < p->scenario->n_disks; i++)
		add_disk(p, &cap, &p->scenario->disks[i], NULL);
	for (size_t i = 0; i < p->n_layers; i++) {
		struct dink_plan_layer *l = &p->layers[i];

		in_vm[i] = l->is_vm || (l->parent >= 0 && in_vm[l->parent]);
		for (size_t d = 0; d < l->spec->n_disks; d++) {
			const struct dink_layer_disk *want = &l->spec->disks[d];
			int disk = find_disk(p, want->disk);

			if (disk < 0)
				return dink_plan_layer_error(p, l, DINK_E_SCENARIO, err,
							     "layer %s uses disk %s, which is not "
							     "under disks:",
							     l->path, want->disk);
			if (want->clone)
				disk = add_clone(p, &cap, l, disk);
			use_disk(l, disk, want->target, want->read_only);
			l->disks[l->n_disks - 1].image_store = want->image_store;
		}
		r = check_host_mounts(p, l, f, in_vm[i], err);
		if (r == 0 && l->spec->daemon != DINK_DAEMON_NONE)
			r = choose_driver(p, &cap, l, f, in_vm[i], err);
		if (r == 0)
			r = check_image_stores(p, l, err);
		if (r < 0)
			return r;
	}
	return check_clones(p, err);
}
