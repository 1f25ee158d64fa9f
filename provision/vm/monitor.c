/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/monitor.h"

#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

enum {
	PLAN_MAX = 16 << 20,
	/* a guest under TCG inside a guest under TCG boots that slowly */
	BOOT_TIMEOUT_MS = 180000,
	SHUTDOWN_TIMEOUT_MS = 20000,
	KILL_ANSWER_MS = 1000,
	KILL_EXIT_MS = 5000,
	BARE_MS = 20000,
	LOST_MS = 500,
	STATUS_KILLED = 128 + SIGKILL,
	TRACE_MAX = 128 << 10,
	FILES_MIN = 256,
	GUEST_WORDS_MAX = 2000, /* of what a guest says, into logs and error messages */
};

/* CPU time that a program of ours has used so far */
static long long cpu_ms(const struct mon_child *child)
{
	struct timespec t;
	clockid_t clock;

	if (child->pid <= 0 || clock_getcpuclockid(child->pid, &clock) != 0 ||
	    clock_gettime(clock, &t) < 0)
		return 0;
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void mon_trace(struct monitor *m, const char *what)
{
	if (m->log.out <= 0 || m->log.written > TRACE_MAX)
		return;
	_cleanup_free_ char *line = xasprintf("[%6lld ms, CPU %5lld + %3lld ms] %s\n",
					      (long long)dink_now_ms() - (long long)m->born_ms,
					      cpu_ms(&m->qemu), cpu_ms(&m->virtiofsd), what);
	if (dink_fd_write_all(m->log.out, line, strlen(line)) == 0)
		m->log.written += strlen(line);
}

static void trace_memory(struct monitor *m)
{
	struct rusage use = {};

	getrusage(RUSAGE_SELF, &use);
	_cleanup_free_ char *text = xasprintf("the monitor took %ld KiB", use.ru_maxrss);
	mon_trace(m, text);
}

static void tell_creator(struct monitor *m, struct json_object *msg)
{
	_cleanup_json_ struct json_object *owned = msg;
	const char *text = json_object_to_json_string_ext(owned, JSON_C_TO_STRING_PLAIN);
	_cleanup_free_ char *line = xasprintf("%s\n", text);

	if (m->ready_told || m->sync_fd < 0)
		return;
	m->ready_told = true;
	/* one that is gone is seen by mon_hear_creator() */
	ssize_t n = send(m->sync_fd, line, strlen(line), MSG_NOSIGNAL);
	if (n < 0)
		mon_trace(m, "the creator does not hear it");
}

static void leave_creator(struct monitor *m)
{
	dink_source_remove(TAKE_PTR(m->sync_source));
	close(TAKE_FD(m->sync_fd));
}

/* --- the end --- */

static void end_now(void *ctx)
{
	struct monitor *m = ctx;

	m->end_timer = NULL;
	mon_trace(m, "end");
	trace_memory(m);
	if (m->qemu.pid > 0)
		kill(m->qemu.pid, SIGKILL);
	dink_loop_quit(m->loop, m->exit_status);
}

static void take_shutdown(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;

	mon_trace(m, msg ? "guest has shut down" : "guest is gone");
	if (m->end_timer) {
		dink_source_remove(TAKE_PTR(m->end_timer));
		end_now(m);
	}
}

void mon_end(struct monitor *m, int status)
{
	if (m->status == MON_STOPPING)
		return;
	m->status = MON_STOPPING;
	m->exit_status = status;
	if (m->loop)
		m->end_timer = dink_loop_after(m->loop, 0, end_now, m);
}

void mon_finish(struct monitor *m, int status)
{
	if (m->status == MON_STOPPING)
		return;
	m->status = MON_STOPPING;
	m->exit_status = status;
	bool orderly = m->chan && m->setup_done && m->qemu.pid > 0;
	/* never from inside this call: the channel may be above us on the stack */
	m->end_timer = dink_loop_after(m->loop, orderly ? SHUTDOWN_TIMEOUT_MS : 0, end_now, m);
	if (orderly) {
		struct json_object *msg = dink_json_new();
		dink_json_set_str(msg, "op", "shutdown");
		dink_chan_request(m->chan, msg, take_shutdown, m);
	}
}

void mon_fail(struct monitor *m, struct dink_err *err)
{
	if (m->status == MON_STOPPING)
		return;
	mon_trace(m, err->msg ? err->msg : "failed");
	trace_memory(m);
	if (!m->ready_told) {
		struct json_object *msg = dink_json_new();
		_cleanup_free_ char *text = dink_err_format(err);
		while (text[0] && text[strlen(text) - 1] == '\n')
			text[strlen(text) - 1] = '\0';
		dink_json_set_bool(msg, "ok", false);
		dink_json_set_str(msg, "error", text);
		dink_json_set_int(msg, "errno", err->errnum);
		tell_creator(m, msg);
	}
	mon_end(m, STATUS_KILLED);
}

static void channel_lost(void *ctx)
{
	struct monitor *m = ctx;
	_cleanup_(dink_err_clear) struct dink_err err = {};

	m->lost_timer = NULL;
	dink_err_set(&err, DINK_E_CHILD, 0, "the channel to the guest broke: %s", m->lost_why);
	mon_fail(m, &err);
}

/* If QEMU has ended, its own words say more: they get a moment. */
static void lose_channel(struct monitor *m, const char *why)
{
	if (m->status == MON_STOPPING)
		return;
	snprintf(m->lost_why, sizeof(m->lost_why), "%s", why);
	if (!m->lost_timer)
		m->lost_timer = dink_loop_after(m->loop, LOST_MS, channel_lost, m);
}

void mon_fail_with(struct monitor *m, struct json_object *msg, const char *what)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (m->status == MON_STOPPING)
		return;
	if (!msg) {
		/* if the channel broke, why is told next */
		lose_channel(m, what);
		return;
	}
	/* the agent's words as they are: engines look for "not found" in them */
	dink_err_set(&err, DINK_E_CHILD, 0, "%.*s", GUEST_WORDS_MAX,
		     dink_json_str_or(msg, "error", what));
	mon_fail(m, &err);
}

