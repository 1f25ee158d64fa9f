/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine library on the command line, for 40-engine.bats:
 *
 *	engine-tool use USER [DINK_VM] | release USER | runtime NAME PATH [ARG...]
 *	engine-tool at PLACE SOCKET call METHOD PATH [BODY]
 *	engine-tool at PLACE SOCKET ready MS | load FILE | image REF | create NAME SPEC | start ID
 *	engine-tool at PLACE SOCKET stop ID SECONDS | remove ID | inspect ID | place ID
 *	engine-tool at PLACE SOCKET exec|exec-t|exec-n|capture ID CMD... | attach|attach-t ID
 *	engine-tool at PLACE SOCKET logs ID follow|no TAIL | get ID PATH | put ID DIR
 *	engine-tool at PLACE SOCKET out|out-tar ID PATH TO | in|in-tar FROM ID PATH
 *	engine-tool serve PLACE PATH LISTEN
 *	engine-tool dial PLACE PATH
 * exec-n passes no stdin. Exit code: the command's, or 125 with the error on stderr.
 */
#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/engine/copy.h"
#include "provision/engine/engine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>

static int winch_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run_command(struct dink_engine *e, const char *how, char **argv, struct dink_err *err)
{
	bool tty = dink_ends_with(how, "-t"), attach = dink_starts_with(how, "attach");
	struct dink_exec x = {.container = argv[0],
			      .argv = argv + 1,
			      .tty = tty,
			      .stdin_open = !dink_ends_with(how, "-n"),
			      .in = 0,
			      .out = 1,
			      .errfd = 2,
			      .winch_fd = tty ? winch_fd() : -1};
	struct termios old, raw;
	bool is_raw = tty && tcgetattr(0, &old) == 0;
	int r;

	if (is_raw) {
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(0, TCSADRAIN, &raw);
	}
	r = attach ? dink_engine_attach(e, &x, err) : dink_engine_exec(e, &x, err);
	if (is_raw)
		tcsetattr(0, TCSADRAIN, &old);
	return r;
}

static int print_json(struct json_object *o)
{
	char *text = o ? dink_json_text(o) : xstrdup("");

	fputs(text, stdout);
	free(text);
	if (o)
		json_object_put(o);
	return 0;
}

static int do_call(struct dink_engine *e, char **a, struct dink_err *err)
{
	_cleanup_json_ struct json_object *body = NULL;
	struct json_object *o = NULL;
	int r;

	if (a[2] && dink_json_parse(a[2], strlen(a[2]), "body", &body, err) < 0)
		return -EINVAL;
	r = dink_engine_call(e, a[0], a[1], body, &o, NULL, err);
	return r < 0 ? r : print_json(o);
}

static int do_create(struct dink_engine *e, char **a, struct dink_err *err)
{
	_cleanup_json_ struct json_object *spec = NULL;
	char *id = NULL;

	if (dink_json_parse(a[1], strlen(a[1]), "spec", &spec, err) < 0 ||
	    dink_engine_create(e, a[0], spec, &id, err) < 0)
		return -EINVAL;
	puts(id);
	free(id);
	return 0;
}

static int do_place(const struct dink_place *at, struct dink_engine *e, const char *id,
		    struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_(dink_place_freep) struct dink_place *p = NULL;
	_cleanup_free_ char *text = NULL;
	pid_t pid;
	int r = dink_engine_inspect(e, id, &o, err);

	if (r < 0)
		return r;
	pid = (pid_t)dink_json_int_or(o, "State.Pid", 0);
	if (getenv("VM"))
		r = dink_place_vm(at, pid, &p, err);
	else
		p = dink_place_container(at, pid);
	if (r < 0)
		return r;
	text = dink_place_text(p);
	puts(text);
	return 0;
}

static ssize_t give_file(void *ctx, char *buf, size_t n, struct dink_err *err)
{
	ssize_t got;

	do
		got = read(*(const int *)ctx, buf, n);
	while (got < 0 && errno == EINTR && !dink_interrupted());
	return got < 0 ? dink_err_set(err, DINK_E_HOST, errno, "read the archive") : got;
}

static int do_load(struct dink_engine *e, const char *file, struct dink_err *err)
{
	_cleanup_close_ int fd = STREQ(file, "-") ? 0 : open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "%s", file);
	return dink_engine_load(e, give_file, &fd, err);
}

