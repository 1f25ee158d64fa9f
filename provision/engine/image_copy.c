/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One image from one engine to many: see image.h.
 *
 * This thread reads the source, cuts the archive into layers (images/cut.h) and queues for each
 * target what it lacks (feed.h). Each target has a thread that first asks what is there, then
 * feeds POST /images/load, then compares the ids. Who was too slow, or refused an archive that
 * lacked layers, is served again by another read: the latter with everything.
 */
#include "provision/engine/image.h"

#include "images/cut.h"
#include "images/images.h"
#include "provision/base/file.h"
#include "provision/base/log.h"
#include "provision/base/proc.h"
#include "provision/base/units.h"
#include "provision/engine/feed.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

enum {
	ROUNDS_MAX = 4,
	PREPARE_MS = 30000, /* whoever knows by then what it lacks goes first */
	FILE_PIECE = 256 << 10,
};

enum phase { PREPARING, READY, OVER };

struct round;

struct job {
	struct round *round;
	struct dink_copy_to *to;
	size_t number; /* in the feed */
	_Atomic(enum phase) phase;
	bool late;			/* its preparing took too long */
	bool full;			/* leave nothing out */
	bool again;			/* another round may help */
	bool skip[DINK_CUT_LAYERS_MAX]; /* layers that it has */
	bool stubs;			/* but it wants to see their names (Podman) */
	size_t n_skip;
	bool started;
	pthread_t thread;
};

/* One read of the source. */
struct round {
	struct dink_image_copy *c;
	const struct dink_image_info *info;
	struct job *jobs;
	size_t n;
	struct dink_feed *feed;
	struct dink_feed_block *block; /* what the source gave just now */
	const char *block_bytes;
	size_t block_n;
	uint64_t since_ms;
	pthread_mutex_t lock; /* guards the phases */
	pthread_cond_t changed;
};

/* --- a target's thread ---------------------------------------------------------------------- */

static void set_phase(struct job *j, enum phase phase)
{
	pthread_mutex_lock(&j->round->lock);
	j->phase = phase;
	pthread_cond_signal(&j->round->changed);
	pthread_mutex_unlock(&j->round->lock);
}

/* A name of its own, which an id or digest is not. */
static bool is_name(const char *ref)
{
	return !strchr(ref, '@') && !dink_starts_with(ref, "sha256:");
}

/*
 * The image is there under its name, or can be named so: 1. Else 0; *ret_other is then the id of
 * another image that has the name.
 */
static int find_image(struct job *j, char **ret_other, struct dink_err *err)
{
	const struct dink_image_copy *c = j->round->c;
	_cleanup_(dink_image_info_clear) struct dink_image_info there = {}, same = {};
	int r = dink_engine_image(j->to->engine, c->name, &there, err);

	if (r == 0 && STREQ(there.id, c->id))
		return 1;
	if (r < 0 && (r != -ENOENT || dink_err_is_set(err)))
		return r;
	if (there.id && ret_other)
		*ret_other = TAKE_PTR(there.id);
	if (!is_name(c->name))
		return 0;
	r = dink_engine_image(j->to->engine, c->id, &same, err);
	if (r < 0)
		return r == -ENOENT && !dink_err_is_set(err) ? 0 : r;
	r = dink_engine_image_tag(j->to->engine, c->id, c->name, err);
	return r < 0 ? r : 1;
}

/* A layer may be left out if the target has it wherever it occurs: archives hold it only once. */
static void choose_layers(struct job *j, size_t had)
{
	const struct dink_strv *ids = &j->round->info->diff_ids;

	for (size_t i = 0; i < ids->n; i++) {
		bool skip = true;

		for (size_t k = had; k < ids->n; k++)
			skip = skip && !STREQ(ids->v[i], ids->v[k]);
		j->skip[i] = skip;
		j->n_skip += skip;
	}
}

/* What the target lacks. Return: 1 if it lacks nothing. */
static int prepare(struct job *j, struct dink_err *err)
{
	size_t had = 0;
	int r;

	if (!j->to->engine)
		return 0;
	r = find_image(j, NULL, err);
	if (r != 0)
		return r;
	if (j->full || j->round->c->whole)
		return 0;
	r = dink_engine_is_podman(j->to->engine, &j->stubs, err);
	if (r == 0)
		r = dink_engine_has_layers(j->to->engine, &j->round->info->diff_ids, &had, err);
	if (r == 0)
		choose_layers(j, had);
	return r;
}

