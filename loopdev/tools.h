/* SPDX-License-Identifier: Apache-2.0 */
/* The file systems' own programs, which work on image files. */
#pragma once

#include "provision/base/err.h"
#include "provision/base/proc.h"

/* dink_disk_tool() - runs it; the package to install is the hint where there is no such program */
int dink_disk_tool(struct dink_cmd *cmd, const char *package, struct dink_err *err) _must_check_;

/*
 * dink_ext4_settle() - replays the journal of one that was not unmounted, which other programs want
 * @name: what path is called in errors
 */
int dink_ext4_settle(const char *path, const char *name, struct dink_err *err) _must_check_;
