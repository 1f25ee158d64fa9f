/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a guest, for tests: boots QEMU under TCG with a kernel, an initramfs made of
 * the agent and this host's crun, and an EROFS root, then drives dink-agent through its whole
 * protocol and checks what comes back.
 *
 *	guest_host VMLINUX AGENT EROFS [SCRIPT]
 *
 * Prints TAP; figures as comments. Exit status 1 if a check failed. With SCRIPT only that is run by
 * a shell in the container, and its output shown.
 */
#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/vm/chan.h"
#include "provision/vm/guest.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct run {
	char name[32];
	int out, err; /* memfds */
	bool ended;
	int status;
};

struct host {
	struct dink_loop *loop;
	struct dink_chan *chan;
	pid_t qemu;
	bool hello;
	bool answered;
	struct json_object *answer;
	char closed[200];
	struct run runs[64];
	int n_runs;
};

static int tests, failures;

static void check(bool ok, const char *fmt, ...) _printf_(2, 3);
static void check(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", ok ? "" : "not ", ++tests);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	failures += !ok;
}

/* --- channel --- */

static void on_event(void *ctx, struct json_object *msg)
{
	struct host *h = ctx;
	const char *event = dink_json_str_or(msg, "event", "");

	if (STREQ(event, "hello"))
		h->hello = true;
	if (STREQ(event, "log"))
		printf("# guest: %s\n", dink_json_str_or(msg, "text", ""));
	for (int i = 0; STREQ(event, "exit") && i < h->n_runs; i++) {
		if (STREQ(h->runs[i].name, dink_json_str_or(msg, "exec", ""))) {
			h->runs[i].ended = true;
			h->runs[i].status = (int)dink_json_int_or(msg, "status", -1);
		}
	}
}

static void on_closed(void *ctx, const char *why)
{
	struct host *h = ctx;

	snprintf(h->closed, sizeof(h->closed), "%s", why);
}

static const struct dink_chan_ops ops = {.on_event = on_event, .on_closed = on_closed};

static void on_answer(void *ctx, struct json_object *msg)
{
	struct host *h = ctx;

	h->answered = true;
	h->answer = msg ? json_object_get(msg) : NULL;
}

static void wait_for(struct host *h, const bool *flag, uint64_t ms)
{
	uint64_t end = dink_now_ms() + ms;

	while (!*flag && !h->closed[0] && dink_now_ms() < end)
		dink_loop_once(h->loop, 100);
}

/* ask() - a request (JSON text, taken) and its answer */
static bool ask(struct host *h, struct json_object *msg)
{
	json_object_put(h->answer);
	h->answer = NULL;
	h->answered = false;
	dink_chan_request(h->chan, msg, on_answer, h);
	wait_for(h, &h->answered, 120000);
	return dink_json_bool_or(h->answer, "ok", false);
}

static const char *refusal(struct host *h)
{
	return dink_json_str_or(h->answer, "error", "no answer");
}

static struct json_object *parse(const char *fmt, ...) _printf_(1, 2);
static struct json_object *parse(const char *fmt, ...)
{
	va_list ap;
	_cleanup_free_ char *text = NULL;
	struct json_object *o;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	o = json_tokener_parse(text);
	if (!o) {
		fprintf(stderr, "bad JSON in the test: %s\n", text);
		exit(2);
	}
	return o;
}

/* --- running programs --- */

static uint32_t tie(struct host *h, int in_fd, int out_fd)
{
	uint32_t id = dink_chan_new_stream(h->chan);

	dink_chan_stream(h->chan, id, in_fd, out_fd, NULL, NULL);
	return id;
}

static struct json_object *make_process(const char *const *argv, bool tty)
{
	struct json_object *p =
		parse("{\"cwd\":\"/\",\"env\":[\"PATH=/usr/sbin:/usr/bin:/sbin:/bin\","
		      "\"TERM=xterm\"],\"user\":{\"uid\":0,\"gid\":0}}");
	struct json_object *args = json_object_new_array();

	for (; *argv; argv++)
		json_object_array_add(args, json_object_new_string(*argv));
	dink_json_set(p, "args", args);
	dink_json_set_bool(p, "terminal", tty);
	return p;
}

static struct run *new_run(struct host *h, const char *name)
{
	struct run *r = &h->runs[h->n_runs++];

	if (h->n_runs >= (int)ARRAY_SIZE(h->runs))
		exit(2);
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->out = memfd_create("out", MFD_CLOEXEC);
	r->err = memfd_create("err", MFD_CLOEXEC);
	return r;
}

