/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp: what goes where, and the stream between the engine and the disk. One side pushes (HTTP, or
 * the packer), the other pulls: a pipe and one thread are between them, nothing is spooled.
 */
#include "provision/engine/copy.h"

#include "provision/base/file.h"
#include "provision/engine/http.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

enum { STAT_MAX = 16 << 10, TAR_OUTPUT_MAX = 4096 };

/* The last component, without slashes after it; "/" and "." for those. */
static char *base_name(const char *path)
{
	size_t n = strlen(path), from;

	while (n > 1 && path[n - 1] == '/')
		n--;
	from = n;
	while (from > 0 && path[from - 1] != '/')
		from--;
	return from == n ? xstrdup("/") : xstrndup(path + from, n - from);
}

static char *dir_name(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n == 0 ? xstrdup(path[0] == '/' ? "/" : ".") : xstrndup(path, n);
}

static bool means_contents(const char *path)
{
	return STREQ(path, ".") || STREQ(path, "/") || dink_ends_with(path, "/.");
}

static int decode_base64(const char *text, char *out, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	int have = 0;
	size_t n = 0;

	for (; *text && *text != '='; text++) {
		const char *d = strchr(digits, *text == '-' ? '+' : *text == '_' ? '/' : *text);

		if (!d || n + 1 >= size)
			return -EPROTO;
		bits = bits << 6 | (uint32_t)(d - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (char)(bits >> have);
		}
	}
	out[n] = '\0';
	return (int)n;
}

enum { GO_MODE_DIR = 1u << 31, GO_MODE_SYMLINK = 1u << 27, LINKS_MAX = 8 };

enum look { LOOK_NOTHING, LOOK_DIR, LOOK_LINK, LOOK_OTHER };

/* One look by the engine: enum look; *ret_link is set for LOOK_LINK. */
static int look(const struct dink_copy_layer *l, const char *path, char **ret_link,
		struct dink_err *err)
{
	_cleanup_free_ char *name = dink_url_escape(l->container), *where = dink_url_escape(path);
	_cleanup_free_ char *url = xasprintf("/containers/%s/archive?path=%s", name, where);
	_cleanup_(dink_err_clear) struct dink_err why = {};
	_cleanup_json_ struct json_object *o = NULL;
	struct dink_http h = DINK_HTTP_INIT;
	char text[STAT_MAX];
	int64_t mode;
	int r, n;

	h.method = "HEAD";
	h.path = url;
	h.want_header = "X-Docker-Container-Path-Stat";
	r = dink_http_run(l->engine, &h, &why);
	if (r < 0 && h.status == 404)
		return LOOK_NOTHING;
	if (r < 0) {
		dink_err_move(err, &why);
		return r;
	}
	n = h.header ? decode_base64(h.header, text, sizeof(text)) : -EPROTO;
	free(h.header);
	if (n < 0)
		return dink_err_set(err, DINK_E_CHILD, EPROTO, "the engine's answer about %s",
				    path);
	r = dink_json_parse(text, (size_t)n, "the engine's answer", &o, err);
	if (r < 0)
		return r;
	mode = dink_json_int_or(o, "mode", 0);
	if (mode & GO_MODE_SYMLINK && dink_json_str_or(o, "linkTarget", "")[0] == '/') {
		*ret_link = xstrdup(dink_json_str_or(o, "linkTarget", ""));
		return LOOK_LINK;
	}
	return mode & GO_MODE_DIR ? LOOK_DIR : LOOK_OTHER;
}

/* --- what the layer sends ------------------------------------------------------------------- */

struct transfer {
	const struct dink_copy_layer *layer;
	const char *path; /* in the layer, or the local one for a packer */
	const char *top;
	int fd; /* the pipe's end of the thread; closed by it */
	int result;
	struct dink_err err;
};

static int run_tar(const struct dink_copy_layer *l, const struct dink_strv *argv, int in, int out,
		   struct dink_err *err)
{
	struct dink_exec x = {.container = l->container,
			      .argv = argv->v,
			      .stdin_open = in >= 0,
			      .in = in,
			      .out = out,
			      .errfd = STDERR_FILENO,
			      .winch_fd = -1};
	int r = dink_engine_exec(l->engine, &x, err);

