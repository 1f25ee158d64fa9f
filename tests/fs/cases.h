/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by cases.c (contents), cases_names.c (names, links, folders) and cases_rights.c. */
#pragma once

#include "tests/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { LACKS = -1 };

/* in an empty folder of its own as the working directory; 0, LACKS, or does not return */
struct fs_case {
	const char *name;
	int (*fn)(void);
};

#define MUST(x)                                                                                    \
	do {                                                                                       \
		errno = 0;                                                                         \
		if (!(x)) {                                                                        \
			printf("    line %d: %s: %s\n", __LINE__, #x, strerror(errno));            \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

/* make() - a new file, open for both; contents NULL are zeros */
int make(const char *name, const char *contents, size_t n);
int copy_self(const char *name); /* the running program as another file that may be run */
int join(void);			 /* of any child: its exit status, or 128 + the signal */
/* as_user() - fn in a process with this user and group and no others: what it returns */
int as_user(uid_t uid, gid_t gid, int (*fn)(void));

int fs_run_cases(const char *dir, const char *only, const struct fs_case *cases, size_t n);
const struct fs_case *fs_name_cases(size_t *ret_n);
const struct fs_case *fs_right_cases(size_t *ret_n);
