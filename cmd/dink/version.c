/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"

#include "provision/base/json.h"

static int run_version(struct dink_args *args, struct dink_err *err _unused_)
{
	struct json_object *o;

	if (!args->json) {
		printf("dink %s\n", DINK_VERSION);
		return 0;
	}
	o = dink_json_new();
	dink_json_set_str(o, "version", DINK_VERSION);
	dink_json_set_int(o, "scenario", 1);
	cmd_print_json(o);
	return 0;
}

const struct dink_command cmd_version = {
	.name = "version",
	.operands = "",
	.summary = "print the version",
	.examples = "  dink version --json\n",
	.has_json = true,
	.run = run_version,
};
