/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint's manifest.json. Must hold: no memory error; what is accepted names no file outside
 * the image's folder and no size beyond a VM's, and its channel state is taken or refused.
 */
#include "provision/vm/manifest.h"
#include "provision/vm/qemu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct json_object *m)
{
	struct json_object *disks = dink_json_get(m, "disks");
	int64_t mib = dink_json_int_or(m, "machine.memory_mib", 0);

	if (mib < 64 || mib > 1 << 22 || dink_json_int_or(m, "nics", -1) < 0 ||
	    json_object_array_length(disks) > DINK_QEMU_DISKS_MAX)
		abort();
	for (size_t i = 0; i < json_object_array_length(disks); i++) {
		const char *file =
			dink_json_str_or(json_object_array_get_idx(disks, i), "file", "");
		if (strchr(file, '/') || strchr(file, '.'))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *m = NULL;

	if (dink_manifest_parse((const char *)data, size, &m, &err) == 0)
		check(m);
	return 0;
}
