/* SPDX-License-Identifier: Apache-2.0 */
#include "loopdev/tools.h"

int dink_disk_tool(struct dink_cmd *cmd, const char *package, struct dink_err *err)
{
	int r = dink_cmd_run(cmd, err);

	return r == -ENOENT ? dink_err_hint(err, "apt-get install %s", package) : r;
}

int dink_ext4_settle(const char *path, const char *name, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;

	dink_cmd_argv(&cmd, "e2fsck", "-f", "-p", path, NULL);
	cmd.ok_to_fail = true;
	int r = dink_disk_tool(&cmd, "e2fsprogs", err);
	/* 1: it mended something */
	if (r < 0 || cmd.status <= 1)
		return r;
	dink_err_set(err, DINK_E_STATE, 0, "the ext4 in %s has faults", name);
	dink_err_detail(err, cmd.output);
	return dink_err_hint(err, "dink disk check %s", name);
}
