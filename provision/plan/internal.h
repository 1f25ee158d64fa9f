/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the plan share; nobody else includes it. */
#pragma once

#include "provision/plan/plan.h"

enum {
	PLAN_LAYERS_MAX = 10000, /* after counts are expanded */
	PLAN_SUBNETS_MAX = 42 * 256,
	PLAN_MTU = 1500,
};

/* dink_plan_expand() - layers with counts multiplied, images listed; parents before children */
int dink_plan_expand(struct dink_plan *p, struct dink_err *err);
/* dink_plan_engine() - which engine the host's own layers are containers of */
int dink_plan_engine(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err);
/* dink_plan_runtimes() - kata resolved, is_vm, needs_guest, block_root */
int dink_plan_runtimes(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err);
/* dink_plan_kernels() - kernels of VM layers with the features their layers imply */
int dink_plan_kernels(struct dink_plan *p, struct dink_err *err);
/* dink_plan_storage() - disks, and the storage driver of each daemon by name */
int dink_plan_storage(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err);
/* dink_plan_commands() - subnets and the argv and environment of PID 1 */
int dink_plan_commands(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err);
/* dink_plan_grants() - the privilege set of each layer */
int dink_plan_grants(struct dink_plan *p, const struct dink_facts *f, struct dink_err *err);

/* dink_plan_data_root() - where a layer's daemon keeps its store; NULL for none; caller frees */
char *dink_plan_data_root(const struct dink_layer *l);
/* dink_plan_layer_error() - an error about a layer, its place in the scenario shown */
int dink_plan_layer_error(const struct dink_plan *p, const struct dink_plan_layer *l, int code,
			  struct dink_err *err, const char *fmt, ...) _printf_(5, 6);