/* --- signals for the workload --- */

static void kill_overdue(void *ctx)
{
	struct monitor *m = ctx;

	m->kill_timer = NULL;
	if (m->status == MON_STOPPING)
		return;
	mon_trace(m, "SIGKILL not answered: ending the VM");
	m->status = MON_STOPPING;
	m->exit_status = STATUS_KILLED;
	end_now(m);
}

static void take_kill(void *ctx, _unused_ struct json_object *msg)
{
	struct monitor *m = ctx;

	if (!m->kill_timer || !msg)
		return;
	dink_source_remove(m->kill_timer);
	m->kill_timer = dink_loop_after(m->loop, KILL_EXIT_MS, kill_overdue, m);
}

void mon_signal(struct monitor *m, const char *exec, int sig, bool all)
{
	if (!exec && m->status <= MON_CREATED) {
		if (sig == SIGKILL || sig == SIGTERM || sig == SIGINT || sig == SIGQUIT ||
		    sig == SIGHUP)
			mon_finish(m, 128 + sig);
		return;
	}
	if (!m->chan || m->status == MON_STOPPING)
		return;
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "signal");
	dink_json_set_int(msg, "signal", sig);
	if (exec)
		dink_json_set_str(msg, "exec", exec);
	if (all)
		dink_json_set_bool(msg, "all", true);
	bool deadly = sig == SIGKILL && !exec;
	if (deadly && !m->kill_timer)
		m->kill_timer = dink_loop_after(m->loop, KILL_ANSWER_MS, kill_overdue, m);
	dink_chan_request(m->chan, msg, deadly ? take_kill : NULL, m);
}

static void send_size(struct monitor *m)
{
	struct winsize ws;

	if (!m->terminal || !m->chan || !m->guest_created ||
	    ioctl(m->stdio[0], TIOCGWINSZ, &ws) < 0 || ws.ws_row == 0)
		return;
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "resize");
	dink_json_set_int(msg, "rows", ws.ws_row);
	dink_json_set_int(msg, "columns", ws.ws_col);
	dink_chan_request(m->chan, msg, NULL, NULL);
}

static void read_signal(void *ctx, int fd, _unused_ uint32_t events)
{
	struct monitor *m = ctx;
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue; /* our own are seen by pidfd; a stray one is reaped at our end */
		if (si.ssi_signo == SIGWINCH && m->terminal)
			send_size(m);
		else
			mon_signal(m, NULL, (int)si.ssi_signo, false);
	}
}

static int watch_signals(struct monitor *m, struct dink_err *err)
{
	sigset_t set;

	sigfillset(&set);
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&set, own[i]);
	signal(SIGPIPE, SIG_IGN);
	sigdelset(&set, SIGPIPE);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return dink_err_set(err, DINK_E_BUG, errno, "block signals");
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0 || !dink_loop_add(m->loop, m->signal_fd, EPOLLIN, read_signal, m))
		return dink_err_set(err, DINK_E_HOST, errno, "watch signals");
	return 0;
}

/* --- from hello to created --- */

