/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dink forward (hidden; started by the forward step): PLACE PATH LISTEN, again and again, served
 * by one process until SIGTERM. "ready" on standard output once all sockets listen.
 */
#include "cmd/dink/cmd.h"
#include "provision/engine/engine.h"

static int run_forward(struct dink_args *args, struct dink_err *err)
{
	size_t n = (size_t)args->n / 3;
	struct dink_forward *f;
	int r = 0;

	if (args->n % 3 != 0)
		return dink_err_set(err, DINK_E_USAGE, 0, "forward takes PLACE PATH LISTEN");
	f = xcalloc(n, sizeof(*f));
	for (size_t i = 0; i < n && r == 0; i++) {
		struct dink_place *place = NULL;

		r = dink_place_parse(args->v[i * 3], &place, err);
		f[i] = (struct dink_forward){place, args->v[i * 3 + 1], args->v[i * 3 + 2]};
	}
	if (r == 0)
		r = dink_forward_serve(f, n, STDOUT_FILENO, err);
	for (size_t i = 0; i < n; i++)
		dink_place_free((struct dink_place *)f[i].place);
	free(f);
	return r;
}

const struct dink_command cmd_forward = {
	.name = "forward",
	.operands = "PLACE PATH LISTEN...",
	.min_args = 3,
	.max_args = -1,
	.run = run_forward,
};
