/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp filters of a process, by PTRACE_SECCOMP_GET_FILTER, and the classic BPF that they are
 * written in. Jumps go forward only, so a program ends after at most as many steps as it has.
 */
#include "provision/host/exposed.h"

#include "provision/base/mem.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { FILTERS_MAX = 32, SYSCALLS_MAX = 1024 };

struct machine {
	const struct sock_filter *prog;
	size_t n, pc;
	uint32_t a, x, mem[BPF_MEMWORDS];
	struct seccomp_data data;
};

struct program {
	struct sock_filter v[BPF_MAXINSNS];
	size_t n;
};

static bool load_word(struct machine *m, uint32_t k)
{
	if (k % 4 || k > sizeof(m->data) - 4)
		return false;
	memcpy(&m->a, (const char *)&m->data + k, 4);
	return true;
}

static bool compute(struct machine *m, uint16_t code, uint32_t k)
{
	uint32_t v = BPF_SRC(code) == BPF_X ? m->x : k;

	switch (BPF_OP(code)) {
	case BPF_ADD:
		m->a += v;
		return true;
	case BPF_SUB:
		m->a -= v;
		return true;
	case BPF_MUL:
		m->a *= v;
		return true;
	case BPF_AND:
		m->a &= v;
		return true;
	case BPF_OR:
		m->a |= v;
		return true;
	case BPF_XOR:
		m->a ^= v;
		return true;
	case BPF_LSH:
		m->a = v < 32 ? m->a << v : 0;
		return true;
	case BPF_RSH:
		m->a = v < 32 ? m->a >> v : 0;
		return true;
	case BPF_NEG:
		m->a = -m->a;
		return true;
	default:
		return false;
	}
}

static bool jump(struct machine *m, const struct sock_filter *i)
{
	uint32_t v = BPF_SRC(i->code) == BPF_X ? m->x : i->k;
	bool yes;

	switch (BPF_OP(i->code)) {
	case BPF_JA:
		m->pc += i->k;
		return true;
	case BPF_JEQ:
		yes = m->a == v;
		break;
	case BPF_JGT:
		yes = m->a > v;
		break;
	case BPF_JGE:
		yes = m->a >= v;
		break;
	case BPF_JSET:
		yes = m->a & v;
		break;
	default:
		return false;
	}
	m->pc += yes ? i->jt : i->jf;
	return true;
}

/* One instruction other than a return. */
static bool step(struct machine *m, const struct sock_filter *i)
{
	switch (BPF_CLASS(i->code)) {
	case BPF_LD:
		if (BPF_MODE(i->code) == BPF_ABS)
			return load_word(m, i->k);
		if (BPF_MODE(i->code) == BPF_MEM && i->k < BPF_MEMWORDS)
			m->a = m->mem[i->k];
		else if (BPF_MODE(i->code) == BPF_IMM)
			m->a = i->k;
		else if (BPF_MODE(i->code) == BPF_LEN)
			m->a = sizeof(m->data);
		else
			return false;
		return true;
	case BPF_LDX:
		m->x = BPF_MODE(i->code) == BPF_MEM && i->k < BPF_MEMWORDS ? m->mem[i->k] : i->k;
		return true;
	case BPF_ST:
	case BPF_STX:
		if (i->k >= BPF_MEMWORDS)
			return false;
		m->mem[i->k] = BPF_CLASS(i->code) == BPF_ST ? m->a : m->x;
		return true;
	case BPF_ALU:
		return compute(m, i->code, i->k);
	case BPF_JMP:
		return jump(m, i);
	case BPF_MISC:
		if (BPF_MISCOP(i->code) == BPF_TAX)
			m->x = m->a;
		else
			m->a = m->x;
		return true;
	default:
		return false;
	}
}

bool dink_bpf_run(const struct sock_filter *prog, size_t n, int nr, uint32_t *ret_action)
{
	struct machine m = {.prog = prog, .n = n};

	m.data.nr = nr;
	m.data.arch = AUDIT_ARCH_X86_64;
	while (m.pc < n) {
		const struct sock_filter *i = &prog[m.pc++];

		if (BPF_CLASS(i->code) == BPF_RET) {
			*ret_action = BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
			return true;
		}
		if (!step(&m, i))
			return false;
	}
	return false;
}

/* The process goes on whatever happens; what it would have heard of us it does not. */
static void let_go(pid_t pid)
{
	(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

static int hold(pid_t pid, struct dink_err *err)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "hold process %d", (int)pid);
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 &&
	    waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		return 0;
	let_go(pid);
	return dink_err_set(err, DINK_E_HOST, errno, "process %d does not stop", (int)pid);
}

static int read_filters(pid_t pid, struct program *list, unsigned *ret_n, struct dink_err *err)
{
	for (*ret_n = 0; *ret_n < FILTERS_MAX; (*ret_n)++) {
		long got = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *)(uintptr_t)*ret_n,
				  list[*ret_n].v);

		if (got < 0 && errno == ENOENT)
			return 0;
		/* without any filter the process is in no such mode */
		if (got < 0 && errno == EINVAL && *ret_n == 0)
			return 0;
		if (got < 0)
			return dink_err_set(err, DINK_E_HOST, errno,
					    "read the seccomp filters of process %d", (int)pid);
		list[*ret_n].n = (size_t)got;
	}
	return dink_err_set(err, DINK_E_HOST, E2BIG, "process %d has over %d seccomp filters",
			    (int)pid, FILTERS_MAX);
}

/* The kernel takes the strictest answer; whether a call gets through is all that counts here. */
static bool gets_through(const struct program *list, unsigned n, int nr)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t action = SECCOMP_RET_KILL_PROCESS;

		if (!dink_bpf_run(list[i].v, list[i].n, nr, &action))
			return false;
		action &= SECCOMP_RET_ACTION_FULL;
		if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
			return false;
	}
	return true;
}

int dink_exposed_read(pid_t pid, struct dink_exposed *ret, struct dink_err *err)
{
	_cleanup_free_ struct program *list = xcalloc(FILTERS_MAX, sizeof(*list));
	int r = hold(pid, err);

	if (r < 0)
		return r;
	*ret = (struct dink_exposed){};
	r = read_filters(pid, list, &ret->filters, err);
	let_go(pid);
	for (int nr = 0; r == 0 && nr < SYSCALLS_MAX; nr++) {
		_cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

		if (!name)
			continue;
		if (gets_through(list, ret->filters, nr))
			ret->reached++;
		else
			ret->denied++;
	}
	return r;
}
