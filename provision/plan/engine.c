/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which engine holds the layers at depth 1, and which runtime each layer really gets.
 *
 * The user's own engine is taken as it is and never reconfigured; where it lacks a runtime that
 * the scenario names, a private one is started instead (as root).
 */
#include "provision/plan/host_check.h"
#include "provision/plan/internal.h"

#include <stdlib.h>

static int major_of(const char *version)
{
	return version ? atoi(version) : 0;
}

/* The name a runtime goes by in an engine at depth 1; NULL for the default one. */
static const char *runtime_needed(const struct dink_plan_layer *l)
{
	switch (l->runtime) {
	case DINK_RUNTIME_CRUN:
		return "crun";
	case DINK_RUNTIME_RUNSC:
		return "runsc";
	case DINK_RUNTIME_DINK_VM:
		return "dink-vm";
	default:
		return NULL;
	}
}

/*
 * Podman's API takes no runtime for one container (OCIRuntime is ignored, containers/podman#28429):
 * the layer would be without its walls, and nothing would say so. crun is its own on Debian.
 */
static const struct dink_plan_layer *walled_layer(const struct dink_plan *p)
{
	for (size_t i = 0; i < p->n_layers; i++) {
		enum dink_runtime r = p->layers[i].runtime;

		if (p->layers[i].parent < 0 &&
		    (r == DINK_RUNTIME_RUNSC || r == DINK_RUNTIME_DINK_VM ||
		     r == DINK_RUNTIME_KATA))
			return &p->layers[i];
	}
	return NULL;
}

/* Of layers on the host: those inside have layer-runsc (images/gvisor-host), which finds out itself. */
static bool wants_option(const struct dink_plan_layer *l, const struct dink_facts *f)
{
	return l->parent < 0 && l->runtime == DINK_RUNTIME_RUNSC && dink_runsc_is_fooled(f);
}

static const char *lacks_runtime(const struct dink_plan *p, const struct dink_facts *f,
				 const struct dink_engine_fact *e)
{
	const struct dink_plan_layer *walled = walled_layer(p);

	if (walled && e->kind == DINK_ENGINE_PODMAN)
		return dink_runtime_name(walled->runtime);
	for (size_t i = 0; i < p->n_layers; i++) {
		const char *name = p->layers[i].parent < 0 ? runtime_needed(&p->layers[i]) : NULL;

		if (name && (!dink_strv_has(&e->runtimes, name) || wants_option(&p->layers[i], f)))
			return name;
	}
	return NULL;
}

static bool has_tool(const struct dink_facts *f, const char *name)
{
	const struct dink_tool_fact *t = dink_facts_tool(f, name);

	return t && t->path;
}

/* What keeps Podman from running without root; NULL if nothing is known to. */
static const char *rootless_lack(const struct dink_facts *f, const char **ret_mend)
{
	*ret_mend = dink_mend_user_namespaces(f->user_namespaces.why);
	if (!f->user_namespaces.ok)
		return f->user_namespaces.why;
	if (f->cgroup != DINK_CGROUP_HYBRID)
		return NULL;
	*ret_mend = "boot with systemd.unified_cgroup_hierarchy=1";
	return "its crun refuses the hybrid cgroup layout";
}

static int refuse_podman(const struct dink_plan_layer *walled, const char *reason,
			 struct dink_err *err)
{
	dink_err_set(err, DINK_E_HOST, 0,
		     "no container engine for layer %s: %s, and a private dockerd needs root",
		     walled->path, reason);
	return dink_err_hint(err, "run dink as root, with docker.io installed");
}

static char *lack_text(const struct dink_facts *f, const struct dink_engine_fact *e,
		       const char *runtime)
{
	if (e->kind == DINK_ENGINE_PODMAN)
		return xasprintf("the engine at %s is Podman, which starts all that its API is "
				 "asked for with its own runtime, not with %s",
				 e->socket, runtime);
	if (dink_strv_has(&e->runtimes, runtime))
		return xasprintf("the engine at %s may start %s without --network=host, which it "
				 "needs on Linux %s",
				 e->socket, runtime, f->kernel_release);
	return xasprintf("the engine at %s has no runtime named %s (its daemon.json could name "
			 "one under \"runtimes\")",
			 e->socket, runtime);
}

static int missing_tool(const char *tool, const char *package, const char *why,
			struct dink_err *err)
{
	dink_err_set(err, DINK_E_HOST, 0, "%s is not installed: %s", tool, why);
	return dink_err_hint(err, "apt-get install %s", package);
}

/* A private engine has the runtimes that are installed here. */
static int check_programs(const struct dink_plan *p, const struct dink_facts *f,
			  struct dink_err *err)
{
	for (size_t i = 0; i < p->n_layers; i++) {
		const struct dink_plan_layer *l = &p->layers[i];
		const char *name = dink_runtime_name(l->runtime);

		if (l->parent >= 0 || has_tool(f, name) ||
		    (l->runtime != DINK_RUNTIME_CRUN && l->runtime != DINK_RUNTIME_RUNSC))
			continue;
		missing_tool(name, name, "a layer on the host has it as its runtime", err);
		return dink_err_push(err, "planning layer %s", l->path);
	}
	return 0;
}

