/* SPDX-License-Identifier: Apache-2.0 */
/* make_guest OUT AGENT CRUN: an initramfs for the dink-vm tests. */
#include "provision/vm/guest.h"

int main(int argc, char **argv)
{
	_cleanup_(dink_err_clear) struct dink_err err = {};

	if (argc == 4 && dink_initramfs_write(argv[1], argv[2], argv[3], &err) == 0)
		return 0;
	_cleanup_free_ char *text = argc == 4 ? dink_err_format(&err) : NULL;
	fprintf(stderr, "make_guest: %s\n", text ? text : "usage: make_guest OUT AGENT CRUN");
	return 1;
}
