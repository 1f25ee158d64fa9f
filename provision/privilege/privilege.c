/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a layer and its descendants do to the set of grants it gets, checked against what the
 * host can give. Pure.
 *
 * Outward: a namespace child lives under its parent's seccomp filter, bounding set and devices, so
 * its capabilities, system calls and devices become needs of the parent. Its mounts, sysctls and
 * namespaces are made by the parent's daemon and cost the parent nothing more. A VM child's own
 * grants hold inside the guest and stop at its walls.
 */
#include "provision/privilege/privilege.h"

#include "provision/base/json.h"
#include "provision/privilege/needs.h"

#include <inttypes.h>
#include <linux/capability.h>

#define NO_MEMLOCK "memlock=-1:-1"

struct collector {
	const struct dink_facts *facts;
	bool official_kata;
	struct dink_privileges *out;
};

static bool is_vm(enum dink_runtime r)
{
	return r == DINK_RUNTIME_DINK_VM || r == DINK_RUNTIME_KATA;
}

/* Whether what the layer's processes do happens under a guest's kernel. */
static bool in_guest(const struct dink_layer *layer)
{
	for (; layer; layer = layer->parent)
		if (is_vm(layer->runtime))
			return true;
	return false;
}

static bool flows_outward(enum dink_grant_kind kind)
{
	return kind == DINK_GRANT_CAPABILITY || kind == DINK_GRANT_SYSCALL ||
	       kind == DINK_GRANT_DEVICE || kind == DINK_GRANT_LSM;
}

static struct dink_grant *find_grant(const struct dink_privileges *p, enum dink_grant_kind kind,
				     const char *what)
{
	for (size_t i = 0; i < p->n_grants; i++)
		if (p->grants[i].kind == kind && STREQ(p->grants[i].what, what))
			return &p->grants[i];
	return NULL;
}

bool dink_privileges_have(const struct dink_privileges *p, enum dink_grant_kind kind,
			  const char *what)
{
	return find_grant(p, kind, what) != NULL;
}

bool dink_privileges_unmask(const struct dink_privileges *p, const char *path)
{
	return dink_privileges_have(p, DINK_GRANT_UNMASK, path) ||
	       dink_privileges_have(p, DINK_GRANT_UNMASK, "*") ||
	       (dink_starts_with(path, "/proc/") &&
		dink_privileges_have(p, DINK_GRANT_UNMASK, "/proc"));
}

static void add_grant(struct dink_privileges *p, enum dink_grant_kind kind, const char *what,
		      char *reason)
{
	struct dink_grant *g = find_grant(p, kind, what);

	if (!g) {
		p->grants = xreallocarray(p->grants, p->n_grants + 1, sizeof(*p->grants));
		g = &p->grants[p->n_grants++];
		*g = (struct dink_grant){.kind = kind, .what = xstrdup(what)};
	}
	dink_strv_own(&g->reasons, reason);
}

bool dink_privileges_leave_out(struct dink_privileges *p, enum dink_grant_kind kind,
			       const char *what)
{
	struct dink_grant *g = find_grant(p, kind, what);

	if (!g)
		return false;
	if (kind == DINK_GRANT_SYSCALL)
		dink_strv_add(&p->denied, what);
	free(g->what);
	dink_strv_clear(&g->reasons);
	p->n_grants--;
	memmove(g, g + 1, (size_t)(p->grants + p->n_grants - g) * sizeof(*g));
	return true;
}

/*
 * The needs of whoever starts children with these runtimes. Only the host's engine can name the
 * official Kata; in a layer's daemon dink-vm stands in for it.
 */
