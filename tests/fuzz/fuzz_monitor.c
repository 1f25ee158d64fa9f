/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink-vm's monitor as a whole: its state machine with the real channel, QMP and control.sock, and
 * all that may happen to it in any order. The input is a script, one line a step, a letter first:
 *
 *	a[N]     the guest answers its Nth open request with ok     A[N]TEXT  with TEXT
 *	e[N]     an event of the guest, one of a few                E TEXT    TEXT as an event
 *	d[I][N]  N pieces of data on stream I    f[I] its end    c[I][N] credit    r[I] reset
 *	x TEXT   bytes on the channel
 *	g        the creator says go, or         G         dies
 *	q[N]     QEMU answers a command, or tells of an event, one of a few   Q TEXT    a line of TEXT
 *	o[N]     a client on control.sock with a request, one of a few    O TEXT  of TEXT
 *	h[N]     the Nth client hangs up         n[N]      it asks for more
 *	s[N]     a signal comes                  t[N]      time passes
 *
 * The first byte says how the monitor was started. Must hold: no memory error, one answer to the
 * creator, and a monitor whose channel is gone ends.
 */
#include "provision/base/file.h"
#include "provision/vm/frame.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/proto.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	CLIENTS = 16,
	STEPS = 200,
	NO_SUCH_PID = 0x7ffffff0, /* above any pid that there can be */
	OPEN_MAX = 64,
};

extern const struct dink_chan_ops mon_chan_ops;
extern const struct dink_qmp_ops mon_qmp_ops;

struct world {
	struct monitor m;
	int channel, qmp, creator, stdio;
	int clients[CLIENTS], kept[CLIENTS]; /* each with the other end of its stdio */
	int n_clients;
	uint32_t open[OPEN_MAX]; /* requests the guest did not answer */
	int n_open;
	unsigned replies; /* of QEMU */
	int answers;	  /* to the creator */
	struct dink_str heard;
};

/* --- in place of the host: the linker puts these where libdink calls the real ones --- */

uint64_t __wrap_dink_now_ms(void);
int __real_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_usleep(useconds_t us);
int __wrap_mon_enter_root(struct monitor *m, struct dink_err *err);
int __wrap_dink_links_count(struct dink_err *err);
int __wrap_dink_links_scan(struct json_object **ret, struct dink_err *err);
int __wrap_dink_tap_join(int n, int ifindex, int mtu, struct dink_err *err);

static uint64_t now_ms;

uint64_t __wrap_dink_now_ms(void)
{
	return now_ms;
}

int __wrap_poll(struct pollfd *p, nfds_t n, int ms)
{
	int r = __real_poll(p, n, 0);

	if (r == 0 && ms > 0)
		now_ms += (uint64_t)ms;
	return r;
}

int __wrap_usleep(useconds_t us)
{
	now_ms += us / 1000;
	return 0;
}

int __wrap_mon_enter_root(_unused_ struct monitor *m, _unused_ struct dink_err *err)
{
	return 0;
}

int __wrap_dink_links_count(_unused_ struct dink_err *err)
{
	return 1;
}

int __wrap_dink_links_scan(struct json_object **ret, _unused_ struct dink_err *err)
{
	struct json_object *l = dink_json_new();

	dink_json_set_int(l, "ifindex", 2);
	dink_json_set_str(l, "name", "eth0");
	*ret = json_object_new_array();
	json_object_array_add(*ret, l);
	return 0;
}

int __wrap_dink_tap_join(_unused_ int n, _unused_ int ifindex, _unused_ int mtu,
			 _unused_ struct dink_err *err)
{
	return 0;
}

/* --- the world around it --- */

static char state_dir[256]; /* in TMPDIR: a run that is interrupted leaves it */

__attribute__((constructor)) static void make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(state_dir, sizeof(state_dir), "%s/dink-fuzz.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(state_dir))
		abort();
	signal(SIGPIPE, SIG_IGN);
}

__attribute__((destructor)) static void remove_dir(void)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};

	(void)!dink_rm_rf(state_dir, &ignored);
}

