/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts object: made by probing, looked at, freed.
 */
#include "provision/host/facts.h"

#include "provision/host/probe.h"

static void free_engine(struct dink_engine_fact *e)
{
	free(e->socket);
	free(e->version);
	free(e->api_version);
	free(e->storage_driver);
	dink_strv_clear(&e->runtimes);
}

static void free_tool(struct dink_tool_fact *t)
{
	free(t->name);
	free(t->path);
	free(t->version);
}

void dink_facts_free(struct dink_facts *f)
{
	if (!f)
		return;
	struct dink_usable *usable[] = {
		&f->loop,
		&f->btrfs,
		&f->overlay,
		&f->erofs,
		&f->fuse,
		&f->nvidia,
		&f->tun,
		&f->vhost_vsock,
		&f->vhost_net,
		&f->kvm,
		&f->iptables_legacy,
		&f->nftables,
		&f->user_namespaces,
		&f->bridge,
		&f->veth,
		&f->kata,
		&f->state_writable,
		&f->cache_writable,
	};

	for (size_t i = 0; i < ARRAY_SIZE(usable); i++)
		free(usable[i]->why);
	for (size_t i = 0; i < f->n_engines; i++)
		free_engine(&f->engines[i]);
	for (size_t i = 0; i < f->n_tools; i++)
		free_tool(&f->tools[i]);
	free(f->engines);
	free(f->tools);
	free(f->kernel_release);
	free(f->machine);
	free(f->distribution);
	free(f->boot_id);
	free(f->docker_host_why);
	dink_strv_clear(&f->cgroup_controllers);
	dink_strv_clear(&f->filesystems);
	free(f);
}

int dink_facts_probe(unsigned int what, const struct dink_progress *progress,
		     struct dink_facts **ret, struct dink_err *err _unused_)
{
	struct dink_facts *f = xcalloc(1, sizeof(*f));

	f->version = 1;
	dink_progress(progress, "looking at the host", 0, 0);
	dink_probe_proc(f);
	dink_probe_storage(f);
	dink_probe_net(f);
	dink_probe_tools(f, what & DINK_PROBE_VERSIONS);
	dink_probe_engines(f);
	dink_probe_kata(f);
	dink_probe_kvm(f, what & DINK_PROBE_KVM, progress);
	*ret = f;
	return 0;
}

bool dink_facts_can(const struct dink_facts *f, int capability)
{
	return capability >= 0 && capability < 64 && (f->cap_bounding >> capability & 1);
}