static ssize_t give(void *ctx, char *buf, size_t n, struct dink_err *err)
{
	struct job *j = ctx;
	ssize_t got = dink_feed_take(j->round->feed, j->number, buf, n);

	if (got > 0)
		j->to->sent += (size_t)got;
	if (got == -ETIME)
		dink_err_set(err, DINK_E_CHILD, ETIME, "it held up the other targets");
	else if (got == -EINTR)
		dink_err_set(err, DINK_E_INTR, EINTR, "interrupted");
	else if (got < 0)
		dink_err_set(err, DINK_E_CHILD, (int)-got, "the source's stream broke off");
	return got;
}

static int load_engine(struct job *j, struct dink_err *err)
{
	_cleanup_free_ char *other = NULL;
	int r = dink_engine_load(j->to->engine, give, j, err);

	if (r < 0)
		return r;
	r = find_image(j, &other, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (other)
		return dink_err_set(err, DINK_E_CHILD, EBADMSG,
				    "after the load it has %s as %s, and the source %s",
				    j->round->c->name, other, j->round->c->id);
	return dink_err_set(err, DINK_E_CHILD, ENOENT, "it has no %s after the load",
			    j->round->c->name);
}

/*
 * An archive of its own: complete under its name, or not there. The name until then is nobody
 * else's: another copy to the same file is under way at the same time, or somebody put a link there.
 */
static int write_file(struct job *j, struct dink_err *err)
{
	_cleanup_free_ char *partial = xasprintf("%s.XXXXXX", j->to->file);
	_cleanup_free_ char *buf = xmalloc(FILE_PIECE);
	_cleanup_close_ int fd = mkostemp(partial, O_CLOEXEC);
	ssize_t n = 0;
	int r = 0;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "create %s", partial);
	while (r == 0 && (n = give(j, buf, FILE_PIECE, err)) > 0)
		r = dink_fd_write_all(fd, buf, (size_t)n);
	if (r == 0 && n == 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0))
		r = -errno;
	if (r == 0 && n == 0 && rename(partial, j->to->file) < 0)
		r = -errno;
	if (r == 0 && n == 0)
		return 0;
	unlink(partial);
	return n < 0 ? (int)n : dink_err_set(err, DINK_E_HOST, -r, "write %s", j->to->file);
}

static void *run_job(void *arg)
{
	struct job *j = arg;
	struct dink_copy_to *to = j->to;
	uint64_t since = dink_now_ms();
	int r = prepare(j, &to->err);

	to->done = r > 0;
	to->was_there = r > 0;
	to->layers_had = r > 0 ? j->round->info->diff_ids.n : j->n_skip;
	to->layers_sent = j->round->info->diff_ids.n - to->layers_had;
	if (r == 0) {
		set_phase(j, READY);
		r = to->engine ? load_engine(j, &to->err) : write_file(j, &to->err);
		to->done = r == 0;
		j->again = r == -ETIME || j->late || (r < 0 && r != -EINTR && j->n_skip > 0);
		j->full = j->full || (r < 0 && r != -ETIME && !j->late && j->n_skip > 0);
	}
	dink_feed_leave(j->round->feed, j->number);
	set_phase(j, OVER);
	to->ms += dink_now_ms() - since;
	return NULL;
}

/* --- the source ----------------------------------------------------------------------------- */

/* To those who lack the layer, or (@stub) to those who have it and want its name all the same. */
static int send_to(struct round *r, int layer, bool stub, const void *bytes, size_t n,
		   struct dink_err *err)
{
	const char *s = bytes;
	bool inside = s >= r->block_bytes && s < r->block_bytes + r->block_n;
	struct dink_feed_block *b = inside ? r->block : dink_feed_block_new(bytes, n);
	size_t at = inside ? (size_t)(s - r->block_bytes) : 0;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < r->n; i++) {
		struct job *j = &r->jobs[i];
		bool skips = layer >= 0 && j->skip[layer];

		if (j->phase == READY && (stub ? skips && j->stubs : !skips) &&
		    dink_feed_put(r->feed, i, b, at, n) == -EINTR)
			ret = dink_err_set(err, DINK_E_INTR, EINTR, "copying %s", r->c->name);
	}
	if (!inside)
		dink_feed_block_unref(b);
	return ret;
}

static int send_piece(void *ctx, int layer, const void *bytes, size_t n, struct dink_err *err)
{
	return send_to(ctx, layer, false, bytes, n, err);
}

static int send_stub(void *ctx, int layer, const void *bytes, size_t n, struct dink_err *err)
{
	return send_to(ctx, layer, true, bytes, n, err);
}

