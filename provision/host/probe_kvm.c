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
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/*
 * A guest under a working KVM is done in a second, nested in an emulator in four. One that is
 * silent for a part of its time, from its start or in between, hangs; one that goes on talking is
 * given all of it, since the machine may be busy. In a layer, whose KVM is emulated on a host that it
 * shares, it is given longer: a wrong "no" makes the VMs there many times slower.
 */
enum { PROBE_MS = 60000, PROBE_IN_LAYER_MS = 120000, SILENT_PART = 7, PROBE_TEXT_MAX = 1 << 20 };

/* What VMs use under KVM: that another model might run would help none of them. */
static const char probe_cpu[] = "host";

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

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
	dink_strv_addf(&patterns, "%s/vmlinux", dink_program_dir()); /* in a guest folder */
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

/* A probe guest at work, and what it and QEMU said so far. */
struct probe {
	struct dink_str serial, words; /* of the guest, of QEMU on stderr */
	int out, errfd, pidfd;	       /* -1 = ended */
	uint64_t heard;		       /* when the guest last said something */
};

enum probe_end { PROBE_EXIT, PROBE_INTR, PROBE_FAULT, PROBE_SILENT, PROBE_SLOW };

/* Whether anything came; a closed end is noticed once and for all. */
static bool take(int *fd, struct dink_str *into)
{
	char buf[8192];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		close(TAKE_FD(*fd));
	if (n > 0 && into->len < PROBE_TEXT_MAX)
		dink_str_addn(into, buf, (size_t)n);
	return n > 0;
}

/*
 * A KVM that meets what it cannot run stops the guest for good, while QEMU stays: paravirtual KVM
 * inside a VM, which emulates each instruction, gets as far as its emulator knows them.
 */
static bool has_fault(const struct probe *p)
{
	return p->words.s && strstr(p->words.s, "KVM internal error");
}

static enum probe_end watch_probe(struct probe *p, uint32_t timeout_ms)
{
	uint64_t begin = dink_now_ms();

	p->heard = begin;
	for (;;) {
		struct pollfd fds[] = {{.fd = p->out, .events = POLLIN},
				       {.fd = p->errfd, .events = POLLIN},
				       {.fd = p->pidfd, .events = POLLIN},
				       {.fd = dink_interrupt_fd(), .events = POLLIN}};
		bool ended = p->out < 0 && p->errfd < 0;

		(void)poll(fds, ARRAY_SIZE(fds), 200);
		uint64_t now = dink_now_ms();
		if (fds[0].revents && take(&p->out, &p->serial))
			p->heard = now;
		if (fds[1].revents)
			take(&p->errfd, &p->words);
		if (has_fault(p))
			return PROBE_FAULT;
		if (ended && fds[2].revents)
			return PROBE_EXIT;
		if (dink_interrupted())
			return PROBE_INTR;
		if (now - begin >= timeout_ms)
			return PROBE_SLOW;
		if (now - p->heard >= timeout_ms / SILENT_PART)
			return PROBE_SILENT;
	}
}

