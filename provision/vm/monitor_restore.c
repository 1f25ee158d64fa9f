/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore: QEMU loads a checkpoint's state, the channel is taken up where the other monitor left
 * it, and the guest becomes somebody else before its programs run on. A template is loaded in the
 * same way; its guest has no programs yet.
 */
#include "provision/net/tap.h"
#include "provision/vm/manifest.h"
#include "provision/vm/monitor_internal.h"
#include "provision/vm/proto.h"
#include "provision/vm/qemu.h"

#include <unistd.h>

struct json_object *mon_image(const struct monitor *m)
{
	struct json_object *restore = dink_json_get(m->plan, "restore");

	return restore ? restore : dink_json_get(m->plan, "template");
}

char *mon_qemu_version(struct json_object *v)
{
	return xasprintf("%lld.%lld.%lld", (long long)dink_json_int_or(v, "qemu.major", 0),
			 (long long)dink_json_int_or(v, "qemu.minor", 0),
			 (long long)dink_json_int_or(v, "qemu.micro", 0));
}

/* A template that cannot be loaded must not stand in the way of the next container. */
static void spoil_template(struct monitor *m, struct dink_err *err)
{
	const char *dir = dink_json_str_or(m->plan, "template.image", NULL);
	_cleanup_free_ char *path = dir ? xasprintf("%s/" DINK_MANIFEST_NAME, dir) : NULL;

	if (path && unlink(path) == 0)
		dink_err_hint(err, "the template is gone now: the next container boots");
}

static void refuse(struct monitor *m, const char *error)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	mon_drain_logs(m);
	dink_err_set(&err, DINK_E_CHILD, 0, "QEMU does not load the %s: %s",
		     dink_json_get(m->plan, "restore") ? "checkpoint" : "template", error);
	spoil_template(m, &err);
	if (m->log.tail_len)
		dink_err_detail(&err, m->log.tail);
	mon_fail(m, &err);
}

/* The stdio of the container is told apart by ids that the checkpoint names. */
int mon_restore_begin(struct monitor *m, struct dink_err *err)
{
	struct json_object *r = dink_json_get(m->plan, "restore");
	struct json_object *stdio = dink_json_get(r, "stdio");
	int e = dink_chan_import(m->chan, dink_json_get(mon_image(m), "channel"), err);

	if (e < 0 || !r)
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

static bool tell_qemu(struct monitor *m, const char *command, struct json_object *args,
		      dink_qmp_reply_fn fn)
{
	if (dink_qmp_send(m->qmp, command, args, fn, m) == 0)
		return true;
	refuse(m, "its control socket does not take a command");
	return false;
}

/* What comes of it is told by events. */
static void take_done(void *ctx, struct json_object *result, const char *error)
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
	tell_qemu(m, "migrate-incoming", args, take_done);
}

static void take_capabilities(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;

	if (!result) {
		refuse(m, error);
		return;
	}
	struct json_object *args = dink_json_new();
	/* a clone must not announce the addresses of the one it was taken from */
	dink_json_set_int(args, "announce-rounds", 0);
	tell_qemu(m, "migrate-set-parameters", args, take_parameters);
}

static void take_version(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;
	const char *want = dink_json_str_or(mon_image(m), "qemu_version", "");
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
	tell_qemu(m, "query-version", NULL, take_version);
}

static void take_hello(void *ctx, struct json_object *msg)
{
	struct monitor *m = ctx;

	if (m->status != MON_BOOTING)
		return;
	if (!msg || !dink_json_bool_or(msg, "ok", false))
		mon_fail_with(m, msg, "waking the guest");
	else
		mon_hello(m, msg);
}

static void wake(struct monitor *m)
{
	struct json_object *msg = dink_json_new();

	dink_json_set_str(msg, "op", "hello");
	dink_chan_request(m->chan, msg, take_hello, m);
}

static void go_on(struct monitor *m)
{
	/* it was stopped when it was saved, and is so still */
	if (!tell_qemu(m, "cont", NULL, take_done))
		return;
	if (dink_json_get(m->plan, "restore"))
		mon_restore_renew(m);
	else
		wake(m);
}

static void take_share(void *ctx, struct json_object *result, const char *error)
{
	struct monitor *m = ctx;

	if (!result)
		refuse(m, error);
	else
		go_on(m);
}

/* QEMU loads nothing while it has such a device, whatever is in the state. */
static void plug_share(struct monitor *m)
{
	struct json_object *args = dink_json_new();

	dink_json_set_str(args, "driver", "vhost-user-fs-pci");
	dink_json_set_str(args, "bus", DINK_QEMU_PORT);
	dink_json_set_str(args, "chardev", DINK_QEMU_SHARE);
	dink_json_set_str(args, "tag", DINK_SHARE_TAG);
	dink_json_set_int(args, "queue-size", DINK_QEMU_SHARE_QUEUE);
	tell_qemu(m, "device_add", args, take_share);
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
	if (m->virtiofsd.pid > 0)
		plug_share(m);
	else
		go_on(m);
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
	mon_set_cards(m, m->links);
	mon_created(m, paused ? MON_PAUSED : MON_RUNNING);
}

void mon_restore_renew(struct monitor *m)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (!m->incoming_done || !m->hooks_done || m->status != MON_BOOTING || m->links)
		return;
	mon_watch_links(m);
	if (dink_links_scan(&m->links, &err) < 0) {
		mon_fail(m, &err);
		return;
	}
	struct json_object *msg = json_object_get(dink_json_get(m->plan, "renew"));
	mon_add_time(msg);
	dink_json_set(msg, "links", json_object_get(m->links));
	dink_json_set_bool(msg, "only", true);
	dink_chan_request(m->chan, msg, take_renew, m);
}
