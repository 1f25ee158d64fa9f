/* SPDX-License-Identifier: Apache-2.0 */
/* Steps inside engines: load an image, create and start a container, wait for its daemon. */
#include "images/images.h"
#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/engine.h"
#include "provision/engine/http.h"
#include "provision/scenario/scenario.h"
#include "provision/step/image_sync.h"
#include "provision/step/instance.h"
#include "provision/step/kinds.h"
#include "provision/vm/oci.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { STOP_GRACE_S = 15, LOG_TAIL_MAX = 4096, READY_SLICE_MS = 1000 };

static int reach(struct dink_step_ctx *ctx, const char *address, struct dink_reach *ret,
		 struct dink_err *err)
{
	return dink_reach_from(dink_step_journal(ctx), dink_step_instance(ctx), address, ret, err);
}

int dink_step_engine(struct dink_step_ctx *ctx, const char *address, struct dink_reach *ret,
		     struct dink_engine **ret_engine, struct dink_err *err)
{
	int r = reach(ctx, address, ret, err);

	if (r < 0)
		return r;
	*ret_engine = ret->hops[ret->n_hops - 1].engine;
	if (!*ret_engine)
		return dink_err_set(err, DINK_E_CHILD, ESRCH, "the engine of %s does not run",
				    address);
	return 0;
}

static const char *engine_address(struct dink_step_ctx *ctx, struct json_object *params)
{
	return dink_json_str_or(params, "parent", dink_step_instance(ctx));
}

/* --- image-load ---------------------------------------------------------------------------- */

/*
 * Something of the image's step. A layer with a block root gets its root filesystem from a disk:
 * its engine is given the same config over a layer of names, some KiB instead of hundreds of MiB.
 */
static char *image_result(struct dink_step_ctx *ctx, struct json_object *params, const char *what)
{
	_cleanup_free_ char *key = xasprintf("image:%s", dink_json_str_or(params, "image", ""));
	bool block_root = dink_json_bool_or(params, "block_root", false);
	_cleanup_free_ char *field = xasprintf("%s%s", block_root ? "block_root_" : "", what);

	return dink_step_result(ctx, key, field);
}

static char *describe_load(struct json_object *params)
{
	return xasprintf("image %s%s into %s", dink_json_str_or(params, "image", "?"),
			 dink_json_bool_or(params, "block_root", false) ? ":block-root" : "",
			 dink_json_str_or(params, "engine", "?"));
}

/* Where the engine has that very image already, nothing is sent. */
static int load_image(struct dink_step_ctx *ctx, struct dink_engine *e, struct json_object *params,
		      struct dink_err *err)
{
	_cleanup_free_ char *ref = image_result(ctx, params, "ref");
	_cleanup_free_ char *id = image_result(ctx, params, "id");
	_cleanup_free_ char *archive = image_result(ctx, params, "archive"), *there = NULL;
	int r;

	if (!ref || !id || !archive)
		return dink_err_set(err, DINK_E_BUG, 0, "image %s is not known yet",
				    dink_json_str_or(params, "image", ""));
	r = dink_engine_image_id(e, ref, &there, err);
	if (r < 0)
		return r;
	if (there && STREQ(there, id))
		return 0;
	return dink_image_give(e, archive, dink_step_progress(ctx), err);
}

static int apply_load(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object **ret, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reached = {};
	const char *registry = dink_json_str_or(params, "registry", NULL);
	struct dink_engine *e = NULL;
	int r = dink_step_engine(ctx, dink_json_str_or(params, "engine", ""), &reached, &e, err);

	(void)ret;
	if (r < 0)
		return r;
	if (registry)
		return dink_image_pull(e, registry, err);
	return load_image(ctx, e, params, err);
}

static int check_load(struct dink_step_ctx *ctx, struct json_object *params,
		      struct json_object *identity, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reached = {};
	_cleanup_free_ char *id = image_result(ctx, params, "id");
	_cleanup_free_ char *ref = image_result(ctx, params, "ref"), *there = NULL;
	const char *registry = dink_json_str_or(params, "registry", NULL);
	struct dink_engine *e = NULL;
	int r = dink_step_engine(ctx, dink_json_str_or(params, "engine", ""), &reached, &e, err);

	(void)identity;
	if (r < 0 || (!registry && (!id || !ref)))
		return 0;
	r = dink_engine_image_id(e, registry ? registry : ref, &there, err);
	return r == 0 && there && (registry || STREQ(there, id));
}