/* add_streams() - stdin is taken (-1 = none) */
static void add_streams(struct host *h, struct json_object *msg, struct run *r, int in, bool tty)
{
	if (tty) {
		dink_json_set_int(msg, "in", tie(h, dup(r->out), in));
		return;
	}
	if (in >= 0)
		dink_json_set_int(msg, "in", tie(h, -1, in));
	dink_json_set_int(msg, "out", tie(h, dup(r->out), -1));
	dink_json_set_int(msg, "err", tie(h, dup(r->err), -1));
}

static struct run *start_exec(struct host *h, const char *const *argv, int in, bool tty)
{
	struct json_object *msg = parse("{\"op\":\"exec\"}");
	char name[32];
	struct run *r;

	snprintf(name, sizeof(name), "e%d", h->n_runs);
	r = new_run(h, name);
	dink_json_set_str(msg, "exec", name);
	dink_json_set(msg, "process", make_process(argv, tty));
	add_streams(h, msg, r, in, tty);
	if (!ask(h, msg)) {
		r->ended = true;
		r->status = -1;
	}
	return r;
}

static char *text_of(int fd)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	char *text = NULL;

	lseek(fd, 0, SEEK_SET);
	if (dink_fd_read_all(fd, 1 << 20, &text, NULL, &err) < 0)
		return xstrdup("");
	return text;
}

/* shell() - `sh -c script` to its end */
static struct run *shell(struct host *h, const char *script, int in)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct run *r = start_exec(h, argv, in, false);

	wait_for(h, &r->ended, 120000);
	return r;
}

static bool said(const struct run *r, int status, const char *out)
{
	_cleanup_free_ char *text = text_of(r->out);
	bool ok = r->ended && r->status == status && STREQ(text, out);

	if (!ok) {
		_cleanup_free_ char *err = text_of(r->err);

		printf("# status %d, stdout '%s', stderr '%s'\n", r->status, text, err);
	}
	return ok;
}

static int make_input(const void *data, size_t n)
{
	int fd = memfd_create("in", MFD_CLOEXEC);

	if (dink_fd_write_all(fd, data, n) < 0)
		exit(2);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* --- figures --- */

/* Times on a shared machine say little without the CPU time that went into them. */
struct watch {
	uint64_t wall_ms, cpu_ms;
};

static uint64_t cpu_of(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", pid);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;
	unsigned long long user = 0, sys = 0;
	const char *at;

	if (dink_file_read(path, 4096, &text, NULL, &err) < 0 || !(at = strrchr(text, ')')) ||
	    sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) !=
		    2)
		return 0;
	return (user + sys) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

static struct watch start_watch(const struct host *h)
{
	return (struct watch){dink_now_ms(), cpu_of(h->qemu)};
}

static void tell(const struct host *h, const struct watch *w, const char *what)
{
	printf("# %s: %" PRIu64 " ms, QEMU's CPU %" PRIu64 " ms\n", what,
	       dink_now_ms() - w->wall_ms, cpu_of(h->qemu) - w->cpu_ms);
}

/* --- the VM --- */

static int connect_guest(const char *path)
{
	for (int i = 0; i < 2000; i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		int fd;

		if (dink_unix_connect(path, &fd, &err) == 0) {
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
			return fd;
		}
		usleep(5000);
	}
	return -1;
}

/* fail() - the test itself cannot go on */
static void fail(const struct dink_err *err)
{
	_cleanup_free_ char *text = dink_err_format(err);

	fprintf(stderr, "%s\n", text);
	exit(2);
}

static char *make_initramfs(const char *agent)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *crun = dink_which("crun");
	_cleanup_free_ char *lib = realpath("build/guest-lib", NULL);
	const struct dink_guest_programs from = {
		.agent = agent, .crun = crun ? crun : "crun", .guest_lib = lib};
	char *path = xasprintf("/tmp/dink-guest-test.%d.cpio", getpid());

	if (dink_initramfs_write(path, &from, &err) < 0)
		fail(&err);
	return path;
}

