/* SPDX-License-Identifier: Apache-2.0 */
#include "loopdev/watch.h"

#include "provision/base/file.h"
#include "provision/base/mem.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/poll.h>
#include <sys/types.h>
#include <unistd.h>

enum { TICK_MS = 200 };

struct dink_watch {
	pthread_t thread;
	char *children; /* the kernel's list of the starting thread's */
	int ends;	/* readable when the watch is over */
	_Atomic uint64_t deadline_ms;
	_Atomic uint32_t seconds, expired;
};

/* A child that the other thread has not waited for yet keeps its number, so it is still ours. */
static void kill_children(const struct dink_watch *w)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL;
	char *end;

	if (dink_file_read(w->children, 1 << 16, &text, NULL, &ignored) < 0)
		return;
	for (char *at = text;; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at || pid <= 1)
			return;
		(void)kill((pid_t)pid, SIGKILL);
	}
}

static void *keep_watch(void *arg)
{
	struct dink_watch *w = arg;
	struct pollfd over = {.fd = w->ends, .events = POLLIN};

	/* again and again: the library may be about to start the next one */
	while (poll(&over, 1, TICK_MS) <= 0) {
		uint64_t deadline = w->deadline_ms;
		bool late = deadline && dink_now_ms() >= deadline;

		if (late)
			w->expired = w->seconds;
		if (late || dink_interrupted())
			kill_children(w);
	}
	return NULL;
}

int dink_watch_start(struct dink_watch **ret, struct dink_err *err)
{
	struct dink_watch *w = xcalloc(1, sizeof(*w));
	sigset_t all, before;
	int r;

	w->children = xasprintf("/proc/self/task/%d/children", gettid());
	w->ends = eventfd(0, EFD_CLOEXEC);
	/* signals are for the thread that works */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = w->ends < 0 ? errno : pthread_create(&w->thread, NULL, keep_watch, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0) {
		*ret = w;
		return 0;
	}
	if (w->ends >= 0)
		close(w->ends);
	free(w->children);
	free(w);
	return dink_err_set(err, DINK_E_HOST, r, "start a thread");
}

void dink_watch_limit(struct dink_watch *w, uint32_t seconds)
{
	w->seconds = seconds;
	w->deadline_ms = seconds ? dink_now_ms() + seconds * 1000ULL : 0;
}

uint32_t dink_watch_expired(struct dink_watch *w)
{
	return w->expired;
}

void dink_watch_free(struct dink_watch *w)
{
	if (!w)
		return;
	(void)eventfd_write(w->ends, 1);
	(void)pthread_join(w->thread, NULL);
	close(w->ends);
	free(w->children);
	free(w);
}
