/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor, with steps that make files: order, parallel siblings, failure at every step and its
 * undoing, a second run that changes nothing, undo by what the journal alone knows.
 */
#include "tests/unit/unit.h"

#include "provision/base/dirs.h"
#include "provision/step/step.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char *root;
static int applied, peak, active;
static pthread_mutex_t counter = PTHREAD_MUTEX_INITIALIZER;

static char *path_of(struct json_object *params)
{
	return xasprintf("%s/%s", root, dink_json_str_or(params, "name", "?"));
}

static char *describe_file(struct json_object *params)
{
	return xasprintf("file %s", dink_json_str_or(params, "name", "?"));
}

static int apply_file(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *path = path_of(params);
	_cleanup_free_ char *needs = NULL;
	const char *after = dink_json_str_or(params, "after", NULL);

	(void)ctx;
	pthread_mutex_lock(&counter);
	applied++;
	active++;
	peak = active > peak ? active : peak;
	pthread_mutex_unlock(&counter);
	usleep(30000);
	pthread_mutex_lock(&counter);
	active--;
	pthread_mutex_unlock(&counter);
	needs = after ? xasprintf("%s/%s", root, after) : NULL;
	if (needs && !dink_exists(needs))
		return dink_err_set(err, DINK_E_BUG, 0, "%s before %s", path, needs);
	*ret = dink_json_new();
	dink_json_set_str(*ret, "path", path);
	return dink_file_write(path, "x", 1, 0600, err);
}

static int check_file(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object *identity, struct dink_err *err)
{
	_cleanup_free_ char *path = path_of(params);

	(void)ctx;
	(void)identity;
	(void)err;
	return dink_exists(path);
}

static int undo_file(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object *identity, struct dink_err *err)
{
	_cleanup_free_ char *path = path_of(params);
	_cleanup_free_ char *dependent =
		xasprintf("%s/%s", root, dink_json_str_or(params, "before", "nothing"));

	(void)ctx;
	(void)identity;
	if (dink_exists(dependent))
		return dink_err_set(err, DINK_E_BUG, 0, "%s undone before %s", path, dependent);
	if (unlink(path) < 0 && errno != ENOENT)
		return dink_err_set(err, DINK_E_HOST, errno, "unlink %s", path);
	return 0;
}

static const struct dink_step_kind file_kind = {
	.name = "test-file",
	.describe = describe_file,
	.apply = apply_file,
	.check = check_file,
	.undo = undo_file,
};
static const struct dink_step_kind kept_kind = {
	.name = "test-kept",
	.describe = describe_file,
	.apply = apply_file,
	.check = check_file,
	.undo = undo_file,
	.keeps_data = true,
};

static struct json_object *params(const char *name, const char *after, const char *before)
{
	struct json_object *o = dink_json_new();

	dink_json_set_str(o, "name", name);
	if (after)
		dink_json_set_str(o, "after", after);
	if (before)
		dink_json_set_str(o, "before", before);
	return o;
}

/* first -> left, right (siblings) -> last; and a kept one that nothing waits for */
static void make_steps(struct dink_steps *s)
{
	int first = dink_steps_add(s, &file_kind, params("first", NULL, "left"), "first");
	int left = dink_steps_add(s, &file_kind, params("left", "first", "last"), "left");
	int right = dink_steps_add(s, &file_kind, params("right", "first", "last"), "right");
	int last = dink_steps_add(s, &file_kind, params("last", "left", NULL), "last");

	dink_steps_dep(s, left, first);
	dink_steps_dep(s, right, first);
	dink_steps_dep(s, last, left);
	dink_steps_dep(s, last, right);
	dink_steps_add(s, &kept_kind, params("kept", NULL, NULL), "kept");
}

static int files(void)
{
	static const char *const names[] = {"first", "left", "right", "last", "kept"};
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", root, names[i]);

		n += dink_exists(path);
	}
	return n;
}

static struct dink_step_ctx *open_run(bool create)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct dink_step_open o = {.instance = "t", .create = create};
	struct dink_step_ctx *ctx = NULL;
	int r = dink_step_open(&o, &ctx, &err);

	if (r < 0 && dink_err_is_set(&err))
		fail_msg("%s", err.msg);
	return ctx;
}

static int run(struct dink_err *err)
{
	_cleanup_(dink_step_closep) struct dink_step_ctx *ctx = open_run(true);
	_cleanup_steps_ struct dink_steps s = {};
	int r;

	make_steps(&s);
	r = dink_steps_run(ctx, &s, err);
	if (r < 0) {
		_cleanup_(dink_err_clear) struct dink_err second = {};

		assert_int_equal(dink_steps_undo(ctx, true, false, &second), 0);
	}
	return r;
}

