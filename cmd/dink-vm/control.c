/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that the monitor answers: start, kill, pause, resume, update, events. */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"
#include "provision/base/units.h"
#include "provision/vm/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

enum {
	ANSWER_MS = 120000,
	KILL_MS = 30000,
	GOING_MS = 1000,
	DYING_MS = 3000,
	RESOURCES_MAX = 1 << 20
};

static struct json_object *make_request(const char *op)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "op", op);
	return o;
}

static int load_one(const struct vm_globals *g, const char *command, char **argv,
		    const struct vm_opt *opts, struct dink_vmstate **ret, struct dink_err *err)
{
	const char *id;
	int r = vm_parse_id(command, argv, opts, &id, err);

	return r < 0 ? r : dink_vmstate_load(g->root, id, ret, err);
}

/* Whether this is the first start of it. */
static bool mark_start(const struct dink_vmstate *s)
{
	_cleanup_free_ char *path = xasprintf("%s/started", s->dir);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd >= 0;
}

/* By its pidfd: where it is our child, its status is another's to read. */
static bool ends_soon(const struct dink_vmstate *s)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, s->monitor.pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return fd < 0 || !dink_vmstate_alive(s) || poll(&p, 1, DYING_MS) > 0;
}

/*
 * A created container whose VM dies before its program runs was started and has ended: so the engine
 * hears of its end and cleans up. Docker forgets a task that does not start, and would leave the
 * shim, the state and the cgroup.
 */
static bool died_in_start(const struct dink_vmstate *s, bool first, int r)
{
	return first && s->monitor.pid > 0 && !vm_has_creator(s) &&
	       (r == -ESRCH || r == -ECONNRESET || r == -EPIPE || r == -ECONNREFUSED) &&
	       ends_soon(s);
}

int vm_start_state(struct dink_vmstate *s, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err hook = {};
	bool first = mark_start(s);
	int r = dink_vmstate_call(s, make_request("start"), ANSWER_MS, NULL, err);

	if (r < 0 && died_in_start(s, first, r)) {
		fprintf(stderr, "dink-vm: warning: %s\n", err->msg);
		dink_err_clear(err);
		return 0;
	}
	if (r < 0)
		return r;
	/* as the specification has it: a failing poststart hook is a warning */
	if (vm_run_hooks(dink_json_get(s->doc, "hooks"), "poststart", s, "running", &hook) < 0)
		fprintf(stderr, "dink-vm: warning: %s\n", hook.msg);
	return 0;
}

int vm_start(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	int r = load_one(g, "start", argv, NULL, &s, err);

	return r < 0 ? r : vm_start_state(s, err);
}

/* "9", "KILL", "SIGKILL", "RTMIN+3", "SIGRTMAX-1"; -1 = no signal */
int vm_parse_signal(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end != text)
		return *end || n < 0 || n > SIGRTMAX ? -1 : (int)n;
	if (dink_starts_with(text, "SIG"))
		text += 3;
	bool min = dink_starts_with(text, "RTMIN"), max = dink_starts_with(text, "RTMAX");
	if (min || max) {
		int base = min ? SIGRTMIN : SIGRTMAX;
		n = text[5] ? strtol(text + 5, &end, 10) : 0;
		if ((text[5] && *end) || base + n < SIGRTMIN || base + n > SIGRTMAX)
			return -1;
		return base + (int)n;
	}
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);
		if (name && STREQ(name, text))
			return i;
	}
	return STREQ(text, "IOT") ? SIGABRT : STREQ(text, "CLD") ? SIGCHLD : -1;
}

int vm_kill(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	bool all = false;
	const struct vm_opt opts[] = {{'a', "all", VM_OPT_FLAG, &all, NULL}, {}};
	int n = vm_parse("kill", argv, opts, err);

	if (n < 0)
		return n;
	if (!argv[n])
		return dink_err_set(err, DINK_E_USAGE, 0, "kill needs a container id");
	const char *text = argv[n + 1] ? argv[n + 1] : "SIGTERM";
	int sig = vm_parse_signal(text);
	if (sig < 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "unknown signal \"%s\"", text);
	int r = dink_vmstate_load(g->root, argv[n], &s, err);
	if (r < 0)
		return r;
	/* what kill --all is for is done when the VM is gone */
	if (!dink_vmstate_alive(s))
		return all ? 0 : dink_err_set(err, DINK_E_HOST, ESRCH, "container not running");
	struct json_object *req = make_request("signal");
	dink_json_set_int(req, "signal", sig);
	dink_json_set_bool(req, "all", all);
	r = dink_vmstate_call(s, req, KILL_MS, NULL, err);
	if (r == 0 || r == -ESRCH || sig != SIGKILL)
		return r;
	/* it went while it was asked, or it hangs, which must not keep a container alive */
	dink_err_clear(err);
	if (dink_pid_gone_within(&s->monitor, GOING_MS))
		return all ? 0 : dink_err_set(err, DINK_E_HOST, ESRCH, "container not running");
	return kill(s->monitor.pid, SIGKILL) < 0
		       ? dink_err_set(err, DINK_E_HOST, errno, "kill the monitor")
		       : 0;
}

static int call_plain(const struct vm_globals *g, const char *op, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	int r = load_one(g, op, argv, NULL, &s, err);

	return r < 0 ? r : dink_vmstate_call(s, make_request(op), ANSWER_MS, NULL, err);
}

int vm_pause(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	return call_plain(g, "pause", argv, err);
}

