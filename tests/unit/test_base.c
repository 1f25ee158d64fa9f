/* SPDX-License-Identifier: Apache-2.0 */
/* The ground floor: errors, strings, units, JSON, files, child processes, the loop. */
#include "tests/unit/unit.h"

#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/json.h"
#include "provision/base/loop.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void error_reads_well(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;
	int r = dink_err_set(&err, DINK_E_SCENARIO, 0, "unknown key 'imgae'");

	assert_int_equal(r, -EINVAL);
	dink_err_at(&err, "x.yaml", 3, 5, 10, "\t  imgae: a");
	dink_err_push(&err, "reading layer %s", "proxy");
	dink_err_detail(&err, "one\ntwo\n");
	dink_err_hint(&err, "did you mean 'image'?");
	text = dink_err_format(&err);
	assert_string_equal(text, "x.yaml:3:5: unknown key 'imgae'\n"
				  "    \t  imgae: a\n"
				  "    \t   ^~~~~\n"
				  "  while reading layer proxy\n"
				  "  | one\n"
				  "  | two\n"
				  "  hint: did you mean 'image'?\n");
}

static void error_keeps_errno(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {}, moved = {};

	assert_int_equal(dink_err_set(&err, DINK_E_HOST, ENOENT, "open /x"), -ENOENT);
	assert_int_equal(dink_err_push(&err, "again"), -ENOENT);
	dink_err_move(&moved, &err);
	assert_false(dink_err_is_set(&err));
	assert_int_equal(moved.errnum, ENOENT);
}

static void strings_grow(void **state _unused_)
{
	_cleanup_str_ struct dink_str s = {};
	_cleanup_strv_ struct dink_strv v = {};
	_cleanup_free_ char *joined = NULL;

	for (int i = 0; i < 1000; i++)
		dink_str_addf(&s, "%d,", i % 10);
	assert_int_equal(s.len, 2000);
	dink_strv_addl(&v, "b", "a", NULL);
	dink_strv_addf(&v, "%d", 7);
	dink_strv_sort(&v);
	joined = dink_strv_join(&v, " ");
	assert_string_equal(joined, "7 a b");
	assert_true(dink_strv_has(&v, "a"));
	assert_null(v.v[3]);
}

static void nearest_name(void **state _unused_)
{
	const char *const names[] = {"image", "runtime", "kernel", NULL};

	assert_string_equal(dink_nearest("imgae", names), "image");
	assert_string_equal(dink_nearest("runtme", names), "runtime");
	assert_null(dink_nearest("zebra", names));
	assert_null(dink_nearest("", names));
}

static void sizes_and_times(void **state _unused_)
{
	uint64_t n;
	_cleanup_free_ char *text = NULL;

	assert_int_equal(dink_parse_size("10GiB", &n), 0);
	assert_true(n == 10ULL << 30);
	assert_int_equal(dink_parse_size("4096", &n), 0);
	assert_true(n == 4096);
	assert_int_equal(dink_parse_size("9999999999GiB", &n), -ERANGE);
	assert_int_equal(dink_parse_size("-1", &n), -EINVAL);
	assert_int_equal(dink_parse_size("10 parsecs", &n), -EINVAL);
	assert_int_equal(dink_parse_duration("2m", &n), 0);
	assert_true(n == 120000);
	assert_int_equal(dink_parse_duration("1.5s", &n), -EINVAL);
	text = dink_format_size(1536 << 10);
	assert_string_equal(text, "1.5 MiB");
}

static int parse(const char *text, struct json_object **o, struct dink_err *err)
{
	return dink_json_parse(text, strlen(text), "t", o, err);
}

static void json_is_strict(void **state _unused_)
{
	static const char *const bad[] = {"", "{", "{\"a\":1,}", "{} x", "nul", NULL};
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_(dink_err_clear) struct dink_err err = {};
	char deep[400] = "";

	for (const char *const *b = bad; *b; b++) {
		if (parse(*b, &o, &err) == 0)
			fail_msg("accepted: %s", *b);
		dink_err_clear(&err);
	}
	memset(deep, '[', 200);
	assert_int_not_equal(parse(deep, &o, &err), 0);
	dink_err_clear(&err);
	assert_int_equal(parse("{\"a\":{\"b\":[1,\"x\"]},\"n\":5,\"t\":true}", &o, &err), 0);
	assert_int_equal(dink_json_int_or(o, "n", 0), 5);
	assert_int_equal(dink_json_int_or(o, "a.b", 9), 9);
	assert_int_equal(dink_json_len(o, "a.b"), 2);
	assert_true(dink_json_bool_or(o, "t", false));
	assert_string_equal(dink_json_str_or(o, "a.missing", "-"), "-");
}