static void boot(struct host *h, const char *kernel, const char *agent, const char *erofs)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_free_ char *sock = xasprintf("/tmp/dink-guest-test.%d", getpid());
	_cleanup_free_ char *initrd = make_initramfs(agent);
	const char *smp = getenv("GUEST_SMP"), *more = getenv("GUEST_APPEND");
	_cleanup_free_ char *append =
		xasprintf("console=ttyS0 quiet mitigations=off no_timer_check "
			  "tsc=reliable panic=-1 norandmaps %s",
			  more ? more : "");
	struct watch t0 = {dink_now_ms(), 0};
	int fd;

	dink_cmd_argv(&cmd, "qemu-system-x86_64", "-M", "q35,sata=off,smbus=off", "-bios",
		      "qboot.rom", "-nodefaults", "-no-user-config", "-display", "none",
		      "-no-reboot", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-m", "512",
		      "-smp", smp ? smp : "1", "-kernel", kernel, "-initrd", initrd, "-append",
		      append, "-device", "virtio-serial-pci", "-device", "virtio-rng-pci",
		      "-device", "virtserialport,chardev=ch,name=" DINK_PORT_NAME, "-serial",
		      "stdio", NULL);
	dink_strv_addl(&cmd.argv, "-netdev", "user,id=n0,restrict=on", "-device",
		       "virtio-net-pci,netdev=n0,romfile=", NULL);
	dink_strv_addl(&cmd.argv, "-chardev", NULL);
	dink_strv_addf(&cmd.argv, "socket,id=ch,path=%s,server=on,wait=off", sock);
	dink_strv_addl(&cmd.argv, "-blockdev", NULL);
	dink_strv_addf(&cmd.argv, "driver=file,node-name=root,filename=%s,read-only=on", erofs);
	dink_strv_addl(&cmd.argv, "-device", "virtio-blk-pci,drive=root,serial=" DINK_ROOT_SERIAL,
		       NULL);
	cmd.out = STDERR_FILENO;
	cmd.errfd = STDERR_FILENO;
	if (dink_cmd_spawn(&cmd, &h->qemu, NULL, &err) < 0)
		fail(&err);
	fd = connect_guest(sock);
	unlink(sock);
	h->chan = dink_chan_new(h->loop, fd, true, &ops, h);
	wait_for(h, &h->hello, 60000);
	unlink(initrd);
	check(h->hello, "the agent says hello");
	tell(h, &t0, "boot until hello");
}

static void test_setup(struct host *h)
{
	struct watch t0 = start_watch(h);
	bool ok;

	check(!ask(h, parse("{\"op\":\"nonsense\"}")), "an unknown request is refused");
	check(!ask(h, parse("{\"op\":\"start\"}")), "start before create is refused: %s",
	      refusal(h));
	ok = ask(h,
		 parse("{\"op\":\"setup\",\"hostname\":\"box\",\"time_ns\":1700000000000000000,"
		       "\"entropy\":\"AAECAwQFBgcICQoLDA0ODw==\",\"mounts\":[{\"type\":\"block\","
		       "\"source\":\"%s\",\"target\":\"/run/dink/root-lower\",\"fstype\":\"erofs\","
		       "\"options\":\"ro\"}],\"root\":{\"type\":\"block\",\"lower\":"
		       "\"/run/dink/root-lower\"}}",
		       DINK_ROOT_SERIAL));
	check(ok, "setup: %s", ok ? "ok" : refusal(h));
	ok = ask(h, parse("{\"op\":\"network\",\"links\":[{\"index\":0,\"name\":\"eth7\","
			  "\"mac\":\"02:42:ac:11:00:02\",\"mtu\":1400,\"addresses\":["
			  "\"172.17.0.2/16\",\"fd00::2/64\"],\"routes\":[{\"to\":\"default\","
			  "\"via\":\"172.17.0.1\"},{\"to\":\"10.9.0.0/16\"},{\"to\":\"default\","
			  "\"via\":\"fd00::1\"}],\"neighbours\":[{\"to\":\"172.17.0.1\",\"mac\":"
			  "\"02:42:00:00:00:01\"}]}]}"));
	check(ok, "network: %s", ok ? "ok" : refusal(h));
	tell(h, &t0, "setup and network");
}