static void take_create(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;

	if (m->status != MON_BOOTING)
		return;
	if (!msg || !dink_json_bool_or(msg, "ok", false)) {
		mon_fail_with(m, msg, "creating the container in the guest");
		return;
	}
	mon_trace(m, "created");
	mon_created(m, MON_CREATED);
}

void mon_created(struct monitor *m, enum mon_status status)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (!dink_json_bool_or(m->plan, "bare", false) && mon_enter_root(m, &err) < 0) {
		mon_fail(m, &err);
		return;
	}
	m->guest_created = true;
	m->status = status;
	dink_source_remove(TAKE_PTR(m->boot_timer));
	send_size(m);
	struct json_object *ok = dink_json_new();
	dink_json_set_bool(ok, "ok", true);
	tell_creator(m, ok);
}

static void stream_done(void *ctx, _unused_ uint32_t id)
{
	struct monitor *m = ctx;

	m->waiting_streams--;
	if (m->waiting_streams == 0 && m->exit_status >= 0) {
		mon_trace(m, "drained");
		mon_finish(m, m->exit_status);
	}
}

static void stdin_done(_unused_ void *ctx, _unused_ uint32_t id)
{
}

void mon_tie_streams(struct monitor *m)
{
	if (m->terminal) {
		m->waiting_streams = 1;
		int in = fcntl(m->stdio[0], F_DUPFD_CLOEXEC, 10);
		int out = fcntl(m->stdio[0], F_DUPFD_CLOEXEC, 10);
		dink_chan_stream(m->chan, m->streams[0], in, out, stream_done, m);
		return;
	}
	m->waiting_streams = 2;
	dink_chan_stream(m->chan, m->streams[0], -1, TAKE_FD(m->stdio[0]), stdin_done, m);
	dink_chan_stream(m->chan, m->streams[1], TAKE_FD(m->stdio[1]), -1, stream_done, m);
	dink_chan_stream(m->chan, m->streams[2], TAKE_FD(m->stdio[2]), -1, stream_done, m);
}

/*
 * mon_new_stream() - for a descriptor of the caller's; 0 for /dev/null, which is to be that in the
 * guest, too: a pipe at its end looks different to poll(), and to a program that asks what it has
 */
uint32_t mon_new_stream(struct monitor *m, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
		return 0;
	return dink_chan_new_stream(m->chan);
}

static void new_streams(struct monitor *m, struct json_object *msg)
{
	static const char *const names[] = {"in", "out", "err"};

	for (int i = 0; i < 3; i++) {
		/* a terminal's one stream is both ways, and there is no third */
		m->streams[i] = !m->terminal || i == 0 ? mon_new_stream(m, m->stdio[i])
				: i == 1	       ? m->streams[0]
						       : 0;
		dink_json_set_int(msg, names[i], m->streams[i]);
	}
	mon_tie_streams(m);
}

static void create_in_guest(struct monitor *m)
{
	if (!m->setup_done || !m->hooks_done || m->status != MON_BOOTING)
		return;
	struct json_object *msg = dink_json_new();
	dink_json_set_str(msg, "op", "create");
	dink_json_set(msg, "config", json_object_get(dink_json_get(m->plan, "create")));
	dink_json_set_bool(msg, "terminal", m->terminal);
	new_streams(m, msg);
	dink_chan_request(m->chan, msg, take_create, m);
}

static void take_setup(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;

	if (m->status != MON_BOOTING)
		return;
	if (!msg || !dink_json_bool_or(msg, "ok", false)) {
		mon_fail_with(m, msg, "setting up the guest");
		return;
	}
	mon_trace(m, "guest is set up");
	m->setup_done = true;
	create_in_guest(m);
}

void mon_add_time(struct json_object *msg)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	dink_json_set_int(msg, "time_ns", (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
}

static void bare_overdue(void *ctx)
{
	struct monitor *m = ctx;

	m->boot_timer = NULL;
	mon_trace(m, "nobody saves this guest");
	mon_end(m, STATUS_KILLED);
}

void mon_hello(struct monitor *m, struct json_object *msg)
{
	mon_trace(m, "hello");
	int64_t version = dink_json_int_or(msg, "version", 0);
	if (version != DINK_PROTO_VERSION) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		dink_err_set(&err, DINK_E_HOST, EPROTO,
			     "the guest's agent speaks protocol %lld, this dink-vm %d",
			     (long long)version, DINK_PROTO_VERSION);
		mon_fail(m, &err);
		return;
	}
	if (dink_json_bool_or(m->plan, "bare", false)) {
		/* becomes a template; if its creator is killed first, it must not stay */
		mon_created(m, MON_CREATED);
		m->boot_timer = dink_loop_after(m->loop, BARE_MS, bare_overdue, m);
		return;
	}
	struct json_object *setup = json_object_get(dink_json_get(m->plan, "setup"));
	mon_add_time(setup);
	dink_chan_request(m->chan, setup, take_setup, m);
}