	if (r <= 0)
		return r;
	/* ended since nobody reads on: run_both() looks for EPIPE to tell cause from consequence */
	return dink_err_set(err, DINK_E_CHILD, r == 128 + SIGPIPE ? EPIPE : 0,
			    "tar in the layer ended with %d", r);
}

static int send_from_layer(const struct dink_copy_layer *l, const char *path, int fd,
			   struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv argv = {};
	_cleanup_free_ char *dir = NULL, *base = NULL;

	if (!l->by_tar) {
		/* docker and podman name what is in "DIR/." differently, and what is in DIR alike
		 */
		_cleanup_free_ char *whole = xstrdup(path);

		while (strlen(whole) > 1 &&
		       (dink_ends_with(whole, "/") || dink_ends_with(whole, "/.")))
			whole[strlen(whole) - 1] = '\0';
		return dink_engine_get_archive(l->engine, l->container, whole, fd, err);
	}
	dir = means_contents(path) ? xstrdup(path) : dir_name(path);
	base = means_contents(path) ? xstrdup(".") : base_name(path);
	dink_strv_addl(&argv, "tar", "-C", dir, "-cf", "-", base, NULL);
	return run_tar(l, &argv, -1, fd, err);
}

static void *run_sender(void *arg)
{
	struct transfer *t = arg;

	t->result = send_from_layer(t->layer, t->path, t->fd, &t->err);
	close(t->fd);
	return NULL;
}

static void *run_packer(void *arg)
{
	struct transfer *t = arg;

	t->result = dink_copy_pack(t->path, t->top, t->fd, &t->err);
	close(t->fd);
	return NULL;
}

/*
 * Starts the thread, runs the other side, joins. Which error is the cause: if the reader failed
 * the writer only sees a broken pipe, and if the writer failed the reader sees a short stream. A
 * broken pipe is therefore never the cause.
 */
static int run_both(struct transfer *t, void *(*writer)(void *),
		    int (*reader)(void *ctx, int fd, struct dink_err *err), void *ctx,
		    struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err mine = {};
	_cleanup_close_ int fd = -1;
	pthread_t thread;
	int pipefd[2], r;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "make a pipe");
	fd = pipefd[0];
	t->fd = pipefd[1];
	r = pthread_create(&thread, NULL, writer, t);
	if (r != 0) {
		close(t->fd);
		return dink_err_set(err, DINK_E_HOST, r, "start a thread");
	}
	r = reader(ctx, fd, &mine);
	close(TAKE_FD(fd)); /* a writer that is not done gets EPIPE */
	(void)pthread_join(thread, NULL);
	/* EPIPE after a good end: tar pads its archive, and nobody reads what is behind the end */
	if (t->result < 0 && t->err.errnum != EPIPE) {
		dink_err_move(err, &t->err);
		return t->result;
	}
	dink_err_clear(&t->err);
	if (r < 0)
		dink_err_move(err, &mine);
	return r;
}

struct extract {
	char *dir, *top;
};

static void clear_extract(struct extract *x)
{
	free(x->dir);
	free(x->top);
}

static int read_extract(void *ctx, int fd, struct dink_err *err)
{
	const struct extract *x = ctx;

	return dink_copy_extract(fd, x->dir, x->top, err);
}

int dink_copy_out(const struct dink_copy_layer *from, const char *path, const char *to,
		  struct dink_err *err)
{
	_cleanup_(clear_extract) struct extract x = {};
	struct transfer t = {.layer = from, .path = path};
	struct stat st;
	bool is_dir = stat(to, &st) == 0 && S_ISDIR(st.st_mode);
	int r;

	if (path[0] != '/')
		return dink_err_set(err, DINK_E_USAGE, 0, "'%s' is not absolute in the layer",
				    path);
	/* podman sends an empty stream for what is not there */
	if (!from->by_tar) {
		_cleanup_free_ char *link = NULL;

		r = look(from, path, &link, err);
		if (r < 0)
			return r;
		if (r == LOOK_NOTHING)
			return dink_err_set(err, DINK_E_USAGE, 0, "there is no %s in the layer",
					    path);
	}
	if (STREQ(to, "-")) {
		r = send_from_layer(from, path, STDOUT_FILENO, err);
	} else if (!is_dir && dink_ends_with(to, "/")) {
		return dink_err_set(err, DINK_E_USAGE, ENOTDIR, "%s", to);
	} else {
		x.dir = is_dir ? xstrdup(to) : dir_name(to);
		x.top = is_dir ? (means_contents(path) ? xstrdup("") : base_name(path))
			       : base_name(to);
		r = run_both(&t, run_sender, read_extract, &x, err);
	}
	if (r < 0)
		(void)dink_err_push(err, "copying %s out of container %s", path, from->container);
	return r;
}

