/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What doctor and plan make of the facts: each judged ok, worth a warning, or, where the scenario
 * needs it, a failure. Facts and scenario in, checks out; touches nothing.
 */
#include "provision/plan/host_check.h"

#include "provision/base/units.h"
#include "provision/privilege/privilege.h"

#include <inttypes.h>
#include <linux/capability.h>

/* What the scenario needs of the host. All false without one. */
struct wants {
	bool any;	  /* there is a scenario */
	uint32_t needs;	  /* of the host's kernel: bit n = enum dink_need n */
	bool vm;	  /* a VM somewhere: kernel, EROFS image */
	bool vm_on_host;  /* QEMU runs on the host itself */
	bool recipes;	  /* images are built */
	bool btrfs, ext4; /* disks */
	bool host_disk;	  /* a disk is mounted by the host */
	bool host_btrfs;  /* ... and it is btrfs */
	bool host_daemon; /* a daemon runs under the host's kernel */
	uint64_t disk_bytes;
};

static bool is_vm(const struct dink_layer *l)
{
	return l->runtime == DINK_RUNTIME_DINK_VM || l->runtime == DINK_RUNTIME_KATA;
}

static void want_layer(const struct dink_scenario *s, const struct dink_layer *l, bool guest,
		       struct wants *w)
{
	const struct dink_image_spec *image = l->image ? dink_scenario_image(s, l->image) : NULL;

	if (is_vm(l)) {
		w->vm = true;
		w->vm_on_host |= !l->parent;
		guest = true;
	}
	w->recipes |= !image || image->kind == DINK_IMAGE_RECIPE;
	w->host_daemon |= !guest && l->daemon != DINK_DAEMON_NONE;
	for (size_t i = 0; i < l->n_disks; i++) {
		const struct dink_disk_spec *d = dink_scenario_disk(s, l->disks[i].disk);

		if (!d)
			continue;
		w->btrfs |= d->filesystem == DINK_FS_BTRFS;
		w->ext4 |= d->filesystem == DINK_FS_EXT4;
		w->host_disk |= !guest;
		w->host_btrfs |= !guest && d->filesystem == DINK_FS_BTRFS;
	}
	for (size_t i = 0; i < l->n_children; i++)
		want_layer(s, l->children[i], guest, w);
}

static struct wants scenario_wants(const struct dink_scenario *s, const struct dink_facts *f)
{
	struct wants w = {};

	if (!s)
		return w;
	w.any = true;
	w.needs = dink_privileges_host_needs(s, f, f->kata.ok);
	for (size_t i = 0; i < s->n_layers; i++)
		want_layer(s, s->layers[i], false, &w);
	for (size_t i = 0; i < s->n_disks; i++)
		w.disk_bytes += s->disks[i].size_bytes;
	return w;
}

static bool wants_need(const struct wants *w, enum dink_need n)
{
	return w->needs >> n & 1;
}

/* ---- making checks ---- */

static struct dink_check *add(struct dink_checks *c, const char *name, enum dink_check_state state,
			      char *detail)
{
	c->list = xreallocarray(c->list, c->n + 1, sizeof(*c->list));
	c->list[c->n] = (struct dink_check){.name = name, .state = state, .detail = detail};
	return &c->list[c->n++];
}

static void ok(struct dink_checks *c, const char *name, char *detail)
{
	add(c, name, DINK_CHECK_OK, detail);
}

/* Not there: a failure if it is needed, else a warning. */
static void lacks(struct dink_checks *c, const char *name, bool needed, char *detail,
		  const char *affects, const char *mend)
{
	struct dink_check *k = add(c, name, needed ? DINK_CHECK_FAIL : DINK_CHECK_WARN, detail);

	k->affects = affects;
	k->mend = mend;
}

static void usable(struct dink_checks *c, const char *name, const struct dink_usable *u,
		   bool needed, const char *good, const char *affects, const char *mend)
{
	if (u->ok)
		ok(c, name, xstrdup(good));
	else
		lacks(c, name, needed, xstrdup(u->why ? u->why : "not usable"), affects, mend);
}

static void tool(struct dink_checks *c, const struct dink_facts *f, const char *name, bool needed,
		 const char *affects, const char *mend)
{
	const struct dink_tool_fact *t = dink_facts_tool(f, name);

	if (t)
		ok(c, name, xasprintf("%s %s", t->path, t->version ? t->version : ""));
	else
		lacks(c, name, needed, xstrdup("not installed"), affects, mend);
}

/* ---- the checks ---- */

