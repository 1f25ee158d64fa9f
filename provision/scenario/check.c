/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes sense of one field depends on others: names that must be defined, nesting that is
 * possible, disks with one writer, ports and targets used once. Runs on a model that may have
 * holes where fields were refused: those are passed over, so that one mistake is told once.
 */
#include "provision/scenario/table.h"

#include "provision/base/units.h"

#define MIB		     (1ULL << 20)
#define VM_MEMORY_MIN	     (128 * MIB)
#define VM_DAEMON_MEMORY_MIN (256 * MIB)
#define BTRFS_SIZE_MIN	     (128 * MIB)
#define NAME_LEN_MAX	     63
#define EXT4_LABEL_MAX	     16

struct disk_use {
	const struct dink_disk_spec *spec;
	const struct dink_layer *layer;
	const struct dink_layer_disk *use;
	uint64_t copies; /* of the layer, its own count and its ancestors' */
};

struct check {
	struct dink_scenario *s;
	struct dink_report *report;
	struct disk_use *uses;
	struct disk_use *clones; /* of layers with clone: true */
	size_t n_clones;
	size_t n_uses, cap_uses;
	uint64_t n_layers; /* after count: */
	bool too_many;
};

static bool is_vm(const struct dink_layer *l)
{
	return l->runtime == DINK_RUNTIME_DINK_VM || l->runtime == DINK_RUNTIME_KATA;
}

static bool refused(const struct dink_layer *l, const char *key)
{
	return dink_field_refused(&dink_table_layer, l, key);
}

static const struct dink_field *top_field(const char *key)
{
	const struct dink_field *f = dink_table_scenario.fields;

	while (!STREQ(f->key, key))
		f++;
	return f;
}

void dink_check_hint_definition(const struct dink_scenario *s, struct dink_report *report,
				const char *key, const char *name)
{
	const struct dink_field *f = top_field(key);
	size_t n = dink_field_count(f, s);
	_cleanup_free_ const char **names = xcalloc(n + 1, sizeof(void *));
	const char *near;

	for (size_t i = 0; i < n; i++)
		names[i] = *(char **)((char *)dink_field_member(f, s, i) + f->table->name_offset);
	near = dink_nearest(name, names);
	for (size_t i = 0; near && i < n; i++) {
		const char *member = dink_field_member(f, s, i);
		const struct dink_mark *mark = (const void *)(member + f->table->mark_offset);

		if (names[i] != near)
			continue;
		dink_report_hint(report, "did you mean '%s', defined in line %u?", near,
				 mark->line);
		return;
	}
	dink_report_hint(report, "define it at the top: %s", f->example);
}

static void check_kernel_spec(struct check *c, const struct dink_kernel_spec *k)
{
	bool tarball = k->source && !STREQ(k->source, "debian");

	if (dink_field_refused(&dink_table_kernel, k, "source") ||
	    dink_field_refused(&dink_table_kernel, k, "sha256"))
		return;
	if (tarball && !k->sha256) {
		if (dink_report_at(c->report, k->source_mark,
				   "kernel '%s' is made from a tarball but has no 'sha256'",
				   dink_shown(k->name).s))
			dink_report_hint(c->report, "sha256sum TARBALL prints it");
	} else if (!tarball && k->sha256) {
		if (dink_report_at(c->report, k->sha256_mark,
				   "kernel '%s' has a 'sha256' but no tarball as its source",
				   dink_shown(k->name).s))
			dink_report_hint(c->report, "remove it: Debian's archive is signed");
	}
}

