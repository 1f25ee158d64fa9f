/* SPDX-License-Identifier: Apache-2.0 */
/* dink env: what the user's own docker client needs to talk to a layer's daemon. */
#include "cmd/dink/cmd.h"
#include "provision/base/json.h"
#include "provision/step/instance.h"

struct env_opts {
	bool unset;
};

/* Variables that would lead a docker client elsewhere, DOCKER_HOST notwithstanding. */
static const char *const others[] = {"DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"};

/* In single quotes for a POSIX shell. */
static void print_quoted(const char *s)
{
	putchar('\'');
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*s);
	}
	putchar('\'');
}

static int print_unset(bool json)
{
	if (!json) {
		puts("unset DOCKER_HOST");
		return 0;
	}
	cmd_print_json(dink_json_new());
	return 0;
}

static void print_exports(const char *address, const char *host)
{
	fputs("export DOCKER_HOST=", stdout);
	print_quoted(host);
	putchar('\n');
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (getenv(others[i]))
			printf("unset %s\n", others[i]);
	if (isatty(STDOUT_FILENO))
		printf("# eval \"$(dink env %s)\"\n", address);
}

static int run_env(struct dink_args *args, struct dink_err *err)
{
	struct env_opts *o = args->opts;
	_cleanup_reach_ struct dink_reach reach = {};
	_cleanup_free_ char *host = NULL;
	const struct dink_reach_hop *hop;
	const char *path;
	int r;

	if (o->unset)
		return print_unset(args->json);
	if (args->n == 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "name a layer with a daemon");
	r = dink_instance_reach(args->v[0], &reach, err);
	if (r < 0)
		return r;
	hop = &reach.hops[reach.n_hops - 1];
	path = hop->offered && hop->offered[0] ? hop->offered : NULL;
	if (!path && !hop->container)
		path = hop->socket;
	if (!hop->socket) {
		(void)dink_err_set(err, DINK_E_USAGE, 0, "%s has no daemon", args->v[0]);
		return dink_err_hint(err, "give the layer 'daemon: docker', or name its parent");
	}
	if (!path) {
		(void)dink_err_set(err, DINK_E_STATE, 0, "%s: its daemon's socket is not offered",
				   args->v[0]);
		return dink_err_hint(err, "dink up makes what is missing");
	}
	host = xasprintf("unix://%s", path);
	if (args->json) {
		struct json_object *json = dink_json_new();

		dink_json_set_str(json, "DOCKER_HOST", host);
		cmd_print_json(json);
		return 0;
	}
	print_exports(args->v[0], host);
	return 0;
}

static const struct dink_opt env_options[] = {
	{0, "unset", DINK_OPT_FLAG, offsetof(struct env_opts, unset), NULL,
	 "print what takes it back", DINK_COMPLETE_NONE},
	{},
};

const struct dink_command cmd_env = {
	.name = "env",
	.operands = "LAYER",
	.summary = "print what points a docker client at a layer's daemon",
	.examples = "  eval \"$(dink env docker-in-kata/proxy/kata)\"; docker ps\n"
		    "  eval \"$(dink env --unset)\"\n",
	.opts = env_options,
	.opts_size = sizeof(struct env_opts),
	.min_args = 0,
	.max_args = 1,
	.has_json = true,
	.complete = DINK_COMPLETE_LAYER,
	.run = run_env,
};
