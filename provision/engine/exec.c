/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec and attach: a process's stdio on ours, its exit code as ours.
 *
 *	POST /containers/ID/exec -> exec id
 *	POST /exec/ID/start, hijacked -> the stream; its end is the end of the command's output
 *	GET /exec/ID/json until Running is false -> the exit code
 *
 * The window size is given at creation (Docker >= 23 uses it) and again once the process runs:
 * older daemons refuse a resize before that, so it is tried a few times.
 */
#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/engine.h"
#include "provision/engine/hijack.h"
#include "provision/engine/http.h"
#include "provision/engine/place.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

enum { RESIZE_TRIES = 20, RESIZE_EVERY_MS = 50, KILL_AFTER = 2, DETACHED_WAIT_MS = 300 };
enum { START_MS = 5000, START_EVERY_US = 20000 };
enum { CAPTURE_MS = 300000 }; /* what is asked in a layer has an answer by then */

/*
 * Docker's own detach keys (ctrl-p ctrl-q) would hold back every ctrl-p in a shell; these are keys
 * that nobody types.
 */
#define NO_DETACH_KEYS "ctrl-@,ctrl-_,ctrl-@"

/*
 * What dockerd writes into the command's standard output where there was no command to run. It
 * says 126 for every such failure; 127 for "no such program" is told apart here as a shell does.
 */
#define REFUSAL "OCI runtime exec failed: "
static const char *const refusals[] = {REFUSAL, "unable to find user ", "unable to find group ",
				       NULL};
enum { CANNOT_RUN = 126, NOT_FOUND = 127 };

struct session {
	struct dink_engine *e;
	const struct dink_exec *x;
	char *object; /* "/exec/ID" or "/containers/ID" */
	bool is_exec;
	int resizes_left;
	int interrupts;
	uint64_t deadline_ms;	 /* 0 = none */
	struct dink_str refused; /* see REFUSAL */
};

static void clear_session(struct session *s)
{
	free(s->object);
	dink_str_clear(&s->refused);
}

static bool get_size(const struct dink_exec *x, struct winsize *ret)
{
	return x->tty && x->in >= 0 && ioctl(x->in, TIOCGWINSZ, ret) == 0 && ret->ws_row > 0 &&
	       ret->ws_col > 0;
}

/* Sends the terminal's size; true once the engine took it or there is none. */
static bool send_size(struct session *s)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *path = NULL;
	struct winsize ws;
	int r;

	if (!get_size(s->x, &ws))
		return true;
	path = xasprintf("%s/resize?h=%u&w=%u", s->object, ws.ws_row, ws.ws_col);
	r = dink_engine_call(s->e, "POST", path, NULL, NULL, NULL, &ignored);
	if (r < 0)
		dink_debug("engine", "resize: %s", ignored.msg ? ignored.msg : "?");
	return r >= 0;
}

static bool try_first_size(void *ctx)
{
	struct session *s = ctx;

	/* the first tick comes before the process can run */
	if (s->resizes_left-- == RESIZE_TRIES)
		return true;
	return !send_size(s) && s->resizes_left > 0;
}

static void follow_size(void *ctx)
{
	struct session *s = ctx;
	struct signalfd_siginfo info;

	if (read(s->x->winch_fd, &info, sizeof(info)) > 0)
		(void)send_size(s);
}

/*
 * The process's pid as the engine knows it; 0 if it does not run any more. The engine learns of a
 * start a moment after the process's first output may have come: until then it has no exit code.
 */
static pid_t running_pid(struct session *s)
{
	_cleanup_free_ char *path = xasprintf("%s/json", s->object);
	uint64_t end = dink_now_ms() + START_MS;

	for (;;) {
		_cleanup_(dink_err_clear) struct dink_err ignored = {};
		_cleanup_json_ struct json_object *o = NULL;
		int64_t pid;

		if (dink_engine_call(s->e, "GET", path, NULL, &o, NULL, &ignored) < 0)
			return 0;
		pid = dink_json_int_or(o, "Pid", 0);
		if (dink_json_bool_or(o, "Running", false) && pid > 0)
			return (pid_t)pid;
		if (dink_json_get(o, "ExitCode") || dink_now_ms() >= end)
			return 0;
		usleep(START_EVERY_US);
	}
}

