/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree that a guest sees of its host: SHARE/rootfs and SHARE/mounts/N, bind mounts on a
 * read-only tmpfs, in the calling process's private mount namespace, so that the death of that
 * namespace's last process takes it all away. And virtiofsd, which serves it.
 */
#pragma once

#include "provision/base/err.h"
#include "provision/base/mem.h"

#include <stdbool.h>

/*
 * dink_share_begin() - a tmpfs at dir (made); the caller is in a mount namespace of its own
 * dink_share_bind() - source at DIR/rel; folder or file as the source is
 * dink_share_overlay() - an overlay of the host's folders at DIR/rel, with these mount options
 * dink_share_end() - the tmpfs itself becomes read-only
 */
int dink_share_begin(const char *dir, struct dink_err *err) _must_check_;
int dink_share_bind(const char *dir, const char *rel, const char *source, bool readonly,
		    bool recursive, struct dink_err *err) _must_check_;
int dink_share_overlay(const char *dir, const char *rel, const char *options,
		       struct dink_err *err) _must_check_;
int dink_share_end(const char *dir, struct dink_err *err) _must_check_;

/* dink_virtiofsd_find() - the program; NULL if there is none */
char *dink_virtiofsd_find(bool *ret_rust);

/* dink_virtiofsd_argv() - serve dir on a listening socket that is inherited as listen_fd */
void dink_virtiofsd_argv(const char *program, bool rust, const char *dir, int listen_fd,
			 struct dink_strv *ret);
