/* SPDX-License-Identifier: Apache-2.0 */
/* What an archive from a daemon may hold; for cut.c. */
#pragma once

#include "provision/base/err.h"

#include <stdbool.h>

/* @name: without a leading "./"; @header: its 512 bytes; @long_link: an extra header says where to */
int dink_cut_check_member(const char *name, char type, const char *header, bool long_link,
			  struct dink_err *err) _must_check_;
/* dink_cut_is_checked() - whether a member of that name is to be given to dink_cut_check_text() */
bool dink_cut_is_checked(const char *name);
/* @allowed: the only name for the image; NULL: it has none in the archive */
int dink_cut_check_text(const char *name, const char *text, size_t len, const char *allowed,
			struct dink_err *err) _must_check_;