static void take_exit(struct monitor *m, struct json_object *event)
{
	int status = (int)dink_json_int_or(event, "status", 255) & 0xff;
	const char *exec = dink_json_str_or(event, "exec", NULL);

	if (exec) {
		mon_exec_exited(m, exec, status);
		return;
	}
	if (m->status == MON_STOPPING || !m->guest_created)
		return;
	mon_trace(m, "exited");
	m->out_of_memory = dink_json_bool_or(event, "oom", false);
	dink_source_remove(TAKE_PTR(m->kill_timer));
	m->exit_status = status;
	if (m->waiting_streams == 0)
		mon_finish(m, status);
}

/* One line, and none that passes for one of ours. */
static void trace_guest(struct monitor *m, const char *text)
{
	_cleanup_free_ char *line = NULL;

	/* a guest that talks must leave room for our own last words */
	if (m->log.written > TRACE_MAX / 2)
		return;
	line = xasprintf("guest: %.*s", GUEST_WORDS_MAX, text);
	for (char *c = line; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	}
	mon_trace(m, line);
}

static void on_event(void *ctx, struct json_object *event)
{
	struct monitor *m = ctx;
	const char *name = dink_json_str_or(event, "event", "");

	if (STREQ(name, "hello") && m->status == MON_BOOTING && !m->setup_done && !mon_image(m))
		mon_hello(m, event);
	else if (STREQ(name, "exit"))
		take_exit(m, event);
	else if (STREQ(name, "log"))
		trace_guest(m, dink_json_str_or(event, "text", ""));
}

static void on_closed(void *ctx, const char *why)
{
	struct monitor *m = ctx;

	mon_trace(m, why);
	lose_channel(m, why);
}

extern const struct dink_chan_ops mon_chan_ops;
const struct dink_chan_ops mon_chan_ops = {.on_event = on_event, .on_closed = on_closed};

static void qmp_ready(void *ctx)
{
	struct monitor *m = ctx;

	mon_trace(m, "QEMU answers");
	if (mon_image(m))
		mon_restore_qemu(m);
}

static void qmp_event(void *ctx, const char *name, struct json_object *data)
{
	struct monitor *m = ctx;

	mon_trace(m, name);
	if (STREQ(name, "MIGRATION"))
		mon_migrated(m, dink_json_str_or(data, "status", ""));
	if (STREQ(name, "VSERPORT_CHANGE") && !dink_json_bool_or(data, "open", true) &&
	    m->status != MON_STOPPING && !m->lost_timer)
		on_closed(m, "the agent closed its port");
	if (STREQ(name, "GUEST_PANICKED") && m->status != MON_STOPPING) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		dink_err_set(&err, DINK_E_CHILD, 0,
			     "the guest's kernel panicked: see %s/console.log", m->dir);
		mon_drain_logs(m);
		dink_err_detail(&err, m->console.tail);
		mon_fail(m, &err);
	}
}

extern const struct dink_qmp_ops mon_qmp_ops;
const struct dink_qmp_ops mon_qmp_ops = {.on_ready = qmp_ready, .on_event = qmp_event};

/* --- the creator --- */

static void take_hooks_done(struct monitor *m)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	mon_trace(m, "hooks are done");
	m->hooks_done = true;
	/* Docker 20.10 forgets a task that does not start; one not created it cleans up */
	if (mon_check_links(m, &err) < 0)
		mon_fail(m, &err);
	else if (dink_json_get(m->plan, "restore"))
		mon_restore_renew(m);
	else
		create_in_guest(m);
}

void mon_hear_creator(void *ctx, int fd, _unused_ uint32_t events)
{
	struct monitor *m = ctx;
	char buf[512];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* the creator died before it could tell anybody of us */
		_cleanup_(dink_err_clear) struct dink_err err = {};
		leave_creator(m);
		dink_err_set(&err, DINK_E_CHILD, 0, "the creator is gone");
		mon_fail(m, &err);
		return;
	}
	dink_str_addn(&m->sync_in, buf, (size_t)n);
	const char *first = strchr(m->sync_in.s, '\n');
	if (first && !m->hooks_done)
		take_hooks_done(m);
	if (first && strchr(first + 1, '\n'))
		leave_creator(m);
}

