/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name lookups on an address of the container's own loopback: Docker answers those of a user
 * network's containers on 127.0.0.11 in the network namespace. The guest has a loopback of its own;
 * so its agent listens there and this file asks in its place, from inside the namespace.
 */
#include "provision/base/file.h"
#include "provision/vm/dgram.h"
#include "provision/vm/monitor_internal.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { RESOLV_MAX = 64 << 10, DNS_PORT = 53 };

struct asker {
	struct mon_dns *dns;
	int fd; /* 0 = none yet */
	uint16_t slot;
};

struct mon_dns {
	struct monitor *m;
	struct sockaddr_in server;
	int fd; /* our end of the stream */
	struct dink_source *source;
	struct dink_dgram_buf buf;
	struct asker askers[DINK_DGRAM_SLOTS];
};

/* The first name server that is a loopback address; false = lookups leave by the network cards. */
static bool find_server(int fd, struct sockaddr_in *ret)
{
	_cleanup_(dink_err_clear) struct dink_err ignored = {};
	_cleanup_free_ char *text = NULL;
	char *line, *save = NULL, word[64];

	/* Docker writes another text into the same file when it connects a network */
	if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    dink_fd_read_all(fd, RESOLV_MAX, &text, NULL, &ignored) < 0)
		return false;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, " nameserver %63s", word) != 1 ||
		    inet_pton(AF_INET, word, &ret->sin_addr) != 1)
			continue;
		if (ntohl(ret->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
			continue;
		ret->sin_family = AF_INET;
		ret->sin_port = htons(DNS_PORT);
		return true;
	}
	return false;
}

static void stop_relay(struct mon_dns *d)
{
	if (!d->source)
		return;
	mon_trace(d->m, "the relay of name lookups ended");
	dink_source_remove(TAKE_PTR(d->source));
	close(d->fd);
}

static void read_answer(void *ctx, int fd, _unused_ uint32_t events)
{
	struct asker *a = ctx;
	uint8_t data[DINK_DGRAM_MAX];
	ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

	/* a refused port is the asker's time-out */
	if (n > 0 && a->dns->source && dink_dgram_send(a->dns->fd, a->slot, data, (size_t)n) < 0)
		stop_relay(a->dns);
}

static void ask(void *ctx, uint16_t slot, const uint8_t *data, size_t len)
{
	struct mon_dns *d = ctx;
	struct asker *a = &d->askers[slot];

	if (!a->fd) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			return;
		*a = (struct asker){d, fd, slot};
		if (connect(fd, (struct sockaddr *)&d->server, sizeof(d->server)) < 0 ||
		    !dink_loop_add(d->m->loop, fd, EPOLLIN, read_answer, a)) {
			close(fd);
			a->fd = 0;
			return;
		}
	}
	if (send(a->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		mon_trace(d->m, "a name lookup was not sent");
}

static void read_queries(void *ctx, int fd, _unused_ uint32_t events)
{
	struct mon_dns *d = ctx;

	if (dink_dgram_read(&d->buf, fd, ask, d) < 0)
		stop_relay(d);
}

static void take_dns(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;

	if (!msg || !dink_json_bool_or(msg, "ok", false))
		mon_trace(m, msg ? dink_json_str_or(msg, "error", "no relay of name lookups")
				 : "guest is gone");
}

void mon_relay_dns(struct monitor *m)
{
	_cleanup_free_ struct mon_dns *d = xcalloc(1, sizeof(*d));
	struct json_object *msg = dink_json_new();
	char text[INET_ADDRSTRLEN];
	int pair[2];

	if (m->dns_relayed || !find_server(m->resolv_fd, &d->server) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		json_object_put(msg);
		return;
	}
	m->dns_relayed = true;
	d->m = m;
	d->fd = pair[0];
	d->source = dink_loop_add(m->loop, pair[0], EPOLLIN, read_queries, d);
	uint32_t stream = dink_chan_new_stream(m->chan);
	inet_ntop(AF_INET, &d->server.sin_addr, text, sizeof(text));
	dink_json_set_str(msg, "op", "dns");
	dink_json_set_str(msg, "address", text);
	dink_json_set_int(msg, "stream", stream);
	dink_chan_stream(m->chan, stream, pair[1], pair[1], NULL, NULL);
	dink_chan_request(m->chan, msg, take_dns, m);
	/* lives as long as the process */
	(void)TAKE_PTR(d);
}