static void check_disk_spec(struct check *c, const struct dink_disk_spec *d)
{
	const char *label = d->label ? d->label : d->name;
	struct dink_mark label_mark = d->label ? d->label_mark : d->mark;

	if (dink_field_refused(&dink_table_disk, d, "filesystem"))
		return;
	if (d->filesystem == DINK_FS_BTRFS && d->size_bytes && d->size_bytes < BTRFS_SIZE_MIN) {
		if (dink_report_at(c->report, d->size_mark,
				   "disk '%s' is too small for btrfs, which needs 128 MiB",
				   dink_shown(d->name).s))
			dink_report_hint(c->report, "size: 128MiB, or filesystem: ext4");
	}
	if (d->filesystem == DINK_FS_BTRFS)
		return;
	if (d->compression != DINK_COMPRESS_NONE &&
	    dink_report_at(c->report, d->compression_mark, "%s cannot compress",
			   dink_filesystem_name(d->filesystem)))
		dink_report_hint(c->report, "filesystem: btrfs, or no compression");
	if (strlen(label) > EXT4_LABEL_MAX && dink_name_is_valid(d->name) &&
	    dink_report_at(c->report, label_mark,
			   "the label '%s' is too long for ext4, which has room for %d bytes",
			   dink_shown(label).s, EXT4_LABEL_MAX))
		dink_report_hint(c->report, "give the disk a shorter label: label: %.*s",
				 EXT4_LABEL_MAX, d->name);
}

static void check_vm_fields(struct check *c, const struct dink_layer *l)
{
	uint64_t least = l->daemon != DINK_DAEMON_NONE ? VM_DAEMON_MEMORY_MIN : VM_MEMORY_MIN;

	if (refused(l, "runtime"))
		return;
	if (!is_vm(l)) {
		if ((l->kernel || refused(l, "kernel")) &&
		    dink_report_at(c->report, l->kernel_mark,
				   "layer '%s' cannot have a kernel of its own: its runtime is %s",
				   dink_shown(l->name).s, dink_runtime_name(l->runtime)))
			dink_report_hint(c->report, "runtime: kata, or no kernel");
		return;
	}
	if (l->memory_bytes && l->memory_bytes < least) {
		_cleanup_free_ char *words = dink_format_size(least);

		if (dink_report_at(c->report, l->memory_mark,
				   "layer '%s' needs at least %s: it is a virtual machine%s",
				   dink_shown(l->name).s, words,
				   l->daemon != DINK_DAEMON_NONE ? " that runs a daemon" : ""))
			dink_report_hint(c->report, "memory: %ju MiB or more",
					 (uintmax_t)(least / MIB));
	}
}

static void check_kernel_name(struct check *c, const struct dink_layer *l)
{
	if (!l->kernel || dink_scenario_kernel(c->s, l->kernel))
		return;
	if (dink_report_at(c->report, l->kernel_mark, "kernel '%s' is not defined",
			   dink_shown(l->kernel).s))
		dink_check_hint_definition(c->s, c->report, "kernels", l->kernel);
}

static void check_daemon(struct check *c, const struct dink_layer *l)
{
	if (refused(l, "daemon"))
		return;
	if (l->daemon == DINK_DAEMON_NONE) {
		if (l->n_children &&
		    dink_report_at(c->report, l->children_mark,
				   "layer '%s' has layers but no daemon to run them",
				   dink_shown(l->name).s))
			dink_report_hint(c->report, "add daemon: docker to layer '%s'",
					 dink_shown(l->name).s);
		return;
	}
	if (l->command.n &&
	    dink_report_at(c->report, l->command_mark,
			   "layer '%s' runs a daemon (%s) and cannot run a command as well",
			   dink_shown(l->name).s, dink_daemon_name(l->daemon)))
		dink_report_hint(c->report, "run it in a layer inside, or by dink exec once the "
					    "layer is up");
}

