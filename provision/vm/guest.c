/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/vm/guest.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/base/hash.h"
#include "provision/base/json.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Changes whenever the initramfs gets other contents from the same inputs. */
enum { GUEST_BUILD = 2 };

/* find_ours() - NULL if it is in neither place */
static char *find_ours(const char *name)
{
	char *path = xasprintf("%s/%s", dink_program_dir(), name);

	if (dink_exists(path))
		return path;
	free(path);
	path = xasprintf("%s/../lib/dink/%s", dink_program_dir(), name);
	if (dink_exists(path))
		return path;
	free(path);
	return NULL;
}

int dink_guest_find(struct dink_guest_programs *ret, struct dink_err *err)
{
	_cleanup_guest_programs_ struct dink_guest_programs p = {
		.dink_vm = find_ours("dink-vm"),
		.agent = find_ours("dink-agent"),
		.crun = dink_which("crun"),
		.guest_lib = find_ours("guest-lib"),
	};
	int r;

	if (!p.dink_vm || !p.agent) {
		r = dink_err_set(err, DINK_E_HOST, ENOENT, "%s is not beside dink in %s",
				 p.dink_vm ? "dink-agent" : "dink-vm", dink_program_dir());
		return dink_err_hint(err, "make all"), r;
	}
	if (!p.crun) {
		r = dink_err_set(err, DINK_E_HOST, ENOENT, "crun is not installed");
		return dink_err_hint(err, "apt-get install crun"), r;
	}
	*ret = p;
	p = (struct dink_guest_programs){};
	return 0;
}

void dink_guest_programs_clear(struct dink_guest_programs *p)
{
	free((char *)p->dink_vm);
	free((char *)p->agent);
	free((char *)p->crun);
	free((char *)p->guest_lib);
}

struct inputs {
	const char *vmlinux;
	const struct dink_guest_programs *from;
};

static int make_key(const struct inputs *in, char ret_hex[65], struct dink_err *err)
{
	_cleanup_free_ char *lib =
		in->from->guest_lib ? xasprintf("%s/libsystemd.so.0", in->from->guest_lib) : NULL;
	const char *const files[] = {in->vmlinux, in->from->dink_vm, in->from->agent,
				     in->from->crun, lib};
	struct dink_hash *h = dink_hash_new();
	char part[65];

	snprintf(part, sizeof(part), "guest %d.%d", GUEST_BUILD, DINK_PROTO_VERSION);
	dink_hash_adds(h, part);
	for (size_t i = 0; i < ARRAY_SIZE(files) && files[i]; i++) {
		int r = dink_sha256_file(files[i], part, err);

		if (r < 0) {
			dink_hash_free(h);
			return r;
		}
		dink_hash_adds(h, part);
	}
	dink_hash_end(h, ret_hex);
	return 0;
}

/*
 * place_file() - a hard link where that is allowed and works (the kernel cache's files never
 * change in place; a program that is being built may), else a copy
 */
static int place_file(const char *dir, const char *name, const char *from, bool may_link,
		      struct dink_err *err)
{
	_cleanup_free_ char *to = xasprintf("%s/%s", dir, name);
	_cleanup_close_ int in = -1, out = -1;
	struct stat st;
	int r;

	if (may_link && link(from, to) == 0)
		return 0;
	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "opening %s", from);
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, st.st_mode & 0777);
	if (out < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "making %s", to);
	r = dink_fd_copy(in, out, NULL);
	return r < 0 ? dink_err_set(err, DINK_E_HOST, -r, "copying %s to %s", from, to) : 0;
}

static int write_manifest(const char *dir, const char *key, const struct inputs *in,
			  struct dink_err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/guest.json", dir), *text = NULL;
	_cleanup_json_ struct json_object *o = dink_json_new();

	dink_json_set_int(o, "version", DINK_PROTO_VERSION);
	dink_json_set_str(o, "key", key);
	dink_json_set_str(o, "kernel", in->vmlinux);
	dink_json_set_str(o, "crun", in->from->crun);
	text = dink_json_text(o);
	return dink_file_write(path, text, strlen(text), 0644, err);
}

static int fill_folder(const char *dir, const char *key, const struct inputs *in,
		       struct dink_err *err)
{
	_cleanup_free_ char *cpio = xasprintf("%s/initramfs.cpio", dir);
	int r = dink_mkdir_p(dir, 0755, err);

	if (!r)
		r = place_file(dir, "vmlinux", in->vmlinux, true, err);
	if (!r)
		r = place_file(dir, "dink-vm", in->from->dink_vm, false, err);
	if (!r)
		r = place_file(dir, "dink-agent", in->from->agent, false, err);
	if (!r)
		r = dink_initramfs_write(cpio, in->from, err);
	if (!r)
		r = write_manifest(dir, key, in, err);
	return r;
}

int dink_guest_make(const char *vmlinux, const struct dink_guest_programs *programs, char **ret_dir,
		    struct dink_err *err)
{
	const struct inputs in = {vmlinux, programs};
	_cleanup_free_ char *base = xasprintf("%s/guests", dink_cache_dir());
	_cleanup_free_ char *dir = NULL, *tmp = NULL, *lock = NULL;
	_cleanup_close_ int held = -1;
	char key[65];
	int r;

	r = make_key(&in, key, err);
	if (!r)
		r = dink_mkdir_p(base, 0755, err);
	if (r < 0)
		return dink_err_push(err, "making the guest folder");
	dir = xasprintf("%s/%s", base, key);
	tmp = xasprintf("%s.new", dir);
	lock = xasprintf("%s.lock", dir);
	r = dink_lock(lock, true, &held, err);
	if (r < 0)
		return dink_err_push(err, "making the guest folder %s", dir);
	if (!dink_exists(dir)) {
		r = dink_exists(tmp) ? dink_rm_rf(tmp, err) : 0;
		if (!r)
			r = fill_folder(tmp, key, &in, err);
		if (!r && rename(tmp, dir) < 0)
			r = dink_err_set(err, DINK_E_HOST, errno, "renaming %s", tmp);
	}
	if (r < 0)
		return dink_err_push(err, "making the guest folder %s", dir);
	*ret_dir = TAKE_PTR(dir);
	return 0;
}