int vm_resume(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	return call_plain(g, "resume", argv, err);
}

/* --- update --- */

struct update_value {
	const char *text;
	const char *group;
	const char *key;
	bool is_size;
};

static int add_value(struct json_object *resources, const struct update_value *v,
		     struct dink_err *err)
{
	char *end;
	int64_t n;
	uint64_t bytes;

	if (!v->text)
		return 0;
	if (v->is_size && dink_parse_size(v->text, &bytes) == 0) {
		n = (int64_t)bytes;
	} else {
		n = strtoll(v->text, &end, 10);
		if (*end || end == v->text)
			return dink_err_set(err, DINK_E_USAGE, 0, "\"%s\" is no number", v->text);
	}
	struct json_object *g = dink_json_get(resources, v->group);
	if (!g) {
		g = dink_json_new();
		dink_json_set(resources, v->group, g);
	}
	dink_json_set_int(g, v->key, n);
	return 0;
}

static int read_resources(const char *file, struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = STREQ(file, "-") ? dink_fd_read_all(0, RESOURCES_MAX, &text, &len, err)
				 : dink_file_read(file, RESOURCES_MAX, &text, &len, err);

	return r < 0 ? r : dink_json_parse(text, len, "resources", ret, err);
}

int vm_update(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	_cleanup_json_ struct json_object *resources = NULL;
	const char *file = NULL, *other;
	struct update_value v[] = {
		{NULL, "memory", "limit", true}, {NULL, "memory", "reservation", true},
		{NULL, "memory", "swap", true},	 {NULL, "cpu", "shares", false},
		{NULL, "cpu", "quota", false},	 {NULL, "cpu", "period", false},
		{NULL, "pids", "limit", false},
	};
	const struct vm_opt opts[] = {
		{'r', "resources", VM_OPT_STRING, &file, NULL},
		{0, "memory", VM_OPT_STRING, &v[0].text, NULL},
		{0, "memory-reservation", VM_OPT_STRING, &v[1].text, NULL},
		{0, "memory-swap", VM_OPT_STRING, &v[2].text, NULL},
		{0, "cpu-share", VM_OPT_STRING, &v[3].text, NULL},
		{0, "cpu-quota", VM_OPT_STRING, &v[4].text, NULL},
		{0, "cpu-period", VM_OPT_STRING, &v[5].text, NULL},
		{0, "pids-limit", VM_OPT_STRING, &v[6].text, NULL},
		/* what is left out of a config, too: the host's devices, processors and v1 */
		{0, "blkio-weight", VM_OPT_STRING, &other, NULL},
		{0, "cpuset-cpus", VM_OPT_STRING, &other, NULL},
		{0, "cpuset-mems", VM_OPT_STRING, &other, NULL},
		{0, "cpu-burst", VM_OPT_STRING, &other, NULL},
		{0, "cpu-idle", VM_OPT_STRING, &other, NULL},
		{0, "cpu-rt-period", VM_OPT_STRING, &other, NULL},
		{0, "cpu-rt-runtime", VM_OPT_STRING, &other, NULL},
		{0, "kernel-memory", VM_OPT_STRING, &other, NULL},
		{0, "kernel-memory-tcp", VM_OPT_STRING, &other, NULL},
		{0, "l3-cache-schema", VM_OPT_STRING, &other, NULL},
		{0, "mem-bw-schema", VM_OPT_STRING, &other, NULL},
		{},
	};
	int r = load_one(g, "update", argv, opts, &s, err);

	if (r == 0 && file)
		r = read_resources(file, &resources, err);
	if (r < 0)
		return r;
	if (!resources)
		resources = dink_json_new();
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		r = add_value(resources, &v[i], err);
		if (r < 0)
			return r;
	}
	struct json_object *req = make_request("update");
	dink_json_set(req, "resources", json_object_get(resources));
	r = dink_vmstate_call(s, req, ANSWER_MS, NULL, err);
	if (r < 0)
		return r;
	return dink_cgroup_limit(dink_json_get(s->doc, "cgroup"), resources, true, err);
}

/* --- events --- */

static int print_stats(struct dink_vmstate *s, struct dink_err *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	_cleanup_json_ struct json_object *line = dink_json_new();
	int r = dink_vmstate_call(s, make_request("stats"), ANSWER_MS, &answer, err);

	if (r < 0)
		return r;
	json_object_object_del(answer, "ok");
	dink_json_set_str(line, "type", "stats");
	dink_json_set_str(line, "id", s->id);
	dink_json_set(line, "data", json_object_get(answer));
	puts(json_object_to_json_string_ext(line, JSON_C_TO_STRING_PLAIN));
	fflush(stdout);
	return 0;
}

int vm_events(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_(dink_vmstate_freep) struct dink_vmstate *s = NULL;
	bool once = false;
	const char *interval = "5s";
	uint64_t ms;
	const struct vm_opt opts[] = {
		{0, "stats", VM_OPT_FLAG, &once, NULL},
		{0, "interval", VM_OPT_STRING, &interval, NULL},
		{},
	};
	int r = load_one(g, "events", argv, opts, &s, err);

	if (r < 0)
		return r;
	if (dink_parse_duration(interval, &ms) < 0 || ms == 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "--interval %s is no duration", interval);
	for (;;) {
		r = print_stats(s, err);
		if (r < 0 || once)
			return r;
		(void)poll(NULL, 0, ms < INT_MAX ? (int)ms : INT_MAX);
		if (!dink_vmstate_alive(s))
			return 0;
	}
}
