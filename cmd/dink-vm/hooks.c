/* SPDX-License-Identifier: Apache-2.0 */
/* OCI hooks of the host side: the state on stdin, in the runtime's own namespaces. */
#include "cmd/dink-vm/vm.h"

#include "provision/base/proc.h"

enum { HOOK_TIMEOUT_MS = 60000 };

static char *make_hook_state(const struct dink_vmstate *s, const char *status)
{
	_cleanup_json_ struct json_object *o = dink_json_new();
	struct json_object *a = dink_json_get(s->doc, "annotations");

	dink_json_set_str(o, "ociVersion", "1.0.2");
	dink_json_set_str(o, "id", s->id);
	dink_json_set_str(o, "status", status);
	if (!STREQ(status, "stopped"))
		dink_json_set_int(o, "pid", s->monitor.pid);
	dink_json_set_str(o, "bundle", dink_json_str_or(s->doc, "bundle", ""));
	if (a)
		dink_json_set(o, "annotations", json_object_get(a));
	return dink_json_text(o);
}

static int run_hook(struct json_object *hook, const char *name, const char *state,
		    struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	_cleanup_strv_ struct dink_strv args = {};
	const char *path = dink_json_str_or(hook, "path", "");
	struct json_object *a = dink_json_get(hook, "args");
	struct json_object *e = dink_json_get(hook, "env");
	int64_t seconds = dink_json_int_or(hook, "timeout", 0);

	if (path[0] != '/')
		return dink_err_set(err, DINK_E_USAGE, 0, "%s hook without an absolute path", name);
	if (a && !dink_json_to_strv(a, &args))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s hook %s: args are no strings", name,
				    path);
	/* docker's hook is /proc/PID/exe and chooses by argv[0] what it is */
	cmd.program = path;
	dink_strv_add(&cmd.argv, args.n ? args.v[0] : path);
	for (size_t i = 1; i < args.n; i++)
		dink_strv_add(&cmd.argv, args.v[i]);
	if (e && !dink_json_to_strv(e, &cmd.env))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s hook %s: env is no strings", name,
				    path);
	cmd.input = state;
	cmd.input_len = strlen(state);
	cmd.timeout_ms = seconds > 0 && seconds < 3600 ? (uint32_t)seconds * 1000 : HOOK_TIMEOUT_MS;
	int r = dink_cmd_run(&cmd, err);
	return r < 0 ? dink_err_push(err, "running the %s hook", name) : 0;
}

int vm_run_hooks(struct json_object *hooks, const char *name, const struct dink_vmstate *s,
		 const char *status, struct dink_err *err)
{
	struct json_object *list = dink_json_get(hooks, name);

	if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) == 0)
		return 0;
	_cleanup_free_ char *state = make_hook_state(s, status);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		int r = run_hook(json_object_array_get_idx(list, i), name, state, err);
		if (r < 0)
			return r;
	}
	return 0;
}
