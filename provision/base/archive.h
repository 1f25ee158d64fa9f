/* SPDX-License-Identifier: Apache-2.0 */
/* What libarchive's users here share. Not linked into dink-vm or dink-agent. */
#pragma once

#include "provision/base/err.h"

#include <archive.h>

static inline void dink_archive_read_freep(struct archive **a)
{
	if (*a)
		archive_read_free(*a);
}

static inline void dink_archive_write_freep(struct archive **a)
{
	if (*a)
		archive_write_free(*a);
}

/*
 * dink_archive_failed() - libarchive's complaint; where it gives no errno, and its EILSEQ, are about the
 * bytes: EBADMSG
 * @what: the file, for the message
 */
int dink_archive_failed(struct archive *a, const char *what, struct dink_err *err);
