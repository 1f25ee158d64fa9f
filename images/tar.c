/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tar reading and writing, see tar.h.
 *
 * Read: v7, ustar (prefix), GNU long names ('L', 'K') and base-256 numbers, pax ('x'; 'g' is
 * skipped). A member's offsets span its extended headers, so that it can be copied as it stands.
 */
#include "images/tar.h"

#include "provision/base/file.h"
#include "provision/base/mem.h"

#include <sys/stat.h>

/* The header of POSIX.1-1988 with the prefix field of ustar. */
struct tar_header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6];
	char version[2];
	char uname[32];
	char gname[32];
	char major[8];
	char minor[8];
	char prefix[155];
	char pad[12];
};
_Static_assert(sizeof(struct tar_header) == DINK_TAR_BLOCK, "a tar header is one block");

struct dink_tar {
	int fd;
	char *what;
	off_t next;
	uint64_t file_size;
	struct dink_tar_member m;
};

/* What extended headers said about the member that follows. */
struct extended {
	char *name;
	char *link;
	int64_t size; /* -1 = not said */
	bool has_xattrs;
};

static void clear_extended(struct extended *x)
{
	free(x->name);
	free(x->link);
}

static void clear_member(struct dink_tar_member *m)
{
	free(m->name);
	free(m->link);
	*m = (struct dink_tar_member){};
}

int dink_tar_open(int fd, const char *what, struct dink_tar **ret, struct dink_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "stat %s", what);
	if (!S_ISREG(st.st_mode))
		return dink_err_set(err, DINK_E_USAGE, 0, "%s is no regular file", what);
	struct dink_tar *t = xcalloc(1, sizeof(*t));
	t->fd = fd;
	t->what = xstrdup(what);
	t->file_size = (uint64_t)st.st_size;
	*ret = t;
	return 0;
}

void dink_tar_free(struct dink_tar *t)
{
	if (!t)
		return;
	clear_member(&t->m);
	free(t->what);
	free(t);
}

static int damaged(struct dink_tar *t, off_t at, const char *why, struct dink_err *err)
{
	return dink_err_set(err, DINK_E_HOST, EBADMSG, "%s: %s at offset %jd", t->what, why,
			    (intmax_t)at);
}

static int read_at(struct dink_tar *t, off_t at, void *buf, size_t n, struct dink_err *err)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = pread(t->fd, (char *)buf + done, n - done, at + (off_t)done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return dink_err_set(err, DINK_E_HOST, errno, "read %s", t->what);
		if (r == 0)
			return damaged(t, at, "the archive ends too early", err);
		done += (size_t)r;
	}
	return 0;
}

/* Octal, or base-256 where the top bit of the first byte is set. -1 if it is neither. */
static int64_t parse_number(const char *field, size_t n)
{
	const unsigned char *p = (const unsigned char *)field;
	uint64_t v = 0;

	if (p[0] & 0x80) {
		v = p[0] & 0x7f;
		for (size_t i = 1; i < n; i++) {
			if (v >> 54)
				return -1;
			v = v << 8 | p[i];
		}
		return (int64_t)v;
	}
	size_t i = 0;
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] != '\0' && p[i] != ' '; i++) {
		if (p[i] < '0' || p[i] > '7' || v >> 58)
			return -1;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	return (int64_t)v;
}

static bool checksum_ok(const struct tar_header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	const size_t from = offsetof(struct tar_header, checksum);
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*h); i++)
		sum += i >= from && i < from + sizeof(h->checksum) ? ' ' : p[i];
	return parse_number(h->checksum, sizeof(h->checksum)) == (int64_t)sum;
}

static bool block_is_zero(const struct tar_header *h)
{
	const char *p = (const char *)h;

	for (size_t i = 0; i < sizeof(*h); i++)
		if (p[i])
			return false;
	return true;
}

