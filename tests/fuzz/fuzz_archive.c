/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a docker archive. Must hold: an error has words, and what was accepted has an id of
 * 64 digits and a name that is plain, and has them again the second time.
 */
#include "images/build.h"
#include "provision/base/file.h"

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *id, const char *ref)
{
	if (strncmp(id, "sha256:", 7) != 0 || strlen(id) != 7 + 64)
		abort();
	if (ref && (!ref[0] || ref[0] == '-' || strpbrk(ref, " \n\t?#%\"\\")))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
	_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);
	_cleanup_free_ char *id = NULL, *ref = NULL, *id2 = NULL, *ref2 = NULL;
	_cleanup_(dink_err_clear) struct dink_err err = {}, second = {};

	if (fd < 0 || dink_fd_write_all(fd, data, size) < 0)
		abort();
	if (dink_archive_identify(path, &id, &ref, &err) < 0) {
		if (!dink_err_is_set(&err) || !err.msg[0] || id || ref)
			abort();
		return 0;
	}
	check(id, ref);
	if (dink_archive_identify(path, &id2, &ref2, &second) < 0 || !STREQ(id, id2))
		abort();
	return 0;
}