static const char config[] =
	"{\"ociVersion\":\"1.0.2\",\"hostname\":\"box\",\"root\":{\"path\":\"/nonsense\"},"
	"\"hooks\":{\"prestart\":[{\"path\":\"/bin/false\"}]},"
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\","
	"\"mode=755\"]},{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
	"\"options\":[\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"ro\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
	"\"options\":[\"ro\"]},{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}],"
	"\"linux\":{\"cgroupsPath\":\"/docker/abc\",\"namespaces\":[{\"type\":\"pid\"},"
	"{\"type\":\"mount\"},{\"type\":\"ipc\",\"path\":\"/proc/1234/ns/ipc\"},{\"type\":\"uts\"},"
	"{\"type\":\"cgroup\"},{\"type\":\"network\",\"path\":\"/run/netns/x\"}],"
	"\"sysctl\":{\"net.ipv4.ip_unprivileged_port_start\":\"0\",\"kernel.shmmax\":\"123456789\"}"
	","
	"\"maskedPaths\":[\"/proc/timer_list\"],\"readonlyPaths\":[\"/proc/sys\"],"
	"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_64\"]"
	","
	"\"syscalls\":[{\"names\":[\"swapon\"],\"action\":\"SCMP_ACT_ERRNO\"}]},"
	"\"devices\":[{\"path\":\"/dev/kmsg\",\"type\":\"c\",\"major\":77,\"minor\":7},"
	"{\"path\":\"/dev/none\",\"type\":\"c\",\"major\":78,\"minor\":7}],"
	"\"resources\":{\"memory\":{\"limit\":419430400,\"swap\":838860800},\"pids\":{\"limit\":"
	"200},"
	"\"cpu\":{\"cpus\":\"5-9\",\"shares\":512},\"blockIO\":{\"weight\":10},"
	"\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\","
	"\"major\":1,"
	"\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":5,\"access\":\"rwm\"},"
	"{\"allow\":true,\"type\":\"c\",\"major\":136,\"access\":\"rwm\"}]}}}";

/* the container's first process: answers TERM, echoes one line */
static const char init_script[] =
	"trap 'exit 42' TERM; echo started; echo to-stderr >&2; read line; echo \"got $line\"; "
	"while :; do sleep 0.1; done";

static void test_create(struct host *h)
{
	const char *const argv[] = {"sh", "-c", init_script, NULL};
	struct json_object *msg = parse("{\"op\":\"create\"}"), *c = json_tokener_parse(config);
	struct run *r;
	struct watch t0 = start_watch(h);
	bool ok;

	dink_json_set(c, "process", make_process((const char *const[]){"/no/such", NULL}, false));
	dink_json_set(msg, "config", c);
	add_streams(h, msg, new_run(h, "failed"), -1, false);
	ok = ask(h, msg);
	check(!ok && strstr(refusal(h), "stat /no/such: no such file or directory"),
	      "a missing program is refused at create: %s", refusal(h));
	check(dink_json_int_or(h->answer, "errno", 0) == ENOENT, "with ENOENT");
	tell(h, &t0, "failed create");

	t0 = start_watch(h);
	msg = parse("{\"op\":\"create\"}");
	c = json_tokener_parse(config);
	r = new_run(h, "");
	dink_json_set(c, "process", make_process(argv, false));
	dink_json_set(msg, "config", c);
	add_streams(h, msg, r, make_input("hello\n", 6), false);
	ok = ask(h, msg);
	check(ok, "create: %s", ok ? "ok" : refusal(h));
	tell(h, &t0, "create");
	t0 = start_watch(h);
	ok = ask(h, parse("{\"op\":\"start\"}"));
	check(ok, "start: %s", ok ? "ok" : refusal(h));
	check(!ask(h, parse("{\"op\":\"start\"}")), "a second start is refused: %s", refusal(h));
	tell(h, &t0, "start");
}

static void test_exec(struct host *h)
{
	const char *const true_argv[] = {"true", NULL}, *const none[] = {"no-such-program", NULL};
	struct run *r;
	uint64_t best = UINT64_MAX;
	struct watch t0 = start_watch(h);

	for (int i = 0; i < 5; i++) {
		struct watch t1 = start_watch(h);

		r = start_exec(h, true_argv, -1, false);
		wait_for(h, &r->ended, 60000);
		if (dink_now_ms() - t1.wall_ms < best)
			best = dink_now_ms() - t1.wall_ms;
	}
	check(r->ended && r->status == 0, "exec true");
	tell(h, &t0, "5 times exec true");
	printf("# exec true: %" PRIu64 " ms, best of 5\n", best);
	check(said(shell(h, "echo out; echo err >&2; exit 7", -1), 7, "out\n"), "exit status 7");
	check(said(shell(h, "kill -9 $$", -1), 137, ""), "a killed process is 137");
	check(said(shell(h, "kill -15 $$", -1), 143, ""), "a terminated process is 143");
	check(said(shell(h, "cat; echo end", make_input("one\ntwo", 7)), 0, "one\ntwoend\n"),
	      "stdin and its end");
	check(said(shell(h, "cat", -1), 0, ""), "no stdin is /dev/null");
	check(said(shell(h, "echo x >/dev/stderr; echo y >/proc/self/fd/1", -1), 0, "y\n"),
	      "streams can be opened by name");
	r = start_exec(h, none, -1, false);
	check(r->status == -1 && strstr(refusal(h), "executable file not found"),
	      "a missing program: %s", refusal(h));
	check(dink_json_int_or(h->answer, "errno", 0) == ENOENT, "with ENOENT");
	/* somebody keeps stdout open: the exit still comes, and what was written is there */
	check(said(shell(h, "(sleep 1000 >&1 &) ; echo left", -1), 0, "left\n"),
	      "a daemon that keeps stdout open");
}