/* "./usr/bin/" -> "usr/bin"; owned by the caller */
static char *clean_name(const char *s)
{
	for (;;) {
		if (s[0] == '/')
			s++;
		else if (s[0] == '.' && s[1] == '/')
			s += 2;
		else
			break;
	}
	if (STREQ(s, "."))
		s++;
	size_t n = strlen(s);
	while (n > 0 && s[n - 1] == '/')
		n--;
	return xstrndup(s, n);
}

/* pax records: "LENGTH KEY=VALUE\n" ... */
static int parse_pax(struct dink_tar *t, off_t at, char *text, size_t len, struct extended *x,
		     struct dink_err *err)
{
	for (size_t pos = 0; pos < len;) {
		char *end = NULL;
		unsigned long n = strtoul(text + pos, &end, 10);
		if (!end || *end != ' ' || n < 5 || n > len - pos || text[pos + n - 1] != '\n')
			return damaged(t, at, "a damaged pax record", err);
		text[pos + n - 1] = '\0';
		char *key = end + 1;
		char *eq = strchr(key, '=');
		if (!eq || eq > text + pos + n)
			return damaged(t, at, "a pax record without '='", err);
		*eq = '\0';
		const char *value = eq + 1;
		if (STREQ(key, "path") || STREQ(key, "linkpath")) {
			char **dst = key[0] == 'p' ? &x->name : &x->link;
			if (strlen(value) > DINK_TAR_NAME_MAX)
				return damaged(t, at, "a name that is too long", err);
			free(*dst);
			*dst = xstrdup(value);
		} else if (STREQ(key, "size")) {
			char *tail = NULL;
			errno = 0;
			x->size = strtoll(value, &tail, 10);
			if (errno || !tail || *tail || x->size < 0)
				return damaged(t, at, "a damaged size", err);
		} else if (dink_starts_with(key, "SCHILY.xattr.")) {
			x->has_xattrs = true;
		}
		pos += n;
	}
	return 0;
}

static int read_extended(struct dink_tar *t, off_t at, uint64_t size, char type, struct extended *x,
			 struct dink_err *err)
{
	if (type == 'g')
		return 0;
	if (size > DINK_TAR_EXT_MAX)
		return damaged(t, at, "an extended header that is too large", err);
	_cleanup_free_ char *text = xmalloc((size_t)size + 1);
	int r = read_at(t, at + DINK_TAR_BLOCK, text, (size_t)size, err);
	if (r < 0)
		return r;
	text[size] = '\0';
	if (type == 'x')
		return parse_pax(t, at, text, (size_t)size, x, err);
	if (strlen(text) > DINK_TAR_NAME_MAX)
		return damaged(t, at, "a name that is too long", err);
	char **dst = type == 'L' ? &x->name : &x->link;
	free(*dst);
	*dst = TAKE_PTR(text);
	return 0;
}

