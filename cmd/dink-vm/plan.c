/* SPDX-License-Identifier: Apache-2.0 */
/* From an adapted bundle and the options to the monitor's plan (provision/vm/monitor.h). */
#include "cmd/dink-vm/vm.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/guest.h"
#include "provision/vm/manifest.h"
#include "provision/vm/proto.h"
#include "provision/vm/qemu_tsc.h"

#include <limits.h>
#include <sys/random.h>

#define QBOOT		"/usr/share/qemu/qboot.rom"
#define GUEST_INSTALLED "/usr/local/lib/dink/guest"

static bool is_guest(const char *dir)
{
	_cleanup_free_ char *kernel = xasprintf("%s/vmlinux", dir);
	_cleanup_free_ char *initrd = xasprintf("%s/initramfs.cpio", dir);

	return dink_exists(kernel) && dink_exists(initrd);
}

/* The hint is a command that can be typed as it is. */
static void hint_bundle(const char *named, const char *beside, struct dink_err *err)
{
	_cleanup_free_ char *dink = xasprintf("%s/dink", dink_program_dir());
	bool installed = STREQ(dink_program_dir(), "/usr/local/bin");

	dink_err_hint(err, "make one: %s kernel bundle -o %s (or name its folder by --guest DIR)",
		      installed || !dink_exists(dink) ? "dink" : dink,
		      named	  ? named
		      : installed ? GUEST_INSTALLED
				  : beside);
}

static char *find_guest(const struct vm_globals *g, struct dink_err *err)
{
	_cleanup_free_ char *beside = xasprintf("%s/guest", dink_program_dir());
	const char *named = g->guest ? g->guest : getenv("DINK_VM_GUEST");
	const char *places[] = {named, beside, GUEST_INSTALLED, DINK_GUEST_IN_LAYER};

	/* one that was named is meant: another kernel in its place would be a surprise */
	for (size_t i = named ? 0 : 1; i < (named ? 1 : ARRAY_SIZE(places)); i++) {
		if (is_guest(places[i]))
			return xstrdup(places[i]);
	}
	if (named)
		dink_err_set(err, DINK_E_HOST, ENOENT, "no guest (vmlinux, initramfs.cpio) in %s",
			     named);
	else
		dink_err_set(err, DINK_E_HOST, ENOENT,
			     "no guest (vmlinux, initramfs.cpio) in %s, %s or %s", beside,
			     GUEST_INSTALLED, DINK_GUEST_IN_LAYER);
	hint_bundle(named, beside, err);
	return NULL;
}

/* KVM is used where dink proved it on this boot of the host; an open() of /dev/kvm proves nothing.
 */
static bool is_kvm_proved(void)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = xasprintf("%s/kvm-probe.json", dink_run_dir());
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *boot = NULL;

	if (!dink_exists(path) || dink_json_parse_file(path, &o, &ignored) < 0 ||
	    dink_file_read("/proc/sys/kernel/random/boot_id", 256, &boot, NULL, &ignored) < 0)
		return false;
	boot[strcspn(boot, "\n")] = '\0';
	return dink_json_bool_or(o, "ok", false) &&
	       STREQ(dink_json_str_or(o, "boot_id", ""), boot) &&
	       access("/dev/kvm", R_OK | W_OK) == 0;
}

static int choose_accel(const struct vm_globals *g, const char **ret, struct dink_err *err)
{
	const char *asked = g->accel ? g->accel : "auto";

	if (STREQ(asked, "auto"))
		*ret = is_kvm_proved() ? "kvm" : "tcg";
	else if (STREQ(asked, "tcg") || STREQ(asked, "kvm"))
		*ret = STREQ(asked, "kvm") ? "kvm" : "tcg";
	else
		return dink_err_set(err, DINK_E_USAGE, 0, "--accel is auto, tcg or kvm, not %s",
				    asked);
	return 0;
}

static int parse_timeout(const char *text, int64_t *ret, struct dink_err *err)
{
	char *end;
	long n = text ? strtol(text, &end, 10) : 0;

	if (text && (n < 1 || n > 3600 || *end))
		return dink_err_set(err, DINK_E_USAGE, 0,
				    "--boot-timeout %s is no number from 1 to 3600", text);
	*ret = n;
	return 0;
}

/*
 * Virtualization is in the guest's processor only where the container asked for /dev/kvm: it is a
 * large interface, and KVM's start in the guest takes time. TCG emulates AMD's.
 */
