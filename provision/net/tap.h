/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps and what ties them to a container's links. A tap lives as long as its descriptor (it is not
 * persistent), so the death of its owner leaves none behind. Works on the calling process's
 * network namespace.
 */
#pragma once

#include "provision/base/err.h"

#define DINK_TAP_PREFIX "dinktap"

/*
 * dink_tap_open() - make DINK_TAP_PREFIX + n and bring it up
 * @ret_fd: for QEMU's -netdev tap,fd= (virtio-net headers on)
 */
int dink_tap_open(int n, int *ret_fd, struct dink_err *err) _must_check_;

/*
 * dink_tap_join() - all frames arriving at the link leave through the tap, and back
 * An ingress qdisc on each, with a catch-all filter whose action is a redirect. The tap gets the
 * link's MTU.
 */
int dink_tap_join(int n, int link_ifindex, int mtu, struct dink_err *err) _must_check_;