/* From header and extended headers to t->m. */
static int fill_member(struct dink_tar *t, const struct tar_header *h, struct extended *x,
		       uint64_t size, struct dink_err *err)
{
	struct dink_tar_member *m = &t->m;
	_cleanup_free_ char *name = NULL, *link = NULL;

	if (x->name) {
		name = xstrdup(x->name);
	} else {
		_cleanup_free_ char *base = xstrndup(h->name, sizeof(h->name));
		bool has_prefix = memcmp(h->magic, "ustar", 6) == 0 && h->prefix[0];
		_cleanup_free_ char *prefix = xstrndup(h->prefix, sizeof(h->prefix));
		name = has_prefix ? xasprintf("%s/%s", prefix, base) : TAKE_PTR(base);
	}
	char type = h->type == '\0' || h->type == '7' ? DINK_TAR_FILE : h->type;
	/* v7 says "directory" by a slash at the end */
	if (type == DINK_TAR_FILE && dink_ends_with(name, "/"))
		type = DINK_TAR_DIR;
	if (type < DINK_TAR_FILE || type > DINK_TAR_FIFO)
		return damaged(t, m->start, "a member of an unknown type", err);
	if (type == DINK_TAR_HARDLINK || type == DINK_TAR_SYMLINK)
		link = x->link ? xstrdup(x->link) : xstrndup(h->link, sizeof(h->link));
	int64_t mode = parse_number(h->mode, sizeof(h->mode));
	int64_t uid = parse_number(h->uid, sizeof(h->uid));
	int64_t gid = parse_number(h->gid, sizeof(h->gid));
	if (mode < 0 || uid < 0 || gid < 0 || uid > UINT32_MAX || gid > UINT32_MAX)
		return damaged(t, m->start, "a damaged header", err);
	m->name = clean_name(name);
	m->link = link && type == DINK_TAR_HARDLINK ? clean_name(link) : TAKE_PTR(link);
	m->type = type;
	m->mode = (uint32_t)mode & 07777;
	m->uid = (uint32_t)uid;
	m->gid = (uint32_t)gid;
	m->mtime = parse_number(h->mtime, sizeof(h->mtime));
	m->size = size;
	m->has_xattrs = x->has_xattrs;
	return 0;
}

int dink_tar_next(struct dink_tar *t, const struct dink_tar_member **ret, struct dink_err *err)
{
	_cleanup_(clear_extended) struct extended x = {.size = -1};
	off_t at = t->next;

	clear_member(&t->m);
	t->m.start = at;
	for (int n_extended = 0;; n_extended++) {
		struct tar_header h;
		/* an archive cut after the last member is accepted, as tar(1) does */
		if ((uint64_t)at == t->file_size && n_extended == 0)
			return 0;
		int r = read_at(t, at, &h, sizeof(h), err);
		if (r < 0)
			return r;
		if (block_is_zero(&h))
			return n_extended ? damaged(t, at, "no member after its header", err) : 0;
		if (!checksum_ok(&h))
			return damaged(t, at, "no tar header", err);
		int64_t size = parse_number(h.size, sizeof(h.size));
		bool extended = h.type == 'x' || h.type == 'g' || h.type == 'L' || h.type == 'K';
		if (!extended && x.size >= 0)
			size = x.size;
		/* links and nodes carry no data whatever their size says */
		if (h.type >= DINK_TAR_HARDLINK && h.type <= DINK_TAR_FIFO)
			size = 0;
		uint64_t room = t->file_size - (uint64_t)at - DINK_TAR_BLOCK;
		if (size < 0 || (uint64_t)size > room)
			return damaged(t, at, "a member larger than the archive", err);
		uint64_t padded =
			((uint64_t)size + DINK_TAR_BLOCK - 1) / DINK_TAR_BLOCK * DINK_TAR_BLOCK;
		if (padded > room)
			padded = room;
		if (extended) {
			if (n_extended >= 8)
				return damaged(t, at, "too many extended headers", err);
			r = read_extended(t, at, (uint64_t)size, h.type, &x, err);
			if (r < 0)
				return r;
			at += DINK_TAR_BLOCK + (off_t)padded;
			continue;
		}
		r = fill_member(t, &h, &x, (uint64_t)size, err);
		if (r < 0)
			return r;
		t->m.data = at + DINK_TAR_BLOCK;
		t->m.end = t->m.data + (off_t)padded;
		t->next = t->m.end;
		*ret = &t->m;
		return 1;
	}
}

struct dink_tar_writer {
	int fd;
	char *what;
	struct dink_hash *hash;
	uint64_t left; /* data of the present member still to come */
	uint64_t pad;
};

struct dink_tar_writer *dink_tar_writer_new(int fd, const char *what, struct dink_hash *hash)
{
	struct dink_tar_writer *w = xcalloc(1, sizeof(*w));

	w->fd = fd;
	w->what = xstrdup(what);
	w->hash = hash;
	return w;
}

