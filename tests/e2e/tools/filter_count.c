/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_count PID - how many of the x86-64 system calls that libseccomp knows the seccomp filters
 * of a process allow, with every argument 0. Reads the filters from the kernel and runs them.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { CALLS_MAX = 1024 };

static int die(const char *what)
{
	fprintf(stderr, "filter_count: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* What libseccomp and runc make of profiles; anything else is an error. */
static uint32_t run_filter(const struct sock_filter *f, int n, const struct seccomp_data *data)
{
	uint32_t a = 0, mem[BPF_MEMWORDS] = {0};

	for (int pc = 0; pc < n; pc++) {
		const struct sock_filter *i = &f[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)data + i->k, sizeof(a));
			break;
		case BPF_LD | BPF_MEM:
			a = mem[i->k % BPF_MEMWORDS];
			break;
		case BPF_ST:
			mem[i->k % BPF_MEMWORDS] = a;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += (int)i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += a & i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k & SECCOMP_RET_ACTION_FULL;
		default:
			fprintf(stderr, "filter_count: instruction %#x\n", i->code);
			exit(2);
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

/* The newest filter is number 0; a call is allowed if every one allows it. */
static void apply_filter(pid_t pid, int number, int allowed[CALLS_MAX])
{
	struct sock_filter *f;
	int n = (int)ptrace(PTRACE_SECCOMP_GET_FILTER, pid, number, NULL);

	if (n <= 0)
		die("PTRACE_SECCOMP_GET_FILTER");
	f = calloc((size_t)n, sizeof(*f));
	if (!f || ptrace(PTRACE_SECCOMP_GET_FILTER, pid, number, f) < 0)
		die("PTRACE_SECCOMP_GET_FILTER");
	for (int nr = 0; nr < CALLS_MAX; nr++) {
		struct seccomp_data data = {.nr = nr, .arch = AUDIT_ARCH_X86_64};

		if (run_filter(f, n, &data) != SECCOMP_RET_ALLOW)
			allowed[nr] = 0;
	}
	free(f);
}

int main(int argc, char **argv)
{
	pid_t pid = argc == 2 ? (pid_t)atoi(argv[1]) : 0;
	int allowed[CALLS_MAX], count = 0;

	if (pid <= 0) {
		fprintf(stderr, "usage: filter_count PID\n");
		return 2;
	}
	for (int nr = 0; nr < CALLS_MAX; nr++)
		allowed[nr] = 1;
	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0 || waitpid(pid, NULL, __WALL) < 0)
		die("attach");
	apply_filter(pid, 0, allowed);
	for (int number = 1; ptrace(PTRACE_SECCOMP_GET_FILTER, pid, number, NULL) > 0; number++)
		apply_filter(pid, number, allowed);
	for (int nr = 0; nr < CALLS_MAX; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

		count += name && allowed[nr];
		free(name);
	}
	printf("%d\n", count);
	return ptrace(PTRACE_DETACH, pid, NULL, NULL) < 0;
}
