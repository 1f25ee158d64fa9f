/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiler attributes and clean-up helpers shared by every file.
 *
 * Process memory and descriptors are released by the clean-up attributes below. Effects on the
 * host (mounts, loop devices, containers, processes that outlive us) never are: they are steps,
 * see provision/step/step.h.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f)	    __attribute__((cleanup(f)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _must_check_	    __attribute__((warn_unused_result))
#define _unused_	    __attribute__((unused))
#define _noreturn_	    __attribute__((noreturn))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define STREQ(a, b)   (strcmp((a), (b)) == 0)

/* Hand a pointer or descriptor on: returns it and leaves NULL or -1 behind. */
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		typeof(p) _tp = (p);                                                               \
		(p) = NULL;                                                                        \
		_tp;                                                                               \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int _tf = (fd);                                                                    \
		(fd) = -1;                                                                         \
		_tf;                                                                               \
	})

/* NOLINTBEGIN(bugprone-macro-parentheses): a type takes none */
/* Defines FREE##p so that `_cleanup_(FREEp) struct x *x` works; FREE must accept NULL. */
#define DEFINE_CLEANUP_PTR(type, free_fn)                                                          \
	static inline void free_fn##p(type **p)                                                    \
	{                                                                                          \
		if (*p)                                                                            \
			free_fn(*p);                                                               \
	}                                                                                          \
	struct _dink_semicolon_eater
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void dink_freep(void *p)
{
	free(*(void **)p);
}

static inline void dink_closep(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

static inline void dink_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void dink_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_free_	   _cleanup_(dink_freep)
#define _cleanup_close_	   _cleanup_(dink_closep)
#define _cleanup_fclose_   _cleanup_(dink_fclosep)
#define _cleanup_closedir_ _cleanup_(dink_closedirp)
