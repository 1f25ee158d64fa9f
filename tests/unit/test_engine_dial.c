/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dial: sockets in another root, and the line protocol to a VM's monitor, whose other side here is
 * a process that answers what the test says (the real one is in tests/e2e).
 */
#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/engine/engine.h"
#include "provision/engine/inside.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char tmp[64];

static int make_tmp(void **state _unused_)
{
	snprintf(tmp, sizeof(tmp), "/tmp/dink-dial-XXXXXX");
	return mkdtemp(tmp) ? 0 : -1;
}

static int drop_tmp(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	return dink_rm_rf(tmp, &err);
}

static void links_stay_in_the_root(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *inner = xasprintf("%s/root/run", tmp), *outer = NULL, *var = NULL;
	_cleanup_free_ char *in_sock = xasprintf("%s/root/run/x.sock", tmp), *up = NULL;
	_cleanup_close_ int root = -1, in = -1, out = -1, fd = -1;

	outer = xasprintf("%s/run", tmp);
	assert_int_equal(dink_mkdir_p(inner, 0700, &err), 0);
	assert_int_equal(dink_mkdir_p(outer, 0700, &err), 0);
	var = xasprintf("%s/root/var", tmp);
	assert_int_equal(symlink("/run", var), 0);
	assert_int_equal(dink_unix_listen(in_sock, 0600, &in, &err), 0);
	up = xasprintf("%s/root", tmp);
	root = open(up, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* /var -> /run is the root's own /run */
	assert_int_equal(dink_inside_connect(root, "/var/x.sock", &fd, &err), 0);
	/* and no number of ".." leads out of it */
	free(outer);
	outer = xasprintf("%s/run/y.sock", tmp);
	assert_int_equal(dink_unix_listen(outer, 0600, &out, &err), 0);
	assert_int_equal(dink_inside_connect(root, "/../../../run/y.sock", &fd, &err), -ENOENT);
	dink_err_clear(&err);
	assert_int_equal(dink_inside_connect(root, "/run", &fd, &err), -ENOTSOCK);
}

static void a_false_proc_is_refused(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *proc = xasprintf("%s/fake/proc/7", tmp), *link = NULL, *top = NULL;
	_cleanup_close_ int root = -1;
	int fd;

	assert_int_equal(dink_mkdir_p(proc, 0700, &err), 0);
	link = xasprintf("%s/root", proc);
	assert_int_equal(symlink("/", link), 0);
	top = xasprintf("%s/fake", tmp);
	root = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(dink_inside_connect(root, "/proc/7/root/run/x", &fd, &err), -EXDEV);
}

static void proc_root_is_followed(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *dir =
		xasprintf("%s/a-name-that-makes-the-path-very-long-indeed/longer-"
			  "than-any-sun_path-could-hold-it/in-one-go",
			  tmp);
	_cleanup_free_ char *sock = xasprintf("%s/sock", dir);
	_cleanup_free_ char *path = NULL;
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_place_freep) struct dink_place *self = dink_place_container(host, getpid());
	_cleanup_close_ int listener = -1, one = -1, two = -1;

	assert_true(strlen(sock) > 108);
	assert_int_equal(dink_mkdir_p(dir, 0700, &err), 0);
	assert_int_equal(dink_unix_listen(sock, 0600, &listener, &err), 0);
	assert_int_equal(dink_dial(self, sock, &one, &err), 0);
	path = xasprintf("/proc/%d/root/proc/%d/root%s", (int)getpid(), (int)getpid(), sock);
	assert_int_equal(dink_dial(host, path, &two, &err), 0);
}

static void a_dead_container_is_told(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_place_freep) struct dink_place *gone = NULL;
	pid_t pid = fork();
	int fd, r;

	if (pid == 0) {
		pause();
		_exit(0);
	}
	gone = dink_place_container(host, pid);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	r = dink_dial(gone, "/run/x", &fd, &err);
	assert_true(r == -ESRCH || r == -ENOENT);
}

/*
 * A process that looks like a monitor by its command line, made by exec of ourselves: see main().
 * It answers each connection with `answer` and then echoes.
 */
