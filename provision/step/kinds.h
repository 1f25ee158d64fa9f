/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of steps.
 *
 *	key             kind        does                                      identity
 *	kernel:NAME     kernel      kernel from the cache or built            vmlinux, release
 *	guest:KERNEL    guest       the guest folder for dink-vm              dir
 *	image:NAME      image       image from the cache or built             archive, erofs, ref, id
 *	file:NAME       file        a copy of a file that layers are handed   path
 *	engine          engine-use  the host's engine, a private one started  socket
 *	disk:NAME       disk-file   sparse image file with a filesystem         made
 *	scratch:NAME    scratch     the same, removed by down                 made
 *	clone:NAME      disk-clone  a disk that is made from another one's    made
 *	                            content, its writer standing still
 *	mount:NAME      loop-mount  a disk mounted on the host, for a
 *	                            namespace layer                           loop device
 *	load:ADDR:IMAGE image-load  the image in that layer's engine          -
 *	container:ADDR  container   created and started                       id
 *	ready:ADDR      ready       its daemon answers                        -
 *	kvm:ADDR        prove-kvm   whether VMs in that layer may use KVM     kvm, why
 *	swarm:ADDR      swarm       the daemons of layers in that engine are
 *	                            one swarm                                 -
 *	forward         forward     the daemons' sockets offered on the host  pid, start
 *	up              up          nothing: its record says that all is done -
 */
#pragma once

#include "provision/step/instance.h"
#include "provision/step/step.h"

extern const struct dink_step_kind dink_kind_kernel, dink_kind_guest, dink_kind_image,
	dink_kind_engine_use, dink_kind_disk_file, dink_kind_disk_clone, dink_kind_scratch,
	dink_kind_loop_mount, dink_kind_image_load, dink_kind_file, dink_kind_container,
	dink_kind_ready, dink_kind_prove_kvm, dink_kind_swarm, dink_kind_forward, dink_kind_up;

/* dink_step_describe() - "VERB MEMBER" of the params */
char *dink_step_describe(struct json_object *params, const char *verb, const char *member);

/*
 * dink_step_engine() - the engine inside `address` (the instance's name: the host's)
 * It is owned by *ret, which the caller zeroes and clears.
 */
int dink_step_engine(struct dink_step_ctx *ctx, const char *address, struct dink_reach *ret,
		     struct dink_engine **ret_engine, struct dink_err *err) _must_check_;

/* Where the carried things lie in each layer (build.c mounts them, container.c creates them). */
#define DINK_DISKS_IN_LAYER  "/run/dink/disks"
#define DINK_IMAGES_IN_LAYER "/run/dink/images"
#define DINK_MOUNTS_IN_LAYER "/run/dink/mounts"
#define DINK_FILES_IN_LAYER  "/run/dink/files"
#define DINK_BLOCK_ROOT	     "/.dink-root"