static void files_are_whole(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/sub/dir/file", (char *)*state);
	_cleanup_free_ char *dir = xasprintf("%s/sub/dir", (char *)*state);
	_cleanup_free_ char *sub = xasprintf("%s/sub", (char *)*state);
	_cleanup_free_ char *link_path = xasprintf("%s/sub/link", (char *)*state);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;
	struct stat st;

	assert_int_equal(dink_mkdir_p(dir, 0755, &err), 0);
	assert_int_equal(dink_file_write(path, "hello", 5, 0640, &err), 0);
	assert_int_equal(dink_file_read(path, 100, &text, NULL, &err), 0);
	assert_string_equal(text, "hello");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	free(TAKE_PTR(text));
	assert_int_equal(dink_file_read(path, 4, &text, NULL, &err), -EFBIG);
	dink_err_clear(&err);
	/* a link to a folder outside is removed, not followed */
	assert_int_equal(symlink("/etc", link_path), 0);
	assert_int_equal(dink_rm_rf(sub, &err), 0);
	assert_int_equal(access(sub, F_OK), -1);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	assert_int_equal(dink_rm_rf(sub, &err), 0);
}

static void sockets_of_any_length(void **state)
{
	_cleanup_free_ char *dir = xasprintf("%s/%0120d", (char *)*state, 0);
	_cleanup_free_ char *path = xasprintf("%s/sock", dir);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_close_ int l = -1, c = -1;
	struct stat st;

	assert_int_equal(dink_mkdir_p(dir, 0700, &err), 0);
	assert_int_equal(dink_unix_listen(path, 0600, &l, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(dink_unix_connect(path, &c, &err), 0);
	close(TAKE_FD(l));
	close(TAKE_FD(c));
	assert_int_equal(dink_unix_connect(path, &c, &err), -ECONNREFUSED);
}

static void locks_exclude(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", (char *)*state);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_close_ int a = -1, b = -1;

	assert_int_equal(dink_lock(path, false, &a, &err), 0);
	assert_int_equal(dink_lock(path, false, &b, &err), -EWOULDBLOCK);
	assert_int_equal(err.code, DINK_E_BUSY);
	dink_err_clear(&err);
	close(TAKE_FD(a));
	assert_int_equal(dink_lock(path, false, &b, &err), 0);
}

static void a_signal_ends_the_wait_for_a_lock(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", (char *)*state);
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_close_ int a = -1, b = -1;

	dink_catch_interrupts();
	assert_int_equal(dink_lock(path, true, &a, &err), 0);
	raise(SIGTERM);
	assert_int_equal(dink_lock(path, true, &b, &err), -EINTR);
	assert_int_equal(err.code, DINK_E_INTR);
	dink_err_clear(&err);
	/* one that is free is had all the same: cleaning up after a signal needs it */
	close(TAKE_FD(a));
	assert_int_equal(dink_lock(path, true, &b, &err), 0);
	dink_interrupt_reset();
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

static void child_output_and_status(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "sh", "-c", "cat; echo \"$X\"; echo bad >&2; exit 3", NULL);
	dink_strv_add(&cmd.env, "X=y z");
	cmd.input = "in\n";
	cmd.input_len = 3;
	assert_int_not_equal(dink_cmd_run(&cmd, &err), 0);
	assert_int_equal(cmd.status, 3);
	assert_string_equal(cmd.output, "in\ny z\n");
	assert_string_equal(err.msg, "sh exited 3: bad");
	assert_int_equal(err.code, DINK_E_CHILD);
}

static void child_that_is_not_there(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "dink-no-such-program", NULL);
	assert_int_equal(dink_cmd_run(&cmd, &err), -ENOENT);
	assert_int_equal(err.code, DINK_E_HOST);
}

static void error_with_a_guests_words(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *text = NULL;

	dink_err_set(&err, DINK_E_CHILD, 0, "it said \033[2J\302\233H\007 \303\244\r");
	dink_err_detail(&err, "a\r\n\tb\177\n");
	text = dink_err_format(&err);
	assert_string_equal(text, "it said ?[2J?H? \303\244\n  | a\n  | \tb?\n");
}

static void child_past_its_deadline(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	uint64_t begin = dink_now_ms();

	dink_cmd_argv(&cmd, "sleep", "60", NULL);
	cmd.timeout_ms = 100;
	assert_int_equal(dink_cmd_run(&cmd, &err), -ETIMEDOUT);
	assert_int_equal(cmd.status, 128 + SIGTERM);
	assert_true(dink_now_ms() - begin < 10000);
}

/* The command's shell dies at once of SIGTERM; what it left running in the background ignores that.
 */
static void child_past_its_deadline_takes_its_own_along(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	pid_t background;

	dink_cmd_argv(&cmd, "sh", "-c", "(trap '' TERM; exec sleep 60) & echo $!; wait", NULL);
	cmd.timeout_ms = 300;
	assert_int_equal(dink_cmd_run(&cmd, &err), -ETIMEDOUT);
	background = (pid_t)strtol(cmd.output, NULL, 10);
	assert_true(background > 0);
	assert_int_equal(kill(background, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void child_that_prints_much(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "head", "-c", "3000000", "/dev/zero", NULL);
	cmd.capture_max = 4 << 20;
	assert_int_equal(dink_cmd_run(&cmd, &err), 0);
	assert_int_equal(cmd.output_len, 3000000);
	dink_cmd_clear(&cmd);
	dink_cmd_argv(&cmd, "head", "-c", "3000000", "/dev/zero", NULL);
	assert_int_equal(dink_cmd_run(&cmd, &err), -EFBIG);
}

static void a_reused_pid_is_safe(void **state _unused_)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	struct dink_pid id, other;
	pid_t pid;

	dink_cmd_argv(&cmd, "sleep", "60", NULL);
	assert_int_equal(dink_cmd_spawn(&cmd, &pid, NULL, &err), 0);
	assert_int_equal(dink_pid_identify(pid, &id), 0);
	other = id;
	other.start++;
	assert_int_equal(dink_pid_end(&other, 100, &err), 0); /* not the one meant */
	assert_true(dink_pid_alive(&id));
	assert_int_equal(dink_pid_end(&id, 1000, &err), 0);
	assert_false(dink_pid_alive(&id));
}

static void hash_known_answer(void **state _unused_)
{
	struct dink_hash *h = dink_hash_new();
	char hex[65];

	dink_hash_add(h, "abc", 3);
	dink_hash_end(h, hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

struct loop_test {
	struct dink_loop *loop;
	struct dink_source *reader;
	int ticks;
};

static void on_tick(void *ctx)
{
	((struct loop_test *)ctx)->ticks++;
}

static void on_readable(void *ctx, int fd, uint32_t events _unused_)
{
	struct loop_test *t = ctx;
	char c;

	assert_int_equal(read(fd, &c, 1), 1);
	dink_source_remove(t->reader); /* a source may remove itself */
	dink_loop_after(t->loop, 1, on_tick, t);
	if (c == 'q')
		dink_loop_quit(t->loop, 42);
}

static void loop_runs(void **state _unused_)
{
	struct loop_test t = {.loop = dink_loop_new()};
	struct dink_source *never;
	int p[2];

	assert_int_equal(pipe(p), 0);
	never = dink_loop_after(t.loop, 1, on_tick, &t);
	dink_source_remove(never);
	dink_loop_after(t.loop, 2, on_tick, &t);
	t.reader = dink_loop_add(t.loop, p[0], EPOLLIN, on_readable, &t);
	while (t.ticks == 0)
		assert_true(dink_loop_once(t.loop, 100) >= 0);
	assert_int_equal(t.ticks, 1);
	assert_int_equal(write(p[1], "q", 1), 1);
	assert_int_equal(dink_loop_run(t.loop), 42);
	while (t.ticks == 1)
		assert_true(dink_loop_once(t.loop, 100) >= 0);
	dink_loop_free(t.loop);
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_reads_well),
		cmocka_unit_test(error_keeps_errno),
		cmocka_unit_test(strings_grow),
		cmocka_unit_test(nearest_name),
		cmocka_unit_test(sizes_and_times),
		cmocka_unit_test(json_is_strict),
		cmocka_unit_test_setup_teardown(files_are_whole, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(sockets_of_any_length, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(locks_exclude, unit_tmpdir, unit_rmdir),
		cmocka_unit_test_setup_teardown(a_signal_ends_the_wait_for_a_lock, unit_tmpdir,
						unit_rmdir),
		cmocka_unit_test(child_output_and_status),
		cmocka_unit_test(child_that_is_not_there),
		cmocka_unit_test(error_with_a_guests_words),
		cmocka_unit_test(child_past_its_deadline),
		cmocka_unit_test(child_past_its_deadline_takes_its_own_along),
		cmocka_unit_test(child_that_prints_much),
		cmocka_unit_test(a_reused_pid_is_safe),
		cmocka_unit_test(hash_known_answer),
		cmocka_unit_test(loop_runs),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
