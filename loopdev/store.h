/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Docker daemon keeps in its store, read while the daemon is not there. The layout is moby's
 * own (image/DRIVER, containers, volumes), the same from Docker 1.10 to 28 unless the containerd
 * image store is on: that one is refused in words.
 */
#pragma once

#include "loopdev/look.h"
#include "provision/base/json.h"

/*
 * dink_store_read() - {driver, images: [{name, id, created, layers}], containers: [{id, name, image,
 * state, exit_code}], volumes: [name]}
 * @root: the daemon's data root in the image, "/" where the disk is mounted at /var/lib/docker
 * @ret: the caller's. What a guest wrote is bounded; what is no JSON there is left out.
 */
int dink_store_read(struct dink_look *look, const char *root, struct json_object **ret,
		    struct dink_err *err) _must_check_;