static bool anybody_reads(struct round *r)
{
	bool any = false;

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->n; i++)
		any = any || r->jobs[i].phase == READY;
	pthread_mutex_unlock(&r->lock);
	return any;
}

struct source {
	struct round *round;
	struct dink_cut *cut;
};

static int take_source(void *ctx, const char *bytes, size_t n, struct dink_err *err)
{
	struct source *s = ctx;
	struct round *r = s->round;
	int ret;

	if (n == 0)
		return 0;
	/* with nobody left the rest need not be read */
	if (!anybody_reads(r))
		return dink_err_set(err, DINK_E_CHILD, ECANCELED, "no target is left");
	r->block = dink_feed_block_new(bytes, n);
	r->block_bytes = bytes;
	r->block_n = n;
	ret = dink_cut_feed(s->cut, bytes, n, err);
	dink_feed_block_unref(r->block);
	r->block_bytes = NULL;
	r->block_n = 0;
	r->c->read_bytes += n;
	if (r->c->progress)
		dink_progress(r->c->progress, r->c->name, r->c->read_bytes, r->info->size);
	return ret;
}

static int read_file(struct source *s, const char *path, struct dink_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = xmalloc(FILE_PIECE);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open %s", path);
	while (r == 0 && (n = read(fd, buf, FILE_PIECE)) != 0)
		r = n > 0 ? take_source(s, buf, (size_t)n, err)
			  : dink_err_set(err, DINK_E_HOST, errno, "read %s", path);
	return r;
}

static int read_source(struct round *r, struct dink_err *err)
{
	_cleanup_(dink_cut_freep) struct dink_cut *cut =
		dink_cut_new(&r->info->diff_ids, send_piece, send_stub, r);
	struct source s = {r, cut};
	int ret;

	if (r->c->from)
		dink_cut_strict(cut, is_name(r->c->export) ? r->c->export : NULL);
	for (size_t i = 0; i < r->c->members.n; i++)
		dink_cut_name(cut, r->c->members.v[i], (int)i);
	ret = r->c->from ? dink_engine_save(r->c->from, r->c->export, take_source, &s, err)
			 : read_file(&s, r->c->file, err);

	if (ret >= 0)
		ret = dink_cut_end(cut, err);
	dink_debug("image", "%s: %d of %zu layers recognised", r->c->name, dink_cut_found(cut),
		   r->info->diff_ids.n);
	return ret;
}

/* --- rounds --------------------------------------------------------------------------------- */

/* Until each target knows what it lacks, or the time for it is over. */
static void wait_prepared(struct round *r)
{
	uint64_t end = dink_now_ms() + PREPARE_MS;
	bool all = false;

	pthread_mutex_lock(&r->lock);
	while (!all) {
		struct timespec until;
		bool any = false;

		all = true;
		for (size_t i = 0; i < r->n; i++) {
			all = all && r->jobs[i].phase != PREPARING;
			any = any || r->jobs[i].phase == READY;
		}
		if (all || dink_interrupted() || (any && dink_now_ms() > end))
			break;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		(void)pthread_cond_timedwait(&r->changed, &r->lock, &until);
	}
	for (size_t i = 0; i < r->n; i++)
		if (r->jobs[i].phase == PREPARING) {
			r->jobs[i].late = true;
			dink_feed_end(r->feed, i, ETIME);
		}
	pthread_mutex_unlock(&r->lock);
}

static void start_jobs(struct round *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct job *j = &r->jobs[i];

		j->started = pthread_create(&j->thread, NULL, run_job, j) == 0;
		if (j->started)
			continue;
		j->phase = OVER;
		dink_err_set(&j->to->err, DINK_E_HOST, EAGAIN, "start a thread");
		dink_feed_leave(r->feed, i);
	}
}

/* One read for all of jobs; the source's error is only one if somebody waited for it. */
static int run_round(struct dink_image_copy *c, const struct dink_image_info *info,
		     struct job *jobs, size_t n, bool last, struct dink_err *err)
{
	struct round r = {.c = c, .info = info, .jobs = jobs, .n = n};
	int ret = 0;

	r.feed = dink_feed_new(n, DINK_COPY_BUFFER, last ? UINT32_MAX : DINK_COPY_PATIENCE_MS);
	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.changed, NULL);
	for (size_t i = 0; i < n; i++) {
		jobs[i].round = &r;
		jobs[i].number = i;
	}
	start_jobs(&r);
	wait_prepared(&r);
	if (anybody_reads(&r))
		ret = read_source(&r, err);
	for (size_t i = 0; i < n; i++)
		dink_feed_end(r.feed, i, ret < 0 ? -ret : 0);
	for (size_t i = 0; i < n; i++)
		if (jobs[i].started)
			pthread_join(jobs[i].thread, NULL);
	dink_feed_free(r.feed);
	pthread_mutex_destroy(&r.lock);
	pthread_cond_destroy(&r.changed);
	if (ret == -ECANCELED) {
		dink_err_clear(err);
		return 0;
	}
	return ret;
}