static void check_kernel(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	char *detail = xasprintf("%s on %s, %s", f->kernel_release, f->machine, f->distribution);

	/* LOOP_CONFIGURE came with 5.8, close_range() with 5.9 */
	if (!dink_version_at_least(f->kernel_release, 5, 9))
		lacks(c, "kernel", w->any, detail, "everything: dink uses what Linux has since 5.9",
		      "apt-get install linux-image-amd64 && reboot");
	else
		ok(c, "kernel", detail);
	if (!STREQ(f->machine, "x86_64"))
		lacks(c, "machine", w->vm, xasprintf("%s is not x86_64", f->machine),
		      "VMs: guest kernels are built, and QEMU is run, for x86_64 only",
		      "use a machine of that kind, or a scenario without VMs");
	else
		ok(c, "machine",
		   xasprintf("%s, %u cpus, %" PRIu64 " MiB", f->machine, f->cpus,
			     f->memory_bytes >> 20));
}

static const struct dink_engine_fact *first_engine(const struct dink_facts *f)
{
	return f->n_engines ? &f->engines[0] : NULL;
}

static void check_user(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	bool podman = dink_facts_tool(f, "podman") && f->user_namespaces.ok;

	if (f->uid == 0)
		return ok(c, "user", xstrdup("root"));
	lacks(c, "user", w->host_disk || (w->any && !first_engine(f) && !podman),
	      xasprintf("uid %u is not root", f->uid),
	      "a private dockerd, and disks of layers that are no VM, take root",
	      "sudo dink ..., or join the group of a running Docker: usermod -aG docker USER");
}

/* Missing ones of what the needs and an engine's defaults take. */
static void check_capabilities(struct dink_checks *c, const struct dink_facts *f,
			       const struct wants *w)
{
	_cleanup_strv_ struct dink_strv missing = {};
	_cleanup_free_ char *list = NULL;
	static const int beyond[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN};

	for (const int *cap = dink_default_capabilities; *cap >= 0; cap++)
		if (!dink_facts_can(f, *cap))
			dink_strv_add(&missing, dink_capability_name(*cap));
	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++)
		if (!dink_facts_can(f, beyond[i]))
			dink_strv_add(&missing, dink_capability_name(beyond[i]));
	if (!missing.n)
		return ok(c, "capabilities", xstrdup("all that a layer can need can be given"));
	list = dink_strv_join(&missing, ", ");
	lacks(c, "capabilities", w->needs != 0, xasprintf("not in the bounding set: %s", list),
	      "layers with a daemon or VMs: the host cannot give what it does not have",
	      "if dink runs in a container, start that with --cap-add NET_ADMIN --cap-add "
	      "SYS_ADMIN");
}

static void check_limits(struct dink_checks *c, const struct dink_facts *f)
{
	if (!dink_facts_can(f, CAP_SYS_RESOURCE)) {
		struct dink_check *k = add(c, "CAP_SYS_RESOURCE", DINK_CHECK_WARN,
					   xstrdup("not in the bounding set"));

		k->affects = "no layer of dink's; but `docker run --privileged` and Podman's "
			     "default limits fail here";
		k->mend = "podman run --ulimit nofile=1024:1024 ...";
	} else {
		ok(c, "CAP_SYS_RESOURCE", xstrdup("in the bounding set"));
	}
	if (f->nofile_hard < 4096) {
		struct dink_check *k = add(c, "open files", DINK_CHECK_WARN,
					   xasprintf("hard limit %" PRIu64, f->nofile_hard));

		k->affects = "daemons with many containers";
		k->mend = "ulimit -Hn 20000";
	} else if (f->nofile_hard == UINT64_MAX) {
		ok(c, "open files", xstrdup("no limit"));
	} else {
		ok(c, "open files", xasprintf("hard limit %" PRIu64, f->nofile_hard));
	}
}

static void check_cgroups(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	_cleanup_free_ char *list = dink_strv_join(&f->cgroup_controllers, " ");

	if (f->cgroup == DINK_CGROUP_NONE)
		return lacks(c, "cgroups", w->any, xstrdup("none are mounted"),
			     "every container: engines put each into cgroups",
			     "mount -t cgroup2 none /sys/fs/cgroup");
	ok(c, "cgroups", xasprintf("%s: %s", dink_cgroup_layout_name(f->cgroup), list));
}

static void check_engine(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	const struct dink_engine_fact *e = first_engine(f);
	bool dockerd = dink_facts_tool(f, "dockerd") && f->uid == 0;
	bool podman = dink_facts_tool(f, "podman") && (f->uid == 0 || f->user_namespaces.ok);

	if (f->docker_host_why)
		lacks(c, "engine", w->any, xstrdup(f->docker_host_why),
		      "everything: every layer is a container of an engine", "unset DOCKER_HOST");
	else if (e)
		ok(c, "engine",
		   xasprintf("%s %s at %s (%s)",
			     e->kind == DINK_ENGINE_PODMAN ? "Podman" : "Docker", e->version,
			     e->socket, e->storage_driver));
	else if (dockerd || podman)
		ok(c, "engine",
		   xasprintf("none is running; dink starts a private %s and stops it again",
			     dockerd ? "dockerd" : "podman service"));
	else
		lacks(c, "engine", w->any,
		      xstrdup("none is running, and neither dockerd nor podman is installed"),
		      "everything: every layer is a container of an engine",
		      "apt-get install docker.io");
}

