/* SPDX-License-Identifier: Apache-2.0 */
/* From the address of a layer, the host or a socket to its engine. */
#include "cmd/dink/image.h"

#include "provision/host/facts.h"

static const char socket_scheme[] = "unix://";

/* The socket of the engine that `up` would use: the user's own, else dink's if it runs. */
static char *find_host_socket(struct dink_err *err)
{
	_cleanup_(dink_facts_freep) struct dink_facts *f = NULL;
	char *own;

	if (dink_facts_probe(0, NULL, &f, err) < 0)
		return NULL;
	if (f->n_engines)
		return xstrdup(f->engines[0].socket);
	own = f->docker_host_why ? NULL : dink_private_engine_socket();
	if (own)
		return own;
	dink_err_set(err, DINK_E_HOST, 0, "%s",
		     f->docker_host_why ? f->docker_host_why : "no engine runs on this host");
	dink_err_hint(err, "start Docker or Podman's service, or set DOCKER_HOST=unix://SOCKET");
	return NULL;
}

static int open_socket(const char *socket, struct cmd_daemon *d, struct dink_err *err)
{
	if (socket[0] != '/')
		return dink_err_set(err, DINK_E_USAGE, 0, "unix://%s: the path is not absolute",
				    socket);
	d->place = dink_place_host();
	d->own = dink_engine_new(d->place, socket);
	d->engine = d->own;
	return 0;
}

static int open_layer(const char *address, struct cmd_daemon *d, struct dink_err *err)
{
	const struct dink_reach_hop *hop;
	int r = dink_instance_reach(address, &d->reach, err);

	if (r < 0)
		return r;
	hop = &d->reach.hops[d->reach.n_hops - 1];
	if (!hop->socket) {
		dink_err_set(err, DINK_E_USAGE, 0, "%s has no daemon", address);
		return dink_err_hint(err, "give the layer 'daemon: docker', or name its parent");
	}
	if (!hop->engine) {
		dink_err_set(err, DINK_E_HOST, ESRCH, "%s does not run", address);
		return dink_err_hint(err, "dink logs %s", address);
	}
	d->engine = hop->engine;
	return 0;
}

int cmd_daemon_open(const char *address, struct cmd_daemon *ret, struct dink_err *err)
{
	_cleanup_free_ char *socket = NULL;

	ret->name = xstrdup(address);
	if (dink_starts_with(address, socket_scheme))
		return open_socket(address + strlen(socket_scheme), ret, err);
	if (!STREQ(address, "host"))
		return open_layer(address, ret, err);
	socket = find_host_socket(err);
	return socket ? open_socket(socket, ret, err) : -ENOENT;
}

void cmd_daemon_close(struct cmd_daemon *d)
{
	dink_reach_clear(&d->reach);
	dink_engine_free(d->own);
	dink_place_free(d->place);
	free(d->name);
	*d = (struct cmd_daemon){};
}

int cmd_image_split(const char *word, char **ret_address, const char **ret_image,
		    struct dink_err *err)
{
	size_t skip = dink_starts_with(word, socket_scheme) ? strlen(socket_scheme) : 0;
	const char *colon = strchr(word + skip, ':');
	int r;

	if (!colon || colon == word || !colon[1]) {
		dink_err_set(err, DINK_E_USAGE, 0, "'%s' is not LAYER:IMAGE", word);
		return dink_err_hint(err, "as in host:debian or docker-in-kata/proxy:debian:12");
	}
	r = dink_ref_check(colon + 1, err);
	if (r < 0)
		return r;
	*ret_address = xstrndup(word, (size_t)(colon - word));
	*ret_image = colon + 1;
	return 0;
}