/* Nothing is undone: it is like one in the cache, the next `up` is quicker for it. */
const struct dink_step_kind dink_kind_image_load = {
	.name = "image-load",
	.describe = describe_load,
	.apply = apply_load,
	.check = check_load,
};

/* --- container ----------------------------------------------------------------------------- */

static char *describe_container(struct json_object *params)
{
	return xasprintf("start %s (%s, image %s)", dink_json_str_or(params, "layer", "?"),
			 dink_json_str_or(params, "runtime", "?"),
			 dink_json_str_or(params, "image", "?"));
}

/* One entry of params.binds as an entry of HostConfig.Mounts. */
static int add_mount(struct dink_step_ctx *ctx, struct json_object *bind,
		     struct json_object *mounts, struct dink_err *err)
{
	const char *from = dink_json_str_or(bind, "from", NULL);
	const char *target = dink_json_str_or(bind, "target", "");
	_cleanup_free_ char *source = NULL;
	struct json_object *o;

	if (from)
		source = dink_step_result(ctx, from, dink_json_str_or(bind, "member", ""));
	else
		source = xstrdup(dink_json_str_or(bind, "sub", ""));
	if (!source || !*source)
		return dink_err_set(err, DINK_E_BUG, 0,
				    "the source of the mount at %s (%s) is not known", target,
				    from ? from : "");
	o = dink_json_new();
	dink_json_set_str(o, "Type", "bind");
	dink_json_set_str(o, "Source", source);
	dink_json_set_str(o, "Target", target);
	dink_json_set_bool(o, "ReadOnly", dink_json_bool_or(bind, "read_only", false));
	json_object_array_add(mounts, o);
	return 0;
}

static int add_seccomp(struct json_object *params, struct json_object *host, struct dink_err *err)
{
	const char *path = dink_json_str_or(params, "seccomp", NULL);
	_cleanup_free_ char *text = NULL, *option = NULL;
	int r;

	if (!path)
		return 0;
	/* Docker takes the profile's text, Podman the path of a file that its service reads. */
	if (!dink_json_bool_or(params, "seccomp_by_path", false)) {
		r = dink_file_read(path, 1 << 20, &text, NULL, err);
		if (r < 0)
			return r;
	}
	option = xasprintf("seccomp=%s", text ? text : path);
	json_object_array_add(dink_json_member(host, "SecurityOpt", true),
			      json_object_new_string(option));
	return 0;
}

static int name_program(const char *program, const char *option, struct dink_err *err)
{
	_cleanup_free_ char *path = dink_which(program), *copy = option ? xstrdup(option) : NULL;
	char *args[2] = {copy};

	if (!path) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "the runtime %s is not installed", program);
		return dink_err_hint(err, "apt-get install %s", program);
	}
	return dink_private_engine_runtime(program, path, args, err);
}

/* In the private engine: one runtime for each guest folder, named by it. */
static int name_runtime(struct dink_step_ctx *ctx, struct json_object *params,
			struct json_object *host, struct dink_err *err)
{
	const char *guest = dink_json_str_or(params, "runtime_guest", NULL);
	const char *program = dink_json_str_or(params, "runtime_program", NULL);
	_cleanup_free_ char *key = NULL, *dir = NULL, *name = NULL, *path = NULL, *option = NULL;
	char *args[2] = {};
	int r;

	if (program)
		return name_program(program, dink_json_str_or(params, "runtime_option", NULL), err);
	if (!guest)
		return 0;
	key = xasprintf("guest:%s", guest);
	dir = dink_step_result(ctx, key, "dir");
	if (!dir)
		return dink_err_set(err, DINK_E_BUG, 0, "the guest folder of %s is not known",
				    guest);
	name = xasprintf("dink-vm-%.12s", strrchr(dir, '/') + 1);
	path = xasprintf("%s/dink-vm", dir);
	args[0] = option = xasprintf("--guest=%s", dir);
	r = dink_private_engine_runtime(name, path, args, err);
	if (r < 0)
		return r;
	dink_json_set_str(host, "Runtime", name);
	return 0;
}

/* What the engine says of a container's address; "" where it has none. */
static const char *address_of(struct json_object *info)
{
	const char *address = dink_json_str_or(info, "NetworkSettings.IPAddress", "");
	struct json_object *nets = dink_json_get(info, "NetworkSettings.Networks");

	if (*address || !json_object_is_type(nets, json_type_object))
		return address;
	json_object_object_foreach(nets, name, net)
	{
		(void)name;
		address = dink_json_str_or(net, "IPAddress", "");
		if (*address)
			break;
	}
	return address;
}

