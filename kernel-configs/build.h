/* SPDX-License-Identifier: Apache-2.0 */
/* One kernel to be built: all of its inputs, and where the result goes. */
#pragma once

#include "kernel-configs/internal.h"

struct dink_kernel_job {
	const struct dink_strv *features; /* borrowed; may be NULL */
	struct dink_kernel_source source;
	struct dink_kconfig merged;
	char *merged_text;
	char *compiler;
	char key[65];
	char *dir; /* CACHE/kernels/KEY */
};
void dink_kernel_job_clear(struct dink_kernel_job *job);

/* dink_kernel_read() - a folder of the cache; -ENOENT with err empty if it is not there */
int dink_kernel_read(const char *dir, struct dink_kernel *ret, struct dink_err *err) _must_check_;

/* dink_kernel_build() - makes job->dir, or finds that another process just did */
int dink_kernel_build(const struct dink_kernel_job *job, const struct dink_progress *p,
		      struct dink_err *err) _must_check_;

/* Counts the objects in make's words; for progress. */
struct dink_kernel_count {
	const struct dink_progress *progress;
	uint64_t done, total;
	size_t line_len; /* bytes of the line so far */
	char line[16];	 /* its beginning */
};
void dink_kernel_count_output(struct dink_kernel_count *c, const char *bytes, size_t n);
