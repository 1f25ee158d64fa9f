/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest says of its processes, as files of /proc for Podman. Must hold: no memory error; each
 * pid once and within Linux's range; 52 fields in stat, four numbers for Uid and Gid; all bounded.
 */
#include "provision/vm/proctable.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 16, TEXT_MAX = 4096 };

static void check_stat(const struct dink_proc *p)
{
	const char *at = strrchr(p->stat.s, ')');
	int fields = 2, pid = 0;

	for (; at && *at; at++)
		fields += *at == ' ';
	if (fields != 52 || sscanf(p->stat.s, "%d (", &pid) != 1 || pid != p->pid)
		abort();
}

static void check_ids(const char *status, const char *key)
{
	const char *at = strstr(status, key);
	int words = 0;

	if (!at)
		abort();
	for (at += strlen(key); *at && *at != '\n'; at++)
		words += *at == '\t';
	if (words != 4)
		abort();
}

static void check(const struct dink_proc *all, size_t i)
{
	const struct dink_proc *p = &all[i];

	if (p->pid < 1 || p->pid > 4 << 20 || p->stat.len > TEXT_MAX || p->status.len > TEXT_MAX ||
	    p->cmdline.len > TEXT_MAX || strchr(p->stat.s, '\n') != p->stat.s + p->stat.len - 1)
		abort();
	for (size_t k = 0; k < i; k++) {
		if (all[k].pid == p->pid)
			abort();
	}
	check_stat(p);
	check_ids(p->status.s, "\nUid:");
	check_ids(p->status.s, "\nGid:");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *answer = NULL;
	struct dink_proc all[MAX];

	if (dink_json_parse((const char *)data, size, "fuzz", &answer, &err) < 0)
		return 0;
	size_t n = dink_proctable_read(answer, all, MAX);
	for (size_t i = 0; i < n; i++)
		check(all, i);
	for (size_t i = 0; i < n; i++)
		dink_proc_clear(&all[i]);
	return 0;
}