/* "NAME:ADDRESS", as ExtraHosts has it, of one entry of params.reach; caller frees. */
static int find_host(struct dink_step_ctx *ctx, struct json_object *one, char **ret,
		     struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reached = {};
	_cleanup_json_ struct json_object *info = NULL;
	const char *name = dink_json_str_or(one, "name", "");
	struct dink_engine *e = NULL;
	const char *address;
	int r = dink_step_engine(ctx, dink_json_str_or(one, "engine", ""), &reached, &e, err);

	if (r == 0)
		r = dink_engine_inspect(e, dink_json_str_or(one, "container", ""), &info, err);
	if (r == -ENOENT && !dink_err_is_set(err))
		return dink_err_set(err, DINK_E_CHILD, ESRCH, "layer %s does not run", name);
	if (r < 0)
		return r;
	address = address_of(info);
	if (!*address) {
		dink_err_set(err, DINK_E_CHILD, 0, "layer %s has no address to be reached at",
			     name);
		return dink_err_hint(err, "dink logs shows whether it still runs");
	}
	*ret = xasprintf("%s:%s", name, address);
	return 0;
}

static int add_hosts(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object *host, struct dink_err *err)
{
	struct json_object *list = dink_json_get(params, "reach");

	for (size_t i = 0; i < dink_json_len(params, "reach"); i++) {
		_cleanup_free_ char *line = NULL;
		int r = find_host(ctx, json_object_array_get_idx(list, i), &line, err);

		if (r < 0)
			return r;
		json_object_array_add(dink_json_member(host, "ExtraHosts", true),
				      json_object_new_string(line));
	}
	return 0;
}

/* Whether those that it reaches are still where its /etc/hosts says. */
static bool hosts_are_right(struct dink_step_ctx *ctx, struct json_object *params,
			    struct json_object *info)
{
	_cleanup_json_ struct json_object *host = dink_json_new();
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	struct json_object *has = dink_json_get(info, "HostConfig.ExtraHosts");

	if (dink_json_len(params, "reach") == 0)
		return true;
	if (add_hosts(ctx, params, host, &quiet) < 0)
		return false;
	return json_object_equal(dink_json_get(host, "ExtraHosts"), has);
}

/* A guest has as long to start as its engine then has to answer. */
static void set_patience(struct dink_step_ctx *ctx, struct json_object *params,
			 struct json_object *body)
{
	_cleanup_free_ char *word = NULL;

	if (!STREQ(dink_json_str_or(params, "runtime", ""),
		   dink_runtime_name(DINK_RUNTIME_DINK_VM)))
		return;
	word = xasprintf(DINK_OCI_BOOT_TIMEOUT "=%u", (dink_step_timeout_ms(ctx) + 999) / 1000);
	json_object_array_add(dink_json_member(body, "Env", true), json_object_new_string(word));
}

static int make_body(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *body = NULL;
	_cleanup_free_ char *ref = image_result(ctx, params, "ref");
	const char *registry = dink_json_str_or(params, "registry", NULL);
	struct json_object *host, *binds = dink_json_get(params, "binds");
	int r;

	if (json_object_deep_copy(dink_json_get(params, "spec"), &body, NULL) < 0 ||
	    (!ref && !registry))
		return dink_err_set(err, DINK_E_BUG, 0, "a container step without spec or image");
	dink_json_set_str(body, "Image", registry ? registry : ref);
	set_patience(ctx, params, body);
	host = dink_json_member(body, "HostConfig", false);
	r = add_seccomp(params, host, err);
	if (r == 0)
		r = name_runtime(ctx, params, host, err);
	if (r == 0)
		r = add_hosts(ctx, params, host, err);
	for (size_t i = 0; r == 0 && i < dink_json_len(params, "binds"); i++)
		r = add_mount(ctx, json_object_array_get_idx(binds, i),
			      dink_json_member(host, "Mounts", true), err);
	if (r == 0)
		*ret = TAKE_PTR(body);
	return r;
}

static bool is_ours(struct json_object *info, struct json_object *params)
{
	struct json_object *labels = dink_json_get(info, "Config.Labels"), *v = NULL;

	/* Label names have dots, so no path look-up. */
	return labels && json_object_object_get_ex(labels, "dink.layer", &v) &&
	       STREQ(json_object_get_string(v), dink_json_str_or(params, "layer", ""));
}

