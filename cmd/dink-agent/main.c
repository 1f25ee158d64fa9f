/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

int agent_write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	/* one write: kernel files take a value whole or not at all */
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* --- answers --- */

void agent_answer(struct agent *a, uint32_t id, struct json_object *msg)
{
	dink_json_set_bool(msg, "ok", true);
	dink_chan_respond(a->chan, id, msg);
}

void agent_refuse(struct agent *a, uint32_t id, const struct dink_err *err)
{
	struct json_object *o = dink_json_new();
	struct dink_str text = {};
	_cleanup_free_ char *words = NULL;

	for (int i = err->n_frames - 1; i >= 0; i--)
		dink_str_addf(&text, "%s: ", err->frames[i]);
	dink_str_add(&text, err->msg ? err->msg : "failed");
	/* crun's own words have their reason in them */
	if (err->errnum && err->code != DINK_E_CHILD)
		dink_str_addf(&text, ": %s", strerror(err->errnum));
	words = dink_str_take(&text);
	dink_json_set_bool(o, "ok", false);
	dink_json_set_str(o, "error", words);
	dink_json_set_int(o, "errno", err->errnum ? err->errnum : EINVAL);
	dink_chan_respond(a->chan, id, o);
}

/* --- requests that are answered at once --- */

typedef int (*op_fn)(struct agent *a, struct json_object *msg, struct json_object *answer,
		     struct dink_err *err);

#define DEFINE_OP(name, expr)                                                                      \
	static int op_##name(struct agent *a, struct json_object *msg, struct json_object *answer, \
			     struct dink_err *err)                                                 \
	{                                                                                          \
		(void)a;                                                                           \
		(void)msg;                                                                         \
		(void)answer;                                                                      \
		(void)err;                                                                         \
		return (expr);                                                                     \
	}

/* A clone of a template has devices that the template had not. */
static int say_hello(struct agent *a, struct json_object *answer, struct dink_err *err)
{
	int r = agent_write_file("/sys/bus/pci/rescan", "1");

	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "looking over the PCI bus");
	dink_json_set_int(answer, "version", DINK_PROTO_VERSION);
	return agent_release(a, err);
}

static int shut_down(struct agent *a)
{
	agent_kill_all(a);
	agent_unmount(a);
	return 0;
}

DEFINE_OP(hello, say_hello(a, answer, err))
DEFINE_OP(setup, agent_setup(a, msg, err))
DEFINE_OP(network, agent_network(msg, err))
DEFINE_OP(start, agent_start(a, err))
DEFINE_OP(signal, agent_signal(a, msg, err))
DEFINE_OP(resize, agent_resize(msg, err))
DEFINE_OP(connect, agent_connect(a, msg, err))
DEFINE_OP(dns, agent_dns(a, msg, err))
DEFINE_OP(pause, agent_freeze(true, err))
DEFINE_OP(resume, agent_freeze(false, err))
DEFINE_OP(ps, agent_ps(msg, answer, err))
DEFINE_OP(stats, agent_stats(answer, err))
DEFINE_OP(release, agent_release(a, err))
DEFINE_OP(renew, agent_renew(a, msg, err))
DEFINE_OP(grow, agent_grow(msg, err))
DEFINE_OP(shutdown, shut_down(a))

static const struct {
	const char *name;
	op_fn fn;
} quick_ops[] = {
	{"hello", op_hello},	   {"setup", op_setup},	    {"network", op_network},
	{"start", op_start},	   {"signal", op_signal},   {"resize", op_resize},
	{"connect", op_connect},   {"dns", op_dns},	    {"pause", op_pause},
	{"resume", op_resume},	   {"ps", op_ps},	    {"stats", op_stats},
	{"shutdown", op_shutdown}, {"release", op_release}, {"renew", op_renew},
	{"grow", op_grow},
};

/* requests that crun must work on first */
static const struct {
	const char *name;
	void (*fn)(struct agent *a, uint32_t id, struct json_object *msg);
} slow_ops[] = {
	{"create", agent_create},
	{"exec", agent_exec},
	{"update", agent_update},
	{"hold", agent_hold},
};

static void run_quick(struct agent *a, op_fn fn, uint32_t id, struct json_object *msg)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct json_object *answer = dink_json_new();

	if (fn(a, msg, answer, &err) < 0) {
		json_object_put(answer);
		agent_refuse(a, id, &err);
		return;
	}
	agent_answer(a, id, answer);
}

static void on_request(void *ctx, uint32_t id, struct json_object *msg)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	const char *op = dink_json_str_or(msg, "op", "");
	struct agent *a = ctx;

	for (size_t i = 0; i < ARRAY_SIZE(slow_ops); i++) {
		if (STREQ(op, slow_ops[i].name)) {
			slow_ops[i].fn(a, id, msg);
			return;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(quick_ops); i++) {
		if (STREQ(op, quick_ops[i].name)) {
			run_quick(a, quick_ops[i].fn, id, msg);
			return;
		}
	}
	if (STREQ(op, "poweroff")) {
		shut_down(a);
		agent_power_off();
	}
	dink_err_set(&err, DINK_E_USAGE, ENOSYS, "unknown request '%.64s'", op);
	agent_refuse(a, id, &err);
}

static void on_closed(void *ctx, const char *why)
{
	struct agent *a = ctx;

	agent_say("channel: %s; powering off", why);
	shut_down(a);
	agent_power_off();
}

static void on_signal(void *ctx, int fd, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	/* one SIGCHLD may stand for many children, so what it says does not matter */
	while (read(fd, &info, sizeof(info)) > 0)
		;
	agent_reap(ctx);
}

static int watch_children(struct agent *a)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigfillset(&set);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGFPE);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd >= 0 && dink_loop_add(a->loop, fd, EPOLLIN, on_signal, a) ? 0 : -errno;
}

static void greet(struct agent *a)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "event", "hello");
	dink_json_set_int(o, "version", DINK_PROTO_VERSION);
	dink_chan_event(a->chan, o);
}

/*
 * let_writers_go_on() - a batch task is not scheduled the moment it has something to do: who writes
 * in small pieces fills its pipe first, instead of giving way to the agent after each of them. What
 * the agent starts is scheduled as usual.
 */
static void let_writers_go_on(void)
{
	const struct sched_param param = {};

	(void)sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param);
}

int main(void)
{
	static const struct dink_chan_ops ops = {.on_request = on_request, .on_closed = on_closed};
	static struct agent a;
	_cleanup_(dink_err_clear) struct dink_err err = {};
	int port;

	if (getpid() != 1) {
		fprintf(stderr, "dink-agent is the first process of a guest of dink-vm\n");
		return 1;
	}
	agent_boot();
	let_writers_go_on();
	a.loop = dink_loop_new();
	port = agent_open_port(&err);
	if (port < 0 || !a.loop || watch_children(&a) < 0) {
		agent_say("cannot start: %s", err.msg ? err.msg : strerror(errno));
		agent_power_off();
	}
	a.chan = dink_chan_new(a.loop, port, false, &ops, &a);
	greet(&a);
	/* the loop only returns on an error of epoll itself */
	for (;;)
		(void)dink_loop_once(a.loop, -1);
}