/* test_user() - an exec as somebody else, with some of everything that confines it */
static void test_user(struct host *h)
{
	const char *const argv[] = {"sh", "-c",
				    "id -u; id -G; pwd; ulimit -n; echo x >/dev/stdout; "
				    "grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status",
				    NULL};
	struct json_object *msg = parse("{\"op\":\"exec\",\"exec\":\"user\"}");
	struct json_object *p = make_process(argv, false);
	struct run *r = new_run(h, "user");

	dink_json_set(p, "user", parse("{\"uid\":1000,\"gid\":1001,\"additionalGids\":[5,6]}"));
	dink_json_set_str(p, "cwd", "/tmp");
	dink_json_set_bool(p, "noNewPrivileges", true);
	dink_json_set(p, "rlimits",
		      parse("[{\"type\":\"RLIMIT_NOFILE\",\"hard\":777,\"soft\":555}]"));
	dink_json_set(p, "capabilities",
		      parse("{\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"effective\":[],"
			    "\"permitted\":[],\"inheritable\":[],\"ambient\":[]}"));
	dink_json_set_str(p, "apparmorProfile", "docker-default");
	dink_json_set(msg, "process", p);
	add_streams(h, msg, r, -1, false);
	check(ask(h, msg), "exec as a user: %s", refusal(h));
	wait_for(h, &r->ended, 60000);
	check(said(r, 0,
		   "1000\n1001 5 6\n/tmp\n555\nx\nCapEff:\t0000000000000000\n"
		   "CapBnd:\t0000000000000021\nNoNewPrivs:\t1\nSeccomp:\t2\n"),
	      "user, groups, folder, limits, capabilities, no_new_privs, seccomp");
}

