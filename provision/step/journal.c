/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: JSON lines, appended and fsynced, read back bounded. Format: step.h. */
#include "provision/step/step.h"

#include "provision/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>

static void free_record(struct dink_record *r)
{
	if (!r)
		return;
	free(r->key);
	free(r->kind);
	if (r->params)
		json_object_put(r->params);
	if (r->identity)
		json_object_put(r->identity);
	free(r);
}

void dink_journal_free(struct dink_journal *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->n_records; i++)
		free_record(j->records[i]);
	free(j->records);
	free(j->path);
	if (j->fd >= 0)
		close(j->fd);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

static struct dink_record *add_record(struct dink_journal *j, const char *key, const char *kind,
				      struct json_object *params)
{
	struct dink_record *r = xcalloc(1, sizeof(*r));

	pthread_mutex_lock(&j->lock);
	if (j->n_records == j->cap) {
		j->cap = j->cap ? j->cap * 2 : 32;
		j->records = xreallocarray(j->records, j->cap, sizeof(*j->records));
	}
	r->step = (uint32_t)j->n_records + 1;
	r->key = xstrdup(key);
	r->kind = xstrdup(kind);
	r->params = params;
	j->records[j->n_records++] = r;
	pthread_mutex_unlock(&j->lock);
	return r;
}

/* A copy by text: json-c objects are not shared between threads. */
static struct json_object *copy_json(struct json_object *o)
{
	struct json_object *copy = NULL;

	if (o && json_object_deep_copy(o, &copy, NULL) < 0)
		return NULL;
	return copy;
}

static int damaged(struct dink_err *err, const char *what, size_t line, const char *why)
{
	dink_err_set(err, DINK_E_STATE, 0, "%s:%zu: the journal is damaged: %s", what, line, why);
	return dink_err_hint(err, "dink gc lists what the instance left behind, dink gc --force "
				  "removes it");
}

static int read_intent(struct dink_journal *j, struct json_object *o, const char **why)
{
	const char *key = dink_json_str_or(o, "key", NULL);
	const char *kind = dink_json_str_or(o, "kind", NULL);
	struct json_object *params = dink_json_get(o, "params");

	if (!key || !kind || !params || !json_object_is_type(params, json_type_object)) {
		*why = "an intent without key, kind or params";
		return -EINVAL;
	}
	if (j->n_records >= DINK_JOURNAL_STEPS_MAX) {
		*why = "too many steps";
		return -EINVAL;
	}
	if (dink_json_int_or(o, "step", 0) != (int64_t)j->n_records + 1) {
		*why = "an intent out of order";
		return -EINVAL;
	}
	add_record(j, key, kind, json_object_get(params));
	return 0;
}

static int read_line(struct dink_journal *j, struct json_object *o, const char **why)
{
	const char *event = dink_json_str_or(o, "event", NULL);
	int64_t step = dink_json_int_or(o, "step", 0);
	struct dink_record *r;
	struct json_object *identity;

	*why = "no such event";
	if (!event)
		return -EINVAL;
	j->seq = (uint64_t)dink_json_int_or(o, "seq", 0);
	if (STREQ(event, "intent"))
		return read_intent(j, o, why);
	*why = "an event of a step that was not intended";
	if (step < 1 || (uint64_t)step > j->n_records)
		return -EINVAL;
	r = j->records[step - 1];
	if (STREQ(event, "undone")) {
		r->undone = true;
		return 0;
	}
	*why = "no such event";
	if (!STREQ(event, "done"))
		return -EINVAL;
	identity = dink_json_get(o, "identity");
	if (r->identity)
		json_object_put(r->identity);
	r->identity =
		json_object_is_type(identity, json_type_object) ? json_object_get(identity) : NULL;
	r->done = true;
	r->ms = dink_json_int_or(o, "ms", 0);
	return 0;
}

/* One line; a line that is not whole JSON of ours gives -EINVAL and the reason. */
static int parse_line(struct dink_journal *j, const char *text, size_t len, const char *what,
		      const char **why)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_json_ struct json_object *o = NULL;

	*why = "a line that is too long";
	if (len > DINK_JOURNAL_LINE_MAX)
		return -EINVAL;
	*why = "a line that is no JSON object";
	if (memchr(text, '\0', len) || dink_json_parse(text, len, what, &o, &err) < 0)
		return -EINVAL;
	if (!json_object_is_type(o, json_type_object))
		return -EINVAL;
	return read_line(j, o, why);
}

int dink_journal_parse(const char *text, size_t len, const char *what, struct dink_journal **ret,
		       size_t *ret_good, struct dink_err *err)
{
	_cleanup_(dink_journal_freep) struct dink_journal *j = xcalloc(1, sizeof(*j));
	size_t pos = 0, number = 0;

	pthread_mutex_init(&j->lock, NULL);
	j->path = xstrdup(what);
	j->fd = -1;
	while (pos < len) {
		const char *nl = memchr(text + pos, '\n', len - pos);
		size_t n = nl ? (size_t)(nl - text) - pos : len - pos;
		const char *why = NULL;

		number++;
		/* What has no newline was never fsynced as a whole, so nothing relied on it. */
		if (!nl)
			break;
		if (parse_line(j, text + pos, n, what, &why) < 0) {
			if (pos + n + 1 >= len)
				break;
			return damaged(err, what, number, why);
		}
		pos += n + 1;
	}
	if (ret_good)
		*ret_good = pos;
	*ret = TAKE_PTR(j);
	return 0;
}

