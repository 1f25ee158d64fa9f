/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/qemu.h"

#include "provision/vm/proto.h"

enum {
	/* translated code kept: a kernel boot and a shell fit; more only costs page faults */
	TB_SIZE_MIB = 64,
	/* a clone has its boot behind it, and there may be many */
	TB_SIZE_CLONE_MIB = 32,
};

int dink_qopt_add(struct dink_str *opt, const char *key, const char *value)
{
	for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			return -EINVAL;
	}
	if (opt->len)
		dink_str_addc(opt, ',');
	if (key) {
		dink_str_add(opt, key);
		dink_str_addc(opt, '=');
	}
	for (const char *c = value; *c; c++) {
		if (*c == ',')
			dink_str_addc(opt, ',');
		dink_str_addc(opt, *c);
	}
	return 0;
}

/* One option and its value, key by key; a bad value is remembered and refused at the end. */
struct writer {
	struct dink_strv *argv;
	struct dink_str opt;
	const char *bad;
};

static void put(struct writer *w, const char *key, const char *value)
{
	if (dink_qopt_add(&w->opt, key, value) < 0 && !w->bad)
		w->bad = key ? key : "value";
}

static void putn(struct writer *w, const char *key, int64_t n)
{
	_cleanup_free_ char *s = xasprintf("%lld", (long long)n);
	put(w, key, s);
}

static void flush(struct writer *w, const char *option)
{
	dink_strv_add(w->argv, option);
	dink_strv_own(w->argv, dink_str_take(&w->opt));
}

