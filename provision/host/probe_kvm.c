/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM, proved. A /dev/kvm that opens and answers KVM_GET_API_VERSION may still never run a guest
 * (paravirtual KVM inside a VM does that), so a probe guest is booted with a deadline: a kernel
 * without an initramfs, which prints "Linux version", finds no root, panics and reboots; QEMU
 * then ends. Nothing less counts.
 *
 * The result is kept in RUN/kvm-probe.json for this boot of the host and this QEMU (its file's
 * size and time: asking it for its version would cost more than all else here).
 */
#include "provision/host/probe.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/*
 * A guest that has said a word within PROBE_MS runs, only slowly (KVM nested in an emulator): it
 * gets another try of SLOW_MS. One that has not is taken to hang.
 */
enum { PROBE_MS = 10000, SLOW_MS = 60000, PROBE_SERIAL_MAX = 4 << 20 };

/* "host" is what VMs use; "qemu64" asks for little and tells a CPU model's fault from KVM's. */
static const char *const cpu_models[] = {"host", "qemu64"};

static char *cache_path(void)
{
	return xasprintf("%s/kvm-probe.json", dink_run_dir());
}

/* Whether a result of this boot was found and taken. */
static bool load_cached(struct dink_facts *f, const char *qemu_identity)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *path = cache_path();

	if (dink_json_parse_file(path, &o, &ignored) < 0)
		return false;
	if (!STREQ(dink_json_str_or(o, "boot_id", ""), f->boot_id) ||
	    !STREQ(dink_json_str_or(o, "qemu", ""), qemu_identity))
		return false;
	if (dink_json_bool_or(o, "ok", false))
		dink_usable_yes(&f->kvm);
	else
		dink_usable_no(&f->kvm, "%s", dink_json_str_or(o, "why", "not known"));
	return true;
}

/* Not being able to keep the result costs a probe next time and nothing else. */
static void save_cached(const struct dink_facts *f, const char *qemu_identity)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_json_ struct json_object *o = dink_json_new();
	_cleanup_free_ char *path = cache_path(), *text = NULL;

	dink_json_set_str(o, "boot_id", f->boot_id);
	dink_json_set_str(o, "qemu", qemu_identity);
	dink_json_set_bool(o, "ok", f->kvm.ok);
	dink_json_set_str(o, "why", f->kvm.why);
	text = dink_json_text(o);
	if (dink_mkdir_p(dink_run_dir(), 0755, &ignored) == 0)
		(void)!dink_file_write(path, text, strlen(text), 0644, &ignored);
}

static char *file_identity(const char *path)
{
	struct stat st = {};

	if (stat(path, &st) < 0)
		return xstrdup(path);
	return xasprintf("%s %lld bytes of %lld.%09ld", path, (long long)st.st_size,
			 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static char *first_match(const char *pattern)
{
	glob_t g = {};
	char *found = NULL;

	if (glob(pattern, 0, NULL, &g) == 0 && g.gl_pathc > 0)
		found = xstrdup(g.gl_pathv[g.gl_pathc - 1]);
	globfree(&g);
	return found;
}

/* Any kernel will do: one of ours from the cache, the one beside the program, the host's own. */
static char *find_kernel(void)
{
	_cleanup_strv_ struct dink_strv patterns = {};

	dink_strv_addf(&patterns, "%s/kernels/*/vmlinux", dink_cache_dir());
	dink_strv_addf(&patterns, "%s/guest/vmlinux", dink_program_dir());
	dink_strv_addf(&patterns, "%s/dev-kernel/vmlinux", dink_cache_dir());
	dink_strv_add(&patterns, "/boot/vmlinuz-*");
	for (size_t i = 0; i < patterns.n; i++) {
		_cleanup_free_ char *found = first_match(patterns.v[i]);

		if (found && access(found, R_OK) == 0)
			return TAKE_PTR(found);
	}
	return NULL;
}

/* What is cheap and certain: without these no guest can run. */
static bool device_answers(struct dink_usable *u)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		dink_usable_no(u, "/dev/kvm: %s", strerror(errno));
		return false;
	}
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		dink_usable_no(u, "/dev/kvm answers API version %d, not %d", version,
			       KVM_API_VERSION);
		return false;
	}
	return true;
}

