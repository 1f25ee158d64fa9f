/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest kernels: one for each name that a VM layer uses ("default" where a layer names none), with
 * the features its layers imply added to those the scenario names, each with its reason.
 */
#include "provision/plan/internal.h"

#include "kernel-configs/kernel.h"

#define DEFAULT_KERNEL "default"

/* The reason of a feature is that of the first layer that implies it; more would only be longer. */
static void add_feature(struct dink_plan_kernel *k, const char *feature, const char *fmt, ...)
	_printf_(3, 4);

static void add_feature(struct dink_plan_kernel *k, const char *feature, const char *fmt, ...)
{
	char *why;
	va_list ap;

	/* A feature that this version's table lacks is always part of its base. */
	if (!dink_kernel_feature_is_known(feature) || dink_strv_has(&k->features, feature))
		return;
	va_start(ap, fmt);
	why = xvasprintf(fmt, ap);
	va_end(ap);
	dink_strv_add(&k->features, feature);
	dink_strv_addf(&k->feature_reasons, "%s: %s", feature, why);
	free(why);
}

static int take_named_features(struct dink_plan *p, struct dink_plan_kernel *k,
			       const struct dink_kernel_spec *spec, struct dink_err *err)
{
	for (size_t i = 0; i < spec->features.n; i++) {
		const char *name = spec->features.v[i];
		const char *near;

		if (!dink_kernel_feature_is_known(name)) {
			dink_scenario_problem(p->scenario, spec->mark, err,
					      "kernel %s: there is no feature \"%s\"", spec->name,
					      name);
			near = dink_nearest(name, dink_kernel_features());
			if (near)
				dink_err_hint(err, "did you mean \"%s\"?", near);
			else
				dink_err_hint(err, "dink kernel list prints them all");
			return -EINVAL;
		}
		add_feature(k, name, "named in the scenario");
	}
	return 0;
}

static int find_kernel(struct dink_plan *p, const char *name, struct dink_err *err)
{
	const struct dink_kernel_spec *spec = dink_scenario_kernel(p->scenario, name);
	struct dink_plan_kernel *k;
	int r = 0;

	for (size_t i = 0; i < p->n_kernels; i++)
		if (STREQ(p->kernels[i].name, name))
			return (int)i;
	p->kernels = xreallocarray(p->kernels, p->n_kernels + 1, sizeof(*p->kernels));
	k = &p->kernels[p->n_kernels++];
	*k = (struct dink_plan_kernel){
		.name = xstrdup(name),
		.source = xstrdup(spec && spec->source ? spec->source : "debian"),
		.sha256 = spec && spec->sha256 ? xstrdup(spec->sha256) : NULL,
	};
	if (spec)
		r = take_named_features(p, k, spec, err);
	return r < 0 ? r : (int)p->n_kernels - 1;
}

static void imply_disks(struct dink_plan *p, struct dink_plan_kernel *k,
			const struct dink_plan_layer *l)
{
	for (size_t d = 0; d < l->n_disks; d++) {
		const struct dink_plan_disk *disk = &p->disks[l->disks[d].disk];

		add_feature(k, dink_filesystem_name(disk->spec->filesystem), "disk %s of layer %s",
			    disk->name, l->path);
	}
}

static void imply_features(struct dink_plan *p, struct dink_plan_kernel *k,
			   const struct dink_plan_layer *l, const struct dink_plan_layer *inner)
{
	const char *daemon = dink_daemon_name(inner->spec->daemon);

	imply_disks(p, k, l);
	if (inner->spec->daemon == DINK_DAEMON_NONE)
		return;
	add_feature(k, "containers", "layer %s runs %s", inner->path, daemon);
	add_feature(k, "iptables", "layer %s runs %s", inner->path, daemon);
	add_feature(k, "nftables", "layer %s runs %s", inner->path, daemon);
	if (inner->spec->swarm != DINK_SWARM_NONE)
		add_feature(k, "vxlan", "layer %s is a node of a swarm", inner->path);
	if (inner->needs_guest) {
		add_feature(k, "nested-kvm", "layer %s starts virtual machines", inner->path);
		add_feature(k, "tun", "layer %s starts virtual machines", inner->path);
	}
}

/*
 * What a layer does happens in the kernel of the nearest VM around it (itself included), so each
 * layer tells that one. vm_of[i] is that VM's index, known before i since parents come first.
 */
int dink_plan_kernels(struct dink_plan *p, struct dink_err *err)
{
	_cleanup_free_ int *vm_of = xcalloc(p->n_layers + 1, sizeof(int));

	for (size_t i = 0; i < p->n_layers; i++) {
		struct dink_plan_layer *l = &p->layers[i];

		vm_of[i] = l->parent >= 0 ? vm_of[l->parent] : -1;
		if (l->runtime == DINK_RUNTIME_DINK_VM) {
			int k = find_kernel(p, l->spec->kernel ? l->spec->kernel : DEFAULT_KERNEL,
					    err);

			if (k < 0)
				return dink_err_push(err, "planning layer %s", l->path);
			l->kernel = k;
		}
		if (l->is_vm)
			vm_of[i] = (int)i;
		if (vm_of[i] >= 0 && p->layers[vm_of[i]].kernel >= 0)
			imply_features(p, &p->kernels[p->layers[vm_of[i]].kernel],
				       &p->layers[vm_of[i]], l);
	}
	return 0;
}
