/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes. The only place that forks (dink-vm's monitor and dink-agent's reaper, which
 * are process managers by trade, excepted). argv arrays only: no shell.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dink_cmd {
	struct dink_strv argv;
	const char *program;  /* executed instead of argv.v[0]; NULL = argv.v[0] */
	struct dink_strv env; /* NAME=VALUE added to (or replacing in) the inherited environment */
	const char *dir;      /* working directory, NULL = inherited */
	int in, out, errfd; /* descriptor for 0/1/2; -1 = /dev/null for in, captured for out/err */
	const void *input;  /* written to stdin where in is -1 and input is not NULL */
	size_t input_len;
	size_t capture_max;  /* bytes of stdout kept; 0 = 1 MiB; more is an error */
	uint32_t timeout_ms; /* 0 = none; then SIGTERM, 2 s grace, SIGKILL */
	bool new_session;    /* setsid() */
	bool ok_to_fail;     /* a non-zero exit is no error: read `status` */
	bool hold;	     /* dink_cmd_spawn(): the child waits for dink_cmd_go() */
	/* called for each chunk of stdout/stderr as it arrives (fd 1 or 2); NULL = none */
	void (*on_output)(void *ctx, int fd, const char *bytes, size_t n);
	void *ctx;
	/* results */
	int status;   /* exit status, 128+n if killed by signal n */
	char *output; /* captured stdout, NUL-terminated */
	size_t output_len;
	char *errtail;	/* last 4 KiB of stderr */
	int go, report; /* of a held child; private */
};

#define DINK_CMD_INIT                                                                              \
	{                                                                                          \
		.in = -1, .out = -1, .errfd = -1, .go = -1, .report = -1                           \
	}

/* dink_cmd_init() - argv from a NULL-terminated list of strings */
void dink_cmd_argv(struct dink_cmd *cmd, ...) __attribute__((sentinel));

/*
 * dink_cmd_run() - run to the end
 *
 * A non-zero exit is DINK_E_CHILD ("mkfs.btrfs exited 1: LAST LINE", argv and stderr tail in
 * detail) unless ok_to_fail. A program that is not there is DINK_E_HOST with ENOENT.
 * SIGINT/SIGTERM seen meanwhile (see dink_interrupted()) end the child and give DINK_E_INTR. The
 * child leads a process group; at an interrupt or a timeout the whole group ends before the return.
 * If this process dies meanwhile, the child is killed: nobody would undo what it goes on doing.
 */
int dink_cmd_run(struct dink_cmd *cmd, struct dink_err *err) _must_check_;

/* dink_cmd_spawn() - start and leave running; in/out/errfd -1 mean /dev/null */
int dink_cmd_spawn(struct dink_cmd *cmd, pid_t *ret_pid, int *ret_pidfd,
		   struct dink_err *err) _must_check_;
/*
 * dink_cmd_go() - let a held child execute its program
 *
 * So its pid can be written down before it does anything: if this process dies in between, the
 * child ends, too.
 */
int dink_cmd_go(struct dink_cmd *cmd, pid_t pid, struct dink_err *err) _must_check_;
void dink_cmd_clear(struct dink_cmd *cmd);
#define _cleanup_cmd_ _cleanup_(dink_cmd_clear)

/* A process by identity, so that a reused pid is never signalled. */
struct dink_pid {
	pid_t pid;
	uint64_t start; /* field 22 of /proc/PID/stat, clock ticks since boot */
};
int dink_pid_identify(pid_t pid, struct dink_pid *ret);
bool dink_pid_alive(const struct dink_pid *p);
/* dink_pid_is_near() - in our pid namespace: another dink in a container has paths like ours */
bool dink_pid_is_near(pid_t pid);
/* dink_pid_gone_within() - waits up to ms; true if it went in time. Reaps it if it is our child. */
bool dink_pid_gone_within(const struct dink_pid *p, uint32_t ms);
/* dink_pid_end() - SIGTERM, up to grace_ms, SIGKILL; waits until it is gone; 0 if already gone */
int dink_pid_end(const struct dink_pid *p, uint32_t grace_ms, struct dink_err *err) _must_check_;

/*
 * dink_catch_interrupts() - SIGINT and SIGTERM from now on only set a flag and wake poll()
 * dink_interrupted() - the signal seen, 0 if none
 * dink_interrupt_fd() - readable once a signal was seen; -1 if not caught
 */
void dink_catch_interrupts(void);
int dink_interrupted(void);
int dink_interrupt_fd(void);
void dink_interrupt_reset(void);