void dink_tar_writer_free(struct dink_tar_writer *w)
{
	if (!w)
		return;
	free(w->what);
	free(w);
}

static int emit(struct dink_tar_writer *w, const void *bytes, size_t n, struct dink_err *err)
{
	int r = dink_fd_write_all(w->fd, bytes, n);

	if (r < 0)
		return dink_err_set(err, DINK_E_HOST, -r, "write %s", w->what);
	if (w->hash)
		dink_hash_add(w->hash, bytes, n);
	return 0;
}

static int emit_padding(struct dink_tar_writer *w, struct dink_err *err)
{
	static const char zeros[DINK_TAR_BLOCK];

	if (w->left || !w->pad)
		return 0;
	size_t n = (size_t)w->pad;
	w->pad = 0;
	return emit(w, zeros, n, err);
}

static void put_octal(char *field, size_t n, uint64_t v)
{
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
	field[n - 1] = '\0';
}

static void fill_header(struct tar_header *h, const char *name, const char *link, char type,
			const struct dink_tar_member *m, uint64_t size)
{
	*h = (struct tar_header){};
	memcpy(h->name, name, strnlen(name, sizeof(h->name)));
	if (link)
		memcpy(h->link, link, strnlen(link, sizeof(h->link)));
	put_octal(h->mode, sizeof(h->mode), m->mode & 07777);
	put_octal(h->uid, sizeof(h->uid), m->uid);
	put_octal(h->gid, sizeof(h->gid), m->gid);
	put_octal(h->size, sizeof(h->size), size);
	put_octal(h->mtime, sizeof(h->mtime), m->mtime > 0 ? (uint64_t)m->mtime : 0);
	h->type = type;
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	memset(h->checksum, ' ', sizeof(h->checksum));
	uint32_t sum = 0;
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += ((const unsigned char *)h)[i];
	put_octal(h->checksum, 7, sum);
}

static void add_pax(struct dink_str *s, const char *key, const char *value)
{
	/* the length counts its own digits */
	size_t body = strlen(key) + strlen(value) + 3, n = body + 1;

	for (;;) {
		char digits[24];
		size_t want = body + (size_t)snprintf(digits, sizeof(digits), "%zu", n);
		if (want == n)
			break;
		n = want;
	}
	dink_str_addf(s, "%zu %s=%s\n", n, key, value);
}

static int put_pax(struct dink_tar_writer *w, const struct dink_tar_member *m, const char *name,
		   struct dink_err *err)
{
	static const char zeros[DINK_TAR_BLOCK];
	_cleanup_str_ struct dink_str s = {};
	struct tar_header h;

	if (strlen(name) > sizeof(h.name))
		add_pax(&s, "path", name);
	if (m->link && strlen(m->link) > sizeof(h.link))
		add_pax(&s, "linkpath", m->link);
	if (m->size >> 33) {
		char digits[24];
		snprintf(digits, sizeof(digits), "%ju", (uintmax_t)m->size);
		add_pax(&s, "size", digits);
	}
	if (!s.len)
		return 0;
	struct dink_tar_member meta = {.mode = 0644, .mtime = m->mtime};
	fill_header(&h, "././@PaxHeader", NULL, 'x', &meta, s.len);
	int r = emit(w, &h, sizeof(h), err);
	if (r < 0)
		return r;
	r = emit(w, s.s, s.len, err);
	if (r < 0)
		return r;
	return emit(w, zeros, (DINK_TAR_BLOCK - s.len % DINK_TAR_BLOCK) % DINK_TAR_BLOCK, err);
}

