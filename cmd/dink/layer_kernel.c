/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer's kernel was built with, as the layer itself reads it; and what it has to have: by
 * the instance's plan, the features of the guest kernel that the layer is above, or those of its
 * daemon on the host's kernel.
 */
#include "cmd/dink/layer_kernel.h"

#include "cmd/dink/attach.h"
#include "provision/base/dirs.h"
#include "provision/base/json.h"

#include <fcntl.h>

static void add_feature(struct dink_strv *features, const char *name)
{
	if (name && dink_kernel_feature_is_known(name) && !dink_strv_has(features, name))
		dink_strv_add(features, name);
}

static void add_kernel_features(struct json_object *plan, const char *kernel,
				struct dink_strv *features)
{
	struct json_object *o = dink_json_find(plan, "kernels", "name", kernel);
	_cleanup_strv_ struct dink_strv names = {};

	if (!o || !dink_json_to_strv(dink_json_get(o, "features"), &names))
		return;
	for (size_t k = 0; k < names.n; k++)
		add_feature(features, names.v[k]);
}

static void add_daemon_features(struct json_object *layer, struct dink_strv *features)
{
	const char *driver = dink_json_str_or(layer, "storage_driver", NULL);

	add_feature(features, "containers");
	if (STREQ(dink_json_str_or(layer, "daemon", "none"), "none"))
		return;
	add_feature(features, "iptables");
	add_feature(features, driver && STREQ(driver, "overlay2") ? "overlay" : driver);
}

/* From the layer outward: the first kernel is the one below. */
static void find_features(const char *address, struct cmd_layer_kernel *k)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *at = xstrdup(address);
	_cleanup_json_ struct json_object *plan = NULL;
	struct json_object *layer;
	bool asked = k->features->n > 0;

	if (dink_instance_plan(address, &plan, &quiet) < 0)
		return;
	for (char *slash; !k->is_guest && (slash = strrchr(at, '/')); *slash = '\0') {
		struct json_object *l = dink_json_find(plan, "layers", "path", at);
		const char *kernel = l ? dink_json_str_or(l, "kernel", NULL) : NULL;

		if (kernel && !asked)
			add_kernel_features(plan, kernel, k->features);
		k->is_guest = kernel != NULL;
	}
	layer = dink_json_find(plan, "layers", "path", address);
	if (!asked && k->features->n == 0 && layer)
		add_daemon_features(layer, k->features);
}

static int read_config(const struct dink_reach *reach, int fd, struct dink_err *err)
{
	char *argv[] = {(char[]){"cat"}, (char[]){"/proc/config.gz"}, NULL};
	struct dink_exec x = {.container = reach->container,
			      .argv = argv,
			      .in = -1,
			      .out = fd,
			      .errfd = -1,
			      .winch_fd = -1};
	int r = dink_engine_exec(reach->parent, &x, err);

	if (r < 0)
		return r;
	if (r == 0)
		return 0;
	dink_err_set(err, DINK_E_HOST, ENOENT, "the layer has no /proc/config.gz to read");
	return dink_err_hint(err,
			     "its kernel has no IKCONFIG_PROC; check its .config file instead");
}

int cmd_layer_kernel(const char *address, struct cmd_layer_kernel *k, struct dink_err *err)
{
	_cleanup_free_ char *file = dink_temp_path("/tmp", "dink-kernel-XXXXXX.gz");
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_close_ int fd = -1;
	int r = cmd_reach(address, &reach, err);

	if (r < 0)
		return r;
	find_features(address, k);
	fd = mkostemps(file, 3, O_CLOEXEC);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make %s", file);
	r = read_config(&reach, fd, err);
	if (r == 0)
		r = dink_kconfig_load(file, false, k->kc, err);
	(void)unlink(file);
	return r < 0 ? dink_err_push(err, "reading the kernel configuration in %s", address) : 0;
}
