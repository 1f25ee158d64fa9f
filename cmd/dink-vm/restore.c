/* SPDX-License-Identifier: Apache-2.0 */
/* restore: a container from a checkpoint's folder; the folder stays as it is and serves again. */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"
#include "provision/vm/manifest.h"

#include <limits.h>

static int load(const char *image, struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/" DINK_MANIFEST_NAME, image);

	if (!dink_exists(path)) {
		dink_err_set(err, DINK_E_USAGE, ENOENT, "no checkpoint in %s", image);
		return dink_err_hint(err, "make one: dink-vm checkpoint --image-path DIR ID");
	}
	return dink_manifest_load(image, ret, err);
}

int vm_restore(const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_json_ struct json_object *manifest = NULL;
	struct vm_create_opts o = {};
	const char *image = "checkpoint", *id, *work;
	bool detach = false, ignored;
	char real[PATH_MAX];
	pid_t pid;
	const struct vm_opt opts[] = {
		{'b', "bundle", VM_OPT_STRING, &o.bundle, NULL},
		{'d', "detach", VM_OPT_FLAG, &detach, NULL},
		{0, "image-path", VM_OPT_STRING, &image, NULL},
		{0, "console-socket", VM_OPT_STRING, &o.console_socket, NULL},
		{0, "pid-file", VM_OPT_STRING, &o.pid_file, NULL},
		{0, "work-path", VM_OPT_STRING, &work, NULL},
		{0, "tcp-established", VM_OPT_FLAG, &ignored, NULL},
		{0, "ext-unix-sk", VM_OPT_FLAG, &ignored, NULL},
		{0, "shell-job", VM_OPT_FLAG, &ignored, NULL},
		{0, "file-locks", VM_OPT_FLAG, &ignored, NULL},
		{0, "no-pivot", VM_OPT_FLAG, &ignored, NULL},
		{0, "no-subreaper", VM_OPT_FLAG, &ignored, NULL},
		{0, "manage-cgroups-mode", VM_OPT_STRING, &work, NULL},
		{0, "empty-ns", VM_OPT_STRING, &work, NULL},
		{},
	};
	int r = vm_parse_id("restore", argv, opts, &id, err);

	if (r == 0)
		r = load(image, &manifest, err);
	if (r < 0)
		return r;
	if (!realpath(image, real))
		return dink_err_set(err, DINK_E_HOST, errno, "%s", image);
	o.restore = manifest;
	o.image = real;
	o.own_terminal = !detach;
	return detach ? vm_launch(g, &o, id, &pid, err) : vm_run_attached(g, &o, id, err);
}
