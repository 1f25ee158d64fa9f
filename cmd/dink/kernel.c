/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink kernel build|check|list|bundle: guest kernels without a scenario.
 */
#include "cmd/dink/layer_kernel.h"

#include "kernel-configs/kernel.h"
#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/vm/guest.h"

struct kernel_opts {
	const char *source, *sha256;
	struct dink_strv features; /* as given: may hold commas */
	const char *output;
	const char *in; /* a layer, whose running kernel is checked */
};

#define OPT_FEATURES                                                                               \
	{                                                                                          \
		.long_name = "features", .kind = DINK_OPT_STRV,                                    \
		.offset = offsetof(struct kernel_opts, features), .metavar = "NAME[,NAME]",        \
		.help = "what the kernel must be able to do beside the standard features",         \
		.complete = DINK_COMPLETE_FEATURE                                                  \
	}
#define OPT_SOURCE                                                                                 \
	{                                                                                          \
		.long_name = "source", .kind = DINK_OPT_STRING,                                    \
		.offset = offsetof(struct kernel_opts, source), .metavar = "SOURCE",               \
		.help = "debian (default), debian:VERSION, or the path of a tarball",              \
		.complete = DINK_COMPLETE_FILE                                                     \
	}
#define OPT_SHA256                                                                                 \
	{                                                                                          \
		.long_name = "sha256", .kind = DINK_OPT_STRING,                                    \
		.offset = offsetof(struct kernel_opts, sha256), .metavar = "HEX",                  \
		.help = "checksum of the tarball"                                                  \
	}

/* "a,b" "c" -> a b c, sorted, each once */
static void split_features(const struct dink_strv *given, struct dink_strv *out)
{
	for (size_t i = 0; i < given->n; i++) {
		const char *s = given->v[i];

		while (*s) {
			size_t n = strcspn(s, ",");
			char *name = xstrndup(s, n);

			if (n > 0 && !dink_strv_has(out, name))
				dink_strv_own(out, name);
			else
				free(name);
			s += n + (s[n] ? 1 : 0);
		}
	}
	dink_strv_sort(out);
}

static int get_kernel(struct dink_args *args, struct dink_kernel *ret, struct dink_err *err)
{
	const struct kernel_opts *o = args->opts;
	_cleanup_strv_ struct dink_strv features = {};
	struct dink_kernel_want want = {
		.source = o->source, .sha256 = o->sha256, .features = &features};

	split_features(&o->features, &features);
	dink_catch_interrupts();
	return dink_kernel_get(&want, &args->progress, ret, err);
}

static int run_build(struct dink_args *args, struct dink_err *err)
{
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {};
	struct json_object *o;
	int r = get_kernel(args, &k, err);

	if (r < 0)
		return r;
	if (!args->json) {
		printf("%s\n", k.dir);
		return 0;
	}
	o = dink_json_new();
	dink_json_set_str(o, "dir", k.dir);
	dink_json_set_str(o, "vmlinux", k.vmlinux);
	dink_json_set_str(o, "bzimage", k.bzimage);
	dink_json_set_str(o, "config", k.config);
	dink_json_set_str(o, "release", k.release);
	dink_json_set_str(o, "key", k.key);
	cmd_print_json(o);
	return 0;
}

static struct json_object *lacks_json(const struct dink_kernel_lacks *lacks)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < lacks->n; i++) {
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "symbol", lacks->v[i].symbol);
		dink_json_set_str(o, "wanted", lacks->v[i].wanted);
		dink_json_set_str(o, "found", lacks->v[i].found);
		dink_json_set_str(o, "feature", lacks->v[i].feature);
		dink_json_set_str(o, "why", lacks->v[i].why);
		json_object_array_add(list, o);
	}
	return list;
}

static void print_check(struct dink_args *args, const char *path, const struct dink_strv *features,
			const struct dink_kernel_lacks *lacks)
{
	struct json_object *o;

	if (args->json) {
		o = dink_json_new();
		dink_json_set_str(o, "config", path);
		dink_json_set(o, "features", dink_json_strv(features));
		dink_json_set_bool(o, "ok", lacks->n == 0);
		dink_json_set(o, "missing", lacks_json(lacks));
		cmd_print_json(o);
		return;
	}
	for (size_t i = 0; i < lacks->n; i++) {
		_cleanup_free_ char *line = dink_kernel_lack_text(&lacks->v[i]);

		printf("%s\n", line);
	}
	if (lacks->n == 0)
		printf("%s has everything\n", path);
	else
		printf("%s: %zu missing\n", path, lacks->n);
}

