/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/proctable.h"

#include <ctype.h>
#include <stdlib.h>

enum {
	PID_MAX = 4 << 20, /* of Linux */
	STAT_FIELDS = 46,  /* from tty_nr on */
	TOKEN_MAX = 20,
	GROUPS_MAX = 64,
	ARGS_MAX = 1024,
	ARGS_BYTES = 4096,
	COMM_MAX = 15,
};

/* What /proc/PID/status has for ps and the like, and of how many words. */
static const struct {
	const char *key;
	int words;
	const char *fallback, *unit;
} lines[] = {
	{"Uid", 4, "0", ""},	    {"Gid", 4, "0", ""},       {"Groups", -1, "", ""},
	{"VmPeak", 1, "0", " kB"},  {"VmSize", 1, "0", " kB"}, {"VmHWM", 1, "0", " kB"},
	{"VmRSS", 1, "0", " kB"},   {"VmData", 1, "0", " kB"}, {"VmStk", 1, "0", " kB"},
	{"Threads", 1, "1", ""},    {"SigBlk", 1, "0", ""},    {"SigIgn", 1, "0", ""},
	{"SigCgt", 1, "0", ""},	    {"CapInh", 1, "0", ""},    {"CapPrm", 1, "0", ""},
	{"CapEff", 1, "0", ""},	    {"CapBnd", 1, "0", ""},    {"CapAmb", 1, "0", ""},
	{"NoNewPrivs", 1, "0", ""}, {"Seccomp", 1, "0", ""},
};

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

/* next_word() - a number as the kernel writes them, in hex as well; the fallback for anything else */
static const char *next_word(const char **at, char word[TOKEN_MAX + 1], const char *fallback)
{
	const char *from = skip_blanks(*at);
	size_t n = strspn(from, "0123456789abcdef-");

	*at = from + strcspn(from, " \t\n");
	if (n == 0 || n > TOKEN_MAX || from + n != *at)
		return fallback;
	memcpy(word, from, n);
	word[n] = '\0';
	return word;
}

/* find_line() - what follows "KEY:" at the beginning of a line; NULL if it is not there */
static const char *find_line(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, key, n) == 0 && at[n] == ':')
			return at + n + 1;
	}
	return NULL;
}

/* read_inner() - the number in the container's namespace: the second of those that the guest has */
static pid_t read_inner(const char *status, const char *key)
{
	const char *at = find_line(status, key);
	char word[TOKEN_MAX + 1];

	if (!at)
		return 0;
	next_word(&at, word, "");
	long n = strtol(next_word(&at, word, "0"), NULL, 10);
	return n > 0 && n <= PID_MAX ? (pid_t)n : 0;
}

static int64_t read_number(const char *status, const char *key)
{
	const char *at = find_line(status, key);
	char word[TOKEN_MAX + 1];

	return at ? strtoll(next_word(&at, word, "0"), NULL, 10) : 0;
}

static const char *status_of(struct json_object *process)
{
	return dink_json_str_or(process, "status", "");
}

/* The parent's number in the container, 0 where it has none there, as the kernel says it. */
static pid_t find_parent(struct json_object *list, size_t n, const char *status)
{
	int64_t ppid = read_number(status, "PPid");

	for (size_t i = 0; i < n && ppid > 0; i++) {
		struct json_object *other = json_object_array_get_idx(list, i);
		if (dink_json_int_or(other, "pid", 0) == ppid)
			return read_inner(status_of(other), "NSpid");
	}
	return 0;
}

static char read_state(const char *status)
{
	const char *at = find_line(status, "State");
	char c = at ? *skip_blanks(at) : '\0';

	return c && strchr("RSDTtZXI", c) ? c : 'S';
}

/* As the kernel: a name may have any byte, but here no bracket and nothing that ends a line. */
static void read_comm(struct json_object *process, char comm[COMM_MAX + 1])
{
	snprintf(comm, COMM_MAX + 1, "%s", dink_json_str_or(process, "name", ""));
	for (char *c = comm; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '(' || *c == ')')
			*c = '?';
	}
}

static void write_stat(struct dink_proc *p, const char *comm, pid_t ppid,
		       struct json_object *process)
{
	const char *text = dink_json_str_or(process, "stat", ""), *status = status_of(process);
	const char *at = strrchr(text, ')');
	char word[TOKEN_MAX + 1];

	dink_str_addf(&p->stat, "%d (%s) %c %d %d %d", p->pid, comm, read_state(status), ppid,
		      read_inner(status, "NSpgid"), read_inner(status, "NSsid"));
	at = at ? at + 1 : "";
	for (int i = 0; i < 4; i++) /* state, ppid, pgrp, session */
		next_word(&at, word, "0");
	for (int i = 0; i < STAT_FIELDS; i++)
		dink_str_addf(&p->stat, " %s", next_word(&at, word, "0"));
	dink_str_addc(&p->stat, '\n');
}

static void write_line(struct dink_str *to, const char *status, size_t i)
{
	const char *at = find_line(status, lines[i].key);
	char word[TOKEN_MAX + 1];

	if (!at)
		at = "";
	dink_str_addf(to, "%s:", lines[i].key);
	for (int w = 0; w < lines[i].words; w++)
		dink_str_addf(to, "\t%s", next_word(&at, word, lines[i].fallback));
	for (int w = 0; lines[i].words < 0 && w < GROUPS_MAX && isdigit(*skip_blanks(at)); w++)
		dink_str_addf(to, " %s", next_word(&at, word, "0"));
	dink_str_addf(to, "%s\n", lines[i].unit);
}

static void write_status(struct dink_proc *p, const char *comm, pid_t ppid, const char *status)
{
	struct dink_str *to = &p->status;

	dink_str_addf(to, "Name:\t%s\nState:\t%c\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\nNSpid:\t%d\n",
		      comm, read_state(status), p->pid, p->pid, ppid, p->pid);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		write_line(to, status, i);
}

static void write_cmdline(struct dink_proc *p, struct json_object *process)
{
	struct json_object *args = dink_json_get(process, "args");
	size_t n = dink_json_len(process, "args");

	for (size_t i = 0; i < n && i < ARGS_MAX; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(args, i));
		size_t len = text ? strlen(text) : 0;
		if (p->cmdline.len + len + 1 > ARGS_BYTES)
			break;
		dink_str_addn(&p->cmdline, text ? text : "", len + 1);
	}
}

static bool is_known(const struct dink_proc *all, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++) {
		if (all[i].pid == pid)
			return true;
	}
	return false;
}

size_t dink_proctable_read(struct json_object *answer, struct dink_proc *ret, size_t max)
{
	struct json_object *list = dink_json_get(answer, "processes");
	size_t n = dink_json_len(answer, "processes"), found = 0;

	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++) {
		struct json_object *process = json_object_array_get_idx(list, i);
		const char *status = status_of(process);
		pid_t pid = read_inner(status, "NSpid");
		char comm[COMM_MAX + 1];

		if (pid == 0 || is_known(ret, found, pid))
			continue;
		struct dink_proc *p = &ret[found++];
		pid_t ppid = find_parent(list, n, status);
		*p = (struct dink_proc){.pid = pid};
		read_comm(process, comm);
		write_stat(p, comm, ppid, process);
		write_status(p, comm, ppid, status);
		write_cmdline(p, process);
	}
	return found;
}

void dink_proc_clear(struct dink_proc *p)
{
	dink_str_clear(&p->stat);
	dink_str_clear(&p->status);
	dink_str_clear(&p->cmdline);
}