static int do_engine(const struct dink_place *at, struct dink_engine *e, const char *what, char **a,
		     struct dink_err *err)
{
	struct json_object *o = NULL;
	char *text = NULL;
	int r;

	if (STREQ(what, "call"))
		return do_call(e, a, err);
	if (STREQ(what, "ready"))
		return dink_engine_wait_ready(e, (uint32_t)atoi(a[0]), err);
	if (STREQ(what, "load"))
		return do_load(e, a[0], err);
	if (STREQ(what, "create"))
		return do_create(e, a, err);
	if (STREQ(what, "start"))
		return dink_engine_start(e, a[0], 0, err);
	if (STREQ(what, "stop"))
		return dink_engine_stop(e, a[0], (uint32_t)atoi(a[1]), err);
	if (STREQ(what, "remove"))
		return dink_engine_remove(e, a[0], err);
	if (STREQ(what, "place"))
		return do_place(at, e, a[0], err);
	if (STREQ(what, "logs"))
		return dink_engine_logs(e, a[0], STREQ(a[1], "follow"), a[2], 1, 2, err);
	if (STREQ(what, "get"))
		return dink_engine_get_archive(e, a[0], a[1], 1, err);
	if (STREQ(what, "put"))
		return dink_engine_put_archive(e, a[0], a[1], 0, err);
	if (dink_starts_with(what, "out") || dink_starts_with(what, "in-") || STREQ(what, "in")) {
		bool out = what[0] == 'o';
		struct dink_copy_layer l = {e, out ? a[0] : a[1], dink_ends_with(what, "-tar")};

		return out ? dink_copy_out(&l, a[1], a[2], err) : dink_copy_in(a[0], &l, a[2], err);
	}
	if (STREQ(what, "inspect")) {
		r = dink_engine_inspect(e, a[0], &o, err);
		return r < 0 ? r : print_json(o);
	}
	if (STREQ(what, "image") || STREQ(what, "capture")) {
		r = STREQ(what, "image")
			    ? dink_engine_image_id(e, a[0], &text, err)
			    : dink_engine_exec_capture(e, a[0], a + 1, 4096, &text, err);
		if (r >= 0)
			fputs(text ? text : "none", stdout);
		free(text);
		return r;
	}
	return run_command(e, what, a, err);
}

static int do_dial(const struct dink_place *at, const char *path, struct dink_err *err)
{
	_cleanup_close_ int fd = -1;
	char buf[4096];
	ssize_t n;
	int r = dink_dial(at, path, &fd, err);

	while (r == 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		r = dink_fd_write_all(1, buf, (size_t)n);
	return r;
}

static int do_private(char **argv, struct dink_err *err)
{
	char *socket = NULL;
	int r = 0;

	if (STREQ(argv[1], "use")) {
		r = dink_private_engine_use(argv[2], argv[3], &socket, NULL, err);
		if (r == 0)
			puts(socket);
		free(socket);
	} else if (STREQ(argv[1], "runtime")) {
		r = dink_private_engine_runtime(argv[2], argv[3], argv + 4, err);
	} else {
		r = dink_private_engine_release(argv[2], err);
	}
	return r;
}

static int run(char **argv, struct dink_err *err)
{
	_cleanup_(dink_place_freep) struct dink_place *at = NULL;
	_cleanup_(dink_engine_freep) struct dink_engine *e = NULL;
	int r;

	if (STREQ(argv[1], "use") || STREQ(argv[1], "release") || STREQ(argv[1], "runtime"))
		return do_private(argv, err);
	r = dink_place_parse(argv[2], &at, err);
	if (r < 0)
		return r;
	if (STREQ(argv[1], "dial"))
		return do_dial(at, argv[3], err);
	if (STREQ(argv[1], "serve")) {
		struct dink_forward f = {at, argv[3], argv[4]};

		return dink_forward_serve(&f, 1, 1, err);
	}
	e = dink_engine_new(at, argv[3]);
	return do_engine(at, e, argv[4], argv + 5, err);
}

int main(int argc, char **argv)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	int r;

	if (argc < 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	dink_catch_interrupts();
	r = run(argv, &err);
	if (r < 0) {
		char *text = dink_err_is_set(&err) ? dink_err_format(&err)
						   : xasprintf("%s\n", strerror(-r));

		fputs(text, stderr);
		free(text);
		return err.code == DINK_E_INTR ? 130 : 125;
	}
	return r;
}
