/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the executor's context, shared by run.c, open.c and nobody else. */
#pragma once

#include "provision/step/step.h"

#include <pthread.h>

enum { STEP_THREADS = 4 };

/* What each worker thread is doing, so that a library's progress finds its step. */
struct step_worker {
	struct dink_step_ctx *ctx;
	size_t number;
	const char *key;
	const char *text;
	struct dink_progress progress;
	uint64_t reported_ms;
};

struct dink_step_ctx {
	char *instance;
	char *dir;     /* STATE/instances/NAME */
	char *run_dir; /* RUN/NAME */
	int lock_fd;
	uint32_t timeout_ms;
	struct dink_step_watch watch;
	struct dink_journal *journal;
	pthread_mutex_t lock; /* guards the journal, its records and the watch */
	bool undoing;
	bool fresh_only, volumes; /* of the undo */
	size_t total;
	long long fail_at, kill_at;
	const char *fail_when, *kill_when;
};

/* dink_step_say() - hands a report to the watcher; the lock is taken here */
void dink_step_say(struct dink_step_ctx *ctx, const struct dink_step_report *r);
/* dink_step_set_worker() - of the calling thread; NULL = none */
void dink_step_set_worker(struct step_worker *w);
/* dink_step_undo_record() - undo one, with its journal entry */
int dink_step_undo_record(struct dink_step_ctx *ctx, struct dink_record *r, struct dink_err *err);