static const char *choose_cpu(const char *accel, bool nested)
{
	if (STREQ(accel, "kvm"))
		return nested ? "host" : "host,-svm,-vmx";
	return nested ? "qemu64,+svm,+npt" : "qemu64,-svm";
}

static char *encode_base64(const unsigned char *b, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct dink_str s = {};

	for (size_t i = 0; i + 2 < n; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16 | (uint32_t)b[i + 1] << 8 | b[i + 2];
		for (int k = 18; k >= 0; k -= 6)
			dink_str_addc(&s, digits[v >> k & 63]);
	}
	return dink_str_take(&s);
}

static void add_noise(struct json_object *o)
{
	unsigned char noise[48];

	if (getrandom(noise, sizeof(noise), 0) != sizeof(noise))
		return;
	_cleanup_free_ char *text = encode_base64(noise, sizeof(noise));
	dink_json_set_str(o, "entropy", text);
}

static struct json_object *make_setup(const struct dink_oci *oci)
{
	struct json_object *setup = dink_json_new();
	struct json_object *mounts = json_object_new_array();
	struct json_object *root = dink_json_new();

	dink_json_set_str(setup, "op", "setup");
	if (oci->hostname[0])
		dink_json_set_str(setup, "hostname", oci->hostname);
	add_noise(setup);
	if (oci->rootfs || oci->n_shares > 0) {
		struct json_object *m = dink_json_new();
		dink_json_set_str(m, "type", "virtiofs");
		dink_json_set_str(m, "source", DINK_SHARE_TAG);
		dink_json_set_str(m, "target", DINK_SHARE_DIR);
		json_object_array_add(mounts, m);
	}
	for (size_t i = 0; i < json_object_array_length(oci->mounts); i++)
		json_object_array_add(mounts,
				      json_object_get(json_object_array_get_idx(oci->mounts, i)));
	dink_json_set(setup, "mounts", mounts);
	dink_json_set_str(root, "type", oci->block_root ? "block" : "shared");
	if (oci->block_root)
		dink_json_set_str(root, "lower", DINK_OCI_LOWER_DIR);
	else
		dink_json_set_str(root, "dir", DINK_SHARE_DIR "/rootfs");
	if (oci->block_upper)
		dink_json_set_str(root, "upper", DINK_OCI_UPPER_DIR);
	dink_json_set(setup, "root", root);
	return setup;
}

static void add_sources(struct json_object *plan, const struct dink_oci *oci)
{
	struct json_object *shares = json_object_new_array();
	struct json_object *disks = json_object_new_array();

	for (size_t i = 0; i < oci->n_shares; i++) {
		struct json_object *s = dink_json_new();
		dink_json_set_str(s, "source", oci->shares[i].source);
		if (oci->shares[i].overlay)
			dink_json_set_str(s, "overlay", oci->shares[i].overlay);
		dink_json_set_bool(s, "readonly", oci->shares[i].readonly);
		dink_json_set_bool(s, "recursive", oci->shares[i].recursive);
		json_object_array_add(shares, s);
	}
	for (size_t i = 0; i < oci->n_disks; i++) {
		struct json_object *d = dink_json_new();
		dink_json_set_str(d, "source", oci->disks[i].source);
		dink_json_set_str(d, "serial", oci->disks[i].serial);
		dink_json_set_bool(d, "readonly", oci->disks[i].readonly);
		json_object_array_add(disks, d);
	}
	dink_json_set(plan, "shares", shares);
	dink_json_set(plan, "disks", disks);
}

