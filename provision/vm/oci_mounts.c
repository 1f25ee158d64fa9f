/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.mounts: bind mounts become shares (files and folders) or disks (images and block devices),
 * everything else stays for the guest's crun.
 */
#include "provision/vm/oci.h"
#include "provision/vm/proto.h"

#include <blkid/blkid.h>
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { IMAGE_MIN = 64 << 10 };

static bool has_option(struct json_object *mount, const char *name)
{
	struct json_object *opts = dink_json_get(mount, "options");

	if (!json_object_is_type(opts, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(opts); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(opts, i));
		if (s && STREQ(s, name))
			return true;
	}
	return false;
}

static bool is_bind(struct json_object *mount)
{
	return STREQ(dink_json_str_or(mount, "type", ""), "bind") || has_option(mount, "bind") ||
	       has_option(mount, "rbind");
}

static void set_options(struct json_object *mount, const char *a, const char *b, const char *c)
{
	struct json_object *opts = json_object_new_array();

	json_object_array_add(opts, json_object_new_string(a));
	json_object_array_add(opts, json_object_new_string(b));
	if (c)
		json_object_array_add(opts, json_object_new_string(c));
	dink_json_set(mount, "options", opts);
}

/* What libblkid sees there: a file system's name, or NULL. Caller frees. */
static char *probe_filesystem(int fd)
{
	blkid_probe p = blkid_new_probe();
	const char *usage = NULL, *type = NULL;
	char *ret = NULL;

	if (!p)
		return NULL;
	if (blkid_probe_set_device(p, fd, 0, 0) == 0 && blkid_probe_enable_superblocks(p, 1) == 0 &&
	    blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE) == 0 &&
	    blkid_do_safeprobe(p) == 0 && blkid_probe_lookup_value(p, "USAGE", &usage, NULL) == 0 &&
	    STREQ(usage, "filesystem") && blkid_probe_lookup_value(p, "TYPE", &type, NULL) == 0)
		ret = xstrdup(type);
	blkid_free_probe(p);
	return ret;
}

/* Options of the disk for `dest`, "" where none are asked; NULL: they are not plain words. */
static char *find_options(const char *all, const char *dest)
{
	_cleanup_free_ char *copy = xstrdup(all ? all : "");
	char *save = NULL;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		size_t n = strlen(dest);

		if (strncmp(w, dest, n) != 0 || w[n] != '=')
			continue;
		for (const char *c = w + n + 1; *c; c++)
			if (!isalnum((unsigned char)*c) && !strchr(",=:_-", *c))
				return NULL;
		return xstrdup(w + n + 1);
	}
	return xstrdup("");
}

static int add_disk(struct dink_oci *o, struct json_object *mount, const char *source,
		    const char *fstype, struct dink_err *err)
{
	const char *dest = dink_json_str_or(mount, "destination", "");
	bool root = STREQ(dest, DINK_OCI_ROOT_IMAGE), upper = STREQ(dest, DINK_OCI_ROOT_UPPER);
	_cleanup_free_ char *asked = find_options(o->disk_options, dest), *options = NULL;

	if (o->n_disks == DINK_OCI_DISKS_MAX)
		return dink_err_set(err, DINK_E_USAGE, 0, "more than %d disks", DINK_OCI_DISKS_MAX);
	if (root && !STREQ(fstype, "erofs"))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s for %s holds %s, not erofs", source,
				    dest, fstype);
	if (!asked)
		return dink_err_set(err, DINK_E_USAGE, 0,
				    DINK_OCI_DISK_OPTIONS " for %s: letters, digits and ,=:_- only",
				    dest);
	struct dink_oci_disk *d = &o->disks[o->n_disks];
	d->source = xstrdup(source);
	d->fstype = xstrdup(fstype);
	d->readonly = root || has_option(mount, "ro");
	d->serial =
		root ? xstrdup(DINK_ROOT_SERIAL) : xasprintf(DINK_DISK_SERIAL "%zu", o->n_disks);
	_cleanup_free_ char *target = root    ? xstrdup(DINK_OCI_LOWER_DIR)
				      : upper ? xstrdup(DINK_OCI_UPPER_DIR)
					      : xasprintf("/run/dink/disks/%zu", o->n_disks);
	struct json_object *m = dink_json_new();
	dink_json_set_str(m, "type", "block");
	dink_json_set_str(m, "source", d->serial);
	dink_json_set_str(m, "target", target);
	dink_json_set_str(m, "fstype", fstype);
	/* the last word wins: nobody gets a read-only disk writable */
	options = xasprintf("%s%s%s", asked, *asked && d->readonly ? "," : "",
			    d->readonly ? "ro" : "");
	dink_json_set_str(m, "options", options);
	json_object_array_add(o->mounts, m);
	o->n_disks++;
	o->block_root |= root;
	o->block_upper |= upper;
	dink_json_set_str(mount, "type", "bind");
	dink_json_set_str(mount, "source", target);
	set_options(mount, "bind", "rprivate", d->readonly ? "ro" : NULL);
	return root || upper; /* 1: no mount of the container's */
}