/* Those whom another round may help, in jobs anew; how many. */
static size_t collect_again(struct job *jobs, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (!jobs[i].again)
			continue;
		dink_err_clear(&jobs[i].to->err);
		jobs[k++] = (struct job){.to = jobs[i].to, .full = jobs[i].full};
	}
	return k;
}

static int open_engine(struct dink_image_copy *c, struct dink_image_info *info,
		       struct dink_err *err)
{
	int r = dink_engine_image(c->from, c->ref, info, err);

	if (r == -ENOENT && !dink_err_is_set(err)) {
		dink_err_set(err, DINK_E_HOST, 0, "there is no image %s", c->ref);
		return dink_err_hint(err, "dink image ls LAYER shows what there is");
	}
	if (r < 0)
		return r;
	c->source_name = dink_ref_with_tag(c->ref, info);
	return 0;
}

/* An archive says beforehand what its members are. */
static int open_file(struct dink_image_copy *c, struct dink_image_info *info, struct dink_err *err)
{
	_cleanup_(dink_archive_info_clear) struct dink_archive_info a = {};
	struct stat st;
	int r = dink_archive_read(c->file, &a, err);

	if (r < 0)
		return r;
	if (stat(c->file, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "%s", c->file);
	info->id = TAKE_PTR(a.id);
	info->size = (uint64_t)st.st_size;
	info->diff_ids = a.diff_ids;
	a.diff_ids = (struct dink_strv){};
	c->members = a.members;
	a.members = (struct dink_strv){};
	c->source_name = a.ref ? dink_ref_with_tag(a.ref, info) : xstrdup(info->id);
	return 0;
}

/*
 * Podman puts its own name into the archive ("localhost/app:1"), which the targets would then have
 * beside the one asked for. By its id the image has none; each target is told it after the load.
 */
static int choose_export(struct dink_image_copy *c, const struct dink_copy_to *to, size_t n,
			 struct dink_err *err)
{
	bool by_id = c->as;
	int r = c->from && !by_id ? dink_engine_is_podman(c->from, &by_id, err) : 0;

	for (size_t i = 0; i < n; i++)
		by_id = by_id && to[i].engine;
	if (r == 0)
		c->export = xstrdup(by_id ? c->id : c->source_name);
	return r;
}

static int open_source(struct dink_image_copy *c, struct dink_image_info *info,
		       struct dink_err *err)
{
	int r = c->from ? open_engine(c, info, err) : open_file(c, info, err);

	if (r < 0)
		return r;
	if (info->diff_ids.n == 0)
		return dink_err_set(err, DINK_E_CHILD, 0, "image %s has no layers: nothing to copy",
				    c->source_name);
	c->id = xstrdup(info->id);
	c->layers = info->diff_ids.n;
	c->name = c->as ? dink_ref_with_tag(c->as, &(struct dink_image_info){})
			: xstrdup(c->source_name);
	return 0;
}

int dink_image_copy(struct dink_image_copy *c, struct dink_copy_to *to, size_t n,
		    struct dink_err *err)
{
	_cleanup_(dink_image_info_clear) struct dink_image_info info = {};
	_cleanup_free_ struct job *jobs = xcalloc(n, sizeof(*jobs));
	size_t left = n;
	int r;

	if (n == 0 || n > DINK_COPY_TARGETS_MAX)
		return dink_err_set(err, DINK_E_USAGE, 0, "from 1 to %d targets, not %zu",
				    DINK_COPY_TARGETS_MAX, n);
	r = open_source(c, &info, err);
	if (r == 0)
		r = choose_export(c, to, n, err);
	for (size_t i = 0; i < n; i++)
		jobs[i].to = &to[i];
	for (int round = 1; r == 0 && left > 0; round++) {
		bool last = round == ROUNDS_MAX;

		r = run_round(c, &info, jobs, left, last, err);
		left = last || r < 0 ? 0 : collect_again(jobs, left);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (!to[i].done)
			return -EREMOTEIO;
	return 0;
}

void dink_image_copy_clear(struct dink_image_copy *c)
{
	free(c->id);
	free(c->name);
	free(c->export);
	free(c->source_name);
	dink_strv_clear(&c->members);
}