static void down(bool volumes)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_step_closep) struct dink_step_ctx *ctx = open_run(false);

	if (ctx && dink_steps_undo(ctx, false, volumes, &err) < 0)
		fail_msg("%s", err.msg);
}

static bool instance_is_there(void)
{
	_cleanup_free_ char *path = xasprintf("%s/instances/t", dink_state_dir());

	return dink_exists(path);
}

static void test_up_twice_and_down(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	(void)state;
	applied = peak = 0;
	assert_int_equal(run(&err), 0);
	assert_int_equal(files(), 5);
	assert_int_equal(applied, 5);
	assert_true(peak >= 2); /* the siblings ran at once */
	assert_int_equal(run(&err), 0);
	assert_int_equal(applied, 5); /* the second run changed nothing */
	down(false);
	assert_int_equal(files(), 1); /* the kept one */
	assert_true(instance_is_there());
	assert_int_equal(run(&err), 0);
	assert_int_equal(applied, 9); /* the kept one was not made again */
	down(true);
	assert_int_equal(files(), 0);
	assert_false(instance_is_there());
}

static void test_broken_step_is_mended(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/right", root);

	(void)state;
	assert_int_equal(run(&err), 0);
	assert_int_equal(unlink(path), 0);
	applied = 0;
	_cleanup_free_ char *last = xasprintf("%s/last", root);
	assert_int_equal(unlink(last), 0);
	assert_int_equal(run(&err), 0);
	assert_int_equal(applied, 2);
	down(true);
	assert_int_equal(files(), 0);
}

static void test_failure_at_each_step(void **state)
{
	static const char *const when[] = {"before", "after", "done"};

	(void)state;
	for (int n = 1; n <= 5; n++)
		for (size_t w = 0; w < ARRAY_SIZE(when); w++) {
			_cleanup_(dink_err_clear) struct dink_err err = {};
			_cleanup_free_ char *at = xasprintf("%d:%s", n, when[w]);

			setenv("DINK_FAIL_AT", at, 1);
			assert_true(run(&err) < 0);
			assert_int_equal(err.code, DINK_E_CHILD);
			unsetenv("DINK_FAIL_AT");
			assert_int_equal(files(), 0);
			assert_false(instance_is_there());
		}
}

static void test_kill_at_each_step(void **state)
{
	static const char *const when[] = {"before", "after", "done"};

	(void)state;
	for (int n = 1; n <= 5; n++)
		for (size_t w = 0; w < ARRAY_SIZE(when); w++) {
			_cleanup_free_ char *at = xasprintf("%d:%s", n, when[w]);
			int status = 0;
			pid_t pid = fork();

			if (pid == 0) {
				struct dink_err err = {};

				setenv("DINK_KILL_AT", at, 1);
				_exit(run(&err) < 0 ? 3 : 4);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
			down(true);
			assert_int_equal(files(), 0);
			assert_false(instance_is_there());
		}
}

static void test_lock(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_(dink_step_closep) struct dink_step_ctx *ctx _unused_ = open_run(true);
	struct dink_step_open o = {.instance = "t", .create = true};
	struct dink_step_ctx *second = NULL;

	(void)state;
	assert_true(dink_step_open(&o, &second, &err) < 0);
	assert_int_equal(err.code, DINK_E_BUSY);
	assert_null(second);
}

static void test_other_version_is_refused(void **state)
{
	_cleanup_(dink_err_clear) struct dink_err err = {}, busy = {};
	_cleanup_steps_ struct dink_steps s = {};

	(void)state;
	assert_int_equal(run(&err), 0);
	{
		_cleanup_(dink_step_closep) struct dink_step_ctx *ctx = open_run(true);

		dink_steps_add(&s, &file_kind, params("other", NULL, NULL), "first");
		assert_true(dink_steps_run(ctx, &s, &busy) < 0);
	}
	assert_int_equal(busy.code, DINK_E_BUSY);
	assert_int_equal(files(), 5);
	down(true);
}

static int set_up(void **state)
{
	_cleanup_free_ char *run_dir = NULL, *state_dir = NULL;

	if (unit_tmpdir(state) < 0)
		return -1;
	root = *state;
	run_dir = xasprintf("%s/run", root);
	state_dir = xasprintf("%s/state", root);
	setenv("DINK_RUN_DIR", run_dir, 1);
	setenv("DINK_STATE_DIR", state_dir, 1);
	dink_step_kind_register(&file_kind);
	dink_step_kind_register(&kept_kind);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up_twice_and_down),
		cmocka_unit_test(test_broken_step_is_mended),
		cmocka_unit_test(test_failure_at_each_step),
		cmocka_unit_test(test_kill_at_each_step),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_other_version_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, unit_rmdir);
}
