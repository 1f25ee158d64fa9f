/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/manifest.h"

#include "provision/base/file.h"
#include "provision/base/sha256.h"
#include "provision/vm/chan.h"
#include "provision/vm/proto.h"
#include "provision/vm/qemu.h"

#include <limits.h>
#include <sys/stat.h>
#include <time.h>

static int bad(struct dink_err *err, const char *what)
{
	return dink_err_set(err, DINK_E_USAGE, EINVAL, "the checkpoint's manifest has %s", what);
}

/* --- reading --- */

static bool is_number(struct json_object *o, const char *path, int64_t min, int64_t max)
{
	struct json_object *v = dink_json_get(o, path);
	int64_t n = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : 0;

	return json_object_is_type(v, json_type_int) && n >= min && n <= max;
}

static bool is_text(struct json_object *o, const char *path, size_t min, size_t max)
{
	struct json_object *v = dink_json_get(o, path);

	return json_object_is_type(v, json_type_string) &&
	       (size_t)json_object_get_string_len(v) >= min &&
	       (size_t)json_object_get_string_len(v) <= max &&
	       strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v);
}

/* Absent, or a string. */
static bool may_text(struct json_object *o, const char *path)
{
	return !dink_json_get(o, path) || is_text(o, path, 1, PATH_MAX);
}

static bool is_file(struct json_object *o)
{
	return is_number(o, "size", 0, INT64_MAX) && is_number(o, "mtime_ns", INT64_MIN, INT64_MAX);
}

static int check_machine(struct json_object *m, struct dink_err *err)
{
	const char *accel = dink_json_str_or(m, "machine.accel", "");

	if (!STREQ(dink_json_str_or(m, "machine.type", ""), "q35") ||
	    (!STREQ(accel, "tcg") && !STREQ(accel, "kvm")) || !may_text(m, "machine.cpu") ||
	    !may_text(m, "machine.append") || !may_text(m, "machine.firmware"))
		return bad(err, "no machine that dink-vm makes");
	if (!is_number(m, "machine.memory_mib", 64, 1 << 22) ||
	    !is_number(m, "machine.cpus", 1, 255) ||
	    (dink_json_get(m, "machine.tsc_khz") &&
	     !is_number(m, "machine.tsc_khz", 0, UINT32_MAX)))
		return bad(err, "a machine of no size");
	if (!is_text(m, "qemu_version", 1, 64) || !is_text(m, "kernel.path", 1, PATH_MAX) ||
	    !is_text(m, "kernel.sha256", 64, 64) || !is_file(dink_json_get(m, "kernel")))
		return bad(err, "no QEMU version or no kernel");
	return 0;
}

static int check_disks(struct json_object *m, struct dink_err *err)
{
	struct json_object *disks = dink_json_get(m, "disks");

	if (!json_object_is_type(disks, json_type_array) ||
	    json_object_array_length(disks) > DINK_QEMU_DISKS_MAX)
		return bad(err, "no list of disks, or too many");
	for (size_t i = 0; i < json_object_array_length(disks); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		_cleanup_free_ char *own = xasprintf("disk-%zu", i);
		const char *file = dink_json_str_or(d, "file", NULL);
		bool ro = dink_json_bool_or(d, "readonly", false);

		if (!is_text(d, "source", 1, PATH_MAX) || !is_text(d, "serial", 1, 20) ||
		    !is_file(d) || ro != !file || (file && !STREQ(file, own)))
			return bad(err, "a disk that is none");
	}
	return 0;
}

static int check_channel(struct json_object *m, struct dink_err *err)
{
	struct json_object *stdio = dink_json_get(m, "stdio");

	if (!json_object_is_type(stdio, json_type_array) || json_object_array_length(stdio) != 3)
		return bad(err, "no three streams");
	for (size_t i = 0; i < 3; i++) {
		int64_t id = json_object_get_int64(json_object_array_get_idx(stdio, i));
		if (id < 0 || id >= UINT32_MAX)
			return bad(err, "a stream with no number");
	}
	if (!is_number(m, "channel.next_id", 1, UINT32_MAX - 1) ||
	    !json_object_is_type(dink_json_get(m, "channel.streams"), json_type_array) ||
	    dink_json_len(m, "channel.streams") > DINK_STREAMS_MAX)
		return bad(err, "no state of the channel");
	if (!is_number(m, "nics", 0, DINK_QEMU_NICS_MAX) ||
	    !is_number(m, "exec_count", 0, INT64_MAX))
		return bad(err, "no number of network cards");
	return 0;
}

