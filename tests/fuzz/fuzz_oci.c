/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json. Must hold: no memory error; what is accepted has no host path, hook or namespace
 * left in it, and adapting it again changes nothing that matters.
 */
#include "provision/vm/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct dink_oci *o)
{
	struct json_object *ns = dink_json_get(o->config, "linux.namespaces");

	if (dink_json_get(o->config, "hooks") || dink_json_get(o->config, "linux.cgroupsPath"))
		abort();
	if (dink_json_len(o->config, "process.args") == 0 || o->memory_mib < 64 || o->cpus < 1)
		abort();
	for (size_t i = 0; i < json_object_array_length(ns); i++) {
		struct json_object *n = json_object_array_get_idx(ns, i);
		if (dink_json_str_or(n, "path", "")[0] ||
		    STREQ(dink_json_str_or(n, "type", ""), "network"))
			abort();
	}
	if (o->n_shares > DINK_OCI_SHARES_MAX || o->n_disks > DINK_OCI_DISKS_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct json_object *config = NULL;
	struct dink_oci *o = NULL;

	if (dink_json_parse((const char *)data, size, "fuzz", &config, &err) < 0)
		return 0;
	if (dink_oci_adapt(config, "/", NULL, &o, &err) == 0)
		check(o);
	dink_oci_free(o);
	return 0;
}