static void write_machine(struct writer *w, const struct dink_qemu_opts *o)
{
	bool kvm = STREQ(o->accel, "kvm");

	dink_strv_addl(w->argv, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		       NULL);
	dink_strv_addl(w->argv, "-sandbox",
		       "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		       NULL);
	put(w, NULL, o->name);
	flush(w, "-name");
	put(w, NULL, "q35");
	put(w, "memory-backend", "ram");
	/* no devices that a container has no use for: each costs the guest a probe */
	put(w, "vmport", "off");
	put(w, "smbus", "off");
	put(w, "sata", "off");
	put(w, "usb", "off");
	put(w, "graphics", "off");
	put(w, "dump-guest-core", "off");
	flush(w, "-machine");
	put(w, NULL, o->accel);
	if (!kvm) {
		put(w, "thread", "multi");
		putn(w, "tb-size", o->ram_private ? TB_SIZE_CLONE_MIB : TB_SIZE_MIB);
	}
	flush(w, "-accel");
	put(w, NULL, o->cpu ? o->cpu : kvm ? "host" : "qemu64");
	flush(w, "-cpu");
	putn(w, NULL, o->cpus);
	flush(w, "-smp");
	_cleanup_free_ char *mem = xasprintf("%uM", o->memory_mib);
	put(w, NULL, mem);
	flush(w, "-m");
	put(w, NULL,
	    o->ram_fd >= 0     ? "memory-backend-file"
	    : o->share_fd >= 0 ? "memory-backend-memfd"
			       : "memory-backend-ram");
	put(w, "id", "ram");
	put(w, "size", mem);
	if (o->ram_fd >= 0) {
		_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", o->ram_fd);
		put(w, "mem-path", path);
	}
	if (o->share_fd >= 0 || (o->ram_fd >= 0 && !o->ram_private))
		put(w, "share", "on");
	flush(w, "-object");
	if (o->incoming)
		dink_strv_addl(w->argv, "-incoming", "defer", NULL);
}

/*
 * What TCG's guests need not find out or do (docs/performance.md has the figures). Without
 * tsc=reliable two CPUs would end on the HPET; without norandmaps each exec is translated anew,
 * since it lies elsewhere.
 *
 * init_on_alloc=1 is for correctness: virtiofsd writes files into the guest's memory behind QEMU's
 * back, so TCG does not see that a page that held one program's text now holds another's, and runs
 * the translation of the old one. A page that the guest's own processor cleared first has none.
 */
static void add_tcg_words(struct dink_str *line, const struct dink_qemu_opts *o)
{
	dink_str_add(line, " tsc=reliable no_timer_check norandmaps init_on_alloc=1");
	if (o->cpus == 1)
		dink_str_add(line, " nolapic_timer");
	if (o->tsc_khz)
		dink_str_addf(line, " tsc_early_khz=%u lpj=%llu", o->tsc_khz,
			      (unsigned long long)o->tsc_khz * 10);
}

static void write_kernel(struct writer *w, const struct dink_qemu_opts *o)
{
	_cleanup_str_ struct dink_str line = {};

	if (o->firmware)
		dink_strv_addl(w->argv, "-bios", o->firmware, NULL);
	/* -kernel, -initrd and -append take plain strings, not option lists */
	dink_strv_addl(w->argv, "-kernel", o->kernel, "-initrd", o->initrd, NULL);
	dink_str_add(&line, "quiet panic=-1 reboot=t mitigations=off nokaslr "
			    "cgroup_no_v1=all random.trust_cpu=on rdinit=/init "
			    "rcupdate.rcu_expedited=1");
	/* interfaces that drivers make by themselves have no place in a container */
	dink_str_add(&line, " dummy.numdummies=0 ifb.numifbs=0 fb_tunnels=none");
	dink_str_add(&line, o->console_fd >= 0 ? " console=ttyS0" : " 8250.nr_uarts=0");
	if (STREQ(o->accel, "tcg"))
		add_tcg_words(&line, o);
	if (o->append)
		dink_str_addf(&line, " %s", o->append);
	dink_strv_add(w->argv, "-append");
	dink_strv_own(w->argv, dink_str_take(&line));
}

static void write_socket(struct writer *w, const char *id, int fd)
{
	put(w, NULL, "socket");
	put(w, "id", id);
	putn(w, "fd", fd);
	flush(w, "-chardev");
}

static void write_channel(struct writer *w, const struct dink_qemu_opts *o)
{
	write_socket(w, "qmp", o->qmp_fd);
	put(w, NULL, "qmp");
	put(w, "mode", "control");
	flush(w, "-mon");
	if (o->console_fd >= 0) {
		write_socket(w, "console", o->console_fd);
		put(w, NULL, "chardev:console");
		flush(w, "-serial");
	}
	/* a clone's share is plugged in here: QEMU loads no state with such a device */
	put(w, NULL, "pcie-root-port");
	put(w, "id", DINK_QEMU_PORT);
	put(w, "chassis", "1");
	flush(w, "-device");
	write_socket(w, "channel", o->channel_fd);
	put(w, NULL, "virtio-serial-pci");
	put(w, "max_ports", "2");
	flush(w, "-device");
	put(w, NULL, "virtserialport");
	put(w, "chardev", "channel");
	put(w, "name", DINK_PORT_NAME);
	/* QEMU tells of a port that opens and closes only if it has one */
	put(w, "id", "agent");
	put(w, "nr", "1");
	flush(w, "-device");
	put(w, NULL, "rng-random");
	put(w, "id", "rng");
	put(w, "filename", "/dev/urandom");
	flush(w, "-object");
	put(w, NULL, "virtio-rng-pci");
	put(w, "rng", "rng");
	flush(w, "-device");
}

static void write_share(struct writer *w, const struct dink_qemu_opts *o)
{
	if (o->share_fd < 0)
		return;
	write_socket(w, DINK_QEMU_SHARE, o->share_fd);
	if (o->incoming)
		return;
	put(w, NULL, "vhost-user-fs-pci");
	put(w, "chardev", DINK_QEMU_SHARE);
	put(w, "tag", o->share_tag);
	putn(w, "queue-size", DINK_QEMU_SHARE_QUEUE);
	flush(w, "-device");
}

static void write_nics(struct writer *w, const struct dink_qemu_opts *o)
{
	for (int i = 0; i < o->n_taps; i++) {
		_cleanup_free_ char *id = xasprintf("net%d", i);
		put(w, NULL, "tap");
		put(w, "id", id);
		putn(w, "fd", o->taps[i]);
		flush(w, "-netdev");
		put(w, NULL, "virtio-net-pci");
		put(w, "netdev", id);
		put(w, "romfile", "");
		/* the order of PCI slots is the order of "index" on the channel */
		_cleanup_free_ char *slot = xasprintf("%#x", 0x10 + i);
		put(w, "addr", slot);
		flush(w, "-device");
	}
}

static void write_disks(struct writer *w, const struct dink_qemu_opts *o)
{
	for (int i = 0; i < o->n_disks; i++) {
		const struct dink_qemu_disk *d = &o->disks[i];
		_cleanup_free_ char *id = xasprintf("disk%d", i);
		putn(w, "fd", d->fd);
		putn(w, "set", i + 1);
		flush(w, "-add-fd");
		if (d->rw_fd >= 0) {
			putn(w, "fd", d->rw_fd);
			putn(w, "set", i + 1);
			flush(w, "-add-fd");
		}
		put(w, "if", "none");
		put(w, "id", id);
		put(w, "format", "raw");
		put(w, "cache", "writeback");
		put(w, "discard", "unmap");
		put(w, "readonly", d->rw_fd < 0 ? "on" : "off");
		_cleanup_free_ char *file = xasprintf("/dev/fdset/%d", i + 1);
		put(w, "file", file);
		flush(w, "-drive");
		put(w, NULL, "virtio-blk-pci");
		put(w, "drive", id);
		put(w, "serial", d->serial);
		flush(w, "-device");
	}
}

int dink_qemu_argv(const struct dink_qemu_opts *o, struct dink_strv *ret, struct dink_err *err)
{
	struct writer w = {.argv = ret};

	dink_strv_add(ret, o->program);
	write_machine(&w, o);
	write_kernel(&w, o);
	write_channel(&w, o);
	write_share(&w, o);
	write_nics(&w, o);
	write_disks(&w, o);
	dink_str_clear(&w.opt);
	if (w.bad)
		return dink_err_set(err, DINK_E_USAGE, EINVAL,
				    "a control character in QEMU's option \"%s\"", w.bad);
	return 0;
}
