/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parser finds wrong: the first DINK_PROBLEMS_MAX by place, in whatever order they are
 * found, so that the answer depends on the text alone. Cheap when thousands are found: those that
 * will not be shown are neither worded nor kept.
 */
#pragma once

#include "provision/scenario/scenario.h"

struct dink_found {
	struct dink_mark mark;
	char *msg;
	char *hint;
};

struct dink_report {
	struct dink_found list[DINK_PROBLEMS_MAX]; /* sorted by place */
	size_t n;
	size_t last; /* where dink_report_hint() puts its words */
	bool more;
};

/*
 * dink_report_at() - note a problem
 * Return: whether it is kept; then dink_report_hint() may add what to do about it.
 */
bool dink_report_at(struct dink_report *r, struct dink_mark mark, const char *fmt, ...)
	_printf_(3, 4);
void dink_report_hint(struct dink_report *r, const char *fmt, ...) _printf_(2, 3);

/* dink_report_finish() - into error objects with their source lines; r is empty afterwards */
void dink_report_finish(struct dink_report *r, const char *file, const char *text, size_t len,
			struct dink_problems *problems);

/* dink_source_line() - line n (from 1) of a text as libyaml counts lines; caller frees */
char *dink_source_line(const char *text, size_t len, uint32_t line);

/* A text fit for a message: short, without control characters. Use within one expression. */
struct dink_shown {
	char s[72];
};
struct dink_shown dink_shown(const char *text);
