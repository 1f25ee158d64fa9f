/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name lookups that the container sends to a loopback address: here there is only this file behind
 * it, which hands them to the monitor (provision/vm/monitor_dns.c) and gives its answers back.
 */
#include "cmd/dink-agent/agent.h"

#include "provision/vm/dgram.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { DNS_PORT = 53 };

static struct relay {
	int udp, fd;
	struct dink_source *udp_source, *source;
	struct dink_dgram_buf buf;
	struct sockaddr_in from[DINK_DGRAM_SLOTS];
	unsigned next;
} relay;

static void stop_relay(void)
{
	if (!relay.source)
		return;
	dink_source_remove(TAKE_PTR(relay.source));
	dink_source_remove(TAKE_PTR(relay.udp_source));
	close(relay.fd);
	close(relay.udp);
}

static void read_query(void *ctx, int fd, uint32_t events)
{
	uint16_t slot = (uint16_t)(relay.next++ % DINK_DGRAM_SLOTS);
	uint8_t data[DINK_DGRAM_MAX];
	socklen_t len = sizeof(relay.from[slot]);
	ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT,
			     (struct sockaddr *)&relay.from[slot], &len);

	(void)ctx;
	(void)events;
	if (n > 0 && dink_dgram_send(relay.fd, slot, data, (size_t)n) < 0)
		stop_relay();
}

static void give_back(void *ctx, uint16_t slot, const uint8_t *data, size_t len)
{
	const struct sockaddr_in *to = &relay.from[slot];

	(void)ctx;
	/* an asker that is gone is no loss */
	if (to->sin_family == AF_INET)
		(void)!sendto(relay.udp, data, len, MSG_DONTWAIT, (const struct sockaddr *)to,
			      sizeof(*to));
}

static void read_answers(void *ctx, int fd, uint32_t events)
{
	(void)ctx;
	(void)events;
	if (dink_dgram_read(&relay.buf, fd, give_back, NULL) < 0)
		stop_relay();
}

static int listen_udp(const char *address, struct dink_err *err)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
	const int on = 1;
	int fd;

	if (inet_pton(AF_INET, address, &sa.sin_addr) != 1)
		return dink_err_set(err, DINK_E_USAGE, EINVAL, "name server '%s'", address);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* so that a name server in the container can have all addresses, if it shares as well */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		dink_err_set(err, DINK_E_HOST, errno, "listening on %s", address);
		if (fd >= 0)
			close(fd);
		return -EIO;
	}
	return fd;
}

int agent_dns(struct agent *a, struct json_object *msg, struct dink_err *err)
{
	uint32_t stream = (uint32_t)dink_json_int_or(msg, "stream", 0);
	int pair[2] = {-1, -1}, udp = -1;

	if (relay.source)
		dink_err_set(err, DINK_E_USAGE, EEXIST, "there is a relay of name lookups");
	else
		udp = listen_udp(dink_json_str_or(msg, "address", ""), err);
	if (udp >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		dink_err_set(err, DINK_E_HOST, errno, "relaying name lookups");
		close(udp);
		udp = -1;
	}
	/* also when it failed: the stream is ended then */
	dink_chan_stream(a->chan, stream, pair[1], pair[1], NULL, NULL);
	if (udp < 0)
		return -EIO;
	relay.udp = udp;
	relay.fd = pair[0];
	relay.udp_source = dink_loop_add(a->loop, udp, EPOLLIN, read_query, NULL);
	relay.source = dink_loop_add(a->loop, pair[0], EPOLLIN, read_answers, NULL);
	if (relay.source && relay.udp_source)
		return 0;
	stop_relay();
	return dink_err_set(err, DINK_E_HOST, EIO, "relaying name lookups");
}
