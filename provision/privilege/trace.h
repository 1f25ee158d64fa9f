/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command really uses of its privileges, seen from outside: a supervisor on the host follows
 * a process of a layer and all that it starts. Nothing has to be in the layer, and nothing of it
 * changes: the command runs with exactly what the layer has.
 *
 * System calls and devices by ptrace(2). Capability checks by the kernel's own trace event
 * (capability:cap_capable, Linux 6.14 and later), where tracefs can be had.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { DINK_TRACE_CALLS = 1024, DINK_TRACE_CAPS = 64, DINK_TRACE_CAP_CALLS = 8 };

/* One capability, as far as it was asked for. */
struct dink_trace_cap {
	unsigned int used, refused;
	int calls[DINK_TRACE_CAP_CALLS]; /* the first system calls that asked */
	size_t n_calls;
};

struct dink_trace {
	unsigned int calls[DINK_TRACE_CALLS];	/* by number: how often */
	unsigned int refused[DINK_TRACE_CALLS]; /* of these with EPERM or ENOSYS */
	struct dink_trace_cap caps[DINK_TRACE_CAPS];
	struct dink_strv devices; /* "/dev/null rw", sorted */
	uint64_t bounding;	  /* the command's bounding set */
	char *no_caps;		  /* why capabilities could not be seen; NULL: they were */
};
void dink_trace_clear(struct dink_trace *t);

/*
 * dink_trace_find() - the process that has this text in its environment and has stopped itself
 * @ms: how long to look
 */
int dink_trace_find(const char *token, uint32_t ms, pid_t *ret, struct dink_err *err) _must_check_;

/*
 * dink_trace_run() - let the stopped process go on, and follow it and its descendants to the end
 * @starter: a child of ours by which the command was started; its status is for the caller to
 *	     collect (*ret_status, as of waitpid)
 */
int dink_trace_run(pid_t pid, pid_t starter, struct dink_trace *ret, int *ret_status,
		   struct dink_err *err) _must_check_;

/* ---- private to provision/privilege ---- */

/* The kernel's own record of capability checks. */
struct trace_caps {
	char *dir; /* of the tracefs instance, NULL = none */
	int pipe;
	struct dink_str rest; /* a line not yet whole */
};
#define TRACE_CAPS_INIT                                                                            \
	{                                                                                          \
		.pipe = -1                                                                         \
	}

/* trace_caps_open() - false, with a reason, where the kernel or tracefs has it not */
bool trace_caps_open(struct trace_caps *c, pid_t pid, char **ret_why);
/* One check: by whom, with whose credentials, against which user namespace. */
struct trace_check {
	pid_t tid;
	char cred[32], ns[32]; /* pointers as the kernel prints them */
	int cap;
	bool granted;
};

/* trace_caps_drain() - call fn for each check recorded since; never blocks */
void trace_caps_drain(struct trace_caps *c, void (*fn)(void *ctx, const struct trace_check *check),
		      void *ctx);
void trace_caps_close(struct trace_caps *c);

/* trace_caps_parse() - one line of trace_pipe; false if it is none of ours */
bool trace_caps_parse(const char *line, struct trace_check *ret);
