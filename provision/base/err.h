/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one error object.
 *
 * Every function that can fail takes `struct dink_err *err` last, returns 0 (or a useful
 * non-negative value) on success and a negative errno on failure. `err` is filled exactly once,
 * where the failure is seen; each caller that knows more adds one frame with dink_err_push().
 * Outputs (ret_*) are untouched on failure, `err` is untouched on success. Libraries never print
 * and never exit.
 *
 *	_cleanup_(dink_err_clear) struct dink_err err = {};
 *	if (dink_file_read(path, MAX, &text, &err) < 0)
 *		return dink_err_push(out, ...);
 */
#pragma once

#include "provision/base/macro.h"

#include <stdarg.h>
#include <stdint.h>

struct json_object;

/* What went wrong, coarsely; the value is the exit code of the program. */
enum dink_err_code {
	DINK_E_NONE = 0,
	DINK_E_USAGE = 2,      /* the command line is wrong */
	DINK_E_SCENARIO = 3,   /* the user's YAML is wrong */
	DINK_E_HOST = 4,       /* the host cannot: missing tool, privilege, device, space */
	DINK_E_CHILD = 5,      /* a program or daemon failed; `detail` has what it said */
	DINK_E_BUSY = 6,       /* locked or in use */
	DINK_E_STATE = 7,      /* a file of ours is damaged */
	DINK_E_BUG = 70,       /* a defect in dink */
	DINK_E_WORKLOAD = 125, /* run/exec: ours, not the workload's */
	DINK_E_INTR = 130,     /* SIGINT or SIGTERM */
};

/* A place in a source text. `line` and `col` count from 1; 0 means unknown. */
struct dink_src {
	char *file; /* owned */
	char *text; /* the source line without its newline, owned, may be NULL */
	uint32_t line;
	uint32_t col;
	uint32_t endcol; /* one past the last marked column; 0 = one character */
};

enum { DINK_ERR_FRAMES = 8 };

struct dink_err {
	int code;   /* enum dink_err_code */
	int errnum; /* positive errno, 0 if none applies */
	char *msg;
	char *hint;   /* the next step for the user */
	char *detail; /* several lines: the tail of a program's stderr, say */
	struct dink_src src;
	char *frames[DINK_ERR_FRAMES]; /* innermost first */
	int n_frames;
};

/*
 * dink_err_set() - fill an empty error
 *
 * Return: -errnum, or -EINVAL where errnum is 0, so that `return dink_err_set(...)` works.
 * The text of errnum is appended ("open /x: No such file or directory") when printed.
 */
int dink_err_set(struct dink_err *err, int code, int errnum, const char *fmt, ...) _printf_(4, 5);

/* dink_err_push() - add "while doing this"; returns what dink_err_set() returned. */
int dink_err_push(struct dink_err *err, const char *fmt, ...) _printf_(2, 3);

/* dink_err_hint() - what the user can do about it; replaces an earlier hint. Returns as push. */
int dink_err_hint(struct dink_err *err, const char *fmt, ...) _printf_(2, 3);

#ifdef __clang_analyzer__
/* clang-tidy sees one file at a time: these three never return 0 or more */
#define dink_err_always(call)                                                                      \
	({                                                                                         \
		int _e = (call);                                                                   \
		__builtin_assume(_e < 0);                                                          \
		_e;                                                                                \
	})
#define dink_err_set(...)  dink_err_always((dink_err_set)(__VA_ARGS__))
#define dink_err_push(...) dink_err_always((dink_err_push)(__VA_ARGS__))
#define dink_err_hint(...) dink_err_always((dink_err_hint)(__VA_ARGS__))
#endif

/* dink_err_detail() - several lines of a program's own words (copied). */
void dink_err_detail(struct dink_err *err, const char *text);

/* dink_err_at() - where in a source text; file and text are copied, text may be NULL. */
void dink_err_at(struct dink_err *err, const char *file, uint32_t line, uint32_t col,
		 uint32_t endcol, const char *text);

/* dink_err_move() - hand an error on; dst must be empty. */
void dink_err_move(struct dink_err *dst, struct dink_err *src);

void dink_err_clear(struct dink_err *err);

/* dink_err_is_set() - whether it was filled */
static inline int dink_err_is_set(const struct dink_err *err)
{
	return err->code != DINK_E_NONE;
}

/*
 * dink_err_format() - the message as people read it, several lines, caller frees
 *
 *	FILE:LINE:COL: MESSAGE: STRERROR          (position first where there is one)
 *	    SOURCE LINE
 *	    ^~~~
 *	  while FRAME
 *	  | detail lines
 *	  hint: HINT
 */
char *dink_err_format(const struct dink_err *err);

/* dink_err_to_json() - {code, errno, message, file, line, column, frames[], hint, detail} */
struct json_object *dink_err_to_json(const struct dink_err *err);