/* Who may run as a user, and what may start a daemon as a service. */
static void check_rootless(struct check *c, const struct dink_layer *l)
{
	bool service = l->init == DINK_INIT_SYSTEMD || l->init == DINK_INIT_SUPERVISORD;

	if (refused(l, "daemon") || refused(l, "rootless") || refused(l, "init"))
		return;
	if (service && l->daemon == DINK_DAEMON_NONE &&
	    dink_report_at(c->report, l->init_mark, "layer '%s' has %s but no daemon for it to run",
			   dink_shown(l->name).s, dink_init_name(l->init)))
		dink_report_hint(c->report, "add daemon: docker, or take init: tini");
	if (!l->rootless)
		return;
	if (l->daemon == DINK_DAEMON_NONE &&
	    dink_report_at(c->report, l->rootless_mark, "layer '%s' is rootless but runs no daemon",
			   dink_shown(l->name).s))
		dink_report_hint(c->report, "add daemon: podman");
	if (service &&
	    dink_report_at(c->report, l->init_mark, "layer '%s' is rootless, and %s needs root",
			   dink_shown(l->name).s, dink_init_name(l->init)))
		dink_report_hint(c->report, "init: tini");
	if (is_vm(l) && dink_report_at(c->report, l->rootless_mark,
				       "layer '%s' is a virtual machine and cannot be rootless",
				       dink_shown(l->name).s))
		dink_report_hint(c->report, "put a rootless layer into it");
	for (size_t i = 0; i < l->n_children; i++)
		if (is_vm(l->children[i]) &&
		    dink_report_at(c->report, l->children[i]->runtime_mark,
				   "layer '%s' is a virtual machine, which the rootless engine of "
				   "'%s' cannot start",
				   dink_shown(l->children[i]->name).s, dink_shown(l->name).s))
			dink_report_hint(c->report, "runtime: runc, or '%s' without rootless",
					 dink_shown(l->name).s);
}

/* A node's overlay networks are its own kernel's, and it is root there. */
static void check_swarm_node(struct check *c, const struct dink_layer *l)
{
	if (l->swarm == DINK_SWARM_NONE || refused(l, "daemon") || refused(l, "runtime"))
		return;
	if (l->daemon != DINK_DAEMON_DOCKER &&
	    dink_report_at(c->report, l->swarm_mark,
			   "layer '%s' is to be in a swarm and does not run docker",
			   dink_shown(l->name).s))
		dink_report_hint(c->report, "add daemon: docker to layer '%s'",
				 dink_shown(l->name).s);
	if (!is_vm(l) && dink_report_at(c->report, l->swarm_mark,
					"layer '%s' is to be in a swarm and is no virtual machine",
					dink_shown(l->name).s))
		dink_report_hint(c->report, "runtime: kata");
}

/* The layers of one engine are one swarm; somebody has to be its first manager. */
static void check_swarm(struct check *c, struct dink_layer *const *layers, size_t n)
{
	const struct dink_layer *worker = NULL;
	bool managed = false;

	for (size_t i = 0; i < n; i++) {
		const struct dink_layer *l = layers[i];

		check_swarm_node(c, l);
		managed = managed || l->swarm == DINK_SWARM_MANAGER || refused(l, "swarm");
		if (l->swarm == DINK_SWARM_WORKER && !worker)
			worker = l;
	}
	if (worker && !managed &&
	    dink_report_at(c->report, worker->swarm_mark,
			   "layer '%s' is to work in a swarm that no layer manages",
			   dink_shown(worker->name).s))
		dink_report_hint(c->report, "swarm: manager in a layer beside it, or in this one");
}

static void add_disk_use(struct check *c, struct disk_use use)
{
	if (c->n_uses == c->cap_uses) {
		c->cap_uses = c->cap_uses ? c->cap_uses * 2 : 16;
		c->uses = xreallocarray(c->uses, c->cap_uses, sizeof(*c->uses));
	}
	c->uses[c->n_uses++] = use;
}

static void add_clone(struct check *c, struct disk_use use)
{
	c->clones = xreallocarray(c->clones, c->n_clones + 1, sizeof(*c->clones));
	c->clones[c->n_clones++] = use;
}

static void refuse_read_only_clone(struct check *c, const struct dink_layer_disk *d)
{
	if (dink_report_at(c->report, d->mark, "disk '%s' is to be a clone and read-only",
			   dink_shown(d->disk).s))
		dink_report_hint(c->report, "layers that only read a disk can share it: leave out "
					    "clone: true");
}

/* What another podman may change is no store to read from; Docker reads no store but its own. */
static void check_image_store(struct check *c, const struct dink_layer *l,
			      const struct dink_layer_disk *d)
{
	if (!d->read_only &&
	    dink_report_at(c->report, d->mark, "disk '%s' is an image store and not read-only",
			   dink_shown(d->disk).s))
		dink_report_hint(c->report, "read_only: true");
	if (l->daemon != DINK_DAEMON_PODMAN && !refused(l, "daemon") &&
	    dink_report_at(c->report, d->mark,
			   "disk '%s' is an image store, and layer '%s' does not run podman",
			   dink_shown(d->disk).s, dink_shown(l->name).s))
		dink_report_hint(c->report, "daemon: podman; Docker gets a store of its own by "
					    "clone: true");
}

