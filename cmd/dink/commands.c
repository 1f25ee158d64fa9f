/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands: what help, completion, the man page check and main() go by. */
#include "cmd/dink/cmd.h"

const struct dink_command *const cmd_table[] = {
	&cmd_up,
	&cmd_down,
	&cmd_status,
	&cmd_exec,
	&cmd_shell,
	&cmd_logs,
	&cmd_cp,
	&cmd_env,
	&cmd_plan,
	&cmd_validate,
	&cmd_schema,
	&cmd_doctor,
	&cmd_privileges_explain,
	&cmd_kernel_build,
	&cmd_kernel_check,
	&cmd_kernel_list,
	&cmd_kernel_bundle,
	&cmd_image_build,
	&cmd_disk_create,
	&cmd_disk_show,
	&cmd_gc,
	&cmd_version,
	&cmd_help,
	&cmd_complete,
	&cmd_forward,
	NULL,
};

const struct dink_command *cmd_find(char *const *argv, int argc, int *ret_words)
{
	_cleanup_free_ char *two = argc > 1 ? xasprintf("%s %s", argv[0], argv[1]) : NULL;

	for (int words = two ? 2 : 1; words > 0; words--) {
		const char *name = words == 2 ? two : argv[0];

		for (const struct dink_command *const *c = cmd_table; *c; c++) {
			if (!STREQ((*c)->name, name))
				continue;
			*ret_words = words;
			return *c;
		}
	}
	return NULL;
}