int vm_make_plan(const struct vm_globals *g, const struct dink_oci *oci,
		 const struct dink_vmstate *state, struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *qemu = dink_which("qemu-system-x86_64");
	const char *accel = "tcg";
	int64_t boot_timeout_s = 0; /* as the monitor has it */
	char dir[PATH_MAX];

	if (!qemu) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "qemu-system-x86_64");
		return dink_err_hint(err, "apt-get install qemu-system-x86");
	}
	_cleanup_free_ char *guest = find_guest(g, err);
	if (!guest)
		return -ENOENT;
	int r = choose_accel(g, &accel, err);
	if (r == 0)
		r = parse_timeout(g->boot_timeout ? g->boot_timeout : oci->boot_timeout,
				  &boot_timeout_s, err);
	if (r < 0)
		return r;
	if (!realpath(state->dir, dir))
		return dink_err_set(err, DINK_E_HOST, errno, "%s", state->dir);
	_cleanup_free_ char *kernel = xasprintf("%s/vmlinux", guest);
	_cleanup_free_ char *initrd = xasprintf("%s/initramfs.cpio", guest);
	struct json_object *plan = dink_json_new();
	dink_json_set_str(plan, "id", state->id);
	dink_json_set_str(plan, "dir", dir);
	dink_json_set_str(plan, "rootfs", oci->rootfs);
	if (oci->resolv)
		dink_json_set_str(plan, "resolv", oci->resolv);
	dink_json_set_bool(plan, "terminal", oci->terminal);
	dink_json_set_int(plan, "memory_mib", oci->memory_mib);
	dink_json_set_int(plan, "cpus", oci->cpus);
	dink_json_set_str(plan, "accel", accel);
	dink_json_set_str(plan, "cpu", choose_cpu(accel, oci->nested));
	dink_json_set_str(plan, "qemu", qemu);
	dink_json_set_str(plan, "kernel", kernel);
	dink_json_set_str(plan, "initrd", initrd);
	if (access(QBOOT, R_OK) == 0)
		dink_json_set_str(plan, "firmware", QBOOT);
	if (STREQ(accel, "tcg"))
		dink_json_set_int(plan, "tsc_khz", dink_tsc_khz(g->root));
	if (g->ram_dir)
		dink_json_set_str(plan, "ram_dir", g->ram_dir);
	if (boot_timeout_s)
		dink_json_set_int(plan, "boot_timeout_ms", boot_timeout_s * 1000);
	add_sources(plan, oci);
	dink_json_set(plan, "setup", make_setup(oci));
	dink_json_set(plan, "create", json_object_get(oci->config));
	*ret = plan;
	return 0;
}

/* --- a restore --- */

static struct json_object *make_renew(struct json_object *setup)
{
	struct json_object *o = dink_json_new();
	const char *hostname = dink_json_str_or(setup, "hostname", NULL);
	unsigned char id[16];

	dink_json_set_str(o, "op", "renew");
	if (hostname)
		dink_json_set_str(o, "hostname", hostname);
	add_noise(o);
	if (getrandom(id, sizeof(id), 0) == sizeof(id)) {
		_cleanup_str_ struct dink_str hex = {};
		for (size_t i = 0; i < sizeof(id); i++)
			dink_str_addf(&hex, "%02x", id[i]);
		dink_json_set_str(o, "machine_id", hex.s);
	}
	return o;
}

static void add_disks(struct json_object *plan, struct json_object *manifest, const char *image)
{
	struct json_object *from = dink_json_get(manifest, "disks");
	struct json_object *own = dink_json_get(plan, "disks");
	struct json_object *disks = json_object_new_array();

	for (size_t i = 0; i < json_object_array_length(from); i++) {
		struct json_object *d = json_object_array_get_idx(from, i), *n = dink_json_new();
		struct json_object *o = json_object_array_get_idx(own, i); /* as many: it fits */
		const char *file = dink_json_str_or(d, "file", NULL);
		_cleanup_free_ char *path = file ? xasprintf("%s/%s", image, file) : NULL;

		dink_json_set_str(n, "source", path ? path : dink_json_str_or(o, "source", ""));
		dink_json_set_str(n, "serial", dink_json_str_or(d, "serial", ""));
		dink_json_set_bool(n, "readonly", !file);
		json_object_array_add(disks, n);
	}
	dink_json_set(plan, "disks", disks);
}

int vm_fit_plan(struct json_object *plan, struct json_object *manifest, const char *image,
		struct dink_err *err)
{
	static const char *const machine[] = {DINK_MACHINE_KEYS, NULL};
	static const char *const channel[] = {"channel", "stdio",	 "nics", "exec_count",
					      "paused",	 "qemu_version", NULL};
	struct json_object *restore = dink_json_new();

	dink_json_copy(plan, dink_json_get(manifest, "machine"), machine);
	dink_json_copy(restore, manifest, channel);
	dink_json_set_str(restore, "image", image);
	dink_json_set(plan, "restore", restore);
	dink_json_set(plan, "renew", make_renew(dink_json_get(plan, "setup")));
	add_disks(plan, manifest, image);
	return dink_manifest_check(manifest, plan, err);
}
