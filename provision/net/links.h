/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container's network namespace holds: links with their addresses, routes and permanent
 * neighbours, as the guest has to have them. Works on the calling process's network namespace.
 * Output is the "links" array of the guest channel's network request (provision/vm/proto.h).
 */
#pragma once

#include "provision/base/err.h"

#include <json-c/json.h>

enum { DINK_LINKS_MAX = 8 };

/*
 * dink_links_scan() - links that are no loopback and no tap of ours
 * @ret: array of {"index":N (0..),"ifindex":N,"name","mac","mtu","addresses":[],"routes":[],
 *       "neighbours":[]}; links are in the order of their ifindex. A route's "order" is its place
 *       among all: of those to one destination the first is taken
 */
int dink_links_scan(struct json_object **ret, struct dink_err *err) _must_check_;

/* dink_links_count() - how many dink_links_scan() would give; negative errno on failure */
int dink_links_count(struct dink_err *err) _must_check_;