int dink_tar_put(struct dink_tar_writer *w, const struct dink_tar_member *m, struct dink_err *err)
{
	_cleanup_free_ char *name =
		xasprintf("%s%s", m->name[0] ? m->name : ".", m->type == DINK_TAR_DIR ? "/" : "");
	struct tar_header h;

	if (w->left)
		return dink_err_set(err, DINK_E_BUG, 0, "%s: member %s before the last one's end",
				    w->what, m->name);
	if (m->uid > 07777777 || m->gid > 07777777)
		return dink_err_set(err, DINK_E_HOST, EOVERFLOW, "%s: owner of %s", w->what, name);
	int r = put_pax(w, m, name, err);
	if (r < 0)
		return r;
	fill_header(&h, name, m->link, m->type, m, m->size & ((1ULL << 33) - 1));
	r = emit(w, &h, sizeof(h), err);
	if (r < 0)
		return r;
	w->left = m->type == DINK_TAR_FILE ? m->size : 0;
	w->pad = (DINK_TAR_BLOCK - w->left % DINK_TAR_BLOCK) % DINK_TAR_BLOCK;
	return 0;
}

int dink_tar_put_data(struct dink_tar_writer *w, const void *bytes, size_t n, struct dink_err *err)
{
	if (n > w->left)
		return dink_err_set(err, DINK_E_BUG, 0, "%s: more data than said", w->what);
	int r = emit(w, bytes, n, err);
	if (r < 0)
		return r;
	w->left -= n;
	return emit_padding(w, err);
}

/* n bytes of from at offset, whatever they are */
static int emit_copy(struct dink_tar_writer *w, int from, off_t offset, uint64_t n,
		     struct dink_err *err)
{
	const size_t chunk = 256 << 10;
	_cleanup_free_ char *buf = xmalloc(chunk);

	while (n) {
		ssize_t r = pread(from, buf, n < chunk ? (size_t)n : chunk, offset);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return dink_err_set(err, DINK_E_HOST, r < 0 ? errno : EBADMSG,
					    "read what goes into %s", w->what);
		int e = emit(w, buf, (size_t)r, err);
		if (e < 0)
			return e;
		offset += r;
		n -= (uint64_t)r;
	}
	return 0;
}

int dink_tar_put_copy(struct dink_tar_writer *w, int from, off_t offset, uint64_t n,
		      struct dink_err *err)
{
	if (n > w->left)
		return dink_err_set(err, DINK_E_BUG, 0, "%s: more data than said", w->what);
	int r = emit_copy(w, from, offset, n, err);
	if (r < 0)
		return r;
	w->left -= n;
	return emit_padding(w, err);
}

int dink_tar_put_member(struct dink_tar_writer *w, int from, const struct dink_tar_member *m,
			struct dink_err *err)
{
	if (w->left)
		return dink_err_set(err, DINK_E_BUG, 0, "%s: member %s before the last one's end",
				    w->what, m->name);
	int r = emit_copy(w, from, m->start, (uint64_t)(m->end - m->start), err);
	if (r < 0)
		return r;
	/* the last member of a cut archive may lack its padding */
	w->pad = (DINK_TAR_BLOCK - (uint64_t)(m->end - m->start) % DINK_TAR_BLOCK) % DINK_TAR_BLOCK;
	return emit_padding(w, err);
}

int dink_tar_put_file(struct dink_tar_writer *w, const char *name, const void *bytes, size_t n,
		      int64_t mtime, struct dink_err *err)
{
	_cleanup_free_ char *owned = xstrdup(name);
	const struct dink_tar_member m = {
		.name = owned, .type = DINK_TAR_FILE, .mode = 0644, .size = n, .mtime = mtime};

	int r = dink_tar_put(w, &m, err);
	return r < 0 || n == 0 ? r : dink_tar_put_data(w, bytes, n, err);
}

int dink_tar_finish(struct dink_tar_writer *w, struct dink_err *err)
{
	static const char zeros[2 * DINK_TAR_BLOCK];
	int r;

	if (w->left)
		r = dink_err_set(err, DINK_E_BUG, 0, "%s: the last member lacks data", w->what);
	else
		r = emit(w, zeros, sizeof(zeros), err);
	dink_tar_writer_free(w);
	return r;
}
