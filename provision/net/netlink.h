/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rtnetlink, as little as dink needs: one request with nested attributes, an acknowledgement or a
 * dump. Input: the kernel's answers (bounded, lengths checked). It works on the network namespace
 * of the calling process.
 */
#pragma once

#include "provision/base/err.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdint.h>

enum { DINK_NL_BUF = 4096, DINK_NL_DEPTH = 4 };

/* One request while it is written; `bad` is set when it does not fit, and the sending refuses it.
 */
struct dink_nl_req {
	char buf[DINK_NL_BUF] __attribute__((aligned(8)));
	size_t nest[DINK_NL_DEPTH];
	int depth;
	bool bad;
};

/*
 * dink_nl_begin() - header and family struct
 * @flags: NLM_F_* besides NLM_F_REQUEST
 */
void dink_nl_begin(struct dink_nl_req *r, uint16_t type, uint16_t flags, const void *family,
		   size_t len);
void dink_nl_attr(struct dink_nl_req *r, uint16_t type, const void *data, size_t len);
void dink_nl_attr_str(struct dink_nl_req *r, uint16_t type, const char *s);
void dink_nl_attr_u32(struct dink_nl_req *r, uint16_t type, uint32_t v);
void dink_nl_nest(struct dink_nl_req *r, uint16_t type);
void dink_nl_unnest(struct dink_nl_req *r);

/* dink_nl_open() - a NETLINK_ROUTE socket in the present network namespace */
int dink_nl_open(int *ret_fd, struct dink_err *err) _must_check_;

/* dink_nl_talk() - send and wait for the acknowledgement; 0 or the kernel's -errno */
int dink_nl_talk(int fd, struct dink_nl_req *r) _must_check_;

/*
 * dink_nl_dump() - send a dump request and call fn for each message
 * fn returning non-zero does not stop the dump (the rest has to be read anyway); it is returned.
 */
typedef int (*dink_nl_fn)(void *ctx, const struct nlmsghdr *h);
int dink_nl_dump(int fd, struct dink_nl_req *r, dink_nl_fn fn, void *ctx) _must_check_;

/* dink_nl_parse() - attributes by type into tb[0..max]; those beyond are skipped */
void dink_nl_parse(const struct rtattr *rta, size_t len, const struct rtattr **tb, size_t max);