static int start_probe(struct dink_cmd *cmd, struct probe *p, pid_t *ret, struct dink_err *err)
{
	int out[2], words[2], r;

	if (pipe2(out, O_CLOEXEC) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
	if (pipe2(words, O_CLOEXEC) < 0) {
		r = dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
		close(out[0]);
		close(out[1]);
		return r;
	}
	p->out = out[0];
	p->errfd = words[0];
	cmd->out = out[1];
	cmd->errfd = words[1];
	r = dink_cmd_spawn(cmd, ret, &p->pidfd, err);
	close(out[1]);
	close(words[1]);
	return r;
}

/* The first line of QEMU's words on stderr, which says why it gave up; warnings do not. */
static char *first_line(const char *text)
{
	while (text && *text) {
		size_t n = strcspn(text, "\n");
		_cleanup_free_ char *line = xstrndup(text, n);

		if (!strstr(line, "warning:"))
			return TAKE_PTR(line);
		text += n + (text[n] == '\n');
	}
	return xstrdup("QEMU ended without a word");
}

static char *explain(const struct probe *p, enum probe_end end, const char *cpu, bool spoke,
		     uint32_t timeout_ms)
{
	_cleanup_free_ char *said = first_line(p->words.s);

	switch (end) {
	case PROBE_INTR:
		return xstrdup("interrupted");
	case PROBE_FAULT:
		return xasprintf("a probe guest (-cpu %s) was stopped %s: KVM internal error%s",
				 cpu, spoke ? "while its kernel started" : "at its start",
				 strstr(p->words.s, "emulation failure") ? ", emulation failure"
									 : "");
	case PROBE_SILENT:
		return xasprintf("a probe guest (-cpu %s) %s %u s", cpu,
				 spoke ? "began to boot, then hung for" : "said nothing for",
				 timeout_ms / SILENT_PART / 1000);
	case PROBE_SLOW:
		return xasprintf("a probe guest (-cpu %s) did not finish booting within %u s", cpu,
				 timeout_ms / 1000);
	default:
		return xasprintf("a probe guest (-cpu %s) did not boot: %s", cpu, said);
	}
}

bool dink_probe_guest(const char *qemu, const char *kernel, const char *accel, const char *cpu,
		      uint32_t timeout_ms, char **ret_why)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_str_ struct dink_str serial = {}, words = {};
	struct probe p = {.out = -1, .errfd = -1, .pidfd = -1};
	enum probe_end end;
	struct dink_pid id;
	pid_t pid = -1;
	bool spoke, ok;

	dink_cmd_argv(&cmd, qemu, "-machine", "q35", "-accel", accel, "-cpu", cpu, "-m", "256",
		      "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial",
		      "stdio", "-kernel", kernel, "-append",
		      "ignore_loglevel earlyprintk=ttyS0 console=ttyS0 panic=-1 root=none", NULL);
	if (start_probe(&cmd, &p, &pid, &err) < 0) {
		*ret_why = xasprintf("a probe guest could not be started: %s", err.msg);
		end = PROBE_EXIT;
	} else {
		end = watch_probe(&p, timeout_ms);
		if (end != PROBE_EXIT && dink_pid_identify(pid, &id) == 0)
			(void)!dink_pid_end(&id, 500, &err);
		(void)waitpid(pid, NULL, 0);
	}
	serial = p.serial;
	words = p.words;
	for (size_t i = 0; i < 3; i++) {
		int fd = (int[]){p.out, p.errfd, p.pidfd}[i];

		if (fd >= 0)
			close(fd);
	}
	if (pid < 0)
		return false;
	spoke = serial.s && strstr(serial.s, "Linux version");
	ok = end == PROBE_EXIT && spoke && strstr(serial.s, "Kernel panic");
	if (!ok)
		*ret_why = explain(&p, end, cpu, spoke, timeout_ms);
	return ok;
}

static void prove(struct dink_facts *f, const char *qemu, const char *kernel, uint32_t timeout_ms,
		  const struct dink_progress *progress)
{
	_cleanup_free_ char *why = NULL;

	dink_progress(progress, "booting a probe guest under KVM", 0, 0);
	if (dink_probe_guest(qemu, kernel, "kvm", probe_cpu, timeout_ms, &why))
		dink_usable_yes(&f->kvm);
	else
		dink_usable_no(&f->kvm, "/dev/kvm opens, but %s", why);
}

static void probe_kvm(struct dink_facts *f, bool boot, uint32_t timeout_ms,
		      const struct dink_progress *progress)
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
	kernel = find_kernel();
	f->kvm_wants_kernel = !kernel;
	if (!kernel)
		return dink_usable_no(&f->kvm, "not proven yet: there is no kernel to boot a probe "
					       "guest with: run `dink kernel build`");
	if (!boot)
		return dink_usable_no(&f->kvm, "not proven yet: run `dink doctor`");
	prove(f, qemu->path, kernel, timeout_ms, progress);
	if (!dink_interrupted())
		save_cached(f, identity);
}

void dink_probe_kvm(struct dink_facts *f, bool boot, const struct dink_progress *progress)
{
	probe_kvm(f, boot, PROBE_MS, progress);
}

void dink_prove_kvm(const char *qemu, struct dink_usable *ret)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	char name[] = "qemu-system-x86_64";
	_cleanup_free_ char *boot = NULL, *path = xstrdup(qemu);
	struct dink_tool_fact tool = {.name = name, .path = path};
	struct dink_facts f = {.tools = &tool, .n_tools = 1};

	if (dink_file_read(BOOT_ID, 256, &boot, NULL, &ignored) < 0) {
		dink_usable_no(ret, "%s: %s", BOOT_ID, ignored.msg);
		return;
	}
	boot[strcspn(boot, "\n")] = '\0';
	f.boot_id = boot;
	probe_kvm(&f, true, PROBE_IN_LAYER_MS, NULL);
	*ret = f.kvm;
}