/* What the guest says, kept up to a limit. */
struct serial {
	struct dink_str text;
};

static void keep_serial(void *ctx, int fd, const char *bytes, size_t n)
{
	struct serial *serial = ctx;

	if (fd == 1 && serial->text.len < PROBE_SERIAL_MAX)
		dink_str_addn(&serial->text, bytes, n);
}

/* The first line of QEMU's words on stderr, which says why it gave up. */
static char *first_line(const char *text)
{
	return xstrndup(text ? text : "", text ? strcspn(text, "\n") : 0);
}

bool dink_probe_guest(const char *qemu, const char *kernel, const char *accel, const char *cpu,
		      uint32_t timeout_ms, bool *ret_spoke, char **ret_why)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	struct serial serial = {};

	dink_cmd_argv(&cmd, qemu, "-machine", "q35", "-accel", accel, "-cpu", cpu, "-m", "256",
		      "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial",
		      "stdio", "-kernel", kernel, "-append",
		      "ignore_loglevel earlyprintk=ttyS0 console=ttyS0 panic=-1 root=none", NULL);
	cmd.timeout_ms = timeout_ms;
	cmd.ok_to_fail = true;
	cmd.on_output = keep_serial;
	cmd.ctx = &serial;
	int r = dink_cmd_run(&cmd, &err);
	bool spoke = serial.text.s && strstr(serial.text.s, "Linux version");
	bool ok = r == 0 && spoke && strstr(serial.text.s, "Kernel panic");
	dink_str_clear(&serial.text);
	*ret_spoke = spoke;
	if (ok)
		return true;
	_cleanup_free_ char *said = first_line(cmd.errtail);
	if (err.code == DINK_E_INTR)
		*ret_why = xstrdup("interrupted");
	else if (r < 0)
		*ret_why = xasprintf("a probe guest (-cpu %s) did not finish booting within %u s",
				     cpu, timeout_ms / 1000);
	else
		*ret_why = xasprintf("a probe guest (-cpu %s) did not boot: %s", cpu,
				     said[0] ? said : "QEMU ended without a word");
	return false;
}

static void prove(struct dink_facts *f, const char *qemu, const char *kernel,
		  const struct dink_progress *progress)
{
	_cleanup_str_ struct dink_str reasons = {};

	for (size_t i = 0; i < ARRAY_SIZE(cpu_models); i++) {
		_cleanup_free_ char *why = NULL;
		bool ok, spoke = false;

		dink_progress(progress, "booting a probe guest under KVM", i,
			      ARRAY_SIZE(cpu_models));
		ok = dink_probe_guest(qemu, kernel, "kvm", cpu_models[i], PROBE_MS, &spoke, &why);
		if (!ok && spoke && !dink_interrupted()) {
			free(why);
			why = NULL;
			ok = dink_probe_guest(qemu, kernel, "kvm", cpu_models[i], SLOW_MS, &spoke,
					      &why);
		}
		if (ok) {
			dink_usable_yes(&f->kvm);
			return;
		}
		dink_str_addf(&reasons, "%s%s", i ? "; " : "", why);
		if (dink_interrupted())
			break;
	}
	dink_usable_no(&f->kvm, "/dev/kvm opens, but %s", reasons.s);
}

void dink_probe_kvm(struct dink_facts *f, bool boot, const struct dink_progress *progress)
{
	const struct dink_tool_fact *qemu = dink_facts_tool(f, "qemu-system-x86_64");
	_cleanup_free_ char *kernel = NULL, *identity = NULL;

	if (!device_answers(&f->kvm))
		return;
	if (!qemu)
		return dink_usable_no(&f->kvm, "not proven: qemu-system-x86_64 is not installed");
	identity = file_identity(qemu->path);
	if (load_cached(f, identity))
		return;
	if (!boot)
		return dink_usable_no(&f->kvm, "not proven yet: run `dink doctor`");
	kernel = find_kernel();
	if (!kernel)
		return dink_usable_no(&f->kvm, "not proven: there is no kernel to boot a probe "
					       "guest with: run `dink kernel build`");
	prove(f, qemu->path, kernel, progress);
	if (!dink_interrupted())
		save_cached(f, identity);
}