static const char *const plans[] = {
	"{\"create\":{\"process\":{\"args\":[\"sh\"]},\"mounts\":[]},\"setup\":{\"op\":\"setup\"}}",
	"{\"terminal\":true,\"disks\":[{\"source\":\"/d/x.img\",\"serial\":\"dink-disk-0\"}],"
	"\"create\":{},\"setup\":{\"op\":\"setup\"}}",
	"{\"bare\":true}",
	"{\"template\":{\"image\":\"/nowhere\",\"qemu_version\":\"7.2.0\",\"channel\":{\"next_id\":"
	"3,\"streams\":[]}},\"create\":{},\"setup\":{\"op\":\"setup\"}}",
	"{\"restore\":{\"image\":\"/nowhere\",\"qemu_version\":\"7.2.0\",\"stdio\":[2,3,4],"
	"\"exec_count\":2,\"paused\":false,\"channel\":{\"next_id\":9,\"streams\":["
	"{\"id\":2,\"recv_credit\":1048576,\"send_credit\":1048576},"
	"{\"id\":3,\"recv_credit\":1000,\"send_credit\":1048576,\"out_eof\":true},"
	"{\"id\":4,\"recv_credit\":1048576,\"send_credit\":1048576,\"out_eof\":true},"
	"{\"id\":7,\"recv_credit\":1048576,\"send_credit\":5}]}},\"renew\":{\"op\":\"renew\"}}",
};

static int make_pair(int *ret_other, bool nonblock)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	if (nonblock)
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
	*ret_other = pair[1];
	return pair[0];
}

static void begin(struct world *w, uint8_t how)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	const char *plan = plans[how % ARRAY_SIZE(plans)];
	struct monitor *m = &w->m;
	int stdio = make_pair(&w->stdio, false);

	*m = (struct monitor){
		.exit_status = -1, .ram_fd = -1, .resolv_fd = -1, .state_fd = -1, .n_nics = 2};
	m->born_ms = (int64_t)now_ms;
	m->dir = state_dir;
	m->loop = dink_loop_new();
	if (dink_json_parse(plan, strlen(plan), "plan", &m->plan, &err) < 0)
		abort();
	m->terminal = dink_json_bool_or(m->plan, "terminal", false);
	for (int i = 0; i < 3; i++)
		m->stdio[i] = fcntl(stdio, F_DUPFD_CLOEXEC, 10);
	close(stdio);
	m->sync_fd = make_pair(&w->creator, true);
	m->sync_source = dink_loop_add(m->loop, m->sync_fd, EPOLLIN, mon_hear_creator, m);
	m->log.out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	m->qemu.pid = NO_SUCH_PID;
	m->virtiofsd.pid = how & 0x80 ? NO_SUCH_PID : 0;
	m->qmp = dink_qmp_new(m->loop, make_pair(&w->qmp, false), &mon_qmp_ops, m);
	m->chan = dink_chan_new(m->loop, make_pair(&w->channel, true), true, &mon_chan_ops, m);
	if ((mon_image(m) && mon_restore_begin(m, &err) < 0) || mon_listen(m, &err) < 0)
		abort();
}

static void turn(struct world *w)
{
	for (int i = 0; i < 3; i++)
		dink_loop_once(w->m.loop, 0);
}