static void check_network(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	static const char *const modules = "modprobe bridge && modprobe veth";
	bool any_firewall = f->iptables_legacy.ok || f->nftables.ok;

	usable(c, "bridge", &f->bridge, w->any, "usable", "container networks", modules);
	usable(c, "veth", &f->veth, w->any, "usable", "container networks", modules);
	if (any_firewall)
		ok(c, "iptables",
		   xasprintf("%s%s%s", f->iptables_legacy.ok ? "legacy" : "",
			     f->iptables_legacy.ok && f->nftables.ok ? ", " : "",
			     f->nftables.ok ? "nft" : ""));
	else
		lacks(c, "iptables", w->any,
		      xasprintf("%s; %s", f->nftables.why ? f->nftables.why : "no nft",
				f->iptables_legacy.why ? f->iptables_legacy.why : "no legacy"),
		      "container networks: daemons write NAT rules", "apt-get install iptables");
	usable(c, "tun", &f->tun,
	       wants_need(w, DINK_NEED_VM_CHILD) || wants_need(w, DINK_NEED_KATA_CHILD), "usable",
	       "VMs: their network card is a tap",
	       "modprobe tun; if dink runs in a container, start that with --device /dev/net/tun");
	usable(c, "vhost-vsock", &f->vhost_vsock, wants_need(w, DINK_NEED_KATA_CHILD), "usable",
	       "little: dink-vm's channel is virtio-serial; the official Kata needs it",
	       "modprobe vhost_vsock");
	usable(c, "vhost-net", &f->vhost_net, false, "usable", "network speed of VMs under KVM",
	       "modprobe vhost_net");
}

static void check_storage(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	usable(c, "overlay", &f->overlay, w->host_daemon, "usable",
	       "daemons: without it they copy whole images (vfs)", "modprobe overlay");
	usable(c, "btrfs", &f->btrfs, w->host_btrfs, "usable",
	       "btrfs disks of layers that are no VM (a VM brings its own kernel)",
	       "modprobe btrfs");
	usable(c, "erofs", &f->erofs, false, "usable",
	       "nothing in VMs, which bring their own kernel", "modprobe erofs");
	usable(c, "fuse", &f->fuse, false, "usable", "rootless Podman without native overlay",
	       "modprobe fuse");
	usable(c, "loop", &f->loop, w->host_disk, "a device is free",
	       "disks of layers that are no VM (a VM is given the file itself)", "modprobe loop");
}

static void check_space(struct dink_checks *c, const char *name, const struct dink_usable *writable,
			uint64_t free_bytes, uint64_t least, uint64_t good, bool needed,
			const char *affects, const char *mend)
{
	_cleanup_free_ char *size = dink_format_size(free_bytes);
	_cleanup_free_ char *wanted = dink_format_size(free_bytes < least ? least : good);

	if (!writable->ok)
		lacks(c, name, needed, xasprintf("not writable: %s", writable->why), affects, mend);
	else if (free_bytes < good)
		lacks(c, name, needed && free_bytes < least,
		      xasprintf("%s free, %s wanted", size, wanted), affects,
		      "df -h; dink gc shows what no journal owns");
	else
		ok(c, name, xasprintf("%s free", size));
}

static void check_folders(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	const uint64_t mib = 1 << 20;

	check_space(c, "state", &f->state_writable, f->state_free_bytes, 512 * mib,
		    w->disk_bytes > 512 * mib ? w->disk_bytes : 512 * mib, w->any,
		    "journals and disk images", "export DINK_STATE_DIR=/somewhere/writable");
	check_space(c, "cache", &f->cache_writable, f->cache_free_bytes, 2048 * mib, 6144 * mib,
		    w->any, "kernels and images that are built once",
		    "export DINK_CACHE_DIR=/somewhere/writable");
}

/* What mends KVM depends on how far it went. */
static const char *mend_kvm(const char *why)
{
	if (!why || strstr(why, "No such file"))
		return "modprobe kvm_intel || modprobe kvm_amd";
	if (strstr(why, "Permission denied"))
		return "usermod -aG kvm USER, then log in again";
	if (strstr(why, "dink kernel build"))
		return "dink kernel build";
	if (strstr(why, "dink doctor"))
		return "dink doctor";
	if (strstr(why, "qemu-system"))
		return "apt-get install qemu-system-x86";
	return "none here: take a machine whose KVM runs guests (nested virtualization enabled)";
}

