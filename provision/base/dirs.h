/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where dink keeps things.
 *
 *	       root             other users            override        what
 *	state  /var/lib/dink    $XDG_STATE_HOME/dink   DINK_STATE_DIR  journals, disks
 *	cache  /var/cache/dink  $XDG_CACHE_HOME/dink   DINK_CACHE_DIR  kernels, images
 *	run    /run/dink        $XDG_RUNTIME_DIR/dink  DINK_RUN_DIR    sockets, locks
 *
 * A cache that is lost costs time; state that is lost costs data.
 */
#pragma once

#include "provision/base/mem.h"

/* Borrowed strings, valid for the life of the process; the folders may not exist yet. */
const char *dink_state_dir(void);
const char *dink_cache_dir(void);
const char *dink_run_dir(void);

/* dink_temp_path() - name in $TMPDIR, or in dir where that is not set; caller frees */
char *dink_temp_path(const char *dir, const char *name);

/*
 * dink_data_file() - a file that ships with dink (a kernel fragment, an image recipe)
 * @rel: "kernel-configs/base.config"
 * Looked for below $DINK_DATA_DIR, where `make install` put it (../share/dink of bin/), beside the
 * program (../ of build/), /usr/local/share/dink, /usr/share/dink. Return: path owned by the
 * caller, NULL if it is nowhere.
 */
char *dink_data_file(const char *rel);
/* dink_program_dir() - the folder of /proc/self/exe; borrowed */
const char *dink_program_dir(void);

/* Where the guest folder (provision/vm/guest.h) is mounted in layers that start VMs. */
#define DINK_GUEST_IN_LAYER "/usr/lib/dink/guest"