static void check_disk_names(struct check *c, const struct dink_layer *l, uint64_t copies)
{
	for (size_t i = 0; i < l->n_disks; i++) {
		const struct dink_layer_disk *d = &l->disks[i];
		const struct dink_disk_spec *spec = dink_scenario_disk(c->s, d->disk);

		if (d->clone && d->read_only)
			refuse_read_only_clone(c, d);
		if (d->image_store)
			check_image_store(c, l, d);
		if (spec && d->clone) {
			add_clone(c, (struct disk_use){spec, l, d, copies});
			continue;
		}
		if (spec && d->target) {
			add_disk_use(c, (struct disk_use){spec, l, d, copies});
			continue;
		}
		if (spec || !dink_name_is_valid(d->disk))
			continue; /* told already: no target, or a bad name */
		if (dink_report_at(c->report, d->mark, "disk '%s' is not defined",
				   dink_shown(d->disk).s))
			dink_check_hint_definition(c->s, c->report, "disks", d->disk);
	}
}

static void refuse_target_again(void *ctx, const struct dink_once *later,
				const struct dink_once *first)
{
	struct check *c = ctx;
	const struct dink_layer *l = later->ctx;

	if (dink_report_at(c->report, later->mark, "layer '%s' has two mounts on '%s'",
			   dink_shown(l->name).s, dink_shown(later->text).s))
		dink_report_hint(c->report, "the other one is in line %u", first->mark.line);
}

static void check_mounts(struct check *c, struct dink_layer *l)
{
	size_t n = 0;
	_cleanup_free_ struct dink_once *list =
		xcalloc(l->n_disks + l->n_files + l->n_mounts + 1, sizeof(*list));

	for (size_t i = 0; i < l->n_disks; i++) {
		if (l->disks[i].target)
			list[n++] = (struct dink_once){l->disks[i].target, l->disks[i].mark, l};
	}
	for (size_t i = 0; i < l->n_files; i++) {
		if (l->files[i].target)
			list[n++] = (struct dink_once){l->files[i].target, l->files[i].mark, l};
	}
	for (size_t i = 0; i < l->n_mounts; i++) {
		const struct dink_layer_mount *m = &l->mounts[i];

		if (m->target)
			list[n++] = (struct dink_once){m->target, m->mark, l};
		if (l->parent &&
		    dink_report_at(c->report, m->mark,
				   "layer '%s' is inside '%s' and cannot mount what is on the host",
				   dink_shown(l->name).s, dink_shown(l->parent->name).s))
			dink_report_hint(c->report, "only layers on the host have mounts; for "
						    "layers inside, use files:, a disk or the "
						    "image");
	}
	dink_once_check(list, n, refuse_target_again, c);
}

/* Ports of the layers of one engine. */
struct port_use {
	const struct dink_layer *layer;
	const struct dink_layer_port *port;
};

/* NULL for all addresses, which sorts first */
static const char *port_address(const struct dink_layer_port *p)
{
	return p->address && !STREQ(p->address, "0.0.0.0") && !STREQ(p->address, "::") ? p->address
										       : "";
}

static int compare_places(struct dink_mark a, struct dink_mark b)
{
	if (a.line != b.line)
		return a.line < b.line ? -1 : 1;
	return a.col < b.col ? -1 : a.col > b.col;
}

static int compare_ports(const void *pa, const void *pb)
{
	const struct dink_layer_port *a = ((const struct port_use *)pa)->port;
	const struct dink_layer_port *b = ((const struct port_use *)pb)->port;
	int r;

	if (a->udp != b->udp)
		return a->udp ? 1 : -1;
	if (a->outer != b->outer)
		return a->outer < b->outer ? -1 : 1;
	r = strcmp(port_address(a), port_address(b));
	return r ? r : compare_places(a->mark, b->mark);
}