static uint32_t child_needs(const struct collector *c, struct dink_layer *const *children, size_t n,
			    bool kvm)
{
	uint32_t needs = 0;

	for (size_t i = 0; i < n; i++) {
		enum dink_runtime r = children[i]->runtime;

		if (r == DINK_RUNTIME_KATA && c->official_kata && !children[i]->parent)
			needs |= 1u << DINK_NEED_KATA_CHILD;
		else if (is_vm(r))
			needs |= 1u << DINK_NEED_VM_CHILD;
		else if (r == DINK_RUNTIME_RUNSC)
			needs |= 1u << DINK_NEED_RUNSC_CHILD;
		else
			needs |= 1u << DINK_NEED_RUNC_CHILD;
		if (r == DINK_RUNTIME_CRUN && children[i]->parent &&
		    children[i]->parent->daemon == DINK_DAEMON_DOCKER)
			needs |= 1u << DINK_NEED_CRUN_CHILD;
		if (children[i]->rootless)
			needs |= 1u << DINK_NEED_USER_CHILD;
	}
	if (kvm && (needs & 1u << DINK_NEED_VM_CHILD))
		needs |= 1u << DINK_NEED_KVM;
	return needs;
}

/*
 * Whether there is a KVM for the layer to use: the host's where it was proved to work; in a guest
 * of ours that guest's own, which is proved when the guest is up and left alone if it does not work.
 * A namespace layer in a guest does without: its engine refuses a device that the guest lacks.
 */
static bool has_kvm(const struct collector *c, const struct dink_layer *l)
{
	if (is_vm(l->runtime))
		return !c->official_kata;
	return !in_guest(l) && c->facts->kvm.ok;
}

/* What the scenario says of the layer's programs. */
static uint32_t declared_needs(const struct dink_layer *l)
{
	uint32_t needs = 0;

	for (size_t i = 0; i < l->needs.n; i++)
		needs |= 1u << dink_need_from_name(l->needs.v[i]);
	return dink_need_with_implied(needs);
}

/* A layer with a daemon also starts what its user asks of that daemon: runc's containers. */
static uint32_t layer_needs(const struct collector *c, const struct dink_layer *l)
{
	uint32_t needs = declared_needs(l);

	if (l->daemon == DINK_DAEMON_NONE)
		return needs;
	if (l->rootless)
		return needs | dink_need_with_implied(1u << DINK_NEED_ROOTLESS_DAEMON);
	if (l->init == DINK_INIT_SYSTEMD)
		needs |= dink_need_with_implied(1u << DINK_NEED_SYSTEMD_INIT);
	if (l->init == DINK_INIT_SUPERVISORD)
		needs |= dink_need_with_implied(1u << DINK_NEED_SUPERVISOR_INIT);
	if (l->swarm != DINK_SWARM_NONE)
		needs |= 1u << DINK_NEED_SWARM_NODE;
	needs |= child_needs(c, l->children, l->n_children, has_kvm(c, l));
	needs |= 1u << DINK_NEED_RUNC_CHILD | 1u << DINK_NEED_CGROUP_WRITE;
	needs |= 1u << (l->daemon == DINK_DAEMON_PODMAN ? DINK_NEED_PODMAN_DAEMON
							: DINK_NEED_DOCKER_DAEMON);
	return needs;
}

static bool has_disk_at(const struct dink_layer *l, const char *target)
{
	for (size_t i = 0; target && i < l->n_disks; i++)
		if (STREQ(l->disks[i].target, target))
			return true;
	return false;
}

/* The need by which a layer mounts; DINK_NEED_MAX_ if it does not. */
static enum dink_need mounting_need(uint32_t needs)
{
	for (size_t i = 0; i < dink_n_need_grants; i++) {
		const struct dink_need_grant *row = &dink_need_grants[i];

		if ((needs & 1u << row->need) &&
		    ((row->kind == DINK_GRANT_CAPABILITY && STREQ(row->what, "CAP_SYS_ADMIN")) ||
		     (row->kind == DINK_GRANT_SYSCALL && STREQ(row->what, "mount"))))
			return row->need;
	}
	return DINK_NEED_MAX_;
}