static pid_t start_monitor(const char *answer)
{
	pid_t pid = fork();
	_cleanup_free_ char *sock = xasprintf("%s/id1/control.sock", tmp);

	if (pid == 0) {
		(void)execl("/proc/self/exe", "dink-vm", "--root", tmp, "monitor", "id1", answer,
			    NULL);
		_exit(1);
	}
	for (int i = 0; i < 500; i++) {
		_cleanup_(dink_err_clear) struct dink_err err = {};
		int fd;

		if (dink_unix_connect(sock, &fd, &err) == 0) {
			close(fd);
			break;
		}
		usleep(10000);
	}
	return pid;
}

static int serve(char **argv)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *dir = xasprintf("%s/id1", argv[2]);
	_cleanup_free_ char *sock = xasprintf("%s/control.sock", dir);
	int listener;

	if (dink_mkdir_p(dir, 0700, &err) < 0)
		return 1;
	(void)unlink(sock);
	if (dink_unix_listen(sock, 0600, &listener, &err) < 0)
		return 1;
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		char buf[4096];
		ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

		/* the answer and the stream's first bytes in one piece: none may be lost */
		if (n > 0 && strstr(buf, "\"connect\"") && write(fd, argv[5], strlen(argv[5])) < 0)
			return 1;
		while (n > 0 && (n = read(fd, buf, sizeof(buf))) > 0)
			if (write(fd, buf, (size_t)n) < 0)
				break;
		close(fd);
	}
}

static void dial_answer(const char *answer, int want, const char *text)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host(), *vm = NULL;
	_cleanup_close_ int fd = -1;
	pid_t pid = start_monitor(answer);
	char buf[16] = "";
	int r = dink_place_vm(host, pid, &vm, &err);

	assert_int_equal(r, 0);
	r = dink_dial(vm, "/run/docker.sock", &fd, &err);
	assert_int_equal(r, want);
	if (want < 0) {
		assert_non_null(strstr(err.msg, text));
	} else {
		assert_int_equal(recv(fd, buf, 5, MSG_WAITALL), 5);
		assert_string_equal(buf, "early");
		assert_int_equal(write(fd, "ping", 4), 4);
		memset(buf, 0, sizeof(buf));
		assert_int_equal(recv(fd, buf, 4, MSG_WAITALL), 4);
		assert_string_equal(buf, "ping");
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void monitor_answers(void **state _unused_)
{
	dial_answer("{\"ok\":true}\nearly", 0, NULL);
	dial_answer("{\"ok\":false,\"error\":\"no such file\",\"errno\":2}\n", -ENOENT,
		    "in the VM (no such file)");
	dial_answer("{\"ok\":false,\"error\":\"x\",\"errno\":-5}\n", -EIO, "(x)");
	dial_answer("{\"ok\":false}\n", -EIO, "no reason given");
	dial_answer("[1,2\n", -EINVAL, "answer");
}

/* A daemon that hangs up after each answer. */
static _noreturn_ void serve_once_each(int listener)
{
	static const char answer[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK";

	for (;;) {
		char buf[4096];
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || read(fd, buf, sizeof(buf)) <= 0 ||
		    write(fd, answer, sizeof(answer) - 1) < 0)
			_exit(1);
		close(fd);
	}
}

static void an_engine_may_be_asked_anew_for_ever(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *sock = xasprintf("%s/often", tmp);
	_cleanup_(dink_place_freep) struct dink_place *host = dink_place_host();
	_cleanup_(dink_engine_freep) struct dink_engine *e = NULL;
	_cleanup_close_ int listener = -1;
	int bad = 0;
	pid_t pid;

	assert_int_equal(dink_unix_listen(sock, 0600, &listener, &err), 0);
	pid = fork();
	if (pid == 0)
		serve_once_each(listener);
	e = dink_engine_new(host, sock);
	for (int i = 0; i < 200 && bad == 0; i++)
		bad = dink_engine_wait_ready(e, 1000, &err) == 0 ? 0 : i + 1;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_stay_in_the_root),
		cmocka_unit_test(a_false_proc_is_refused),
		cmocka_unit_test(proc_root_is_followed),
		cmocka_unit_test(a_dead_container_is_told),
		cmocka_unit_test(monitor_answers),
		cmocka_unit_test(an_engine_may_be_asked_anew_for_ever),
	};

	if (argc == 6 && STREQ(argv[3], "monitor"))
		return serve(argv);
	return cmocka_run_group_tests_name("engine-dial", tests, make_tmp, drop_tmp);
}