static void refuse_port_again(struct check *c, const struct port_use *a, const struct port_use *b)
{
	bool a_first = compare_places(a->port->mark, b->port->mark) < 0;
	const struct port_use *first = a_first ? a : b, *later = a_first ? b : a;

	if (dink_report_at(c->report, later->port->mark,
			   "port %u%s is published already by layer '%s'", later->port->outer,
			   later->port->udp ? "/udp" : "", dink_shown(first->layer->name).s))
		dink_report_hint(c->report, "in line %u; take another port or another address",
				 first->port->mark.line);
}

static void check_ports(struct check *c, struct dink_layer *const *layers, size_t n)
{
	_cleanup_free_ struct port_use *list = NULL;
	size_t total = 0, used = 0, group = 0;

	for (size_t i = 0; i < n; i++)
		total += layers[i]->n_ports;
	list = xcalloc(total + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		const struct dink_layer *l = layers[i];

		for (size_t k = 0; k < l->n_ports; k++) {
			if (!l->ports[k].outer)
				continue; /* refused */
			list[used++] = (struct port_use){l, &l->ports[k]};
			if (l->count > 1 &&
			    dink_report_at(c->report, l->ports[k].mark,
					   "port %u would be published by each of the %u copies of "
					   "layer '%s'",
					   l->ports[k].outer, l->count, dink_shown(l->name).s))
				dink_report_hint(c->report, "write the layers one by one, each "
							    "with its own port");
		}
	}
	qsort(list, used, sizeof(*list), compare_ports);
	for (size_t i = 1; i < used; i++) {
		const struct dink_layer_port *g = list[group].port, *p = list[i].port;

		if (g->udp != p->udp || g->outer != p->outer) {
			group = i;
			continue;
		}
		if (!*port_address(g))
			refuse_port_again(c, &list[group], &list[i]);
		else if (STREQ(port_address(list[i - 1].port), port_address(p)))
			refuse_port_again(c, &list[i - 1], &list[i]);
	}
}

static int compare_layers(const void *pa, const void *pb)
{
	const struct dink_layer *const *a = pa, *const *b = pb;

	return strcmp((*a)->name, (*b)->name);
}

static const struct dink_layer *find_layer(const struct dink_layer **sorted, size_t n,
					   const char *name)
{
	struct dink_layer key = {.name = (char *)name};
	const struct dink_layer *keyp = &key;
	const struct dink_layer **found;

	found = bsearch(&keyp, sorted, n, sizeof(void *), compare_layers);
	return found ? *found : NULL;
}

/* A layer called web-2 beside a layer web with count: 3. */
static void check_copy_name(struct check *c, const struct dink_layer *l,
			    const struct dink_layer **sorted, size_t n)
{
	const char *dash = strrchr(l->name, '-');
	_cleanup_free_ char *prefix = NULL;
	const struct dink_layer *other;
	uint32_t number = 0;

	if (l->count != 1 || !dash || dash == l->name || dash[1] < '1' || dash[1] > '9' ||
	    strlen(dash + 1) > 4 || strspn(dash + 1, "0123456789") != strlen(dash + 1))
		return;
	for (const char *p = dash + 1; *p; p++)
		number = number * 10 + (uint32_t)(*p - '0');
	prefix = xstrndup(l->name, (size_t)(dash - l->name));
	other = find_layer(sorted, n, prefix);
	if (!other || other->count < 2 || number > other->count)
		return;
	if (dink_report_at(c->report, l->mark, "layer '%s' has the name of a copy of layer '%s'",
			   dink_shown(l->name).s, dink_shown(prefix).s))
		dink_report_hint(c->report, "'%s' in line %u has count: %u", dink_shown(prefix).s,
				 other->mark.line, other->count);
}