static int add_share(struct dink_oci *o, struct json_object *mount, const char *source,
		     struct dink_err *err)
{
	if (o->n_shares == DINK_OCI_SHARES_MAX)
		return dink_err_set(err, DINK_E_USAGE, 0, "more than %d shared mounts",
				    DINK_OCI_SHARES_MAX);
	struct dink_oci_share *s = &o->shares[o->n_shares];
	s->source = xstrdup(source);
	s->readonly = has_option(mount, "ro") || has_option(mount, "rro");
	s->recursive = has_option(mount, "rbind");
	_cleanup_free_ char *path = xasprintf(DINK_SHARE_DIR "/mounts/%zu", o->n_shares++);
	dink_json_set_str(mount, "type", "bind");
	dink_json_set_str(mount, "source", path);
	set_options(mount, "rbind", "rprivate", s->readonly ? "ro" : NULL);
	return 0;
}

/* The host's folders that an overlay is made of, as mount(2) takes them; NULL: it is none. */
static char *find_overlay(struct json_object *mount)
{
	struct json_object *opts = dink_json_get(mount, "options");
	struct dink_str data = {};
	bool lower = false;

	if (!STREQ(dink_json_str_or(mount, "type", ""), "overlay") ||
	    !json_object_is_type(opts, json_type_array))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(opts); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(opts, i));
		/* words without a value are about the mount, and labels the host's */
		if (!s || !strchr(s, '=') || dink_starts_with(s, "context="))
			continue;
		lower = lower || dink_starts_with(s, "lowerdir=");
		dink_str_addf(&data, "%s%s", data.len ? "," : "", s);
	}
	if (lower)
		return dink_str_take(&data);
	dink_str_clear(&data);
	return NULL;
}

/* An image or a volume with changes that are thrown away (Podman): put together on the host. */
static int adapt_overlay(struct dink_oci *o, struct json_object *mount, char *overlay,
			 struct dink_err *err)
{
	_cleanup_free_ char *data = overlay;
	int r = add_share(o, mount, dink_json_str_or(mount, "destination", ""), err);

	if (r == 0)
		o->shares[o->n_shares - 1].overlay = TAKE_PTR(data);
	return r;
}

/* The engine's own /dev/shm folder: shared memory has to be the guest's, of the same size. */
static void make_shm(struct json_object *mount, const char *source)
{
	struct statvfs vfs;
	uint64_t bytes = 64 << 20;

	if (statvfs(source, &vfs) == 0 && vfs.f_blocks > 0)
		bytes = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	_cleanup_free_ char *size = xasprintf("size=%llu", (unsigned long long)bytes);
	dink_json_set_str(mount, "type", "tmpfs");
	dink_json_set_str(mount, "source", "shm");
	set_options(mount, "mode=1777", "nosuid", size);
}

static int adapt_bind(struct dink_oci *o, struct json_object *mount, struct dink_err *err)
{
	const char *given = dink_json_str_or(mount, "source", "");
	const char *dest = dink_json_str_or(mount, "destination", "");
	_cleanup_free_ char *source =
		given[0] == '/' ? xstrdup(given) : xasprintf("%s/%s", o->bundle, given);
	struct stat st;

	if (stat(source, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "mount source %s for %s", source,
				    dest);
	if (STREQ(dest, "/dev/shm") && S_ISDIR(st.st_mode)) {
		make_shm(mount, source);
		return 0;
	}
	if (S_ISBLK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_size >= IMAGE_MIN)) {
		_cleanup_close_ int fd = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "open %s", source);
		_cleanup_free_ char *fstype = probe_filesystem(fd);
		if (fstype)
			return add_disk(o, mount, source, fstype, err);
		if (S_ISBLK(st.st_mode)) {
			dink_err_set(err, DINK_E_HOST, 0, "no file system found on %s", source);
			return dink_err_hint(err, "make one first: mkfs.btrfs %s", source);
		}
	}
	if (STREQ(dest, DINK_OCI_ROOT_IMAGE) || STREQ(dest, DINK_OCI_ROOT_UPPER))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s for %s is no disk image", source,
				    dest);
	return add_share(o, mount, source, err);
}

int dink_oci_adapt_mounts(struct dink_oci *o, struct dink_err *err)
{
	struct json_object *old = dink_json_get(o->config, "mounts");
	struct json_object *kept = json_object_new_array();
	int r = 0;

	for (size_t i = 0; json_object_is_type(old, json_type_array) &&
			   i < json_object_array_length(old) && r >= 0;
	     i++) {
		struct json_object *m = json_object_array_get_idx(old, i);
		if (!json_object_is_type(m, json_type_object) ||
		    dink_json_str_or(m, "destination", "")[0] != '/') {
			r = dink_err_set(err, DINK_E_USAGE, EINVAL,
					 "config.json: mounts[%zu] has no absolute destination", i);
			break;
		}
		if (STREQ(dink_json_str_or(m, "destination", ""), "/etc/resolv.conf") && !o->resolv)
			o->resolv = xstrdup(dink_json_str_or(m, "source", ""));
		char *overlay = find_overlay(m);
		r = overlay	 ? adapt_overlay(o, m, overlay, err)
		    : is_bind(m) ? adapt_bind(o, m, err)
				 : 0;
		if (r == 0)
			json_object_array_add(kept, json_object_get(m));
	}
	if (r < 0) {
		json_object_put(kept);
		return r;
	}
	json_object_object_add(o->config, "mounts", kept);
	return 0;
}
