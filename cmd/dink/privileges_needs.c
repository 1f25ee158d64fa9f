/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink privileges needs: the table that every set is computed from. What a layer does, and each
 * grant that this takes; the tests hold a proof against every row.
 */
#include "cmd/dink/cmd.h"

#include "provision/base/json.h"
#include "provision/privilege/privilege.h"

static void print_need(struct json_object *o)
{
	size_t n = dink_json_len(o, "grants"), implied = dink_json_len(o, "implies");

	printf("%s: %s\n", dink_json_str_or(o, "need", ""), dink_json_str_or(o, "text", ""));
	for (size_t i = 0; i < n; i++) {
		struct json_object *g = json_object_array_get_idx(dink_json_get(o, "grants"), i);

		printf("    %-12s %-24s %s\n", dink_json_str_or(g, "kind", ""),
		       dink_json_str_or(g, "what", ""), dink_json_str_or(g, "why", ""));
	}
	for (size_t i = 0; i < implied; i++)
		printf("    and what %s takes\n", json_object_get_string(json_object_array_get_idx(
							  dink_json_get(o, "implies"), i)));
	if (n + implied == 0)
		printf("    nothing beyond the engine's default\n");
}

static int run_needs(struct dink_args *args, struct dink_err *err _unused_)
{
	_cleanup_json_ struct json_object *list = dink_needs_to_json();

	if (args->json) {
		cmd_print_json(TAKE_PTR(list));
		return 0;
	}
	for (size_t i = 0; i < json_object_array_length(list); i++)
		print_need(json_object_array_get_idx(list, i));
	return 0;
}

const struct dink_command cmd_privileges_needs = {
	.name = "privileges needs",
	.operands = "",
	.summary = "print the table of needs: what takes which grants",
	.examples = "  dink privileges needs\n"
		    "  dink privileges needs --json | jq '.[] | select(.need == \"vm-child\")'\n",
	.has_json = true,
	.run = run_needs,
};