static int signal_process(struct session *s, int sig)
{
	pid_t pid = running_pid(s);
	int r;

	if (pid <= 0)
		return -ESRCH;
	r = dink_place_signal(dink_engine_place(s->e), pid, sig);
	if (r == -EOPNOTSUPP && s->x->signal_fn)
		r = s->x->signal_fn(s->x->signal_ctx, pid, sig);
	dink_debug("engine", "signal %d to process %d of the layer: %d", sig, (int)pid, r);
	return r;
}

static int pass_interrupt(void *ctx, int sig)
{
	struct session *s = ctx;

	if (!s->is_exec)
		return -EINTR; /* attached: the container goes on */
	s->interrupts++;
	if (s->interrupts < KILL_AFTER)
		return signal_process(s, sig) == -EOPNOTSUPP ? -EINTR : 0;
	(void)signal_process(s, SIGKILL);
	return -EINTR;
}

static struct json_object *exec_spec(const struct dink_exec *x)
{
	struct json_object *o = dink_json_new(), *size;
	struct dink_strv v = {};
	struct winsize ws;

	dink_strv_addv(&v, x->argv);
	dink_json_set(o, "Cmd", dink_json_strv(&v));
	dink_strv_clear(&v);
	if (x->env && x->env[0]) {
		dink_strv_addv(&v, x->env);
		dink_json_set(o, "Env", dink_json_strv(&v));
		dink_strv_clear(&v);
	}
	if (x->user)
		dink_json_set_str(o, "User", x->user);
	if (x->workdir)
		dink_json_set_str(o, "WorkingDir", x->workdir);
	dink_json_set_bool(o, "Tty", x->tty);
	dink_json_set_bool(o, "AttachStdin", x->stdin_open && x->in >= 0);
	dink_json_set_bool(o, "AttachStdout", true);
	dink_json_set_bool(o, "AttachStderr", true);
	dink_json_set_str(o, "DetachKeys", NO_DETACH_KEYS);
	if (get_size(x, &ws)) {
		size = json_object_new_array();
		json_object_array_add(size, json_object_new_int(ws.ws_row));
		json_object_array_add(size, json_object_new_int(ws.ws_col));
		dink_json_set(o, "ConsoleSize", size);
	}
	return o;
}

static int create_exec(struct session *s, struct dink_err *err)
{
	_cleanup_json_ struct json_object *spec = exec_spec(s->x), *answer = NULL;
	_cleanup_free_ char *name = dink_url_escape(s->x->container);
	_cleanup_free_ char *path = xasprintf("/containers/%s/exec", name);
	_cleanup_free_ char *id = NULL;
	const char *text;
	int r = dink_engine_call(s->e, "POST", path, spec, &answer, NULL, err);

	if (r < 0)
		return r;
	r = dink_json_need_str(answer, "the exec", "Id", &text, err);
	if (r < 0)
		return r;
	id = dink_url_escape(text);
	s->object = xasprintf("/exec/%s", id);
	return 0;
}

static int run_stream(struct session *s, int sock, struct dink_str *early, struct dink_str *capture,
		      size_t max, struct dink_err *err)
{
	bool passes = s->is_exec && !capture;
	const struct dink_exec *x = s->x;
	struct dink_stream st = {
		.sock = sock,
		.early = early,
		.raw = x->tty,
		.in = x->stdin_open ? x->in : -1,
		.out = x->out,
		.errfd = x->errfd,
		.refusals = passes ? refusals : NULL,
		.refused = passes ? &s->refused : NULL,
		.capture = capture,
		.capture_max = max,
		.winch_fd = x->tty ? x->winch_fd : -1,
		.on_winch = follow_size,
		.on_interrupt = capture ? NULL : pass_interrupt,
		.on_tick = x->tty ? try_first_size : NULL,
		.tick_ms = RESIZE_EVERY_MS,
		.deadline_ms = s->deadline_ms,
		.ctx = s,
	};
	int r = dink_stream_run(&st, err);

	if (r == -EINTR && !dink_err_is_set(err))
		return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
	return r;
}

