/* SPDX-License-Identifier: Apache-2.0 */
/* dink logs: what a layer's PID 1 wrote, both streams apart. */
#include "cmd/dink/attach.h"
#include "provision/base/proc.h"
#include "provision/step/instance.h"

#include <ctype.h>

struct logs_opts {
	bool follow;
	const char *tail;
};

static int run_logs(struct dink_args *args, struct dink_err *err)
{
	struct logs_opts *o = args->opts;
	_cleanup_reach_ struct dink_reach reach = {};
	int r;

	for (const char *c = o->tail; c && *c && !STREQ(o->tail, "all"); c++) {
		if (!isdigit((unsigned char)*c))
			return dink_err_set(err, DINK_E_USAGE, 0,
					    "--tail %s: a number of lines or 'all'", o->tail);
	}
	r = cmd_reach_layer(args->v[0], &reach, err);
	if (r < 0)
		return r;
	dink_catch_interrupts();
	r = dink_engine_logs(reach.parent, reach.container, o->follow, o->tail, STDOUT_FILENO,
			     STDERR_FILENO, err);
	if (r < 0 && err->code == DINK_E_INTR && o->follow) {
		dink_err_clear(err); /* the way a follow is ended */
		return DINK_E_INTR;
	}
	if (r < 0 && err->errnum == EPIPE) { /* the pager or head that read us has seen enough */
		dink_err_clear(err);
		return 0;
	}
	return r;
}

static const struct dink_opt logs_options[] = {
	{'f', "follow", DINK_OPT_FLAG, offsetof(struct logs_opts, follow), NULL,
	 "go on until the layer ends", DINK_COMPLETE_NONE},
	{'n', "tail", DINK_OPT_STRING, offsetof(struct logs_opts, tail), "LINES",
	 "only the last lines", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_logs = {
	.name = "logs",
	.operands = "LAYER",
	.summary = "show a layer's output",
	.examples = "  dink logs --tail 20 docker-in-kata/proxy\n",
	.opts = logs_options,
	.opts_size = sizeof(struct logs_opts),
	.min_args = 1,
	.max_args = 1,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_logs,
};
