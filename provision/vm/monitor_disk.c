/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grow: a disk that the guest has becomes larger while it is in use. QEMU lengthens the image, the
 * guest's kernel is told, and the agent has the filesystem take the room. Cut off at any moment: a
 * longer file with the filesystem it had.
 */
#include "provision/vm/monitor_internal.h"

#include <stdlib.h>

/* What is wanted, while QEMU and the guest are asked in turn. */
struct grow {
	struct mon_client *client;
	char *serial;
	int64_t bytes;
};

static void free_grow(struct grow *g)
{
	free(g->serial);
	free(g);
}

static void take_room(void *ctx, struct json_object *msg)
{
	struct grow *g = ctx;

	mon_client_relay(g->client, msg);
	free_grow(g);
}

static void take_resize(void *ctx, struct json_object *result, const char *error)
{
	struct grow *g = ctx;
	struct monitor *m = g->client->m;
	struct json_object *msg;

	if (!result || m->status == MON_STOPPING) {
		_cleanup_free_ char *why =
			xasprintf("QEMU: %s", result ? "it is being ended" : error);
		struct json_object *no = dink_json_new();

		dink_json_set_bool(no, "ok", false);
		dink_json_set_int(no, "errno", EIO);
		dink_json_set_str(no, "error", why);
		mon_client_relay(g->client, no);
		json_object_put(no);
		free_grow(g);
		return;
	}
	mon_trace(m, "a disk has grown");
	msg = dink_json_new();
	dink_json_set_str(msg, "op", "grow");
	dink_json_set_str(msg, "serial", g->serial);
	dink_json_set_int(msg, "bytes", g->bytes);
	dink_chan_request(m->chan, msg, take_room, g);
}

/* The one writable disk whose image has this name: paths differ between here and who asks. */
static int find_disk(const struct monitor *m, const char *name, const char **ret_serial)
{
	struct json_object *disks = dink_json_get(m->plan, "disks");
	int found = -1;

	for (size_t i = 0; i < dink_json_len(m->plan, "disks"); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);
		const char *source = dink_json_str_or(d, "source", "");
		const char *slash = strrchr(source, '/');

		if (dink_json_bool_or(d, "readonly", false) ||
		    !STREQ(slash ? slash + 1 : source, name))
			continue;
		if (found >= 0)
			return -1;
		found = (int)i;
		*ret_serial = dink_json_str_or(d, "serial", "");
	}
	return found;
}

void mon_grow(struct mon_client *c, struct json_object *req)
{
	struct monitor *m = c->m;
	const char *serial = "";
	int disk = find_disk(m, dink_json_str_or(req, "name", ""), &serial);
	int64_t bytes = dink_json_int_or(req, "bytes", 0);
	_cleanup_free_ char *device = xasprintf("disk%d", disk);
	struct json_object *args;
	struct grow *g;

	if (m->status != MON_RUNNING || m->ckpt || !m->qmp) {
		mon_answer_error(c, EBUSY, "only a disk of a container that is running can grow");
		return;
	}
	/* what a restored container writes to is no file with a name */
	if (disk < 0 || bytes <= 0 || dink_json_get(m->plan, "restore")) {
		mon_answer_error(c, ENOENT, "it has no such disk");
		return;
	}
	g = xcalloc(1, sizeof(*g));
	*g = (struct grow){c, xstrdup(serial), bytes};
	args = dink_json_new();
	dink_json_set_str(args, "device", device);
	dink_json_set_int(args, "size", bytes);
	c->pending++;
	if (dink_qmp_send(m->qmp, "block_resize", args, take_resize, g) < 0)
		take_resize(g, NULL, "its control socket does not take a command");
}
