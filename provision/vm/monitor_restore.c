/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore: QEMU loads a checkpoint's state, the channel is taken up where the other monitor left
 * it, and the guest becomes somebody else before its programs run on.
 */
#include "provision/net/tap.h"
#include "provision/vm/monitor_internal.h"

#include <time.h>

char *mon_qemu_version(struct json_object *v)
{
	return xasprintf("%lld.%lld.%lld", (long long)dink_json_int_or(v, "qemu.major", 0),
			 (long long)dink_json_int_or(v, "qemu.minor", 0),
			 (long long)dink_json_int_or(v, "qemu.micro", 0));
}

static void refuse(struct monitor *m, const char *error)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	mon_drain_logs(m);
	dink_err_set(&err, DINK_E_CHILD, 0, "QEMU does not load the checkpoint: %s", error);
	if (m->log.tail_len)
		dink_err_detail(&err, m->log.tail);
	mon_fail(m, &err);
}

/* The stdio of the container is told apart by ids that the checkpoint names. */
int mon_restore_begin(struct monitor *m, struct dink_err *err)
{
	struct json_object *r = dink_json_get(m->plan, "restore");
	struct json_object *stdio = dink_json_get(r, "stdio");
	int e = dink_chan_import(m->chan, dink_json_get(r, "channel"), err);

	if (e < 0)
		return e;
	for (size_t i = 0; i < 3; i++)
		m->streams[i] =
			(uint32_t)json_object_get_int64(json_object_array_get_idx(stdio, i));
	m->exec_count = (uint64_t)dink_json_int_or(r, "exec_count", 0);
	m->setup_done = true;
	mon_tie_streams(m);
	/* programs that an exec had started run on without one who listens */
	dink_chan_drop_untied(m->chan);
	return 0;
}

static void take_incoming(void *ctx, struct json_object *result, const char *error)
{
	if (!result)
		refuse(ctx, error);
}

static void take_parameters(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;

	if (!result) {
		refuse(m, error);
		return;
	}
	_cleanup_free_ char *uri = xasprintf("fd:%d", m->state_fd);
	struct json_object *args = dink_json_new();
	dink_json_set_str(args, "uri", uri);
	if (dink_qmp_send(m->qmp, "migrate-incoming", args, take_incoming, m) < 0)
		refuse(m, "its control socket does not take a command");
}

static void take_capabilities(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;
	struct json_object *args = dink_json_new();

	/* a clone must not announce the addresses of the one it was taken from */
	dink_json_set_int(args, "announce-rounds", 0);
	if (!result) {
		json_object_put(args);
		refuse(m, error);
	} else if (dink_qmp_send(m->qmp, "migrate-set-parameters", args, take_parameters, m) < 0) {
		refuse(m, "its control socket does not take a command");
	}
}

static void take_version(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;
	const char *want = dink_json_str_or(m->plan, "restore.qemu_version", "");
	_cleanup_free_ char *have = mon_qemu_version(result);

	if (!result) {
		refuse(m, error);
	} else if (!STREQ(have, want)) {
		_cleanup_free_ char *why =
			xasprintf("it was made by QEMU %s, and this is QEMU %s", want, have);
		refuse(m, why);
	} else {
		mon_set_capabilities(m, take_capabilities);
	}
}

void mon_restore_qemu(struct monitor *m)
{
	if (dink_qmp_send(m->qmp, "query-version", NULL, take_version, m) < 0)
		refuse(m, "its control socket does not take a command");
}

static void take_cont(void *ctx, struct json_object *result, const char *error)
{
	if (!result)
		refuse(ctx, error);
}

void mon_restore_loaded(struct monitor *m, bool ok)
{
	if (m->status != MON_BOOTING || m->incoming_done)
		return;
	if (!ok) {
		refuse(m, "its state does not fit");
		return;
	}
	m->incoming_done = true;
	mon_trace(m, "loaded");
	/* it was stopped when it was saved, and is so still */
	if (dink_qmp_send(m->qmp, "cont", NULL, take_cont, m) < 0)
		refuse(m, "its control socket does not take a command");
	else
		mon_restore_renew(m);
}

static int join_links(struct monitor *m, struct dink_err *err)
{
	size_t n = json_object_array_length(m->links);

	for (size_t i = 0; i < n; i++) {
		struct json_object *l = json_object_array_get_idx(m->links, i);
		int r = dink_tap_join((int)i, (int)dink_json_int_or(l, "ifindex", 0),
				      (int)dink_json_int_or(l, "mtu", 1500), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void take_renew(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (m->status != MON_BOOTING)
		return;
	if (!msg || !dink_json_bool_or(msg, "ok", false)) {
		mon_fail_with(m, msg, "renewing the guest");
		return;
	}
	mon_trace(m, "renewed");
	/* not before: the guest would have spoken with the other one's addresses */
	if (join_links(m, &err) < 0) {
		mon_fail(m, &err);
		return;
	}
	bool paused = dink_json_bool_or(m->plan, "restore.paused", false);
	mon_created(m, paused ? MON_PAUSED : MON_RUNNING);
}

void mon_restore_renew(struct monitor *m)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};
	struct timespec now;

	if (!m->incoming_done || !m->hooks_done || m->status != MON_BOOTING || m->links)
		return;
	if (dink_links_scan(&m->links, &err) < 0) {
		mon_fail(m, &err);
		return;
	}
	struct json_object *msg = json_object_get(dink_json_get(m->plan, "renew"));
	clock_gettime(CLOCK_REALTIME, &now);
	dink_json_set_int(msg, "time_ns", (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
	dink_json_set(msg, "links", json_object_get(m->links));
	dink_json_set_bool(msg, "only", true);
	dink_chan_request(m->chan, msg, take_renew, m);
}
