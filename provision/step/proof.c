/* SPDX-License-Identifier: Apache-2.0 */
/* What each level of an instance says of itself, asked inside of it: a proof that it is real. */
#include "provision/base/file.h"
#include "provision/step/instance.h"

#include <sys/utsname.h>

enum { ANSWER_MAX = 256 << 10 };

/* One cat, since every exec costs in a guest: three lines, then the mounts. */
static char *const question[] = {
	(char[]){"cat"},
	(char[]){"/proc/sys/kernel/osrelease"},
	(char[]){"/proc/sys/kernel/hostname"},
	(char[]){"/proc/1/comm"},
	(char[]){"/proc/self/mounts"},
	NULL,
};

static const char *cgroup_layout(const char *mounts)
{
	if (strstr(mounts, " /sys/fs/cgroup cgroup2 "))
		return "v2";
	if (strstr(mounts, " /sys/fs/cgroup/unified cgroup2 "))
		return "hybrid";
	return strstr(mounts, " /sys/fs/cgroup") ? "v1" : "none";
}

static void read_answer(struct json_object *o, char *text)
{
	static const char *const keys[] = {"kernel", "hostname", "pid1"};
	char *rest = text;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char *line = strsep(&rest, "\n");

		dink_json_set_str(o, keys[i], line);
		if (!rest)
			return;
	}
	dink_json_set_str(o, "cgroup", cgroup_layout(rest));
}

/* What `docker info` says there. */
static void ask_engine(struct json_object *o, struct dink_engine *e)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_json_ struct json_object *info = NULL;
	_cleanup_str_ struct dink_str s = {};

	if (!e)
		return;
	if (dink_engine_info(e, &info, &quiet) < 0) {
		dink_json_set_str(o, "engine", "does not answer");
		return;
	}
	dink_json_set_str(o, "storage_driver", dink_json_str_or(info, "Driver", "?"));
	dink_str_addf(&s, "%s, %lld containers, cgroup v%s by %s, default runtime %s",
		      dink_json_str_or(info, "ServerVersion", "?"),
		      (long long)dink_json_int_or(info, "Containers", 0),
		      dink_json_str_or(info, "CgroupVersion", "1"),
		      dink_json_str_or(info, "CgroupDriver", "?"),
		      dink_json_str_or(info, "DefaultRuntime", "?"));
	dink_json_set_str(o, "engine", s.s);
}

static int ask_layer(const char *address, struct json_object *list, struct dink_err *err)
{
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ struct json_object *o = dink_json_new();
	int r = dink_instance_reach(address, &reach, err);

	if (r < 0)
		return r;
	dink_json_set_str(o, "layer", address);
	if (reach.n_hops > 1) {
		if (!reach.running)
			return dink_err_set(err, DINK_E_CHILD, ESRCH, "%s does not run", address);
		r = dink_engine_exec_capture(reach.parent, reach.container, question, ANSWER_MAX,
					     &text, err);
		if (r < 0)
			return dink_err_push(err, "asking %s", address);
		read_answer(o, text);
	}
	ask_engine(o, reach.hops[reach.n_hops - 1].engine);
	json_object_array_add(list, TAKE_PTR(o));
	return 0;
}

/* The host answers from its own files. */
static void ask_host(struct json_object *list, const char *name, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_free_ char *comm = NULL, *mounts = NULL;
	struct json_object *o = dink_json_new();
	struct utsname u;

	(void)err;
	dink_json_set_str(o, "layer", "host");
	if (uname(&u) == 0) {
		dink_json_set_str(o, "kernel", u.release);
		dink_json_set_str(o, "hostname", u.nodename);
	}
	if (dink_file_read("/proc/1/comm", 64, &comm, NULL, &quiet) == 0) {
		comm[strcspn(comm, "\n")] = '\0';
		dink_json_set_str(o, "pid1", comm);
	}
	if (dink_file_read("/proc/self/mounts", ANSWER_MAX, &mounts, NULL, &quiet) == 0)
		dink_json_set_str(o, "cgroup", cgroup_layout(mounts));
	if (dink_instance_reach(name, &reach, &quiet) == 0)
		ask_engine(o, reach.hops[0].engine);
	json_object_array_add(list, o);
}

struct json_object *dink_instance_proof(const char *name, struct dink_err *err)
{
	_cleanup_(dink_instance_freep) struct dink_instance *i = NULL;
	_cleanup_json_ struct json_object *list = json_object_new_array();

	if (dink_instance_load(name, &i, err) < 0)
		return NULL;
	ask_host(list, name, err);
	for (size_t k = 0; k < i->n_layers; k++)
		if (ask_layer(i->layers[k].address, list, err) < 0)
			return NULL;
	return TAKE_PTR(list);
}
