/* SPDX-License-Identifier: Apache-2.0 */
/* Which system calls a process can reach: a profile by libseccomp, run, and read back from a child. */
#include "tests/unit/unit.h"

#include "provision/host/exposed.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* Three calls allowed, one of them only with an argument, one that is logged. */
static scmp_filter_ctx make_filter(void)
{
	const struct scmp_arg_cmp is_0 = {.op = SCMP_CMP_EQ};
	const struct scmp_arg_cmp is_7 = {.op = SCMP_CMP_EQ, .datum_a = 7};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	assert_non_null(ctx);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(read), 0), 0);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(pause), 0), 0);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_LOG, SCMP_SYS(getpid), 0), 0);
	assert_int_equal(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, &is_0), 0);
	assert_int_equal(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(close), 1, &is_7), 0);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_KILL, SCMP_SYS(ptrace), 0), 0);
	return ctx;
}

static void test_run(void **state)
{
	static const struct {
		int nr;
		uint32_t action;
	} expected[] = {
		{SCMP_SYS(read), SECCOMP_RET_ALLOW},
		{SCMP_SYS(getpid), SECCOMP_RET_LOG},
		{SCMP_SYS(write), SECCOMP_RET_ALLOW},
		{SCMP_SYS(close), SECCOMP_RET_ERRNO | EPERM},
		{SCMP_SYS(ptrace), SECCOMP_RET_KILL_THREAD},
		{SCMP_SYS(mount), SECCOMP_RET_ERRNO | EPERM},
	};
	scmp_filter_ctx ctx = make_filter();
	_cleanup_close_ int fd = memfd_create("bpf", MFD_CLOEXEC);
	static struct sock_filter prog[BPF_MAXINSNS];
	ssize_t n;

	(void)state;
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	seccomp_release(ctx);
	n = pread(fd, prog, sizeof(prog), 0);
	assert_true(n > 0);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		uint32_t action = 0;

		assert_true(dink_bpf_run(prog, (size_t)n / sizeof(*prog), expected[i].nr, &action));
		assert_int_equal(action, expected[i].action);
	}
}

/* What no kernel takes: no return at the end, loads and memory out of bounds, unknown codes. */
static void test_bad_programs(void **state)
{
	static const struct sock_filter bad[][2] = {
		{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)},
		{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), BPF_STMT(BPF_RET | BPF_K, 0)},
		{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), BPF_STMT(BPF_RET | BPF_K, 0)},
		{BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, 0)},
		{BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), BPF_STMT(BPF_RET | BPF_K, 0)},
		{BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 1), BPF_STMT(BPF_RET | BPF_K, 0)},
	};
	uint32_t action;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(dink_bpf_run(bad[i], 2, 0, &action));
	assert_false(dink_bpf_run(bad[0], 0, 0, &action));
}

static void read_child(bool filtered, struct dink_exposed *ret)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	int r, status, ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		scmp_filter_ctx ctx = make_filter();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (write(ready[1], "x", 1) != 1 || (filtered && seccomp_load(ctx) < 0))
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	usleep(200000); /* the filter comes after the word, for it denies saying one */
	r = dink_exposed_read(pid, ret, &err);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(ready[1]);
	if (r < 0 && err.errnum == EACCES)
		skip(); /* without CAP_SYS_ADMIN no filter can be read */
	if (r < 0)
		fail_msg("%s", err.msg);
}

static void test_read(void **state)
{
	struct dink_exposed all, some;

	(void)state;
	read_child(false, &all);
	assert_int_equal(all.filters, 0);
	assert_int_equal(all.denied, 0);
	assert_true(all.reached > 300);
	read_child(true, &some);
	assert_int_equal(some.filters, 1);
	assert_int_equal(some.reached, 4); /* read, pause, getpid, write */
	assert_int_equal(some.reached + some.denied, all.reached);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run),
		cmocka_unit_test(test_bad_programs),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
