/* SPDX-License-Identifier: Apache-2.0 */
/* What exec and shell share: a command in a layer with our terminal. */
#pragma once

#include "cmd/dink/cmd.h"
#include "provision/step/instance.h"

struct cmd_run {
	char *const *argv;
	char *const *env;
	const char *user, *workdir;
	bool tty, stdin_open;
};

/* cmd_reach_layer() - a layer, which need not run; the instance alone is refused */
int cmd_reach_layer(const char *address, struct dink_reach *ret, struct dink_err *err) _must_check_;
/* cmd_reach() - a layer that runs, or an error with what to do; the instance alone is refused */
int cmd_reach(const char *address, struct dink_reach *ret, struct dink_err *err) _must_check_;

/* cmd_open_shell() - bash there if it has one, else sh (shell.c); its exit code */
int cmd_open_shell(const char *address, const char *user, struct dink_err *err);

/* cmd_run_in_layer() - the command's exit code; errors of ours have code DINK_E_WORKLOAD (125) */
int cmd_run_in_layer(const struct dink_reach *reach, const struct cmd_run *run,
		     struct dink_err *err);