int dink_manifest_parse(const char *text, size_t len, struct json_object **ret,
			struct dink_err *err)
{
	_cleanup_json_ struct json_object *m = NULL;
	int r = len > DINK_MANIFEST_MAX ? bad(err, "no end")
					: dink_json_parse(text, len, DINK_MANIFEST_NAME, &m, err);

	if (r < 0)
		return r;
	if (!json_object_is_type(m, json_type_object) || !is_number(m, "version", 1, INT_MAX))
		return bad(err, "no version");
	if (dink_json_int_or(m, "version", 0) != DINK_MANIFEST_VERSION)
		return dink_err_set(err, DINK_E_USAGE, EINVAL,
				    "the checkpoint is of version %lld, this dink-vm knows %d",
				    (long long)dink_json_int_or(m, "version", 0),
				    DINK_MANIFEST_VERSION);
	r = check_machine(m, err);
	if (r == 0)
		r = check_disks(m, err);
	if (r == 0)
		r = check_channel(m, err);
	if (r == 0)
		*ret = TAKE_PTR(m);
	return r;
}

int dink_manifest_load(const char *dir, struct json_object **ret, struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/" DINK_MANIFEST_NAME, dir), *text = NULL;
	size_t len;
	int r = dink_file_read(path, DINK_MANIFEST_MAX, &text, &len, err);

	return r < 0 ? r : dink_manifest_parse(text, len, ret, err);
}

/* --- making --- */

