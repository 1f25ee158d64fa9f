/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files into and out of a layer, as tar streams.
 *
 * By the engine's archive calls where it can see the layer's files, else by `tar` run in the layer
 * (a VM whose root is a disk of the guest). The layer is not trusted: nothing it sends is written
 * outside the target, no link is followed, no device and no set-id bit is made.
 */
#pragma once

#include "provision/engine/engine.h"

struct dink_copy_layer {
	struct dink_engine *engine; /* that runs the container */
	const char *container;
	bool by_tar; /* the engine does not see its files */
};

/*
 * dink_copy_out() / dink_copy_in() - with the rules of cp and docker cp: into a folder that is
 * there, else as the name given; "DIR/." means what is in DIR. "-" is a tar stream on
 * standard output or input (then `path` is the folder it goes into).
 */
int dink_copy_out(const struct dink_copy_layer *from, const char *path, const char *to,
		  struct dink_err *err) _must_check_;
int dink_copy_in(const char *from, const struct dink_copy_layer *to, const char *path,
		 struct dink_err *err) _must_check_;

/* The parts, for the unit tests. */
/*
 * dink_copy_rename() - the first component of an entry's name becomes `top` ("" = dropped)
 * Return: the new name, owned by the caller; "." for the top itself where it was dropped; NULL
 * where the name would leave the target
 */
char *dink_copy_rename(const char *name, const char *top);
/* dink_copy_extract() - a tar stream into folder `dir`, top renamed */
int dink_copy_extract(int fd, const char *dir, const char *top, struct dink_err *err) _must_check_;
/* dink_copy_pack() - a file or tree as a tar stream, its top named `top` */
int dink_copy_pack(const char *path, const char *top, int fd, struct dink_err *err) _must_check_;
