/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink inspect: what a layer is, as its engine has it; with --oci the config.json that its runtime
 * was started with.
 *
 * That file is in the bundle folder of containerd, which is the working folder of the container's
 * shim, or in what conmon has after -b. Both are the parent process of the container's own, seen in
 * the /proc of the layer that the engine runs in: on the host ours, else read there.
 */
#include "cmd/dink/attach.h"

#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/step/instance.h"

struct inspect_opts {
	bool oci;
};

enum { TEXT_MAX = 4 << 20 };

/* A file as seen by the engine of the layer: here, or in the layer that the engine runs in. */
static char *read_at_engine(const struct dink_reach *reach, const char *path, size_t *ret_len,
			    struct dink_err *err)
{
	_cleanup_free_ char *text = NULL, *name = xstrdup(path);
	const struct dink_reach_hop *layer, *outer;
	char *argv[] = {(char[]){"cat"}, name, NULL};
	int r;

	if (reach->n_hops < 3) {
		r = dink_file_read(path, TEXT_MAX, &text, ret_len, err);
		return r < 0 ? NULL : TAKE_PTR(text);
	}
	layer = &reach->hops[reach->n_hops - 2];
	outer = &reach->hops[reach->n_hops - 3];
	r = dink_engine_exec_capture(outer->engine, layer->container, argv, TEXT_MAX, &text, err);
	if (r > 0)
		dink_err_set(err, DINK_E_CHILD, 0, "read %s in %s: %s", path, layer->address, text);
	if (r != 0)
		return NULL;
	*ret_len = strlen(text);
	return TAKE_PTR(text);
}

/* The parent of a process there: a shim or conmon. */
static int64_t find_shim(const struct dink_reach *reach, int64_t pid, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("/proc/%lld/status", (long long)pid), *text = NULL;
	const char *line;
	size_t len;

	text = read_at_engine(reach, path, &len, err);
	if (!text)
		return -1;
	line = strstr(text, "\nPPid:");
	return line ? strtoll(line + 6, NULL, 10) : 0;
}

/* conmon's bundle: the word after -b or --bundle; NULL if it has none. */
static char *bundle_of_conmon(const struct dink_reach *reach, int64_t shim)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *path = xasprintf("/proc/%lld/cmdline", (long long)shim), *text = NULL;
	size_t len = 0;

	if (reach->n_hops >= 3)
		return NULL; /* its words are apart by NUL, which the engine's capture ends at */
	text = read_at_engine(reach, path, &len, &quiet);
	for (size_t i = 0; text && i < len;) {
		const char *word = text + i;

		i += strlen(word) + 1;
		if ((STREQ(word, "-b") || STREQ(word, "--bundle")) && i < len)
			return xstrdup(text + i);
	}
	return NULL;
}

static int print_oci(const struct dink_reach *reach, struct json_object *info, struct dink_err *err)
{
	int64_t pid = dink_json_int_or(info, "State.Pid", 0), shim;
	_cleanup_free_ char *bundle = NULL, *path = NULL, *text = NULL;
	struct json_object *o = NULL;
	size_t len = 0;

	if (pid <= 0) {
		dink_err_set(err, DINK_E_HOST, ESRCH, "the layer does not run");
		return dink_err_hint(err, "its config.json is there only while it runs");
	}
	shim = find_shim(reach, pid, err);
	if (shim < 0)
		return -EIO;
	bundle = bundle_of_conmon(reach, shim);
	path = bundle ? xasprintf("%s/config.json", bundle)
		      : xasprintf("/proc/%lld/cwd/config.json", (long long)shim);
	text = read_at_engine(reach, path, &len, err);
	if (!text)
		return dink_err_push(err, "looking for the config.json of process %lld",
				     (long long)pid);
	if (dink_json_parse(text, len, "config.json", &o, err) < 0)
		return -EINVAL;
	cmd_print_json(o);
	return 0;
}