static void check_vm(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	usable(c, "kvm", &f->kvm, wants_need(w, DINK_NEED_KATA_CHILD),
	       "a probe guest booted under it",
	       "speed of VMs: they run under TCG (emulation), some ten times slower",
	       mend_kvm(f->kvm.why));
	tool(c, f, "qemu-system-x86_64", w->vm_on_host,
	     "VMs on the host itself, and proving KVM; deeper VMs use their layer's own QEMU",
	     "apt-get install qemu-system-x86");
	tool(c, f, "virtiofsd", false,
	     "VMs on the host itself that share folders or their root with it: they are refused",
	     "apt-get install qemu-system-common");
	if (f->kata.ok)
		ok(c, "kata", xstrdup("the official one is usable"));
	else
		ok(c, "kata", xasprintf("dink-vm stands in for it: %s", f->kata.why));
}

static void check_tools(struct dink_checks *c, const struct dink_facts *f, const struct wants *w)
{
	static const char *const kernel_tools[] = {"gcc", "make", "flex", "bison", "bc"};

	tool(c, f, "mmdebstrap", w->recipes, "building images from recipes",
	     "apt-get install mmdebstrap");
	tool(c, f, "apt-get", w->vm || w->recipes, "fetching the kernel's source and packages",
	     "use Debian or a descendant of it");
	for (size_t i = 0; i < ARRAY_SIZE(kernel_tools); i++)
		tool(c, f, kernel_tools[i], w->vm, "building guest kernels",
		     "apt-get install build-essential flex bison bc libelf-dev libssl-dev");
	tool(c, f, "mkfs.erofs", w->vm, "root file systems of VMs as disks",
	     "apt-get install erofs-utils");
	tool(c, f, "mkfs.btrfs", w->btrfs, "disks with btrfs", "apt-get install btrfs-progs");
	tool(c, f, "mkfs.ext4", w->ext4, "disks with ext4", "apt-get install e2fsprogs");
	tool(c, f, "guestfish", false, "`dink disk ls`, cat, copy-in, copy-out",
	     "apt-get install libguestfs-tools");
}

const char *dink_mend_user_namespaces(const char *why)
{
	if (why && strstr(why, "/etc/subuid"))
		return "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER";
	return "sysctl -w kernel.unprivileged_userns_clone=1";
}

static void check_rest(struct dink_checks *c, const struct dink_facts *f)
{
	usable(c, "user namespaces", &f->user_namespaces, false, "usable", "rootless engines",
	       dink_mend_user_namespaces(f->user_namespaces.why));
	if (f->apparmor || f->selinux)
		ok(c, "security module",
		   xasprintf("%s: daemon layers are freed from the engine's profile, which denies "
			     "mounts",
			     f->apparmor ? "AppArmor" : "SELinux"));
	else
		ok(c, "security module", xstrdup("none"));
	if (!f->root_mount_shared && dink_facts_tool(f, "podman")) {
		struct dink_check *k =
			add(c, "shared /", DINK_CHECK_WARN, xstrdup("/ is not a shared mount"));

		k->affects = "Podman warns, and mounts made later do not reach its containers";
		k->mend = "mount --make-rshared /";
	} else {
		ok(c, "shared /", xstrdup(f->root_mount_shared ? "shared" : "not shared"));
	}
}

void dink_check_host(const struct dink_facts *f, const struct dink_scenario *s,
		     struct dink_checks *ret)
{
	struct wants w = scenario_wants(s, f);

	check_kernel(ret, f, &w);
	check_user(ret, f, &w);
	check_capabilities(ret, f, &w);
	check_limits(ret, f);
	check_cgroups(ret, f, &w);
	check_engine(ret, f, &w);
	check_network(ret, f, &w);
	check_storage(ret, f, &w);
	check_folders(ret, f, &w);
	check_vm(ret, f, &w);
	check_tools(ret, f, &w);
	check_rest(ret, f);
}

void dink_checks_clear(struct dink_checks *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->list[i].detail);
	free(c->list);
	*c = (struct dink_checks){};
}

size_t dink_checks_count(const struct dink_checks *c, enum dink_check_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->list[i].state == state;
	return n;
}

int dink_checks_refuse(const struct dink_checks *c, const char *scenario, struct dink_err *err)
{
	size_t more = dink_checks_count(c, DINK_CHECK_FAIL);
	const struct dink_check *k = c->list;
	int r;

	if (!more--)
		return 0;
	while (k->state != DINK_CHECK_FAIL)
		k++;
	r = dink_err_set(err, DINK_E_HOST, 0, "%s cannot run on this host: %s: %s (affects %s)",
			 scenario, k->name, k->detail, k->affects);
	if (more)
		dink_err_hint(err, "%s; `dink doctor SCENARIO` shows %zu more", k->mend, more);
	else
		dink_err_hint(err, "%s", k->mend);
	return r;
}
