/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/step/failure.h"

#include "provision/base/dirs.h"
#include "provision/base/file.h"
#include "provision/scenario/scenario.h"

#include <time.h>

/* NULL where the name could lead elsewhere. */
static char *path_of(const char *instance)
{
	if (!dink_name_is_valid(instance))
		return NULL;
	return xasprintf("%s/failures/%s.json", dink_state_dir(), instance);
}

void dink_failure_save(const char *instance, const struct dink_err *failure)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *path = path_of(instance), *text = NULL;
	_cleanup_free_ char *dir = xasprintf("%s/failures", dink_state_dir());
	_cleanup_json_ struct json_object *o = dink_err_to_json(failure);

	dink_json_set_int(o, "time", (int64_t)time(NULL));
	text = dink_json_text(o);
	if (path && dink_mkdir_p(dir, 0700, &quiet) == 0)
		(void)!dink_file_write(path, text, strlen(text), 0600, &quiet);
}

struct json_object *dink_failure_load(const char *instance)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_free_ char *path = path_of(instance);
	struct json_object *o = NULL;

	if (!path || !dink_exists(path) || dink_json_parse_file(path, &o, &quiet) < 0)
		return NULL;
	return o;
}

void dink_failure_forget(const char *instance)
{
	_cleanup_free_ char *path = path_of(instance);
	_cleanup_free_ char *dir = xasprintf("%s/failures", dink_state_dir());

	if (!path || unlink(path) < 0)
		return;
	(void)!rmdir(dir); /* with the last one */
}