/* --- into the layer ------------------------------------------------------------------------- */

static int put_stream(const struct dink_copy_layer *l, const char *dir, int fd,
		      struct dink_err *err)
{
	_cleanup_strv_ struct dink_strv argv = {};

	if (!l->by_tar)
		return dink_engine_put_archive(l->engine, l->container, dir, fd, err);
	dink_strv_addl(&argv, "tar", "-C", dir, "-xf", "-", NULL);
	return run_tar(l, &argv, fd, STDERR_FILENO, err);
}

/* Whether a path in the layer is a folder, links followed. */
static int layer_is_dir(const struct dink_copy_layer *l, const char *path, struct dink_err *err)
{
	_cleanup_free_ char *at = xstrdup(path), *out = NULL;
	_cleanup_strv_ struct dink_strv argv = {};
	int r;

	if (l->by_tar) {
		dink_strv_addl(&argv, "test", "-d", path, NULL);
		r = dink_engine_exec_capture(l->engine, l->container, argv.v, TAR_OUTPUT_MAX, &out,
					     err);
		return r < 0 ? r : r == 0;
	}
	for (int i = 0; i < LINKS_MAX; i++) {
		char *link = NULL;

		r = look(l, at, &link, err);
		if (r != LOOK_LINK)
			return r < 0 ? r : r == LOOK_DIR;
		free(at);
		at = link;
	}
	return dink_err_set(err, DINK_E_CHILD, ELOOP, "%s in the layer", path);
}

struct put {
	const struct dink_copy_layer *layer;
	char *dir;
};

static int read_put(void *ctx, int fd, struct dink_err *err)
{
	const struct put *p = ctx;

	return put_stream(p->layer, p->dir, fd, err);
}

static int put_path(const char *from, const struct dink_copy_layer *to, const char *path,
		    struct dink_err *err)
{
	_cleanup_free_ char *source = xstrdup(from), *top = NULL, *dir = NULL;
	struct transfer t = {};
	struct put put = {.layer = to};
	struct stat st;
	int is_dir;

	if (lstat(from, &st) < 0)
		return dink_err_set(err, DINK_E_USAGE, errno, "%s", from);
	is_dir = layer_is_dir(to, path, err);
	if (is_dir < 0)
		return is_dir;
	if (!is_dir && (dink_ends_with(path, "/") || dink_ends_with(path, "/.")))
		return dink_err_set(err, DINK_E_USAGE, ENOTDIR, "%s in the layer", path);
	/* the packer cuts the path off the front of each name: so it ends in no slash */
	while (strlen(source) > 1 && dink_ends_with(source, "/"))
		source[strlen(source) - 1] = '\0';
	if (is_dir)
		top = means_contents(from) ? xstrdup(".") : base_name(source);
	else
		top = base_name(path);
	dir = is_dir ? xstrdup(path) : dir_name(path);
	/* podman takes a stream for a folder that is not there, and drops it */
	if (!is_dir && (is_dir = layer_is_dir(to, dir, err)) <= 0)
		return is_dir < 0 ? is_dir
				  : dink_err_set(err, DINK_E_USAGE, 0,
						 "there is no folder %s in the layer", dir);
	put.dir = dir;
	t = (struct transfer){.path = source, .top = top};
	return run_both(&t, run_packer, read_put, &put, err);
}

int dink_copy_in(const char *from, const struct dink_copy_layer *to, const char *path,
		 struct dink_err *err)
{
	int r;

	if (path[0] != '/')
		return dink_err_set(err, DINK_E_USAGE, 0, "'%s' is not absolute in the layer",
				    path);
	r = STREQ(from, "-") ? put_stream(to, path, STDIN_FILENO, err)
			     : put_path(from, to, path, err);
	if (r < 0)
		(void)dink_err_push(err, "copying %s into container %s", from, to->container);
	return r;
}
