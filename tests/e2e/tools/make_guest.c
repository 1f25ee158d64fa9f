/* SPDX-License-Identifier: Apache-2.0 */
/* make_guest OUT AGENT CRUN GUEST_LIB: an initramfs for the dink-vm tests. */
#include "provision/vm/guest.h"

int main(int argc, char **argv)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (argc != 5) {
		fputs("usage: make_guest OUT AGENT CRUN GUEST_LIB\n", stderr);
		return 1;
	}
	const struct dink_guest_programs from = {
		.agent = argv[2], .crun = argv[3], .guest_lib = argv[4]};

	if (dink_initramfs_write(argv[1], &from, &err) < 0) {
		_cleanup_free_ char *text = dink_err_format(&err);

		fprintf(stderr, "make_guest: %s\n", text);
		return 1;
	}
	return 0;
}
