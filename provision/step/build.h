/* SPDX-License-Identifier: Apache-2.0 */
/* What build.c and spec.c share: the plan's layers as steps see them. Nobody else includes it. */
#pragma once

#include "provision/step/step.h"

enum carry_what {
	CARRY_GUEST,	    /* the guest folder of kernel `index` */
	CARRY_IMAGE,	    /* the cache folder of image `index`, for its root.erofs */
	CARRY_DISKS,	    /* the instance's folder of disk files */
	CARRY_DISK_MOUNTED, /* in a VM: disk `index` attached, mounted by the guest, to be carried
			       on */
	CARRY_MOUNT,	    /* the mounted disk `index`, as a folder */
	CARRY_FILE,	    /* file `index` of the scenario */
};

struct carry {
	enum carry_what what;
	int index;
	bool read_only;
};

struct step_layer {
	struct carry *carry;
	size_t n_carry;
	int container, ready; /* steps; ready -1 = no daemon */
	int kvm;	      /* step that proves KVM in it; -1 = none */
	bool is_needed;	      /* it, or what has to be there before it, is being made */
};

/* dink_build_file_index() - of a file of the scenario, which checked that there is one */
int dink_build_file_index(const struct dink_plan *p, const char *name);

/* dink_build_container() - the params of a container step: see container.c */
int dink_build_container(struct dink_step_ctx *ctx, const struct dink_plan *p,
			 const struct step_layer *layers, int layer, struct json_object **ret,
			 struct dink_err *err);