int dink_journal_load(const char *path, struct dink_journal **ret, struct dink_err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!dink_exists(path))
		return -ENOENT;
	r = dink_file_read(path, DINK_JOURNAL_MAX, &text, &len, err);
	if (r < 0)
		return dink_err_push(err, "reading the journal");
	return dink_journal_parse(text, len, path, ret, NULL, err);
}

int dink_journal_open(const char *path, struct dink_journal **ret, struct dink_err *err)
{
	_cleanup_(dink_journal_freep) struct dink_journal *j = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	size_t len, good;
	int r;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open the journal %s", path);
	r = dink_fd_read_all(fd, DINK_JOURNAL_MAX, &text, &len, err);
	if (r < 0)
		return dink_err_push(err, "reading the journal %s", path);
	r = dink_journal_parse(text, len, path, &j, &good, err);
	if (r < 0)
		return r;
	if (good < len && ftruncate(fd, (off_t)good) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "cut the damaged end off %s", path);
	j->fd = TAKE_FD(fd);
	*ret = TAKE_PTR(j);
	return 0;
}

struct dink_record *dink_journal_live(const struct dink_journal *j, const char *key)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&j->lock; /* looking up changes nothing else */
	struct dink_record *found = NULL;

	pthread_mutex_lock(lock);
	for (size_t i = j->n_records; !found && i-- > 0;)
		if (!j->records[i]->undone && STREQ(j->records[i]->key, key))
			found = j->records[i];
	pthread_mutex_unlock(lock);
	return found;
}

bool dink_journal_is_live(const struct dink_journal *j)
{
	for (size_t i = 0; i < j->n_records; i++) {
		const struct dink_step_kind *kind = dink_step_kind_find(j->records[i]->kind);

		if (!j->records[i]->undone && !(kind && kind->keeps_data))
			return true;
	}
	return false;
}

/*
 * Takes line. The whole line in one write, then fsync: a reader sees it whole or knows it is not.
 * What could not be written whole (a full disk) goes again, or the next line would follow on it and
 * the journal be damaged in its middle.
 */
static int append(struct dink_journal *j, struct json_object *line, struct dink_err *err)
{
	_cleanup_json_ struct json_object *o = line;
	_cleanup_str_ struct dink_str s = {};
	struct stat before;
	int r;

	dink_json_set_int(o, "seq", (int64_t)++j->seq);
	dink_str_add(&s, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								   JSON_C_TO_STRING_NOSLASHESCAPE));
	if (s.len > DINK_JOURNAL_LINE_MAX)
		return dink_err_set(err, DINK_E_BUG, E2BIG, "a journal line of %zu bytes", s.len);
	dink_str_addc(&s, '\n');
	if (fstat(j->fd, &before) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "look at the journal %s", j->path);
	r = dink_fd_write_all(j->fd, s.s, s.len);
	if (r == 0 && fdatasync(j->fd) < 0)
		r = -errno;
	if (r < 0)
		(void)!ftruncate(j->fd, before.st_size);
	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "write the journal %s", j->path);
	return 0;
}

int dink_journal_intent(struct dink_journal *j, const char *key, const char *kind,
			struct json_object *params, struct dink_record **ret, struct dink_err *err)
{
	struct json_object *o = dink_json_new();
	struct dink_record *r;
	int rc;

	dink_json_set_str(o, "event", "intent");
	dink_json_set_int(o, "step", (int64_t)j->n_records + 1);
	dink_json_set_str(o, "key", key);
	dink_json_set_str(o, "kind", kind);
	dink_json_set(o, "params", copy_json(params));
	rc = append(j, o, err);
	if (rc < 0)
		return rc;
	r = add_record(j, key, kind, copy_json(params));
	r->fresh = true;
	*ret = r;
	return 0;
}

int dink_journal_done(struct dink_journal *j, struct dink_record *r, struct json_object *identity,
		      int64_t ms, struct dink_err *err)
{
	struct json_object *o = dink_json_new();
	int rc;

	dink_json_set_str(o, "event", "done");
	dink_json_set_int(o, "step", r->step);
	dink_json_set(o, "identity", copy_json(identity));
	dink_json_set_int(o, "ms", ms);
	rc = append(j, o, err);
	if (rc < 0)
		return rc;
	if (r->identity)
		json_object_put(r->identity);
	r->identity = copy_json(identity);
	r->done = true;
	r->ms = ms;
	return 0;
}

int dink_journal_undone(struct dink_journal *j, struct dink_record *r, struct dink_err *err)
{
	struct json_object *o = dink_json_new();
	int rc;

	dink_json_set_str(o, "event", "undone");
	dink_json_set_int(o, "step", r->step);
	rc = append(j, o, err);
	if (rc == 0)
		r->undone = true;
	return rc;
}