static void write_text(int fd, const char *text, size_t n)
{
	while (fd >= 0 && n > 0) {
		ssize_t w = write(fd, text, n);

		if (w < 0 && errno != EINTR)
			return;
		text += w > 0 ? w : 0;
		n -= w > 0 ? (size_t)w : 0;
	}
}

static int refusal_code(const char *text)
{
	bool missing = strstr(text, "executable file not found") ||
		       strstr(text, "not found in $PATH") ||
		       (strstr(text, "no such file or directory") && !strstr(text, "chdir"));

	return missing ? NOT_FOUND : CANNOT_RUN;
}

/* The daemon's words on the standard error of a command that never was. */
static int tell_refusal(struct session *s, const char *text, size_t n)
{
	while (n > 0 && strchr("\r\n", text[n - 1]))
		n--;
	if (n > strlen(": unknown") && memcmp(text + n - 9, ": unknown", 9) == 0)
		n -= 9; /* containerd's class of the error: it is always that */
	write_text(s->x->errfd, text, n);
	if (s->x->tty)
		write_text(s->x->errfd, "\r", 1);
	write_text(s->x->errfd, "\n", 1);
	return refusal_code(text);
}

/* Output that began like the daemon's own message: whose was it? */
static int settle_refused(struct session *s, int code, int64_t pid)
{
	if (s->refused.len == 0)
		return code;
	if (pid == 0 && (code == CANNOT_RUN || code == NOT_FOUND))
		return tell_refusal(s, s->refused.s, s->refused.len);
	write_text(s->x->out, s->refused.s, s->refused.len);
	return code;
}

static int end_overdue(struct session *s, struct dink_err *err)
{
	(void)signal_process(s, SIGKILL);
	(void)dink_err_set(err, DINK_E_CHILD, ETIMEDOUT, "the command did not end within %d s",
			   CAPTURE_MS / 1000);
	return dink_err_hint(err, "a layer that answers nothing: dink down, then dink up");
}

/* The exit code, once the process is gone; its output may have ended long before. */
static int wait_exec(struct session *s, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/json", s->object);
	int pause = 2;

	for (;;) {
		_cleanup_json_ struct json_object *o = NULL;
		struct pollfd p = {.fd = dink_interrupt_fd(), .events = POLLIN};
		int r = dink_engine_call(s->e, "GET", path, NULL, &o, NULL, err);

		if (r < 0)
			return r;
		if (!dink_json_bool_or(o, "Running", false))
			return settle_refused(s, (int)(dink_json_int_or(o, "ExitCode", 255) & 0xff),
					      dink_json_int_or(o, "Pid", 0));
		if (s->deadline_ms && dink_now_ms() >= s->deadline_ms)
			return end_overdue(s, err);
		(void)poll(&p, 1, pause);
		pause = pause < 200 ? pause * 2 : 200;
		if (dink_interrupted() && s->deadline_ms)
			return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
		if (dink_interrupted()) {
			int sig = dink_interrupted();

			dink_interrupt_reset();
			if (pass_interrupt(s, sig) < 0)
				return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
		}
	}
}

