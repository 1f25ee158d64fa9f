/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/net/netlink.h"

#include <sys/socket.h>

enum { NL_RECV = 64 << 10 };

static struct nlmsghdr *request_header(struct dink_nl_req *r)
{
	return (struct nlmsghdr *)r->buf;
}

void dink_nl_begin(struct dink_nl_req *r, uint16_t type, uint16_t flags, const void *family,
		   size_t len)
{
	memset(r, 0, sizeof(*r));
	struct nlmsghdr *h = request_header(r);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = 1;
	h->nlmsg_len = NLMSG_LENGTH(len);
	memcpy(NLMSG_DATA(h), family, len);
}

void dink_nl_attr(struct dink_nl_req *r, uint16_t type, const void *data, size_t len)
{
	struct nlmsghdr *h = request_header(r);
	size_t at = NLMSG_ALIGN(h->nlmsg_len);

	if (r->bad || len > DINK_NL_BUF || at + RTA_SPACE(len) > sizeof(r->buf)) {
		r->bad = true;
		return;
	}
	struct rtattr *a = (struct rtattr *)(r->buf + at);
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	h->nlmsg_len = at + RTA_ALIGN(a->rta_len);
}

void dink_nl_attr_str(struct dink_nl_req *r, uint16_t type, const char *s)
{
	dink_nl_attr(r, type, s, strlen(s) + 1);
}

void dink_nl_attr_u32(struct dink_nl_req *r, uint16_t type, uint32_t v)
{
	dink_nl_attr(r, type, &v, sizeof(v));
}

void dink_nl_nest(struct dink_nl_req *r, uint16_t type)
{
	if (r->depth == DINK_NL_DEPTH) {
		r->bad = true;
		return;
	}
	r->nest[r->depth++] = NLMSG_ALIGN(request_header(r)->nlmsg_len);
	dink_nl_attr(r, type, NULL, 0);
}

void dink_nl_unnest(struct dink_nl_req *r)
{
	if (r->bad || r->depth == 0)
		return;
	size_t at = r->nest[--r->depth];
	struct rtattr *a = (struct rtattr *)(r->buf + at);
	a->rta_len = request_header(r)->nlmsg_len - at;
}

int dink_nl_open(int *ret_fd, struct dink_err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return dink_err_set(err, DINK_E_HOST, errno, "open a rtnetlink socket");
	struct timeval tv = {.tv_sec = 5};
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0) {
		int e = errno;
		close(fd);
		return dink_err_set(err, DINK_E_HOST, e, "set a timeout on a rtnetlink socket");
	}
	*ret_fd = fd;
	return 0;
}

static int send_request(int fd, struct dink_nl_req *r)
{
	struct nlmsghdr *h = request_header(r);
	struct sockaddr_nl to = {.nl_family = AF_NETLINK};

	if (r->bad || r->depth != 0)
		return -EMSGSIZE;
	ssize_t n = sendto(fd, h, h->nlmsg_len, 0, (struct sockaddr *)&to, sizeof(to));
	return n < 0 ? -errno : 0;
}

/* Reads answers until the acknowledgement or the end of the dump. */
static int read_answers(int fd, dink_nl_fn fn, void *ctx)
{
	_cleanup_free_ char *buf = malloc(NL_RECV);
	int first = 0;

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = recv(fd, buf, NL_RECV, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		size_t left = n;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return first;
			if (h->nlmsg_type == NLMSG_ERROR) {
				const struct nlmsgerr *e = NLMSG_DATA(h);
				if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)))
					return -EPROTO;
				return e->error ? e->error : first;
			}
			int r = fn ? fn(ctx, h) : 0;
			if (r && !first)
				first = r;
		}
	}
}

int dink_nl_talk(int fd, struct dink_nl_req *r)
{
	request_header(r)->nlmsg_flags |= NLM_F_ACK;
	int rc = send_request(fd, r);
	return rc < 0 ? rc : read_answers(fd, NULL, NULL);
}

int dink_nl_dump(int fd, struct dink_nl_req *r, dink_nl_fn fn, void *ctx)
{
	request_header(r)->nlmsg_flags |= NLM_F_DUMP;
	int rc = send_request(fd, r);
	return rc < 0 ? rc : read_answers(fd, fn, ctx);
}

void dink_nl_parse(const struct rtattr *rta, size_t len, const struct rtattr **tb, size_t max)
{
	memset(tb, 0, sizeof(const struct rtattr *) * (max + 1));
	for (; RTA_OK(rta, len); rta = RTA_NEXT(rta, len)) {
		uint16_t type = rta->rta_type & NLA_TYPE_MASK;
		if (type <= max)
			tb[type] = rta;
	}
}