/* Without --features, what every kernel of dink's has. */
static void add_standard(struct dink_strv *features)
{
	for (const char *const *n = dink_kernel_features(); features->n == 0 || *n; n++) {
		if (!*n)
			return;
		if (dink_kernel_feature_find(*n)->standard)
			dink_strv_add(features, *n);
	}
}

/* What dink-vm wants of a guest is no matter of a kernel that is none. */
static void drop_guest_lacks(struct dink_kernel_lacks *lacks)
{
	struct dink_kernel_lacks kept = {};

	kept.v = xcalloc(lacks->n + 1, sizeof(*kept.v));
	for (size_t i = 0; i < lacks->n; i++) {
		if (STREQ(lacks->v[i].feature, "guest"))
			continue;
		kept.v[kept.n++] = lacks->v[i];
		lacks->v[i] = (struct dink_kernel_lack){};
	}
	dink_kernel_lacks_clear(lacks);
	*lacks = kept;
}

static int run_check(struct dink_args *args, struct dink_err *err)
{
	const struct kernel_opts *o = args->opts;
	_cleanup_strv_ struct dink_strv features = {};
	_cleanup_kconfig_ struct dink_kconfig kc = {};
	_cleanup_(dink_kernel_lacks_clear) struct dink_kernel_lacks lacks = {};
	struct cmd_layer_kernel in = {.kc = &kc, .features = &features};
	int r;

	if ((o->in != NULL) == (args->n > 0)) {
		dink_err_set(err, DINK_E_USAGE, 0, "give a configuration, or --in LAYER");
		return dink_err_hint(err, "dink kernel check --help");
	}
	split_features(&o->features, &features);
	if (o->in) {
		r = cmd_layer_kernel(o->in, &in, err);
	} else {
		if (features.n == 0)
			add_standard(&features);
		r = dink_kconfig_load(args->v[0], false, &kc, err);
	}
	if (r >= 0)
		r = dink_kernel_check(&kc, &features, &lacks, err);
	if (r < 0)
		return r;
	if (o->in && !in.is_guest)
		drop_guest_lacks(&lacks);
	print_check(args, o->in ? o->in : args->v[0], &features, &lacks);
	return lacks.n == 0 ? 0 : DINK_E_HOST;
}

static struct json_object *features_json(void)
{
	struct json_object *list = json_object_new_array();

	for (const char *const *n = dink_kernel_features(); *n; n++) {
		const struct dink_kernel_feature *f = dink_kernel_feature_find(*n);
		struct json_object *o = dink_json_new();

		dink_json_set_str(o, "name", f->name);
		dink_json_set_str(o, "summary", f->summary);
		dink_json_set_bool(o, "standard", f->standard);
		json_object_array_add(list, o);
	}
	return list;
}

/* The manifests of all kernels in the cache, sorted by key. */
static int read_cache(struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/kernels", dink_cache_dir());
	_cleanup_closedir_ DIR *d = opendir(dir);
	_cleanup_strv_ struct dink_strv names = {};
	_cleanup_json_ struct json_object *list = json_object_new_array();
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strlen(e->d_name) == 64)
			dink_strv_add(&names, e->d_name);
	dink_strv_sort(&names);
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s/manifest.json", dir, names.v[i]);
		struct json_object *o = NULL;
		int r;

		if (!dink_exists(path))
			continue;
		r = dink_json_parse_file(path, &o, err);
		if (r < 0)
			return r;
		json_object_array_add(list, o);
	}
	*ret = TAKE_PTR(list);
	return 0;
}

static void print_list(struct json_object *kernels)
{
	printf("features of every kernel (*) and others:\n");
	for (const char *const *n = dink_kernel_features(); *n; n++) {
		const struct dink_kernel_feature *f = dink_kernel_feature_find(*n);

		printf("  %c %-13s %s\n", f->standard ? '*' : ' ', f->name, f->summary);
	}
	printf("\nkernels in the cache:\n");
	for (size_t i = 0; i < json_object_array_length(kernels); i++) {
		struct json_object *o = json_object_array_get_idx(kernels, i);
		_cleanup_strv_ struct dink_strv features = {};
		_cleanup_free_ char *joined = NULL;

		if (dink_json_to_strv(dink_json_get(o, "features"), &features))
			joined = dink_strv_join(&features, ",");
		printf("  %.12s  %-16s %s%s%s\n", dink_json_str_or(o, "key", "?"),
		       dink_json_str_or(o, "release", "?"), dink_json_str_or(o, "source", "?"),
		       joined && *joined ? " + " : "", joined ? joined : "");
	}
}

