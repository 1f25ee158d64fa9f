/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that appears under its name only when it is whole: made as PATH.partial, locked, renamed.
 * What is there already is kept, unless forced; what is in use is kept in any case.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/progress.h"

#include <stdbool.h>

struct dink_whole {
	char *path, *partial;
	int fd;	       /* of the partial file, empty, for writing; valid while path is set */
	bool replaces; /* there is a file that may be replaced */
	int old; /* its lease, so that nobody begins to use it meanwhile; valid if it is there */
};

/*
 * dink_whole_begin() - DINK_E_BUSY with what was found if there is something at path
 * @force: replace it, unless it is in use
 */
int dink_whole_begin(struct dink_whole *w, const char *path, bool force,
		     struct dink_err *err) _must_check_;
/* dink_whole_begin_copy() - of what is there, to be changed; DINK_E_BUSY while it is in use */
int dink_whole_begin_copy(struct dink_whole *w, const char *path,
			  const struct dink_progress *progress, struct dink_err *err) _must_check_;
/*
 * dink_whole_end() - with the result so far: gives it its name, or removes it; returns the result
 * What it replaced stays leased until dink_whole_clear().
 */
int dink_whole_end(struct dink_whole *w, int r, struct dink_err *err) _must_check_;
void dink_whole_clear(struct dink_whole *w);

/*
 * dink_disk_lease() - the lock that keeps an image from having two writers; held by loop devices of
 * ours and by VMs while they use it. Lasts as long as the descriptor. Waits up to a second: after the
 * end of a user the kernel, or who looks at its loop device, may not have let go of the file yet.
 * @exclusive: for changing it; else others may read it, too
 */
int dink_disk_lease(const char *path, bool exclusive, int *ret_fd,
		    struct dink_err *err) _must_check_;
/* dink_disk_has_writer() - at this moment */
bool dink_disk_has_writer(const char *path);
