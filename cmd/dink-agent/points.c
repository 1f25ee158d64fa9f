/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mount points of a container with a user namespace. crun makes them as the namespace's root, who on
 * one host may write where a folder's mode forbids it. Here virtiofsd does what is asked for, as the
 * user who asks and with no more rights than that one has. So the agent makes them, as the guest's
 * root, and gives them to the namespace's root. What it cannot make is left to crun, and its words.
 */
#include "cmd/dink-agent/agent.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct owner {
	uid_t uid;
	gid_t gid;
};

/* find_root() - whom the namespace's root is outside of it; -1 where it is nobody */
static int64_t find_root(struct json_object *linux_part, const char *key)
{
	struct json_object *list = dink_json_get(linux_part, key);
	size_t n = dink_json_len(linux_part, key);

	for (size_t i = 0; i < n; i++) {
		struct json_object *m = json_object_array_get_idx(list, i);

		if (dink_json_int_or(m, "containerID", -1) == 0 &&
		    dink_json_int_or(m, "size", 0) > 0)
			return dink_json_int_or(m, "hostID", -1);
	}
	return -1;
}

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return n > 1 && dink_starts_with(path, folder) && path[n] == '/';
}

/* is_hidden() - below another mount, whose file system it then is in */
static bool is_hidden(struct json_object *mounts, const char *path)
{
	size_t n = json_object_array_length(mounts);

	for (size_t i = 0; i < n; i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);

		if (is_below(path, dink_json_str_or(m, "destination", "")))
			return true;
	}
	return false;
}

static bool is_file(struct json_object *mount)
{
	const char *source = dink_json_str_or(mount, "source", "");
	struct stat st;

	return source[0] == '/' && !STREQ(dink_json_str_or(mount, "type", ""), "tmpfs") &&
	       stat(source, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* open_in() - links of the image lead nowhere else */
static int open_in(int root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

static int make_entry(int dir, const char *name, bool file, const struct owner *owner)
{
	int r = file ? mknodat(dir, name, S_IFREG | 0644, 0) : mkdirat(dir, name, 0755);

	return r < 0 ? r : fchownat(dir, name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW);
}

/* make_point() - with the folders on the way; 0 or -1 with errno */
static int make_point(int root, const char *path, bool file, const struct owner *owner)
{
	_cleanup_free_ char *copy = xstrdup(path);
	_cleanup_close_ int dir = fcntl(root, F_DUPFD_CLOEXEC, 3);

	for (char *at = copy + strspn(copy, "/"), *next; *at; at = next) {
		size_t n = strcspn(at, "/");
		char *slash = at + n;

		next = slash + strspn(slash, "/");
		bool last = *next == '\0';
		*slash = '\0';
		int fd = open_in(root, copy);
		if (fd < 0 && errno == ENOENT && make_entry(dir, at, last && file, owner) == 0)
			fd = open_in(root, copy);
		if (fd < 0)
			return -1;
		close(dir);
		dir = fd;
		if (!last)
			*slash = '/';
	}
	return 0;
}

void agent_make_points(struct json_object *config, const char *root_path)
{
	struct json_object *linux_part = dink_json_get(config, "linux");
	struct json_object *mounts = dink_json_get(config, "mounts");
	int64_t uid = find_root(linux_part, "uidMappings");
	int64_t gid = find_root(linux_part, "gidMappings");
	const struct owner owner = {(uid_t)uid, (gid_t)gid};
	_cleanup_close_ int root = -1;

	if (uid < 0 || gid < 0 || !json_object_is_type(mounts, json_type_array))
		return;
	root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; root >= 0 && i < json_object_array_length(mounts); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);
		const char *to = dink_json_str_or(m, "destination", "");

		if (to[0] == '/' && !is_hidden(mounts, to) &&
		    make_point(root, to, is_file(m), &owner) < 0)
			agent_say("mount point %s: %s", to, strerror(errno));
	}
}