static void check_copies(struct check *c, struct dink_layer *const *layers, size_t n)
{
	_cleanup_free_ const struct dink_layer **sorted = xcalloc(n + 1, sizeof(void *));

	for (size_t i = 0; i < n; i++)
		sorted[i] = layers[i];
	qsort(sorted, n, sizeof(void *), compare_layers);
	for (size_t i = 0; i < n; i++) {
		const struct dink_layer *l = layers[i];
		size_t digits = l->count < 10 ? 1 : l->count < 100 ? 2 : l->count < 1000 ? 3 : 4;

		check_copy_name(c, l, sorted, n);
		if (l->count > 1 && dink_name_is_valid(l->name) &&
		    strlen(l->name) + 1 + digits > NAME_LEN_MAX &&
		    dink_report_at(c->report, l->mark,
				   "'%s-%u' would be too long for a name (%d characters at most)",
				   dink_shown(l->name).s, l->count, NAME_LEN_MAX))
			dink_report_hint(c->report, "shorten the layer's name");
	}
}

static void count_layer(struct check *c, const struct dink_layer *l, uint64_t copies)
{
	c->n_layers += copies;
	if (c->n_layers <= DINK_LAYERS_MAX || c->too_many)
		return;
	c->too_many = true;
	dink_report_at(c->report, l->count > 1 ? l->count_mark : l->mark,
		       "a scenario has at most %d layers, and with layer '%s' there are more",
		       DINK_LAYERS_MAX, dink_shown(l->name).s);
}

static void check_layers(struct check *c, struct dink_layer *const *layers, size_t n, int depth,
			 uint64_t outer_copies)
{
	check_ports(c, layers, n);
	check_copies(c, layers, n);
	check_swarm(c, layers, n);
	for (size_t i = 0; i < n; i++) {
		struct dink_layer *l = layers[i];
		uint64_t copies = outer_copies * l->count;

		if (depth > DINK_LAYER_DEPTH_MAX) {
			dink_report_at(c->report, l->mark, "layer '%s' is %d deep; %d is the most",
				       dink_shown(l->name).s, depth, DINK_LAYER_DEPTH_MAX);
			continue;
		}
		/* saturate: a thousand copies eight deep is more than fits */
		if (copies > DINK_LAYERS_MAX + 1)
			copies = DINK_LAYERS_MAX + 1;
		count_layer(c, l, copies);
		check_vm_fields(c, l);
		check_kernel_name(c, l);
		check_daemon(c, l);
		check_rootless(c, l);
		check_disk_names(c, l, copies);
		check_mounts(c, l);
		check_layers(c, l->children, l->n_children, depth + 1, copies);
	}
}

static int compare_uses(const void *pa, const void *pb)
{
	const struct disk_use *a = pa, *b = pb;

	if (a->spec != b->spec)
		return a->spec < b->spec ? -1 : 1;
	return compare_places(a->use->mark, b->use->mark);
}

static void refuse_second_use(struct check *c, const struct disk_use *first,
			      const struct disk_use *later)
{
	bool kept;

	if (first->use->read_only)
		kept = dink_report_at(c->report, later->use->mark,
				      "disk '%s' cannot be writable in layer '%s': layer '%s' uses "
				      "it too",
				      dink_shown(first->spec->name).s,
				      dink_shown(later->layer->name).s,
				      dink_shown(first->layer->name).s);
	else
		kept = dink_report_at(c->report, later->use->mark,
				      "disk '%s' is writable in layer '%s' already; layer '%s' "
				      "cannot use it at the same time",
				      dink_shown(first->spec->name).s,
				      dink_shown(first->layer->name).s,
				      dink_shown(later->layer->name).s);
	if (kept)
		dink_report_hint(c->report,
				 "the other use is in line %u; layers share a disk only "
				 "if all of them have read_only: true",
				 first->use->mark.line);
}

static void check_disk_uses(struct check *c)
{
	const struct disk_use *writer = NULL;

	if (c->n_uses == 0)
		return;
	qsort(c->uses, c->n_uses, sizeof(*c->uses), compare_uses);
	for (size_t i = 0; i < c->n_uses; i++) {
		const struct disk_use *u = &c->uses[i];
		bool is_first = i == 0 || c->uses[i - 1].spec != u->spec;

		if (is_first)
			writer = NULL;
		if (!u->use->read_only && u->copies > 1 &&
		    dink_report_at(
			    c->report, u->use->mark,
			    "disk '%s' would be writable in each of %s%ju copies of layer "
			    "'%s'",
			    dink_shown(u->spec->name).s,
			    u->copies > DINK_LAYERS_MAX ? "more than " : "",
			    (uintmax_t)(u->copies > DINK_LAYERS_MAX ? DINK_LAYERS_MAX : u->copies),
			    dink_shown(u->layer->name).s))
			dink_report_hint(c->report,
					 "clone: true, read_only: true, or one layer without count "
					 "for each disk");
		if (!is_first && (writer || !u->use->read_only))
			refuse_second_use(c, writer ? writer : u - 1, u);
		if (!writer && !u->use->read_only)
			writer = u;
	}
}