static int choose_private(struct dink_plan *p, const struct dink_facts *f, char *why,
			  struct dink_err *err)
{
	_cleanup_free_ char *reason = why;
	const char *lack, *mend = NULL;

	if (f->uid == 0 && has_tool(f, "dockerd")) {
		p->engine = DINK_HOST_ENGINE_PRIVATE;
		p->engine_kind = DINK_ENGINE_DOCKER;
		p->engine_reason = xasprintf(
			"%s; dink starts a dockerd of its own and stops it again", reason);
		return check_programs(p, f, err);
	}
	if (f->uid != 0 && has_tool(f, "podman") && (lack = rootless_lack(f, &mend))) {
		dink_err_set(err, DINK_E_HOST, 0,
			     "no container engine for the first layer: %s, a private dockerd needs "
			     "root, and rootless Podman does not work here: %s",
			     reason, lack);
		return dink_err_hint(err, "run dink as root, or: %s", mend);
	}
	if (f->uid != 0 && has_tool(f, "podman") && walled_layer(p))
		return refuse_podman(walled_layer(p), reason, err);
	if (f->uid != 0 && has_tool(f, "podman")) {
		p->engine = DINK_HOST_ENGINE_PRIVATE_PODMAN;
		p->engine_kind = DINK_ENGINE_PODMAN;
		p->engine_reason =
			xasprintf("%s; not root, so dink starts a podman service", reason);
		return 0;
	}
	dink_err_set(err, DINK_E_HOST, 0, "no container engine for the first layer: %s, and %s",
		     reason,
		     f->uid == 0 ? "dockerd is not installed"
				 : "podman is not installed and a private dockerd needs root");
	return dink_err_hint(err, f->uid == 0 ? "apt-get install docker.io"
					      : "run dink as root, or apt-get install podman");
}

int dink_plan_engine(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err)
{
	char *why = NULL;

	if (f->docker_host_why) {
		dink_err_set(err, DINK_E_HOST, 0, "%s", f->docker_host_why);
		return dink_err_hint(err, "start that engine, or: unset DOCKER_HOST (dink then "
					  "looks for one, or starts a private one)");
	}
	for (size_t i = 0; i < f->n_engines; i++) {
		const struct dink_engine_fact *e = &f->engines[i];
		const char *lack = lacks_runtime(p, f, e);

		if (!lack) {
			free(why);
			p->engine = DINK_HOST_ENGINE_FOUND;
			p->engine_kind = e->kind;
			p->engine_socket = xstrdup(e->socket);
			p->engine_reason =
				xasprintf("%s %s answers at %s",
					  e->kind == DINK_ENGINE_DOCKER ? "docker" : "podman",
					  e->version ? e->version : "(version unknown)", e->socket);
			return 0;
		}
		if (!why)
			why = lack_text(f, e, lack);
	}
	return choose_private(p, f, why ? why : xstrdup("no engine answers on this host"), err);
}

/* Docker can name a containerd shim since 23; a private engine is the host's own dockerd. */
static bool engine_can_kata(const struct dink_facts *f)
{
	const struct dink_tool_fact *t = dink_facts_tool(f, "dockerd");

	for (size_t i = 0; i < f->n_engines; i++)
		if (f->engines[i].kind == DINK_ENGINE_DOCKER)
			return major_of(f->engines[i].version) >= 23;
	return t && t->path && major_of(t->version) >= 23;
}

static void resolve_kata(struct dink_plan *p, struct dink_plan_layer *l, const struct dink_facts *f)
{
	l->runtime = DINK_RUNTIME_DINK_VM;
	if (l->parent >= 0) {
		l->runtime_reason =
			xasprintf("kata: the engine in %s knows no official Kata; using "
				  "dink-vm",
				  p->layers[l->parent].path);
	} else if (!f->kata.ok) {
		l->runtime_reason =
			xasprintf("kata: the official one is not usable here (%s); using "
				  "dink-vm",
				  f->kata.why ? f->kata.why : "not installed");
	} else if (!engine_can_kata(f)) {
		l->runtime_reason =
			xstrdup("kata: the official one is installed, but the engine is "
				"older than Docker 23 and cannot name it; using dink-vm");
	} else {
		l->runtime = DINK_RUNTIME_KATA;
		l->runtime_reason = xstrdup("kata: the official one is installed and usable");
	}
}

/*
 * runsc 20221219 (Debian 12) has no devices cgroup inside, with --cgroupfs neither: dockerd ends with
 * "Devices cgroup isn't mounted". Tried with the vfs driver and without bridge and iptables.
 */