static void drain(int fd)
{
	static char sink[1 << 18];

	while (fd >= 0 && recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

/* What the monitor asked of the guest: its frames have to be whole and honest, too. */
static void hear(struct world *w)
{
	static char buf[1 << 18];
	ssize_t n;

	while (w->channel >= 0 && (n = read(w->channel, buf, sizeof(buf))) > 0)
		dink_str_addn(&w->heard, buf, (size_t)n);
	while (w->heard.len >= DINK_FRAME_HEADER) {
		struct dink_frame f;
		const char *why;
		if (!dink_frame_get((const uint8_t *)w->heard.s, true, &f, &why))
			abort();
		size_t whole = DINK_FRAME_HEADER + f.len;
		if (w->heard.len < whole)
			break;
		if (f.type == DINK_FRAME_REQUEST && w->n_open < OPEN_MAX)
			w->open[w->n_open++] = f.id;
		memmove(w->heard.s, w->heard.s + whole, w->heard.len - whole);
		w->heard.len -= whole;
	}
	while (w->creator >= 0 && (n = recv(w->creator, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			w->answers += buf[i] == '\n';
	}
	drain(w->qmp);
	drain(w->stdio);
	for (int i = 0; i < w->n_clients; i++) {
		drain(w->clients[i]);
		drain(w->kept[i]);
	}
}

/* --- steps --- */

static void tell(int fd, const void *bytes, size_t n)
{
	if (fd >= 0)
		(void)!send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void frame(struct world *w, uint8_t type, uint32_t id, const void *payload, uint32_t n)
{
	uint8_t head[DINK_FRAME_HEADER];

	dink_frame_put(head, type, id, n);
	tell(w->channel, head, sizeof(head));
	tell(w->channel, payload, n);
}

static void answer(struct world *w, unsigned nth, const char *text)
{
	uint32_t id = 1;

	if (w->n_open > 0) {
		int at = (int)(nth % (unsigned)w->n_open);
		id = w->open[at];
		memmove(&w->open[at], &w->open[at + 1], sizeof(id) * (size_t)(--w->n_open - at));
	}
	frame(w, DINK_FRAME_RESPONSE, id, text, (uint32_t)strlen(text));
}

static void event(struct world *w, unsigned n)
{
	static const char *const events[] = {
		"{\"event\":\"hello\",\"version\":1}",
		"{\"event\":\"exit\",\"status\":3}",
		"{\"event\":\"exit\",\"exec\":\"exec-1\",\"status\":4}",
		"{\"event\":\"exit\",\"exec\":\"exec-2\",\"status\":5}",
		"{\"event\":\"exit\",\"exec\":\"exec-3\",\"status\":300}",
		"{\"event\":\"log\",\"text\":\"words\\n[1] end\"}",
		"{\"event\":\"hello\",\"version\":2}",
	};
	const char *text = events[n % ARRAY_SIZE(events)];

	frame(w, DINK_FRAME_EVENT, 0, text, (uint32_t)strlen(text));
}

static void qemu(struct world *w, unsigned n)
{
	static const char *const lines[] = {
		"{\"QMP\":{}}",
		"{\"event\":\"MIGRATION\",\"data\":{\"status\":\"completed\"}}",
		"{\"event\":\"MIGRATION\",\"data\":{\"status\":\"failed\"}}",
		"{\"event\":\"VSERPORT_CHANGE\",\"data\":{\"open\":false}}",
		"{\"event\":\"GUEST_PANICKED\"}",
		"{\"return\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0}},\"id\":%u}",
		"{\"return\":{},\"id\":%u}",
		"{\"error\":{\"desc\":\"no\"},\"id\":%u}",
	};
	const char *line = lines[n % ARRAY_SIZE(lines)], *id = strstr(line, "%u");
	_cleanup_free_ char *text = NULL;

	/* commands are numbered, and answered in order */
	if (id)
		text = xasprintf("%.*s%u}\n", (int)(id - line), line, ++w->replies);
	else
		text = xasprintf("%s\n", line);
	tell(w->qmp, text, strlen(text));
}

static void ask(struct world *w, int fd, const char *text, int with_fd)
{
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	char control[CMSG_SPACE(sizeof(int) * 3)] = {};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[3] = {with_fd, with_fd, with_fd}, n = strstr(text, "checkpoint") ? 1 : 3;

	if (with_fd >= 0) {
		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	}
	(void)!sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	tell(fd, "\n", 1);
	turn(w);
}

static const char *request(unsigned n)
{
	static const char *const list[] = {
		"{\"op\":\"start\"}",
		"{\"op\":\"exec\",\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\"}}",
		"{\"op\":\"exec\",\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\",\"terminal\":true}}",
		"{\"op\":\"connect\",\"path\":\"/run/docker.sock\"}",
		"{\"op\":\"pause\"}",
		"{\"op\":\"resume\"}",
		"{\"op\":\"ps\"}",
		"{\"op\":\"update\",\"resources\":{\"memory\":{\"limit\":100000000}}}",
		"{\"op\":\"checkpoint\"}",
		"{\"op\":\"checkpointed\",\"keep\":true}",
		"{\"op\":\"checkpointed\",\"keep\":false}",
		"{\"op\":\"signal\",\"signal\":9}",
		"{\"op\":\"signal\",\"signal\":15,\"all\":true}",
		"{\"op\":\"resize\",\"rows\":3,\"columns\":4}",
		"{\"op\":\"delete\"}",
		"{\"op\":\"state\"}",
		"{\"op\":\"hold\"}",
		"{\"op\":\"grow\",\"name\":\"x.img\",\"bytes\":4096}",
	};

	return list[n % ARRAY_SIZE(list)];
}

static void client(struct world *w, const char *text)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	_cleanup_free_ char *path = xasprintf("%s/control.sock", state_dir);
	bool with = strstr(text, "exec") || strstr(text, "checkpoint\"");
	int pair[2] = {-1, -1};

	if (w->n_clients == CLIENTS)
		return;
	if (dink_unix_connect(path, &w->clients[w->n_clients], &err) < 0)
		abort();
	turn(w);
	if (with)
		pair[0] = make_pair(&pair[1], false);
	w->kept[w->n_clients] = pair[1];
	ask(w, w->clients[w->n_clients++], text, pair[0]);
	if (pair[0] >= 0)
		close(pair[0]);
}

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void hang_up(struct world *w, unsigned n)
{
	if (w->n_clients == 0)
		return;
	n %= (unsigned)w->n_clients;
	drop(&w->clients[n]);
	drop(&w->kept[n]);
}

static void stream(struct world *w, char op, uint32_t id, unsigned n)
{
	static const uint8_t zeros[16 << 10];
	uint8_t word[4];

	switch (op) {
	case 'd':
		for (; n > 0; n--) {
			frame(w, DINK_FRAME_DATA, id, zeros, sizeof(zeros));
			turn(w);
		}
		break;
	case 'f':
		frame(w, DINK_FRAME_EOF, id, NULL, 0);
		break;
	case 'c':
		dink_put_u32(word, n * 64);
		frame(w, DINK_FRAME_CREDIT, id, word, sizeof(word));
		break;
	default:
		frame(w, DINK_FRAME_RESET, id, NULL, 0);
		break;
	}
}

static void pass_time(struct world *w, unsigned n)
{
	now_ms += 50u << (n % 12);
	turn(w);
}

static unsigned digit(char c)
{
	return c ? (unsigned char)c - (unsigned)'0' : 0;
}

static void step(struct world *w, const char *line)
{
	static const int signals[] = {SIGTERM, SIGKILL, SIGHUP, SIGWINCH, SIGUSR1};
	unsigned n = digit(line[1]) & 0xff;
	const char *text = line[1] ? line + 2 : "";

	switch (line[0]) {
	case 'a':
		answer(w, n, "{\"ok\":true,\"pid\":7}");
		break;
	case 'A':
		answer(w, n, text);
		break;
	case 'e':
		event(w, n);
		break;
	case 'E':
		frame(w, DINK_FRAME_EVENT, 0, text, (uint32_t)strlen(text));
		break;
	case 'd':
	case 'f':
	case 'c':
	case 'r':
		stream(w, line[0], n, digit(text[0]) & 0x7f);
		break;
	case 'x':
		tell(w->channel, text, strlen(text));
		break;
	case 'g':
		tell(w->creator, "go\n", 3);
		break;
	case 'G':
		drop(&w->creator);
		break;
	case 'q':
		qemu(w, n + (line[1] ? 8 * digit(text[0]) : 0));
		break;
	case 'Q':
		tell(w->qmp, text, strlen(text));
		tell(w->qmp, "\n", 1);
		break;
	case 'o':
		client(w, request(n));
		break;
	case 'O':
		client(w, text);
		break;
	case 'h':
		hang_up(w, n);
		break;
	case 'n':
		if (w->n_clients)
			ask(w, w->clients[n % (unsigned)w->n_clients], request(digit(text[0])), -1);
		break;
	case 's':
		mon_signal(&w->m, NULL, signals[n % ARRAY_SIZE(signals)], false);
		break;
	case 't':
		pass_time(w, n);
		break;
	default:
		break;
	}
	turn(w);
	hear(w);
}

/* As with dink_monitor_run(): what follows the end is the process's. */
static bool has_ended(const struct world *w)
{
	return w->m.status == MON_STOPPING && !w->m.end_timer;
}

static void end(struct world *w)
{
	struct monitor *m = &w->m;

	/* the VM goes: nobody may wait for it then */
	drop(&w->channel);
	drop(&w->qmp);
	for (int i = 0; i < 12; i++)
		pass_time(w, 11);
	if (m->status != MON_STOPPING || m->end_timer)
		abort();
	hear(w);
	if (w->answers > 1)
		abort();
	mon_close_clients(m);
	for (int i = 0; i < w->n_clients; i++)
		hang_up(w, (unsigned)i);
	drop(&w->creator);
	drop(&w->stdio);
	turn(w);
	if (m->clients || m->execs || m->ckpt)
		abort();
	dink_chan_free(m->chan);
	dink_qmp_free(m->qmp);
	dink_loop_free(m->loop);
	close(m->control_fd);
	_cleanup_free_ char *path = xasprintf("%s/control.sock", state_dir);
	unlink(path);
	close(m->log.out);
	drop(&m->sync_fd);
	for (int i = 0; i < 3; i++) {
		if (m->terminal || m->stdio[i] >= 0)
			drop(&m->stdio[i]);
	}
	dink_str_clear(&m->sync_in);
	dink_str_clear(&w->heard);
	json_object_put(m->links);
	for (int i = 0; i < DINK_LINKS_MAX; i++)
		json_object_put(m->cards[i]);
	json_object_put(m->plan);
	free(m->qemu_version);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *script = NULL;
	struct world w = {};
	char *line, *save = NULL;

	if (size < 1 || size > 16 << 10)
		return 0;
	script = xstrndup((const char *)data + 1, size - 1);
	begin(&w, data[0]);
	line = strtok_r(script, "\n", &save);
	for (int i = 0; line && i < STEPS && !has_ended(&w); i++) {
		step(&w, line);
		line = strtok_r(NULL, "\n", &save);
	}
	end(&w);
	return 0;
}
