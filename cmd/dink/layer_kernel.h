/* SPDX-License-Identifier: Apache-2.0 */
/* The running kernel below a layer, for dink kernel check --in. */
#pragma once

#include "cmd/dink/cmd.h"
#include "kernel-configs/kernel.h"

struct cmd_layer_kernel {
	struct dink_kconfig *kc;    /* filled from the layer's /proc/config.gz */
	struct dink_strv *features; /* where none are named: what the layer does */
	bool is_guest;		    /* a virtual machine's, not the host's */
};

int cmd_layer_kernel(const char *address, struct cmd_layer_kernel *k, struct dink_err *err);