static bool is_inside(const struct dink_layer *l, const struct dink_layer *outer)
{
	for (; l; l = l->parent)
		if (l == outer)
			return true;
	return false;
}

/* The first of the uses of a disk: they are in its order. */
static size_t first_use(const struct check *c, const struct dink_disk_spec *spec)
{
	size_t lo = 0, hi = c->n_uses;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->uses[mid].spec < spec)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* A clone is made of what the disk's writer made of it: so the writer comes up before the clone. */
static void check_clones(struct check *c)
{
	for (size_t i = 0; i < c->n_clones; i++) {
		const struct disk_use *k = &c->clones[i];

		for (size_t u = first_use(c, k->spec); u < c->n_uses; u++) {
			const struct disk_use *w = &c->uses[u];

			if (w->spec != k->spec)
				break;
			if (w->use->read_only || !is_inside(w->layer, k->layer))
				continue;
			if (dink_report_at(c->report, k->use->mark,
					   "layer '%s' cannot have a clone of disk '%s', which is "
					   "written inside it",
					   dink_shown(k->layer->name).s,
					   dink_shown(k->spec->name).s))
				dink_report_hint(c->report,
						 "the disk is mounted in line %u; a "
						 "layer beside this one can write it",
						 w->use->mark.line);
		}
	}
}

void dink_scenario_check(struct dink_scenario *s, struct dink_report *report)
{
	struct check c = {.s = s, .report = report};

	for (size_t i = 0; i < s->n_kernels; i++)
		check_kernel_spec(&c, &s->kernels[i]);
	for (size_t i = 0; i < s->n_disks; i++)
		check_disk_spec(&c, &s->disks[i]);
	check_layers(&c, s->layers, s->n_layers, 1, 1);
	check_disk_uses(&c);
	check_clones(&c);
	dink_check_share(s, report);
	free(c.uses);
	free(c.clones);
}

static void check_image_names(const struct dink_scenario *s, const struct dink_strv *shipped,
			      struct dink_layer *const *layers, size_t n,
			      struct dink_report *report)
{
	for (size_t i = 0; i < n; i++) {
		const struct dink_layer *l = layers[i];

		check_image_names(s, shipped, l->children, l->n_children, report);
		if (dink_scenario_image(s, l->image) || dink_strv_has(shipped, l->image))
			continue;
		if (!dink_report_at(report, l->image_mark,
				    "image '%s' is not listed, and none that ships with dink",
				    l->image))
			continue;
		_cleanup_strv_ struct dink_strv names = {};
		_cleanup_free_ char *known = dink_strv_join(shipped, ", ");

		for (size_t k = 0; k < s->n_images; k++)
			dink_strv_add(&names, s->images[k].name);
		dink_strv_addv(&names, shipped->v);
		const char *near =
			names.n ? dink_nearest(l->image, (const char *const *)names.v) : NULL;

		if (near)
			dink_report_hint(report, "did you mean '%s'?", near);
		else
			dink_report_hint(report,
					 "dink has %s; another one is listed at the top: images: "
					 "{%s: {registry: REFERENCE}}",
					 known, l->image);
	}
}

int dink_scenario_check_images(const struct dink_scenario *s, const struct dink_strv *shipped,
			       struct dink_problems *problems)
{
	struct dink_report report = {};

	check_image_names(s, shipped, s->layers, s->n_layers, &report);
	if (!report.n)
		return 0;
	dink_report_finish(&report, s->file, s->text, strlen(s->text), problems);
	return -EINVAL;
}
