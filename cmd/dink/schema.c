/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/dink/cmd.h"

#include "provision/base/json.h"
#include "provision/scenario/scenario.h"

struct schema_opts {
	bool reference;
};

static const struct dink_opt schema_options[] = {
	{
		.long_name = "reference",
		.kind = DINK_OPT_FLAG,
		.offset = offsetof(struct schema_opts, reference),
		.help = "print the fields as mdoc(7), as in dink-scenario(5)",
	},
	{},
};

static int run_schema(struct dink_args *args, struct dink_err *err _unused_)
{
	const struct schema_opts *opts = args->opts;

	if (opts->reference) {
		_cleanup_free_ char *text = dink_scenario_reference();

		fputs(text, stdout);
		return 0;
	}
	cmd_print_json(dink_scenario_schema());
	return 0;
}

const struct dink_command cmd_schema = {
	.name = "schema",
	.operands = "",
	.summary = "print the JSON Schema of the scenario language",
	.examples = "  dink schema > dink.schema.json     for editors and other validators\n",
	.opts = schema_options,
	.opts_size = sizeof(struct schema_opts),
	.has_json = true,
	.run = run_schema,
};