/*
 * A container of that name from an earlier life: of ours (in a store on a kept disk, say) it is
 * replaced, another's is not touched.
 */
static int clear_name(struct dink_engine *e, struct json_object *params, struct dink_err *err)
{
	const char *name = dink_json_str_or(params, "container", "");
	_cleanup_json_ struct json_object *info = NULL;
	int r = dink_engine_inspect(e, name, &info, err);

	if (r == -ENOENT && !dink_err_is_set(err))
		return 0;
	if (r < 0)
		return r;
	if (!is_ours(info, params)) {
		dink_err_set(err, DINK_E_BUSY, EEXIST,
			     "the engine has a container named %s that is not this instance's",
			     name);
		return dink_err_hint(err, "rename it, or give the scenario another name");
	}
	return dink_engine_remove(e, name, err);
}

static int apply_container(struct dink_step_ctx *ctx, struct json_object *params,
			   struct json_object **ret, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reached = {};
	_cleanup_json_ struct json_object *body = NULL;
	_cleanup_free_ char *id = NULL;
	struct dink_engine *e = NULL;
	int r = dink_step_engine(ctx, engine_address(ctx, params), &reached, &e, err);

	if (r == 0)
		r = make_body(ctx, params, &body, err);
	if (r == 0)
		r = clear_name(e, params, err);
	if (r == 0)
		r = dink_engine_create(e, dink_json_str_or(params, "container", ""), body, &id,
				       err);
	if (r == 0)
		r = dink_engine_start(e, id, dink_step_timeout_ms(ctx) + DINK_HTTP_TIMEOUT_MS, err);
	if (r < 0)
		return r;
	*ret = dink_json_new();
	dink_json_set_str(*ret, "id", id);
	return 0;
}

/*
 * 0 only where the container is known not to run: what cannot be asked is an error, since a "no"
 * has it removed.
 */
static int check_container(struct dink_step_ctx *ctx, struct json_object *params,
			   struct json_object *identity, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reached = {};
	_cleanup_json_ struct json_object *info = NULL;
	struct dink_engine *e = NULL;
	const char *id = dink_json_str_or(identity, "id", NULL);
	int r;

	if (!id)
		return 0;
	r = dink_step_engine(ctx, engine_address(ctx, params), &reached, &e, err);
	if (r == 0)
		r = dink_engine_inspect(e, id, &info, err);
	if (r == -ESRCH || r == -ENOENT) {
		dink_err_clear(err);
		return 0;
	}
	if (r < 0)
		return r;
	return dink_json_bool_or(info, "State.Running", false) && is_ours(info, params) &&
	       hosts_are_right(ctx, params, info);
}

/*
 * A VM that writes to a kept disk ends in good order: its PID 1 gets SIGTERM, then SIGKILL, and
 * however that went the guest unmounts the disk before the VM ends. If that cannot be had any more,
 * the file system's own journal has to do.
 */
static void stop_in_order(struct dink_engine *e, struct json_object *params, const char *id)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};

	if (dink_json_bool_or(params, "good_order", false))
		(void)!dink_engine_stop(
			e, id, (uint32_t)dink_json_int_or(params, "grace_s", STOP_GRACE_S), &quiet);
}

static int remove_container(struct dink_engine *e, struct json_object *params,
			    struct json_object *identity, bool stop_only, struct dink_err *err)
{
	const char *id = dink_json_str_or(identity, "id", NULL);
	_cleanup_json_ struct json_object *info = NULL;
	int r;

	if (!id) {
		/* No identity: ours by name and label, or another's. */
		id = dink_json_str_or(params, "container", "");
		r = dink_engine_inspect(e, id, &info, err);
		if (r == -ENOENT && !dink_err_is_set(err))
			return 0;
		if (r < 0)
			return r;
		if (!is_ours(info, params))
			return 0;
	}
	stop_in_order(e, params, id);
	return stop_only ? 0 : dink_engine_remove(e, id, err);
}

/*
 * A private engine that was killed is started again, so that its store forgets the container; what
 * ran of it is swept by that. False if it cannot be: then nothing runs of the container, at least.
 */