static int run_list(struct dink_args *args, struct dink_err *err)
{
	_cleanup_json_ struct json_object *kernels = NULL;
	struct json_object *o;
	int r = read_cache(&kernels, err);

	if (r < 0)
		return r;
	if (!args->json) {
		print_list(kernels);
		return 0;
	}
	o = dink_json_new();
	dink_json_set(o, "features", features_json());
	dink_json_set(o, "kernels", TAKE_PTR(kernels));
	cmd_print_json(o);
	return 0;
}

static int copy_guest(const char *from, const char *to, struct dink_err *err)
{
	_cleanup_cmd_ struct dink_cmd cmd = DINK_CMD_INIT;
	int r = dink_mkdir_p(to, 0755, err);

	if (r < 0)
		return r;
	dink_cmd_argv(&cmd, "cp", "-RL", "--preserve=mode,timestamps", NULL);
	dink_strv_addf(&cmd.argv, "%s/.", from);
	dink_strv_addf(&cmd.argv, "%s/", to);
	return dink_cmd_run(&cmd, err);
}

static int run_bundle(struct dink_args *args, struct dink_err *err)
{
	const struct kernel_opts *o = args->opts;
	_cleanup_(dink_kernel_clear) struct dink_kernel k = {};
	_cleanup_guest_programs_ struct dink_guest_programs programs = {};
	_cleanup_free_ char *dir = NULL;
	int r = dink_guest_find(&programs, err);

	if (r >= 0)
		r = get_kernel(args, &k, err);
	if (r >= 0)
		r = dink_guest_make(k.vmlinux, &programs, &dir, err);
	if (r >= 0 && o->output)
		r = copy_guest(dir, o->output, err);
	if (r < 0)
		return r;
	printf("%s\n", o->output ? o->output : dir);
	return 0;
}

static const struct dink_opt build_opts[] = {OPT_FEATURES, OPT_SOURCE, OPT_SHA256, {}};
static const struct dink_opt check_opts[] = {
	{
		.long_name = "in",
		.kind = DINK_OPT_STRING,
		.offset = offsetof(struct kernel_opts, in),
		.metavar = "LAYER",
		.help = "the running kernel below that layer, for what the layer does",
		.complete = DINK_COMPLETE_LAYER,
	},
	OPT_FEATURES,
	{},
};
static const struct dink_opt bundle_opts[] = {
	{
		.short_name = 'o',
		.long_name = "output",
		.kind = DINK_OPT_STRING,
		.offset = offsetof(struct kernel_opts, output),
		.metavar = "DIR",
		.help = "where the folder goes (default: only the cache)",
		.complete = DINK_COMPLETE_DIR,
	},
	OPT_FEATURES,
	OPT_SOURCE,
	OPT_SHA256,
	{},
};

const struct dink_command cmd_kernel_build = {
	.name = "kernel build",
	.operands = "",
	.summary = "build a guest kernel, or find it in the cache",
	.examples = "  dink kernel build                        the standard kernel from Debian's "
		    "sources\n"
		    "  dink kernel build --features wireguard   one that can do more\n"
		    "  dink kernel build --source linux-6.12.tar.xz --sha256 HEX\n",
	.opts = build_opts,
	.opts_size = sizeof(struct kernel_opts),
	.has_json = true,
	.run = run_build,
};

const struct dink_command cmd_kernel_check = {
	.name = "kernel check",
	.operands = "[CONFIG]",
	.summary = "tell what a kernel configuration, or a layer's running kernel, lacks",
	.examples = "  dink kernel check /proc/config.gz --features containers,btrfs\n"
		    "  dink kernel check .config --json\n"
		    "  dink kernel check --in docker-in-kata/proxy/kata\n",
	.opts = check_opts,
	.opts_size = sizeof(struct kernel_opts),
	.n_files = 1,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_FILE,
	.run = run_check,
};

const struct dink_command cmd_kernel_list = {
	.name = "kernel list",
	.operands = "",
	.summary = "list kernel features and the kernels in the cache",
	.examples = "  dink kernel list --json\n",
	.has_json = true,
	.run = run_list,
};

const struct dink_command cmd_kernel_bundle = {
	.name = "kernel bundle",
	.operands = "",
	.summary = "make the folder that dink-vm starts guests from",
	.examples = "  dink kernel bundle -o /usr/local/lib/dink/guest\n",
	.opts = bundle_opts,
	.opts_size = sizeof(struct kernel_opts),
	.run = run_bundle,
};
