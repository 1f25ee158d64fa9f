/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/archive.h"

#include <errno.h>

int dink_archive_failed(struct archive *a, const char *what, struct dink_err *err)
{
	const char *text = archive_error_string(a);
	int e = archive_errno(a);

	if (e <= 0 || e == EILSEQ || e >= 4096)
		e = EBADMSG;
	return dink_err_set(err, DINK_E_HOST, e, "%s: %s", what, text ? text : "damaged");
}
