/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: scenario + facts -> what will be done.
 *
 * Pure and deterministic. Each pass is linear in the number of layers and fills what the next one
 * reads: expand -> runtimes -> engine -> storage -> kernels -> commands -> grants; then the host as
 * a whole is judged, as `dink doctor` does.
 */
#include "provision/plan/plan.h"

#include "provision/plan/host_check.h"
#include "provision/plan/internal.h"

#include <linux/capability.h>

int dink_plan_layer_error(const struct dink_plan *p, const struct dink_plan_layer *l, int code,
			  struct dink_err *err, const char *fmt, ...)
{
	_cleanup_free_ char *msg = NULL;
	va_list ap;

	va_start(ap, fmt);
	msg = xvasprintf(fmt, ap);
	va_end(ap);
	if (code == DINK_E_SCENARIO) {
		dink_scenario_problem(p->scenario, l->spec->mark, err, "%s", msg);
		return -EINVAL;
	}
	return dink_err_set(err, code, 0, "%s", msg);
}

static bool grants_device(const struct dink_privileges *pr, const char *path)
{
	for (size_t i = 0; pr && i < pr->n_grants; i++) {
		const char *what = pr->grants[i].what;
		size_t n = strlen(path);

		if (pr->grants[i].kind == DINK_GRANT_DEVICE && strncmp(what, path, n) == 0 &&
		    (what[n] == ' ' || what[n] == '\0'))
			return true;
	}
	return false;
}

static void limit_usable(struct dink_usable *u, bool granted)
{
	static char not_granted[] = "the layer around it was not granted the device";

	if (!u->ok || granted)
		return;
	u->ok = false;
	u->why = not_granted;
}

/* A bit for each CAP_* that has the same name as a grant of the set. */
static uint64_t granted_caps(const struct dink_privileges *pr)
{
	uint64_t caps = 0;

	for (const int *c = dink_default_capabilities; *c >= 0; c++)
		caps |= 1ull << *c;
	for (int c = 0; pr && c <= CAP_LAST_CAP; c++)
		if (dink_capability_name(c) &&
		    dink_privileges_have(pr, DINK_GRANT_CAPABILITY, dink_capability_name(c)))
			caps |= 1ull << c;
	return caps;
}

/*
 * What a layer can give its children, as a copy of the facts that borrows all strings. A VM has a
 * kernel of its own and gives everything that kernel has; nested KVM is not promised.
 */
static struct dink_facts facts_inside(const struct dink_plan_layer *l,
				      const struct dink_facts *outer)
{
	static char no_nested[] = "a VM layer does not promise nested KVM";
	struct dink_facts in = *outer;

	if (l->is_vm) {
		in.cap_bounding = in.cap_effective = (2ull << CAP_LAST_CAP) - 1;
		in.cgroup = DINK_CGROUP_V2;
		in.tun = in.fuse = in.loop = in.btrfs = in.overlay = in.erofs = in.bridge =
			in.veth = in.nftables = in.iptables_legacy =
				(struct dink_usable){.ok = true};
		in.nofile_hard = in.nproc_hard = in.memlock_hard = UINT64_MAX;
		in.kvm = (struct dink_usable){.why = no_nested};
		return in;
	}
	in.cap_bounding = outer->cap_bounding & granted_caps(l->privileges);
	in.cap_effective = in.cap_bounding;
	if (dink_privileges_have(l->privileges, DINK_GRANT_RLIMIT, "memlock=-1:-1"))
		in.memlock_hard = UINT64_MAX;
	limit_usable(&in.tun, grants_device(l->privileges, "/dev/net/tun"));
	limit_usable(&in.kvm, grants_device(l->privileges, "/dev/kvm"));
	limit_usable(&in.fuse, grants_device(l->privileges, "/dev/fuse"));
	return in;
}

/* One copy of facts for each level of the path to the current layer: layers come depth first. */
int dink_plan_grants(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err)
{
	struct dink_facts level[DINK_LAYER_DEPTH_MAX + 2];

	level[0] = *f;
	for (size_t i = 0; i < p->n_layers; i++) {
		struct dink_plan_layer *l = &p->layers[i];
		int r;

		if (l->depth > DINK_LAYER_DEPTH_MAX)
			return dink_plan_layer_error(p, l, DINK_E_SCENARIO, err,
						     "layers are nested deeper than %d",
						     DINK_LAYER_DEPTH_MAX);
		r = dink_privileges_of(p->scenario, l->spec, l->path, &level[l->depth - 1],
				       l->runtime == DINK_RUNTIME_KATA, &l->privileges, err);
		if (r < 0)
			return dink_err_push(err, "granting layer %s what it needs", l->path);
		level[l->depth] = facts_inside(l, &level[l->depth - 1]);
	}
	return 0;
}