static int refuse_daemon_in_gvisor(const struct dink_plan *p, const struct dink_plan_layer *l,
				   struct dink_err *err)
{
	if (l->runtime != DINK_RUNTIME_RUNSC || l->spec->daemon == DINK_DAEMON_NONE)
		return 0;
	dink_scenario_problem(p->scenario, l->spec->runtime_mark, err,
			      "layer %s: no engine starts in gVisor, which has no devices cgroup",
			      l->path);
	return dink_err_hint(err, "runtime: runc or kata for this layer; runsc for those inside");
}

/* Podman in a layer starts all with the runtime that podman_command() chooses. */
static int refuse_podman_runtime(const struct dink_plan_layer *l, const struct dink_plan *p,
				 struct dink_err *err)
{
	const struct dink_layer *parent = l->spec->parent;
	enum dink_runtime its;

	if (!parent || parent->daemon != DINK_DAEMON_PODMAN || !l->spec->runtime_mark.line)
		return 0;
	its = parent->rootless ? DINK_RUNTIME_CRUN : DINK_RUNTIME_RUNC;
	if (l->runtime == its)
		return 0;
	dink_scenario_problem(p->scenario, l->spec->runtime_mark, err,
			      "layer %s: %s starts all of a layer's containers with %s", l->path,
			      parent->rootless ? "Podman as a user" : "Podman",
			      dink_runtime_name(its));
	return dink_err_hint(err, "runtime: %s, or daemon: docker for the layer around it",
			     dink_runtime_name(its));
}

/* By the host's engine and nvidia-container-runtime, so neither further in nor into a VM. */
static int check_gpu(const struct dink_plan *p, const struct dink_plan_layer *l,
		     const struct dink_facts *f, struct dink_err *err)
{
	enum dink_runtime r = l->spec->runtime;

	if (l->spec->gpu == DINK_GPU_NONE)
		return 0;
	if (l->parent >= 0 || r == DINK_RUNTIME_KATA || r == DINK_RUNTIME_DINK_VM) {
		dink_scenario_problem(
			p->scenario, l->spec->gpu_mark, err, "layer %s cannot have a GPU: it is %s",
			l->path, l->parent >= 0 ? "inside another layer" : "a virtual machine");
		return dink_err_hint(err, "gpu: only in a layer on the host, with runtime: runc");
	}
	if (f->nvidia.ok)
		return 0;
	dink_err_set(err, DINK_E_HOST, 0,
		     "layer %s wants an NVIDIA GPU, and this host has none that is usable: %s",
		     l->path, f->nvidia.why ? f->nvidia.why : "not probed");
	return dink_err_hint(err, "install NVIDIA's driver and nvidia-container-toolkit, or leave "
				  "out gpu:");
}

static void resolve_runtime(struct dink_plan *p, struct dink_plan_layer *l,
			    const struct dink_facts *f)
{
	l->runtime = l->spec->runtime;
	if (l->spec->runtime == DINK_RUNTIME_KATA)
		return resolve_kata(p, l, f);
	if (wants_option(l, f)) {
		l->runtime_option = "--network=host";
		l->runtime_reason =
			xasprintf("runsc: with --network=host, since it takes each network "
				  "namespace of Linux %s for the host's own; it uses the sockets "
				  "of the container's namespace",
				  f->kernel_release);
		return;
	}
	l->runtime_reason =
		xstrdup(l->spec->runtime_mark.line ? "named in the scenario" : "the default");
}

int dink_plan_runtimes(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err)
{
	bool any_vm = false, host_vm = false;

	for (size_t i = 0; i < p->n_layers; i++) {
		struct dink_plan_layer *l = &p->layers[i];

		resolve_runtime(p, l, f);
		if (refuse_daemon_in_gvisor(p, l, err) < 0 || refuse_podman_runtime(l, p, err) < 0)
			return -EINVAL;
		if (check_gpu(p, l, f, err) < 0)
			return -EINVAL;
		l->is_vm = l->runtime == DINK_RUNTIME_DINK_VM || l->runtime == DINK_RUNTIME_KATA;
		/* The official Kata has its own guest and takes no block root of ours. */
		l->block_root =
			l->runtime == DINK_RUNTIME_DINK_VM && l->spec->daemon != DINK_DAEMON_NONE;
		if (l->runtime == DINK_RUNTIME_DINK_VM) {
			any_vm = true;
			if (l->parent >= 0)
				p->layers[l->parent].needs_guest = true;
			else
				host_vm = true;
		}
	}
	if (!any_vm)
		return 0;
	/* Deeper VMs run the QEMU of their parent's image; crun goes into every guest. */
	if (host_vm && !has_tool(f, "qemu-system-x86_64"))
		return missing_tool("qemu-system-x86_64", "qemu-system-x86",
				    "a layer on the host is a virtual machine", err);
	if (!has_tool(f, "crun"))
		return missing_tool("crun", "crun",
				    "the guest of a VM layer starts containers with it", err);
	p->acceleration = xstrdup(f->kvm.ok ? "kvm" : "tcg");
	p->acceleration_reason = f->kvm.ok ? xstrdup("a probe guest booted under KVM")
					   : xasprintf("KVM is not usable here: %s",
						       f->kvm.why ? f->kvm.why : "not probed");
	return 0;
}
