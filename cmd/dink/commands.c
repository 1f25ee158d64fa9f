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
	&cmd_explain,
	&cmd_matrix,
	&cmd_privileges_explain,
	&cmd_privileges_needs,
	&cmd_privileges_diff,
	&cmd_privileges_minimize,
	&cmd_privileges_trace,
	&cmd_kernel_build,
	&cmd_kernel_check,
	&cmd_kernel_list,
	&cmd_kernel_bundle,
	&cmd_image_build,
	&cmd_image_ls,
	&cmd_image_copy,
	&cmd_image_sync,
	&cmd_image_rm,
	&cmd_image_prune,
	&cmd_disk_create,
	&cmd_disk_show,
	&cmd_disk_list,
	&cmd_disk_clone,
	&cmd_disk_check,
	&cmd_disk_resize,
	&cmd_disk_trim,
	&cmd_disk_snapshot,
	&cmd_disk_export,
	&cmd_disk_import,
	&cmd_disk_rm,
	&cmd_disk_ls,
	&cmd_disk_cat,
	&cmd_disk_copy_in,
	&cmd_disk_copy_out,
	&cmd_disk_docker,
	&cmd_disk_mount,
	&cmd_disk_unmount,
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

/* The second word of a command whose first is this one; NULL if it is another's. */
static const char *in_group(const struct dink_command *c, const char *word)
{
	size_t n = strlen(word);

	return c->summary && strncmp(c->name, word, n) == 0 && c->name[n] == ' ' ? c->name + n + 1
										 : NULL;
}

bool cmd_print_group(FILE *out, const char *word)
{
	bool any = false;

	for (const struct dink_command *const *c = cmd_table; *c; c++) {
		if (!in_group(*c, word))
			continue;
		if (!any)
			fprintf(out, "Usage: dink %s COMMAND [OPTION...] [ARGUMENT...]\n\n", word);
		any = true;
		fprintf(out, "  %-20s %s\n", (*c)->name, (*c)->summary);
	}
	return any;
}

int cmd_unknown(char *const *argv, int argc, struct dink_err *err)
{
	const char *names[64], *near;
	_cleanup_strv_ struct dink_strv group = {};
	bool option = argc > 1 && argv[1][0] == '-';
	size_t n = 0;

	for (const struct dink_command *const *c = cmd_table; *c && n < ARRAY_SIZE(names) - 1; c++)
		if (in_group(*c, argv[0]))
			dink_strv_add(&group, in_group(*c, argv[0]));
		else if ((*c)->summary)
			names[n++] = (*c)->name;
	names[n] = NULL;
	if (group.n == 0) {
		/* "kernal build" is near to no single word */
		_cleanup_free_ char *two =
			argc > 1 && !option ? xasprintf("%s %s", argv[0], argv[1]) : NULL;

		near = dink_nearest(argv[0], names);
		if (!near && two)
			near = dink_nearest(two, names);
		dink_err_set(err, DINK_E_USAGE, 0, "there is no command '%s'", argv[0]);
		return near ? dink_err_hint(err, "did you mean dink %s?", near)
			    : dink_err_hint(err, "dink help lists them");
	}
	near = argc > 1 ? dink_nearest(argv[1], (const char *const *)group.v) : NULL;
	if (argc > 1 && !option)
		dink_err_set(err, DINK_E_USAGE, 0, "there is no command '%s %s'", argv[0], argv[1]);
	else
		dink_err_set(err, DINK_E_USAGE, 0, "dink %s wants a command", argv[0]);
	if (near)
		return dink_err_hint(err, "did you mean dink %s %s?", argv[0], near);
	_cleanup_free_ char *list = dink_strv_join(&group, ", ");
	return dink_err_hint(err, "one of: %s", list);
}