static bool revive_private(struct dink_step_ctx *ctx)
{
	_cleanup_(dink_err_clear) struct dink_err why = {};
	const struct dink_record *rec = dink_journal_live(dink_step_journal(ctx), "engine");
	_cleanup_free_ char *socket = NULL;

	if (!rec || dink_json_str_or(rec->params, "socket", NULL))
		return rec != NULL; /* not ours to start */
	socket = dink_private_engine_socket();
	if (socket)
		return true;
	if (dink_private_engine_use(dink_step_instance(ctx), NULL, &socket, dink_step_progress(ctx),
				    &why) == 0)
		return true;
	dink_debug("step", "the private engine does not come back: %s", why.msg);
	return false;
}

static int undo_container(struct dink_step_ctx *ctx, struct json_object *params,
			  struct json_object *identity, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_reach_ struct dink_reach reached = {};
	const char *parent = dink_json_str_or(params, "parent", NULL);
	_cleanup_free_ char *outer = xasprintf("container:%s", parent ? parent : "");
	bool outer_ends = parent && dink_step_is_ending(ctx, outer);
	struct dink_engine *e = NULL;

	if (outer_ends && !dink_json_bool_or(params, "good_order", false))
		return 0;
	/* Where the engine around it is gone, so is the container. */
	if (!parent && !revive_private(ctx))
		return 0;
	if (dink_step_engine(ctx, engine_address(ctx, params), &reached, &e, &quiet) < 0)
		return 0;
	return remove_container(e, params, identity, outer_ends, err);
}

const struct dink_step_kind dink_kind_container = {
	.name = "container",
	.describe = describe_container,
	.apply = apply_container,
	.check = check_container,
	.undo = undo_container,
};

/* --- ready --------------------------------------------------------------------------------- */

static char *describe_ready(struct json_object *params)
{
	return dink_step_describe(params, "wait for the engine of", "layer");
}

/* The last words of a container that died, for the error's detail. */
static void tell_logs(const struct dink_reach *r, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_close_ int fd = memfd_create("logs", MFD_CLOEXEC);
	char text[LOG_TAIL_MAX + 1];
	ssize_t n;
	off_t end;

	if (fd < 0 || !r->parent ||
	    dink_engine_logs(r->parent, r->container, false, "20", fd, fd, &quiet) < 0)
		return;
	end = lseek(fd, 0, SEEK_END);
	n = pread(fd, text, LOG_TAIL_MAX, end > LOG_TAIL_MAX ? end - LOG_TAIL_MAX : 0);
	if (n > 0) {
		text[n] = '\0';
		dink_err_detail(err, text);
	}
}

/* 1 ready, 0 not yet, negative: it will not be. */
static int ask_ready(struct dink_step_ctx *ctx, const char *layer, bool last, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_reach_ struct dink_reach r = {};
	struct dink_engine *e;
	bool died;

	if (reach(ctx, layer, &r, &quiet) == 0) {
		e = r.hops[r.n_hops - 1].engine;
		if (e && dink_engine_wait_ready(e, READY_SLICE_MS, &quiet) == 0)
			return 1;
	}
	died = r.parent && r.n_hops > 1 && !r.running;
	if (!died && !last)
		return 0;
	if (died)
		dink_err_set(err, DINK_E_CHILD, 0, "the layer ended before its engine answered");
	else
		dink_err_set(err, DINK_E_CHILD, ETIMEDOUT,
			     "the engine does not answer after %u s (dink up --timeout)",
			     dink_step_timeout_ms(ctx) / 1000);
	tell_logs(&r, err);
	return dink_err_hint(err, "dink up --keep leaves it for dink logs %s", layer);
}

static int apply_ready(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object **ret, struct dink_err *err)
{
	const char *layer = dink_json_str_or(params, "layer", "");
	uint64_t until = dink_now_ms() + dink_step_timeout_ms(ctx);
	int r;

	(void)ret;
	do {
		uint64_t begun = dink_now_ms();

		r = ask_ready(ctx, layer, begun >= until, err);
		if (r != 0)
			return r < 0 ? r : 0;
		/* A dial that is refused at once must not be a busy loop. */
		if (dink_now_ms() - begun < 100)
			usleep(100000);
	} while (!dink_interrupted());
	return dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
}

static int check_ready(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object *identity, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_reach_ struct dink_reach r = {};
	struct dink_engine *e = NULL;

	(void)identity;
	(void)err;
	if (dink_step_engine(ctx, dink_json_str_or(params, "layer", ""), &r, &e, &quiet) < 0)
		return 0;
	return dink_engine_wait_ready(e, 5000, &quiet) == 0;
}

const struct dink_step_kind dink_kind_ready = {
	.name = "ready",
	.describe = describe_ready,
	.apply = apply_ready,
	.check = check_ready,
};