static int add_file(struct json_object *o, const char *path, struct dink_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "look at %s", path);
	dink_json_set_int(o, "size", st.st_size);
	dink_json_set_int(o, "mtime_ns",
			  (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	return 0;
}

static int add_kernel(struct json_object *m, const char *path, const char *sha256,
		      struct dink_err *err)
{
	struct json_object *o = dink_json_new();

	dink_json_set(m, "kernel", o);
	dink_json_set_str(o, "path", path);
	dink_json_set_str(o, "sha256", sha256);
	return add_file(o, path, err);
}

static int add_disks(struct json_object *m, struct json_object *from, struct dink_err *err)
{
	struct json_object *disks = json_object_new_array();

	dink_json_set(m, "disks", disks);
	for (size_t i = 0; i < json_object_array_length(from); i++) {
		struct json_object *d = json_object_array_get_idx(from, i), *n = dink_json_new();
		bool ro = dink_json_bool_or(d, "readonly", false);
		const char *source = dink_json_str_or(d, "source", "");

		json_object_array_add(disks, n);
		dink_json_set_str(n, "source", source);
		dink_json_set_str(n, "serial", dink_json_str_or(d, "serial", ""));
		dink_json_set_bool(n, "readonly", ro);
		if (!ro) {
			_cleanup_free_ char *file = xasprintf("disk-%zu", i);
			dink_json_set_str(n, "file", file);
		}
		int r = add_file(n, source, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int dink_manifest_make(struct json_object *answer, const char *sha256, struct json_object **ret,
		       struct dink_err *err)
{
	static const char *const machine[] = {DINK_MACHINE_KEYS, NULL};
	static const char *const copied[] = {"qemu_version", "nics",	"paused", "exec_count",
					     "stdio",	     "channel", NULL};
	_cleanup_json_ struct json_object *m = dink_json_new();
	struct json_object *plan = dink_json_get(answer, "plan"), *o = dink_json_new();

	dink_json_set_int(m, "version", DINK_MANIFEST_VERSION);
	dink_json_set_int(m, "created", time(NULL));
	dink_json_set(m, "machine", o);
	dink_json_set_str(o, "type", "q35");
	dink_json_copy(o, plan, machine);
	dink_json_copy(m, answer, copied);
	dink_json_set_bool(m, "terminal", dink_json_bool_or(plan, "terminal", false));
	dink_json_set(m, "config", json_object_get(dink_json_get(plan, "create")));
	int r = add_kernel(m, dink_json_str_or(plan, "kernel", ""), sha256, err);
	if (r == 0)
		r = add_disks(m, dink_json_get(plan, "disks"), err);
	if (r == 0)
		*ret = TAKE_PTR(m);
	return r;
}

/* --- whether it fits --- */

int dink_manifest_fits(struct json_object *m, const struct dink_oci *oci, struct dink_err *err)
{
	bool terminal = dink_json_bool_or(m, "terminal", false);
	struct json_object *disks = dink_json_get(m, "disks");

	if (oci->rootfs || oci->n_shares > 0)
		return dink_err_set(
			err, DINK_E_USAGE, EINVAL,
			"a container that shares files with the host cannot be restored: "
			"the bundle needs the block root and the disks it was saved with");
	if (oci->terminal != terminal)
		return dink_err_set(
			err, DINK_E_USAGE, EINVAL,
			"the checkpoint is of a container %s a terminal, the bundle's is "
			"%s one",
			terminal ? "with" : "without", oci->terminal ? "with" : "without");
	if (oci->n_disks != json_object_array_length(disks))
		return dink_err_set(err, DINK_E_USAGE, EINVAL,
				    "the checkpoint has %zu disks, the bundle %zu",
				    json_object_array_length(disks), oci->n_disks);
	for (size_t i = 0; i < oci->n_disks; i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		bool ro = dink_json_bool_or(d, "readonly", false);

		if (!STREQ(dink_json_str_or(d, "serial", ""), oci->disks[i].serial) ||
		    ro != oci->disks[i].readonly)
			return dink_err_set(
				err, DINK_E_USAGE, EINVAL,
				"disk %zu of the checkpoint is %s (%s), the bundle's %s "
				"(%s)",
				i, dink_json_str_or(d, "serial", ""), ro ? "read-only" : "writable",
				oci->disks[i].serial,
				oci->disks[i].readonly ? "read-only" : "writable");
	}
	return 0;
}

static bool is_untouched(struct json_object *o, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size == dink_json_int_or(o, "size", -1) &&
	       (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec ==
		       dink_json_int_or(o, "mtime_ns", -1);
}

static int check_kernel(struct json_object *m, const char *path, struct dink_err *err)
{
	struct json_object *k = dink_json_get(m, "kernel");
	char hex[65];

	/* reading 50 MB to hash it would take longer than all the rest */
	if (STREQ(dink_json_str_or(k, "path", ""), path) && is_untouched(k, path))
		return 0;
	int r = dink_sha256_of(path, hex, err);
	if (r < 0 || STREQ(hex, dink_json_str_or(k, "sha256", "")))
		return r;
	dink_err_set(err, DINK_E_USAGE, EINVAL, "the checkpoint runs another kernel than %s", path);
	return dink_err_hint(err, "name the guest folder it was made with: --guest DIR (it was %s)",
			     dink_json_str_or(k, "path", ""));
}

int dink_manifest_check(struct json_object *m, struct json_object *plan, struct dink_err *err)
{
	struct json_object *disks = dink_json_get(m, "disks"), *have = dink_json_get(plan, "disks");
	int r = check_kernel(m, dink_json_str_or(plan, "kernel", ""), err);

	for (size_t i = 0; r == 0 && i < json_object_array_length(disks); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		const char *source =
			dink_json_str_or(json_object_array_get_idx(have, i), "source", "");

		/* a writable one is in the image */
		if (dink_json_bool_or(d, "readonly", false) && !is_untouched(d, source))
			r = dink_err_set(
				err, DINK_E_USAGE, EINVAL,
				"the disk %s is not there or not as it was at the checkpoint",
				source);
	}
	return r;
}
