/* SPDX-License-Identifier: Apache-2.0 */
/* Subnets of the daemons' bridges, and the argv and environment of each layer's PID 1. */
#include "provision/plan/internal.h"

#include "provision/base/dirs.h"

#define TINI		  "/usr/bin/tini"
#define LAYER_INIT	  "/usr/local/sbin/layer-init"
#define LAYER_SYSTEMD	  "/usr/local/sbin/layer-systemd"
#define LAYER_CRUN	  "/usr/local/sbin/layer-crun"
#define LAYER_SUPERVISORD "/usr/local/sbin/layer-supervisord"

/*
 * /24s from 10.213.0.0/16 upward in the order of the layers; .0 is left to the private engine.
 * No two daemons share one, so a packet's address says which level it came from.
 */
static int give_subnet(struct dink_plan *p, struct dink_plan_layer *l, uint32_t *next,
		       struct dink_err *err)
{
	uint32_t n = ++*next;

	if (n >= PLAN_SUBNETS_MAX)
		return dink_plan_layer_error(p, l, DINK_E_SCENARIO, err,
					     "over %d layers run a daemon, and subnets are used up",
					     PLAN_SUBNETS_MAX - 1);
	l->subnet = xasprintf("10.%u.%u.1/24", 213 + n / 256, n % 256);
	return 0;
}

/* Whether the layer's kernel is the host's, or that of a guest of ours. */
static bool kernel_is_guest(const struct dink_plan *p, const struct dink_plan_layer *l)
{
	for (; !l->is_vm; l = &p->layers[l->parent])
		if (l->parent < 0)
			return false;
	return true;
}

/*
 * The layer's own kernel comes first in `dink-vm`; each further one has a runtime of its own. A
 * dink-vm finds the guest that lies beside its own binary.
 */
static void add_runtimes(struct dink_plan_layer *l, const struct dink_strv *kernels)
{
	if (!l->needs_guest)
		return;
	dink_strv_addl(&l->command, "--add-runtime", "dink-vm=" DINK_GUEST_IN_LAYER "/dink-vm",
		       NULL);
	for (size_t i = 0; i < kernels->n; i++)
		dink_strv_addf(&l->command, "--add-runtime=dink-vm-%s=%s/%s/dink-vm", kernels->v[i],
			       DINK_GUESTS_IN_LAYER, kernels->v[i]);
}

/* rootlesskit makes the namespaces in which dockerd is root, and a network card by slirp4netns. */
static void rootless_docker(struct dink_plan_layer *l)
{
	dink_strv_addl(&l->command, "rootlesskit", "--net=slirp4netns", "--disable-host-loopback",
		       "--port-driver=builtin", "--copy-up=/etc", "--copy-up=/run",
		       "--propagation=rslave", NULL);
	dink_strv_addf(&l->command, "--mtu=%u", l->mtu);
	dink_strv_addl(&l->command, "dockerd", "--rootless", NULL);
}

const char *dink_plan_socket(const struct dink_layer *l)
{
	if (l->daemon == DINK_DAEMON_PODMAN)
		return l->rootless ? "/run/podman/podman.sock" : "/run/podman.sock";
	return l->rootless ? "/run/user/1000/docker.sock" : "/run/docker.sock";
}

static bool has_child(const struct dink_plan_layer *l, enum dink_runtime r)
{
	for (size_t i = 0; i < l->spec->n_children; i++)
		if (l->spec->children[i]->runtime == r)
			return true;
	return false;
}

static void docker_command(struct dink_plan_layer *l, const struct dink_strv *kernels)
{
	_cleanup_free_ char *root = dink_plan_data_root(l->spec);
	bool user = l->spec->rootless;

	if (user)
		rootless_docker(l);
	else
		dink_strv_add(&l->command, "dockerd");
	dink_strv_add(&l->command, "--host");
	dink_strv_addf(&l->command, "unix://%s", dink_plan_socket(l->spec));
	dink_strv_addl(&l->command, "--data-root", root, "--exec-root",
		       user ? "/run/user/1000/docker" : "/run/docker", "--storage-driver",
		       l->storage_driver, "--bip", l->subnet, "--mtu", NULL);
	dink_strv_addf(&l->command, "%u", l->mtu);
	add_runtimes(l, kernels);
	/* runc stays the default, in guests too: crun takes more of the layer, see layer-crun */
	dink_strv_addl(&l->command, "--add-runtime",
		       !user && has_child(l, DINK_RUNTIME_CRUN) ? "crun=" LAYER_CRUN
								: "crun=/usr/bin/crun",
		       NULL);
	/* of the two only crun can do without a new sysfs, see podman_command() */
	if (user)
		dink_strv_addl(&l->command, "--default-runtime", "crun", NULL);
	if (has_child(l, DINK_RUNTIME_RUNSC))
		dink_strv_addl(&l->command, "--add-runtime", "runsc=/usr/local/sbin/layer-runsc",
			       NULL);
}

/*
 * The service has them as words, since what it is told by words it reads nowhere else. The podman
 * command in the layer reads them from the environment, but only if there is a storage.conf: the
 * image has one that says what podman does anyhow.
 */
