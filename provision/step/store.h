/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which disk image has a layer's daemon its store on, and which layer writes an image. Each
 * instance's plan.json, which is there while it is up, says both.
 */
#pragma once

#include "provision/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct dink_layer_store {
	char *layer;  /* address */
	char *file;   /* the image */
	char *daemon; /* "docker" */
	char *driver; /* "btrfs" */
	bool vm;      /* the layer is a VM, and has the image itself */
};

/* dink_layer_store_find() - DINK_E_USAGE with what it is instead where the store is on no disk */
int dink_layer_store_find(const char *address, struct dink_layer_store *ret,
			  struct dink_err *err) _must_check_;
void dink_layer_store_clear(struct dink_layer_store *s);

/*
 * dink_disk_rest() - if a VM of an instance has the image for writing: its programs stand still, and
 * all that they wrote is in the image, until *ret_held is closed
 * *ret_held is -1 where no running VM of ours has it; that says nothing of other users.
 */
int dink_disk_rest(const char *file, int *ret_held, struct dink_err *err) _must_check_;
/*
 * dink_disk_grow() - if a running VM of an instance has the image for writing: 1, and image and
 * filesystem have that size, in use as they are; 0 if none has
 */
int dink_disk_grow(const char *file, uint64_t bytes, struct dink_err *err) _must_check_;
