/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/base/log.h"

#include "provision/base/mem.h"
#include "provision/base/units.h"

bool dink_debug_on(const char *module)
{
	const char *mask = getenv("DINK_DEBUG");
	size_t len = strlen(module);

	while (mask && *mask) {
		size_t n = strcspn(mask, ",");

		if ((n == 3 && strncmp(mask, "all", 3) == 0) ||
		    (n == len && strncmp(mask, module, n) == 0))
			return true;
		mask += n + (mask[n] == ',');
	}
	return false;
}

void dink_debug(const char *module, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	int saved = errno;
	uint64_t now;
	va_list ap;

	if (!dink_debug_on(module))
		return;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	now = dink_now_ms();
	fprintf(stderr, "[%6llu.%03llu] %s: %s\n", (unsigned long long)(now / 1000),
		(unsigned long long)(now % 1000), module, text);
	errno = saved;
}