static void test_container(struct host *h)
{
	check(said(shell(h, "hostname", -1), 0, "box\n"), "host name");
	check(said(shell(h, "cat /proc/1/comm", -1), 0, "sh\n"), "own pid namespace");
	check(said(shell(h, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", -1), 0, "0\n"),
	      "net sysctl");
	check(said(shell(h, "cat /proc/sys/kernel/shmmax", -1), 0, "123456789\n"), "ipc sysctl");
	check(said(shell(h, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max", -1), 0,
		   "419430400\n200\n"),
	      "cgroup limits");
	check(said(shell(h, "cat /proc/self/cgroup", -1), 0, "0::/\n"), "cgroup namespace");
	check(said(shell(h, "echo 1 >/proc/sys/net/ipv4/ip_forward", -1), 2, ""), "read-only path");
	check(said(shell(h, "wc -c </proc/timer_list", -1), 0, "0\n"), "masked path");
	check(said(shell(h, "stat -c %t:%T /dev/kmsg; ls /dev/none", -1), 2, "1:b\n"),
	      "device numbers are the guest's");
	check(said(shell(h, "touch /etc/x && echo rw", -1), 0, "rw\n"), "writable root");
	check(said(shell(h, "cat /sys/class/net/eth7/address /sys/class/net/eth7/mtu", -1), 0,
		   "02:42:ac:11:00:02\n1400\n"),
	      "network card");
	check(said(shell(h, "grep -c 'eth7.*0112AC.*\\|eth7.*010011AC' /proc/net/route", -1), 0,
		   "1\n"),
	      "default route");
	check(said(shell(h, "grep -c ^fd00.*eth7 /proc/net/if_inet6", -1), 0, "1\n"),
	      "IPv6 address");
	check(said(shell(h, "grep -o '172.17.0.1 .*02:42:00:00:00:01' /proc/net/arp | wc -l", -1),
		   0, "1\n"),
	      "neighbour");
	check(said(shell(h,
			 "test $(date +%s) -ge 1700000000 -a $(date +%s) -lt 1700003600 && "
			 "echo clock",
			 -1),
		   0, "clock\n"),
	      "clock");
}

static void test_bulk(struct host *h)
{
	const size_t size = 64 << 20;
	uint8_t *data = xmalloc(size);
	struct dink_hash *hash = dink_hash_new();
	_cleanup_free_ char *want = NULL;
	char hex[65];
	struct watch t0;
	struct run *r;
	uint32_t x = 12345;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	dink_hash_add(hash, data, size);
	dink_hash_end(hash, hex);
	want = xasprintf("%s  -\n", hex);
	t0 = start_watch(h);
	r = shell(h, "cat >/tmp/bulk && wc -c </tmp/bulk", make_input(data, size));
	check(said(r, 0, "67108864\n"), "64 MiB through stdin");
	tell(h, &t0, "64 MiB through stdin");
	check(said(shell(h, "sha256sum </tmp/bulk", -1), 0, want), "with the right checksum");
	t0 = start_watch(h);
	r = shell(h, "cat /tmp/bulk; rm /tmp/bulk", -1);
	tell(h, &t0, "64 MiB through stdout");
	lseek(r->out, 0, SEEK_SET);
	{
		uint8_t *back = mmap(NULL, size, PROT_READ, MAP_PRIVATE, r->out, 0);

		check(back != MAP_FAILED && lseek(r->out, 0, SEEK_END) == (off_t)size &&
			      memcmp(back, data, size) == 0,
		      "64 MiB through stdout, every byte");
	}
	t0 = start_watch(h);
	r = shell(h, "head -c 256M /dev/zero", -1);
	tell(h, &t0, "256 MiB of zeros through stdout");
	check(lseek(r->out, 0, SEEK_END) == 256 << 20, "256 MiB through stdout");
	t0 = start_watch(h);
	r = shell(h, "head -c 1000", make_input(data, size));
	check(r->ended && lseek(r->out, 0, SEEK_END) == 1000,
	      "a program that does not read all of its stdin");
	free(data);
}

/* many at once: none may be lost or mixed up */
static void test_parallel(struct host *h)
{
	enum { MANY = 12 };
	struct run *runs[MANY];
	struct watch t0 = start_watch(h);
	int good = 0;

	for (int i = 0; i < MANY; i++) {
		_cleanup_free_ char *script = xasprintf("sleep 0.2; echo %d; exit %d", i, i);
		const char *const argv[] = {"sh", "-c", script, NULL};

		runs[i] = start_exec(h, argv, -1, false);
	}
	for (int i = 0; i < MANY; i++) {
		_cleanup_free_ char *want = xasprintf("%d\n", i);

		wait_for(h, &runs[i]->ended, 60000);
		good += said(runs[i], i, want);
	}
	check(good == MANY, "%d of %d at once", good, MANY);
	tell(h, &t0, "12 execs at once");
}

/* requests that make no sense are answered, and the guest lives on */
static void test_nonsense(struct host *h)
{
	static const char *const bad[] = {
		"{}",
		"{\"op\":7}",
		"{\"op\":\"create\"}",
		"{\"op\":\"create\",\"config\":[1]}",
		"{\"op\":\"exec\",\"exec\":\"x\",\"process\":7}",
		"{\"op\":\"exec\",\"exec\":\"y\",\"process\":{}}",
		"{\"op\":\"exec\",\"process\":{\"args\":[\"true\"],\"cwd\":\"/\"}}",
		"{\"op\":\"setup\",\"mounts\":[{\"type\":\"magic\",\"source\":\"a\",\"target\":\"/"
		"x\"}]}",
		"{\"op\":\"setup\",\"mounts\":[{\"type\":\"tmpfs\",\"source\":\"a\",\"target\":"
		"\"x\"}]}",
		"{\"op\":\"setup\",\"mounts\":[7]}",
		"{\"op\":\"setup\",\"root\":{\"type\":\"wood\"}}",
		"{\"op\":\"network\",\"links\":[{\"index\":99}]}",
		"{\"op\":\"network\",\"links\":[{\"index\":0,\"addresses\":[7]}]}",
		"{\"op\":\"network\",\"links\":[{\"index\":0,\"mac\":\"zz\"}]}",
		"{\"op\":\"network\",\"links\":[{\"index\":0,\"name\":\"much-too-long-a-name\"}]}",
		"{\"op\":\"network\",\"links\":[{\"index\":0,\"routes\":[{\"to\":\"10/99\"}]}]}",
		"{\"op\":\"signal\",\"signal\":4711}",
		"{\"op\":\"signal\",\"exec\":\"nobody\",\"signal\":9}",
		"{\"op\":\"resize\",\"exec\":\"nobody\",\"rows\":1,\"columns\":1}",
		"{\"op\":\"connect\"}",
		"{\"op\":\"connect\",\"path\":\"/nowhere\",\"stream\":0}",
		"{\"op\":\"update\",\"resources\":3}",
	};
	int refused = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bool ok = ask(h, parse("%s", bad[i]));

		refused += !ok && h->answer;
		if (ok || !h->answer)
			printf("# not refused: %s\n", bad[i]);
	}
	check(refused == (int)ARRAY_SIZE(bad), "%d requests that make no sense are refused",
	      refused);
	check(said(shell(h, "echo alive", -1), 0, "alive\n"), "and the guest lives");
}

static void test_tty(struct host *h)
{
	const char *const argv[] = {"sh", "-c",
				    "test -t 0 && test -t 1 && echo tty; stty size; read a; "
				    "echo \"[$a]\"; stty size; sleep 100",
				    NULL};
	int pair[2];
	struct run *r;
	_cleanup_free_ char *text = NULL;
	uint64_t end;

	if (pipe2(pair, O_CLOEXEC) < 0)
		exit(2);
	r = start_exec(h, argv, pair[0], true);
	check(!r->ended, "exec with a terminal: %s", r->ended ? refusal(h) : "ok");
	check(ask(h,
		  parse("{\"op\":\"resize\",\"exec\":\"%s\",\"rows\":33,\"columns\":99}", r->name)),
	      "resize");
	check(write(pair[1], "typed\r", 6) == 6, "typing");
	for (end = dink_now_ms() + 60000; dink_now_ms() < end;) {
		dink_loop_once(h->loop, 50);
		free(text);
		text = text_of(r->out);
		if (strstr(text, "33 99\r\n") && strstr(text, "[typed]"))
			break;
	}
	check(strstr(text, "tty\r\n") && strstr(text, "[typed]\r\n") && strstr(text, "33 99\r\n"),
	      "the terminal echoes, has a size, and is one");
	check(write(pair[1], "\3", 1) == 1, "typing ^C");
	wait_for(h, &r->ended, 60000);
	check(r->ended && r->status == 130, "^C ends it with 130 (%d)", r->status);
	close(pair[1]);
}

static void test_control(struct host *h)
{
	const char *const argv[] = {"sleep", "1000", NULL};
	struct run *r = start_exec(h, argv, -1, false);
	struct json_object *stats;

	check(ask(h, parse("{\"op\":\"ps\"}")) && dink_json_len(h->answer, "pids") >= 2, "ps");
	check(ask(h, parse("{\"op\":\"signal\",\"exec\":\"%s\",\"signal\":15}", r->name)),
	      "signal to an exec");
	wait_for(h, &r->ended, 60000);
	check(r->status == 143, "which ends with 143");
	check(ask(h, parse("{\"op\":\"stats\"}")), "stats");
	stats = h->answer;
	check(dink_json_int_or(stats, "cpu.usage_usec", 0) > 0 &&
		      dink_json_int_or(stats, "memory.current", 0) > 0 &&
		      dink_json_int_or(stats, "pids.max", 0) == 200,
	      "with figures");
	check(ask(h, parse("{\"op\":\"pause\"}")), "pause");
	check(ask(h, parse("{\"op\":\"resume\"}")), "resume: %s", refusal(h));
	check(ask(h, parse("{\"op\":\"update\",\"resources\":{\"pids\":{\"limit\":150},"
			   "\"memory\":{\"limit\":314572800}}}")),
	      "update: %s", refusal(h));
	check(said(shell(h, "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max", -1), 0,
		   "150\n314572800\n"),
	      "updated limits");
}

static void test_connect(struct host *h)
{
	static const char server[] =
		"perl -MIO::Socket::UNIX -e '$s=IO::Socket::UNIX->new(Local=>\"/run/t.sock\","
		"Listen=>1); print \"up\\n\"; $|=1; $c=$s->accept; @l=<$c>; print $c \"echo @l\"; "
		"close $c;'";
	const char *const argv[] = {"sh", "-c", server, NULL};
	struct run *r = start_exec(h, argv, -1, false);
	int pair[2];
	uint32_t id;
	char text[64] = "";
	ssize_t n;
	uint64_t end;

	for (end = dink_now_ms() + 60000; dink_now_ms() < end && !r->ended;) {
		_cleanup_free_ char *out = text_of(r->out);

		if (strstr(out, "up"))
			break;
		dink_loop_once(h->loop, 50);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		exit(2);
	id = dink_chan_new_stream(h->chan);
	dink_chan_stream(h->chan, id, pair[1], pair[1], NULL, NULL);
	check(ask(h, parse("{\"op\":\"connect\",\"path\":\"/var/run/t.sock\",\"stream\":%u}", id)),
	      "connect to a socket by a symlink in the container's root: %s", refusal(h));
	if (write(pair[0], "ping\n", 5) != 5)
		exit(2);
	shutdown(pair[0], SHUT_WR);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	for (end = dink_now_ms() + 60000; dink_now_ms() < end;) {
		dink_loop_once(h->loop, 50);
		n = read(pair[0], text, sizeof(text) - 1);
		if (n > 0)
			break;
	}
	check(STREQ(text, "echo ping\n"), "half-close both ways: '%s'", text);
	close(pair[0]);
	id = dink_chan_new_stream(h->chan);
	check(!ask(h, parse("{\"op\":\"connect\",\"path\":\"/../../dev/kmsg\",\"stream\":%u}", id)),
	      "connect to what is no socket is refused: %s", refusal(h));
	dink_chan_stream_reset(h->chan, id);
}

static void test_end(struct host *h)
{
	struct run *r = &h->runs[1];
	_cleanup_free_ char *out = text_of(r->out), *err = text_of(r->err);
	struct watch t0 = start_watch(h);
	uint64_t end;
	int status;

	check(STREQ(out, "started\ngot hello\n") && STREQ(err, "to-stderr\n"),
	      "the container's own streams");
	check(ask(h, parse("{\"op\":\"signal\",\"signal\":15}")), "signal to the container");
	wait_for(h, &r->ended, 60000);
	check(r->ended && r->status == 42, "its own exit status after SIGTERM: %d", r->status);
	check(ask(h, parse("{\"op\":\"shutdown\"}")), "shutdown");
	check(!h->closed[0], "the channel lives until the end: %s", h->closed);
	dink_chan_request(h->chan, parse("{\"op\":\"poweroff\"}"), NULL, NULL);
	for (end = dink_now_ms() + 20000; dink_now_ms() < end && !h->closed[0];)
		dink_loop_once(h->loop, 50);
	check(waitpid(h->qemu, &status, 0) == h->qemu && status == 0, "QEMU ends by itself");
	printf("# from SIGTERM to the end of QEMU: %" PRIu64 " ms\n", dink_now_ms() - t0.wall_ms);
}

static void run_script(struct host *h, const char *script)
{
	_cleanup_free_ char *out = NULL, *err = NULL;
	struct run *r;
	struct watch t0;

	test_setup(h);
	test_create(h);
	t0 = start_watch(h);
	r = shell(h, script, -1);
	tell(h, &t0, "script");
	out = text_of(r->out);
	err = text_of(r->err);
	printf("%s%s# exit status %d\n", out, err, r->status);
	dink_chan_request(h->chan, parse("{\"op\":\"poweroff\"}"), NULL, NULL);
	waitpid(h->qemu, NULL, 0);
}

int main(int argc, char **argv)
{
	static struct host h;

	if (argc != 4 && argc != 5) {
		fprintf(stderr, "usage: guest_host VMLINUX AGENT EROFS [SCRIPT]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	h.loop = dink_loop_new();
	boot(&h, argv[1], argv[2], argv[3]);
	if (h.hello && argc == 5) {
		run_script(&h, argv[4]);
	} else if (h.hello) {
		test_setup(&h);
		test_create(&h);
		test_exec(&h);
		test_container(&h);
		test_user(&h);
		test_bulk(&h);
		test_parallel(&h);
		test_nonsense(&h);
		test_tty(&h);
		test_control(&h);
		test_connect(&h);
		test_end(&h);
	} else {
		kill(h.qemu, SIGKILL);
		waitpid(h.qemu, NULL, 0);
	}
	if (h.closed[0])
		printf("# channel: %s\n", h.closed);
	dink_chan_free(h.chan);
	dink_loop_free(h.loop);
	printf("1..%d\n", tests);
	return failures != 0;
}