/* The engine's security modules deny mounts, whatever was granted; only on the host. */
static void add_lsm(const struct collector *c, const struct dink_layer *l, const char *path,
		    uint32_t needs)
{
	enum dink_need need = mounting_need(needs);

	if (need == DINK_NEED_MAX_ || in_guest(l))
		return;
	if (c->facts->apparmor)
		add_grant(c->out, DINK_GRANT_LSM, "apparmor=unconfined",
			  xasprintf("%s %s: the engine's AppArmor profile denies every mount", path,
				    dink_need_text(need)));
	if (c->facts->selinux)
		add_grant(c->out, DINK_GRANT_LSM, "label=disable",
			  xasprintf("%s %s: the engine's SELinux domain denies mounts", path,
				    dink_need_text(need)));
}

static void collect(const struct collector *c, const struct dink_layer *l, const char *path,
		    bool from_below)
{
	uint32_t needs = layer_needs(c, l);

	for (size_t i = 0; i < dink_n_need_grants; i++) {
		const struct dink_need_grant *row = &dink_need_grants[i];

		if (!(needs & 1u << row->need) || (from_below && !flows_outward(row->kind)))
			continue;
		if (row->kind == DINK_GRANT_MOUNT && dink_starts_with(row->what, "volume ") &&
		    has_disk_at(l, dink_need_store(row->need)))
			continue;
		add_grant(c->out, row->kind, row->what,
			  xasprintf("%s %s: %s", path, dink_need_text(row->need), row->why));
	}
	add_lsm(c, l, path, needs);
	for (size_t i = 0; i < l->n_children; i++) {
		_cleanup_free_ char *child = NULL;

		if (is_vm(l->children[i]->runtime))
			continue;
		child = xasprintf("%s/%s", path, l->children[i]->name);
		collect(c, l->children[i], child, true);
	}
}

static void add_limit(const struct collector *c, const char *path, const char *name, uint64_t hard)
{
	_cleanup_free_ char *what = NULL;

	if (hard == UINT64_MAX)
		return;
	what = xasprintf("%s=%" PRIu64 ":%" PRIu64, name, hard, hard);
	add_grant(c->out, DINK_GRANT_RLIMIT, what,
		  xasprintf("%s is started by Podman, whose default is over the host's hard limit",
			    path));
}

static bool in_podman(const struct dink_facts *f, const struct dink_layer *l)
{
	return l->parent ? l->parent->daemon == DINK_DAEMON_PODMAN
			 : f->n_engines > 0 && f->engines[0].kind == DINK_ENGINE_PODMAN;
}

/*
 * Docker lets each container use the console device, so that a daemon that has no more than a
 * Podman container's devices cannot start any: cgroup v1 refuses the rule (v2 asks nobody).
 * Podman 4.3 takes no rule without a device.
 */
static void add_device_rules(const struct collector *c, const struct dink_layer *l,
			     const char *path)
{
	if (l->daemon == DINK_DAEMON_DOCKER && in_podman(c->facts, l) && !in_guest(l) &&
	    c->facts->cgroup != DINK_CGROUP_V2)
		add_grant(c->out, DINK_GRANT_DEVICE, "/dev/console rwm",
			  xasprintf("%s runs a Docker daemon in Podman: what Docker's containers "
				    "may use, Podman's may not",
				    path));
}

enum { PODMAN_NPROC = 32768 };

/*
 * Podman asks for more files and processes by default than can be had where CAP_SYS_RESOURCE is
 * missing; a limit within the hard one is no privilege but a bound.
 */
static void add_rlimits(const struct collector *c, const struct dink_layer *l, const char *path)
{
	const struct dink_facts *f = c->facts;

	if (!in_podman(f, l) || in_guest(l) || dink_facts_can(f, CAP_SYS_RESOURCE))
		return;
	add_limit(c, path, "nofile", f->nofile_hard);
	/* its service lowers its own to this (4.3), whatever it was given */
	add_limit(c, path, "nproc", f->nproc_hard < PODMAN_NPROC ? f->nproc_hard : PODMAN_NPROC);
}

/* Whether crun runs in the layer's own walls: of its daemon, or of one further in. */
static bool has_crun(const struct dink_layer *l)
{
	for (size_t i = 0; i < l->n_children; i++)
		if (l->children[i]->runtime == DINK_RUNTIME_CRUN ||
		    (!is_vm(l->children[i]->runtime) && has_crun(l->children[i])))
			return true;
	return false;
}

