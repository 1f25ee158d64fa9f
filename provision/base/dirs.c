/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/dirs.h"

#include "provision/base/file.h"

#include <limits.h>

/* Once computed, the strings live as long as the process. */
static const char *pick_dir(char **cached, const char *override, const char *root_dir,
			    const char *xdg, const char *home_rel)
{
	const char *s;

	if (*cached)
		return *cached; /* cppcheck-suppress identicalInnerCondition ; a value, no condition
				 */
	s = getenv(override);
	if (s && *s)
		*cached = xstrdup(s);
	else if (geteuid() == 0)
		*cached = xstrdup(root_dir);
	else if ((s = getenv(xdg)) && *s)
		*cached = xasprintf("%s/dink", s);
	else if ((s = getenv("HOME")) && *s && home_rel)
		*cached = xasprintf("%s/%s/dink", s, home_rel);
	else
		*cached = xasprintf("/tmp/dink-%u", (unsigned)geteuid());
	return *cached;
}

const char *dink_state_dir(void)
{
	static char *dir;

	return pick_dir(&dir, "DINK_STATE_DIR", "/var/lib/dink", "XDG_STATE_HOME", ".local/state");
}

const char *dink_cache_dir(void)
{
	static char *dir;

	return pick_dir(&dir, "DINK_CACHE_DIR", "/var/cache/dink", "XDG_CACHE_HOME", ".cache");
}

const char *dink_run_dir(void)
{
	static char *dir;

	return pick_dir(&dir, "DINK_RUN_DIR", "/run/dink", "XDG_RUNTIME_DIR", NULL);
}

const char *dink_program_dir(void)
{
	static char dir[PATH_MAX];
	ssize_t n;
	char *slash;

	if (dir[0])
		return dir;
	n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	if (n <= 0)
		return ".";
	dir[n] = '\0';
	slash = strrchr(dir, '/');
	if (slash && slash != dir)
		*slash = '\0';
	return dir;
}

char *dink_temp_path(const char *dir, const char *name)
{
	const char *tmp = getenv("TMPDIR");

	return xasprintf("%s/%s", tmp && *tmp ? tmp : dir, name);
}

char *dink_data_file(const char *rel)
{
	const char *env = getenv("DINK_DATA_DIR");
	_cleanup_free_ char *beside = xasprintf("%s/..", dink_program_dir());
	/* a program of a build with another output folder (build/san) sits one deeper */
	_cleanup_free_ char *deeper = xasprintf("%s/../..", dink_program_dir());
	_cleanup_free_ char *installed = xasprintf("%s/../share/dink", dink_program_dir());
	const char *const roots[] = {env && *env ? env : NULL, installed,	 beside, deeper,
				     "/usr/local/share/dink",  "/usr/share/dink"};

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		_cleanup_free_ char *path = NULL;

		if (!roots[i])
			continue;
		path = xasprintf("%s/%s", roots[i], rel);
		if (dink_exists(path))
			return TAKE_PTR(path);
	}
	return NULL;
}