static int run_exec(struct dink_engine *e, const struct dink_exec *x, struct dink_str *capture,
		    size_t max, struct dink_err *err)
{
	_cleanup_(clear_session) struct session s = {
		.e = e, .x = x, .is_exec = true, .resizes_left = RESIZE_TRIES};
	_cleanup_json_ struct json_object *start = dink_json_new();
	_cleanup_str_ struct dink_str early = {};
	_cleanup_close_ int sock = -1;
	_cleanup_free_ char *path = NULL;
	int r;

	if (capture)
		s.deadline_ms = dink_now_ms() + CAPTURE_MS;
	r = create_exec(&s, err);
	if (r < 0)
		return r;
	path = xasprintf("%s/start", s.object);
	dink_json_set_bool(start, "Detach", false);
	dink_json_set_bool(start, "Tty", x->tty);
	r = dink_hijack(e, path, json_object_to_json_string_ext(start, JSON_C_TO_STRING_PLAIN),
			&sock, &early, err);
	if (r < 0 && err->msg && strstr(err->msg, REFUSAL) && !capture) {
		/* Docker >= 25 answers the start itself so */
		const char *text = strstr(err->msg, REFUSAL);

		r = tell_refusal(&s, text, strlen(text));
		dink_err_clear(err);
		return r;
	}
	if (r < 0)
		return r;
	r = run_stream(&s, sock, &early, capture, max, err);
	if (r == -EPIPE && !dink_err_is_set(err)) {
		/* as in a pipeline on one machine: the writer ends by SIGPIPE */
		(void)signal_process(&s, SIGPIPE);
		return 128 + SIGPIPE;
	}
	if (r == -ETIMEDOUT && !dink_err_is_set(err))
		return end_overdue(&s, err);
	if (r < 0)
		return r;
	return wait_exec(&s, err);
}

int dink_engine_exec(struct dink_engine *e, const struct dink_exec *x, struct dink_err *err)
{
	int r = run_exec(e, x, NULL, 0, err);

	if (r < 0)
		(void)dink_err_push(err, "running %s in container %s", x->argv[0], x->container);
	return r;
}

int dink_engine_exec_read(struct dink_engine *e, const char *container, char *const *argv,
			  size_t max, struct dink_str *ret, struct dink_err *err)
{
	struct dink_exec x = {.container = container,
			      .argv = argv,
			      .in = -1,
			      .out = -1,
			      .errfd = -1,
			      .winch_fd = -1};
	int r = run_exec(e, &x, ret, ret->len + max, err);

	if (r < 0)
		(void)dink_err_push(err, "running %s in container %s", argv[0], container);
	return r;
}

int dink_engine_exec_capture(struct dink_engine *e, const char *container, char *const *argv,
			     size_t max, char **ret_out, struct dink_err *err)
{
	_cleanup_str_ struct dink_str capture = {};
	int r = dink_engine_exec_read(e, container, argv, max, &capture, err);

	if (r >= 0)
		*ret_out = dink_str_take(&capture);
	return r;
}

static int attach_result(struct session *s, struct dink_err *err)
{
	uint64_t end = dink_now_ms() + DETACHED_WAIT_MS;

	/* the stream also ends by the detach keys: then the container goes on running */
	for (;;) {
		_cleanup_json_ struct json_object *o = NULL;
		struct pollfd p = {.fd = dink_interrupt_fd(), .events = POLLIN};
		int r = dink_engine_inspect(s->e, s->x->container, &o, err);

		if (r == -ENOENT)
			return 0; /* --rm: nobody can tell any more */
		if (r < 0)
			return r;
		if (!dink_json_bool_or(o, "State.Running", false))
			return (int)(dink_json_int_or(o, "State.ExitCode", 255) & 0xff);
		if (dink_now_ms() >= end)
			return 0;
		(void)poll(&p, 1, 20);
	}
}

int dink_engine_attach(struct dink_engine *e, const struct dink_exec *x, struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(x->container);
	_cleanup_(clear_session) struct session s = {.e = e, .x = x, .resizes_left = RESIZE_TRIES};
	_cleanup_free_ char *path = NULL;
	_cleanup_str_ struct dink_str early = {};
	_cleanup_close_ int sock = -1;
	int r;

	s.object = xasprintf("/containers/%s", name);
	path = xasprintf("%s/attach?stream=1&stdout=1&stderr=1&stdin=%d", s.object,
			 x->stdin_open && x->in >= 0);
	r = dink_hijack(e, path, NULL, &sock, &early, err);
	if (r == 0)
		r = run_stream(&s, sock, &early, NULL, 0, err);
	if (r == -EPIPE && !dink_err_is_set(err))
		return 128 + SIGPIPE;
	if (r < 0) {
		(void)dink_err_push(err, "attaching to container %s", x->container);
		return r;
	}
	return attach_result(&s, err);
}