/*
 * For the device filter of cgroup v2 crun 1.8 lifts the limit of locked memory, which kernels before
 * 5.11 counted it by; a process whose hard limit is none may do that without CAP_SYS_RESOURCE.
 */
static void add_memlock(const struct collector *c, const struct dink_layer *l, const char *path)
{
	if (!has_crun(l) || l->rootless || (!in_guest(l) && c->facts->cgroup != DINK_CGROUP_V2))
		return;
	add_grant(c->out, DINK_GRANT_RLIMIT, NO_MEMLOCK,
		  xasprintf("%s has containers of crun: it lifts this limit, to load the device "
			    "filter of cgroup v2",
			    path));
}

static int compare_grants(const void *a, const void *b)
{
	const struct dink_grant *x = a, *y = b;

	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	return strcmp(x->what, y->what);
}

/* ---- what the host can give ---- */

/* Why the host cannot give it; NULL if it can. *ret_hint: a literal */
static char *missing_device(const struct dink_facts *f, const char *what, const char **ret_hint)
{
	const struct {
		const char *device;
		const struct dink_usable *u;
		const char *hint;
	} devices[] = {
		{"/dev/net/tun rw", &f->tun,
		 "modprobe tun; if dink runs in a container: give that --device /dev/net/tun"},
		{"/dev/kvm rw", &f->kvm,
		 "modprobe kvm_intel or kvm_amd; without it use `runtime: dink-vm`, which can do "
		 "without KVM"},
		{"/dev/vhost-net rw", &f->vhost_net, "modprobe vhost_net"},
		{"/dev/vhost-vsock rw", &f->vhost_vsock, "modprobe vhost_vsock"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		if (!STREQ(devices[i].device, what) || devices[i].u->ok)
			continue;
		*ret_hint = devices[i].hint;
		return xstrdup(devices[i].u->why ? devices[i].u->why : "it is not usable");
	}
	return NULL;
}

static char *missing_grant(const struct dink_facts *f, enum dink_grant_kind kind, const char *what,
			   const char **ret_hint)
{
	if (kind == DINK_GRANT_DEVICE)
		return missing_device(f, what, ret_hint);
	if (kind == DINK_GRANT_CAPABILITY && !dink_facts_can(f, dink_capability_from_name(what))) {
		*ret_hint = "run dink where the bounding set has it (`capsh --print` shows the "
			    "set); if dink runs in a container: give that the capability with "
			    "--cap-add";
		return xstrdup("it is not in the bounding set");
	}
	if (kind == DINK_GRANT_RLIMIT && STREQ(what, NO_MEMLOCK) && f->memlock_hard != UINT64_MAX &&
	    !dink_facts_can(f, CAP_SYS_RESOURCE)) {
		*ret_hint = "runtime: runc; or run dink where it has CAP_SYS_RESOURCE, or with "
			    "`ulimit -l unlimited`";
		return xstrdup("it is over the hard limit here");
	}
	if (kind == DINK_GRANT_NAMESPACE && f->cgroup == DINK_CGROUP_NONE) {
		*ret_hint = "mount -t cgroup2 none /sys/fs/cgroup";
		return xstrdup("no cgroups are mounted");
	}
	return NULL;
}

static int refuse(struct dink_err *err, const char *reason, enum dink_grant_kind kind,
		  const char *what, const char *why, const char *hint)
{
	dink_err_set(err, DINK_E_HOST, 0,
		     "this host cannot give the %s %s (%s), which is needed: %s",
		     dink_grant_kind_name(kind), what, why, reason);
	return dink_err_hint(err, "%s", hint);
}

/* The grants of a layer outside of any VM. */
static int check_host(const struct collector *c, const char *path, struct dink_err *err)
{
	const char *hint = NULL;

	for (size_t i = 0; i < c->out->n_grants; i++) {
		const struct dink_grant *g = &c->out->grants[i];
		_cleanup_free_ char *why = missing_grant(c->facts, g->kind, g->what, &hint);

		if (why)
			return refuse(err, g->reasons.v[0], g->kind, g->what, why, hint);
	}
	for (const int *cap = dink_default_capabilities; *cap >= 0; cap++) {
		const char *what = dink_capability_name(*cap);
		_cleanup_free_ char *why =
			missing_grant(c->facts, DINK_GRANT_CAPABILITY, what, &hint);
		_cleanup_free_ char *reason = NULL;

		if (!why)
			continue;
		reason = xasprintf("%s is a container, and engines give it to every one", path);
		return refuse(err, reason, DINK_GRANT_CAPABILITY, what, why, hint);
	}
	return 0;
}

/* A VM on the host: the host itself must hold what its parent would be granted. */
static int check_host_as_parent(const struct collector *c, const struct dink_layer *l,
				const char *path, struct dink_err *err)
{
	struct dink_layer *self = (struct dink_layer *)(uintptr_t)l;
	uint32_t needs = child_needs(c, &self, 1, c->facts->kvm.ok);
	const char *hint = NULL;

	for (size_t i = 0; i < dink_n_need_grants; i++) {
		const struct dink_need_grant *row = &dink_need_grants[i];
		_cleanup_free_ char *why = NULL, *reason = NULL;

		if (!(needs & 1u << row->need))
			continue;
		why = missing_grant(c->facts, row->kind, row->what, &hint);
		if (!why)
			continue;
		reason = xasprintf("the host %s (%s): %s", dink_need_text(row->need), path,
				   row->why);
		return refuse(err, reason, row->kind, row->what, why, hint);
	}
	return 0;
}

int dink_privileges_of(const struct dink_scenario *s _unused_, const struct dink_layer *layer,
		       const char *path, const struct dink_facts *facts, bool official_kata,
		       struct dink_privileges **ret, struct dink_err *err)
{
	_cleanup_(dink_privileges_freep) struct dink_privileges *p = xcalloc(1, sizeof(*p));
	struct collector c = {.facts = facts, .official_kata = official_kata, .out = p};
	int r = 0;

	collect(&c, layer, path, false);
	add_device_rules(&c, layer, path);
	add_rlimits(&c, layer, path);
	add_memlock(&c, layer, path);
	if (p->n_grants)
		qsort(p->grants, p->n_grants, sizeof(*p->grants), compare_grants);
	if (!in_guest(layer))
		r = check_host(&c, path, err);
	else if (!layer->parent)
		r = check_host_as_parent(&c, layer, path, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

static uint32_t host_needs_below(const struct collector *c, const struct dink_layer *l)
{
	uint32_t needs;

	if (is_vm(l->runtime))
		return 0;
	needs = layer_needs(c, l);
	for (size_t i = 0; i < l->n_children; i++)
		needs |= host_needs_below(c, l->children[i]);
	return needs;
}

uint32_t dink_privileges_host_needs(const struct dink_scenario *s, const struct dink_facts *facts,
				    bool official_kata)
{
	struct collector c = {.facts = facts, .official_kata = official_kata};
	uint32_t needs = child_needs(&c, s->layers, s->n_layers, facts->kvm.ok);

	for (size_t i = 0; i < s->n_layers; i++)
		needs |= host_needs_below(&c, s->layers[i]);
	return needs;
}

void dink_privileges_free(struct dink_privileges *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_grants; i++) {
		free(p->grants[i].what);
		dink_strv_clear(&p->grants[i].reasons);
	}
	free(p->grants);
	dink_strv_clear(&p->denied);
	free(p);
}

struct json_object *dink_privileges_to_json(const struct dink_privileges *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->n_grants; i++) {
		const struct dink_grant *g = &p->grants[i];
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "kind", dink_grant_kind_name(g->kind));
		dink_json_set_str(o, "what", g->what);
		dink_json_set(o, "reasons", dink_json_strv(&g->reasons));
		json_object_array_add(list, o);
	}
	return list;
}