static void add_image_stores(struct dink_plan_layer *l)
{
	_cleanup_str_ struct dink_str all = {};

	for (size_t i = 0; i < l->n_disks; i++) {
		if (!l->disks[i].image_store)
			continue;
		dink_str_addf(&all, "%soverlay.imagestore=%s/storage", all.len ? "," : "",
			      l->disks[i].target);
		dink_strv_addf(&l->command, "--storage-opt=overlay.imagestore=%s/storage",
			       l->disks[i].target);
	}
	if (!all.len || l->spec->rootless)
		return;
	dink_strv_add(&l->env, "CONTAINERS_STORAGE_CONF=/etc/containers/image-store.conf");
	dink_strv_addf(&l->env, "STORAGE_OPTS=%s", all.s);
}

/*
 * As a user with crun: where a new sysfs cannot be had, since the layer's own has masked folders, it
 * binds that one; runc gives up. The podman command in the layer gets the driver by the environment.
 */
static void podman_command(struct dink_plan_layer *l)
{
	dink_strv_addf(&l->env, "STORAGE_DRIVER=%s", l->storage_driver);
	dink_strv_addl(&l->command, "podman", "--storage-driver", l->storage_driver, NULL);
	/* Podman's own default, crun, wants CAP_SYS_RESOURCE to load the device filter of cgroup v2 */
	dink_strv_addl(&l->command, "--runtime", l->spec->rootless ? "crun" : "runc", NULL);
	add_image_stores(l);
	dink_strv_addl(&l->command, "system", "service", "--time=0", NULL);
	dink_strv_addf(&l->command, "unix://%s", dink_plan_socket(l->spec));
}

static void make_command(struct dink_plan *p, struct dink_plan_layer *l, const struct dink_facts *f,
			 const struct dink_strv *kernels)
{
	bool daemon = l->spec->daemon != DINK_DAEMON_NONE;
	bool guest = kernel_is_guest(p, l);
	bool own = l->spec->command.n > 0;

	if (l->spec->init == DINK_INIT_TINI || (l->spec->init == DINK_INIT_DEFAULT && daemon))
		dink_strv_addl(&l->command, TINI, "--", NULL);
	if (l->spec->rootless) {
		dink_strv_addf(&l->env, "HOME=/home/%s", l->spec->rootless);
		dink_strv_add(&l->env, "XDG_RUNTIME_DIR=/run/user/1000");
	}
	/* without root there is nothing to prepare */
	if (daemon && !l->spec->rootless) {
		/* systemd moves itself out of the way of the cgroups that it hands on */
		if (l->spec->init == DINK_INIT_SYSTEMD)
			dink_strv_add(&l->command, LAYER_SYSTEMD);
		else
			dink_strv_add(&l->command, LAYER_INIT);
		if (l->spec->init == DINK_INIT_SUPERVISORD)
			dink_strv_add(&l->command, LAYER_SUPERVISORD);
		/* Debian's iptables speaks nft unless told; a host without nf_tables needs legacy.
		 */
		dink_strv_addf(&l->env, "DINK_IPTABLES=%s",
			       guest || f->nftables.ok ? "nft" : "legacy");
	}
	if (own)
		dink_strv_addv(&l->command, l->spec->command.v);
	else if (l->spec->daemon == DINK_DAEMON_DOCKER)
		docker_command(l, kernels);
	else if (l->spec->daemon == DINK_DAEMON_PODMAN)
		podman_command(l);
	if (daemon && own)
		dink_strv_addf(&p->warnings,
			       "layer %s has a command of its own: it must start %s itself",
			       l->path, dink_daemon_name(l->spec->daemon));
	dink_strv_addv(&l->env, l->spec->env.v);
}

/* Names of the kernels of each layer's VM children, but the first: that one is plain dink-vm. */
static struct dink_strv *extra_kernels(struct dink_plan *p)
{
	struct dink_strv *extra = xcalloc(p->n_layers + 1, sizeof(*extra));

	for (size_t i = 0; i < p->n_layers; i++) {
		const struct dink_plan_layer *l = &p->layers[i];
		struct dink_plan_layer *parent = l->parent >= 0 ? &p->layers[l->parent] : NULL;

		if (l->runtime != DINK_RUNTIME_DINK_VM || !parent)
			continue;
		if (parent->guest_kernel < 0)
			parent->guest_kernel = l->kernel;
		else if (parent->guest_kernel != l->kernel &&
			 !dink_strv_has(&extra[l->parent], p->kernels[l->kernel].name))
			dink_strv_add(&extra[l->parent], p->kernels[l->kernel].name);
	}
	return extra;
}

int dink_plan_commands(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err)
{
	struct dink_strv *extra = extra_kernels(p);
	uint32_t next = 0;
	int r = 0;

	for (size_t i = 0; i < p->n_layers && r == 0; i++) {
		struct dink_plan_layer *l = &p->layers[i];

		if (l->spec->daemon == DINK_DAEMON_DOCKER)
			r = give_subnet(p, l, &next, err);
		if (r == 0)
			make_command(p, l, f, &extra[i]);
	}
	for (size_t i = 0; i < p->n_layers; i++)
		dink_strv_clear(&extra[i]);
	free(extra);
	return r;
}