/* The name of a layer's runtime in its parent's engine. */
static void name_runtimes(struct dink_plan *p)
{
	for (size_t i = 0; i < p->n_layers; i++) {
		struct dink_plan_layer *l = &p->layers[i];
		const struct dink_plan_layer *parent =
			l->parent >= 0 ? &p->layers[l->parent] : NULL;

		switch (l->runtime) {
		case DINK_RUNTIME_DINK_VM:
			if (parent && parent->guest_kernel != l->kernel)
				l->runtime_name =
					xasprintf("dink-vm-%s", p->kernels[l->kernel].name);
			else
				l->runtime_name = xstrdup("dink-vm");
			break;
		case DINK_RUNTIME_KATA:
			l->runtime_name = xstrdup("io.containerd.kata.v2");
			break;
		case DINK_RUNTIME_CRUN:
		case DINK_RUNTIME_RUNSC:
			l->runtime_name = xstrdup(dink_runtime_name(l->runtime));
			break;
		default:
			/* runc: Docker's default, named where the scenario did; Podman's default
			 * is crun and equal. */
			if (l->spec->runtime_mark.line && p->engine_kind == DINK_ENGINE_DOCKER)
				l->runtime_name = xstrdup("runc");
		}
	}
}

/* What no other pass of the plan has refused already with words about a layer. */
static int judge_host(const struct dink_plan *p, const struct dink_facts *f, struct dink_err *err)
{
	_cleanup_(dink_checks_clear) struct dink_checks checks = {};

	dink_check_host(f, p->scenario, &checks);
	return dink_checks_refuse(&checks, p->scenario->name, err);
}

/* Two managers are worse than one: without either of them there is no majority. */
static void warn_of_two_managers(struct dink_plan *p)
{
	_cleanup_free_ size_t *managers = xcalloc(p->n_layers + 1, sizeof(*managers));

	for (size_t i = 0; i < p->n_layers; i++)
		if (p->layers[i].spec->swarm == DINK_SWARM_MANAGER)
			managers[p->layers[i].parent + 1]++;
	for (size_t i = 0; i <= p->n_layers; i++)
		if (managers[i] == 2)
			dink_strv_addf(&p->warnings,
				       "the swarm in %s has two managers and stops when it loses "
				       "one of them; three outlive that",
				       i ? p->layers[i - 1].path : p->scenario->name);
}

int dink_plan_make(const struct dink_scenario *s, const struct dink_facts *f,
		   struct dink_plan **ret, struct dink_err *err)
{
	_cleanup_(dink_plan_freep) struct dink_plan *p = xcalloc(1, sizeof(*p));
	int r;

	p->scenario = s;
	r = dink_plan_expand(p, err);
	if (r == 0)
		r = dink_plan_runtimes(p, f, err);
	if (r == 0)
		r = dink_plan_engine(p, f, err);
	if (r == 0)
		r = dink_plan_storage(p, f, err);
	if (r == 0)
		r = dink_plan_kernels(p, err);
	if (r == 0)
		r = dink_plan_commands(p, f, err);
	if (r == 0)
		r = dink_plan_grants(p, f, err);
	if (r == 0)
		r = judge_host(p, f, err);
	if (r < 0)
		return r;
	name_runtimes(p);
	warn_of_two_managers(p);
	*ret = TAKE_PTR(p);
	return 0;
}

static void free_layer(struct dink_plan_layer *l)
{
	free(l->name);
	free(l->path);
	free(l->container);
	free(l->runtime_reason);
	free(l->runtime_name);
	free(l->storage_driver);
	free(l->storage_reason);
	free(l->subnet);
	for (size_t i = 0; i < l->n_disks; i++)
		free(l->disks[i].target);
	free(l->disks);
	dink_strv_clear(&l->command);
	dink_strv_clear(&l->env);
	if (l->privileges)
		dink_privileges_free(l->privileges);
}

static void free_disk(struct dink_plan_disk *d)
{
	free(d->name);
	free(d->file);
	if (d->own)
		free(d->own->name);
	free(d->own);
}

void dink_plan_free(struct dink_plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_layers; i++)
		free_layer(&p->layers[i]);
	for (size_t i = 0; i < p->n_disks; i++)
		free_disk(&p->disks[i]);
	for (size_t i = 0; i < p->n_images; i++) {
		free(p->images[i].name);
		free(p->images[i].where);
	}
	for (size_t i = 0; i < p->n_kernels; i++) {
		struct dink_plan_kernel *k = &p->kernels[i];

		free(k->name);
		free(k->source);
		free(k->sha256);
		dink_strv_clear(&k->features);
		dink_strv_clear(&k->feature_reasons);
	}
	free(p->layers);
	free(p->disks);
	free(p->images);
	free(p->kernels);
	free(p->engine_socket);
	free(p->engine_reason);
	free(p->acceleration);
	free(p->acceleration_reason);
	dink_strv_clear(&p->warnings);
	free(p);
}

int dink_plan_find(const struct dink_plan *p, const char *path)
{
	size_t n = strlen(p->scenario->name);

	for (size_t i = 0; i < p->n_layers; i++) {
		const char *own = p->layers[i].path;

		if (STREQ(own, path) || STREQ(own + n + 1, path))
			return (int)i;
	}
	return -1;
}

int dink_plan_reached(const struct dink_plan *p, int layer, const char *name)
{
	do {
		int beside = p->layers[layer].parent;

		for (size_t i = 0; i < p->n_layers; i++)
			if (p->layers[i].parent == beside && STREQ(p->layers[i].name, name))
				return (int)i;
		layer = beside;
	} while (layer >= 0);
	return -1;
}