static void boot_overdue(void *ctx)
{
	struct monitor *m = ctx;
	_cleanup_(dink_err_clear) struct dink_err err = {};

	m->boot_timer = NULL;
	mon_drain_logs(m);
	/* with next to none of the processor it was starved, with much it was slow or stood still */
	dink_err_set(
		&err, DINK_E_CHILD, ETIMEDOUT,
		"the guest did not start within %u s, of which QEMU had the processor for %lld s",
		m->boot_ms / 1000, cpu_ms(&m->qemu) / 1000);
	dink_err_hint(&err, "dink up --timeout, or dink-vm --boot-timeout, gives it longer");
	dink_err_detail(&err, m->console.tail);
	mon_fail(m, &err);
}

static int read_plan(struct monitor *m, struct dink_err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (lseek(DINK_MONITOR_PLAN_FD, 0, SEEK_SET) < 0)
		return dink_err_set(err, DINK_E_USAGE, errno,
				    "the monitor is started by create only");
	int r = dink_fd_read_all(DINK_MONITOR_PLAN_FD, PLAN_MAX, &text, &len, err);
	if (r == 0)
		r = dink_json_parse(text, len, "the monitor's plan", &m->plan, err);
	close(DINK_MONITOR_PLAN_FD);
	if (r < 0)
		return r;
	m->dir = dink_json_str_or(m->plan, "dir", "");
	m->terminal = dink_json_bool_or(m->plan, "terminal", false);
	return 0;
}

/* The container's stdio moves out of the way; ours is nothing. */
static int take_stdio(struct monitor *m, struct dink_err *err)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open /dev/null");
	for (int i = 0; i < 3; i++) {
		m->stdio[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		if (m->stdio[i] < 0 || dup2(null, i) < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "take over descriptor %d", i);
	}
	close(null);
	if (m->terminal && ioctl(m->stdio[0], TIOCSCTTY, 0) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make the terminal ours");
	return 0;
}

/*
 * As many as there may be: each exec takes three here, each file that the guest has open one of
 * virtiofsd's. With too few QEMU does not fail: its devices hang.
 */
static int raise_files(struct dink_err *err)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "the limit of open files");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max >= FILES_MIN)
		return 0;
	dink_err_set(err, DINK_E_HOST, EMFILE, "a VM needs %d open files, the limit is %llu",
		     FILES_MIN, (unsigned long long)files.rlim_max);
	return dink_err_hint(err, "raise the hard limit of who starts dink-vm (LimitNOFILE=, "
				  "ulimit -Hn)");
}

static int begin(struct monitor *m, struct dink_err *err)
{
	if (raise_files(err) < 0)
		return -EMFILE;
	m->loop = dink_loop_new();
	if (!m->loop)
		return dink_err_set(err, DINK_E_HOST, errno, "make an epoll loop");
	m->sync_source = dink_loop_add(m->loop, m->sync_fd, EPOLLIN, mon_hear_creator, m);
	int r = read_plan(m, err);
	m->boot_ms = (uint32_t)dink_json_int_or(m->plan, "boot_timeout_ms", BOOT_TIMEOUT_MS);
	m->boot_timer = dink_loop_after(m->loop, m->boot_ms, boot_overdue, m);
	if (r == 0)
		r = take_stdio(m, err);
	if (r == 0)
		r = watch_signals(m, err);
	mon_oom_open(m);
	if (r == 0)
		r = mon_boot(m, err);
	if (r == 0 && mon_image(m))
		r = mon_restore_begin(m, err);
	if (r == 0)
		r = mon_listen(m, err);
	mon_trace(m, "QEMU and virtiofsd started");
	const char *lacks = dink_json_str_or(m->plan, "cgroup.note", NULL);
	if (lacks)
		mon_trace(m, lacks);
	return r;
}

int dink_monitor_run(void)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct monitor m = {
		.sync_fd = DINK_MONITOR_SYNC_FD,
		.exit_status = -1,
		.control_fd = -1,
		.ram_fd = -1,
		.resolv_fd = -1,
		.links_fd = -1,
		.state_fd = -1,
		.group_fd = -1,
		.proc_fd = -1,
		.born_ms = (int64_t)dink_now_ms(),
	};

	close_range(DINK_MONITOR_SYNC_FD + 1, ~0U, 0);
	if (fcntl(m.sync_fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(m.sync_fd, F_SETFL, O_NONBLOCK) < 0) {
		dprintf(2, "dink-vm: the monitor is started by create only\n");
		return 1;
	}
	int status;
	if (begin(&m, &err) < 0) {
		mon_fail(&m, &err);
		status = 1;
	} else {
		status = dink_loop_run(m.loop);
		mon_oom_tell(&m);
	}
	/* PID 1 of its namespace: all that is left in it ends with us; the kernel frees the rest */
	mon_close_clients(&m);
	return status;
}