static void print_list(const char *what, struct json_object *info, const char *path)
{
	_cleanup_strv_ struct dink_strv sv = {};
	_cleanup_free_ char *joined = NULL;
	struct json_object *o = dink_json_get(info, path);

	if (!o || !dink_json_to_strv(o, &sv) || sv.n == 0)
		return;
	joined = dink_strv_join(&sv, " ");
	printf("  %-11s ", what);
	cmd_print_cell(0, joined);
	printf("\n");
}

static void print_text(const char *what, struct json_object *info, const char *path)
{
	const char *s = dink_json_str_or(info, path, NULL);

	if (!s || !*s)
		return;
	printf("  %-11s ", what);
	cmd_print_cell(0, s);
	printf("\n");
}

static void print_layer(const char *address, const struct dink_reach *reach,
			struct json_object *info)
{
	struct json_object *mounts = dink_json_get(info, "Mounts");

	printf("%s\n", address);
	print_text("container", info, "Id");
	print_text("image", info, "Config.Image");
	print_text("runtime", info, "HostConfig.Runtime");
	print_text("state", info, "State.Status");
	printf("  %-11s %lld\n", "pid", (long long)dink_json_int_or(info, "State.Pid", 0));
	printf("  %-11s %s\n", "walls", reach->is_vm ? "virtual machine" : "namespaces");
	print_text("started", info, "State.StartedAt");
	print_text("program", info, "Path");
	print_list("arguments", info, "Args");
	print_list("granted", info, "HostConfig.CapAdd");
	print_text("network", info, "HostConfig.NetworkMode");
	print_text("cgroups", info, "HostConfig.CgroupnsMode");
	if (dink_json_int_or(info, "HostConfig.Memory", 0))
		printf("  %-11s %lld MiB\n", "memory",
		       (long long)(dink_json_int_or(info, "HostConfig.Memory", 0) >> 20));
	for (size_t i = 0; i < dink_json_len(info, "Mounts"); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);

		printf("  %-11s ", i ? "" : "mounts");
		cmd_print_cell(0, dink_json_str_or(m, "Destination", "?"));
		printf(" <- ");
		cmd_print_cell(0, dink_json_str_or(m, "Source", "?"));
		printf("%s\n", dink_json_bool_or(m, "RW", true) ? "" : " (read-only)");
	}
	if (reach->hops[reach->n_hops - 1].socket)
		printf("  %-11s %s\n", "daemon", reach->hops[reach->n_hops - 1].socket);
}

static int run_inspect(struct dink_args *args, struct dink_err *err)
{
	const struct inspect_opts *o = args->opts;
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_json_ struct json_object *info = NULL;
	int r = cmd_reach_layer(args->v[0], &reach, err);

	if (r < 0)
		return r;
	r = dink_engine_inspect(reach.parent, reach.container, &info, err);
	if (r == -ENOENT && !dink_err_is_set(err)) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "the container of %s is gone", args->v[0]);
		return dink_err_hint(err, "dink status; dink up makes it anew");
	}
	if (r < 0)
		return r;
	if (o->oci)
		return print_oci(&reach, info, err);
	if (args->json)
		cmd_print_json(TAKE_PTR(info));
	else
		print_layer(args->v[0], &reach, info);
	return 0;
}

static const struct dink_opt inspect_options[] = {
	{0, "oci", DINK_OPT_FLAG, offsetof(struct inspect_opts, oci), NULL,
	 "the config.json that the layer's runtime was given", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_inspect = {
	.name = "inspect",
	.operands = "LAYER",
	.summary = "show what a layer is, as its engine or its runtime has it",
	.examples = "  dink inspect docker-in-kata/proxy\n"
		    "  dink inspect --oci docker-in-kata/proxy/kata | jq .process.capabilities\n",
	.opts = inspect_options,
	.opts_size = sizeof(struct inspect_opts),
	.min_args = 1,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_inspect,
};
