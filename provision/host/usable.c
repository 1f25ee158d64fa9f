/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probes and their readers share. Apart from facts.c, so that dink-vm has the probe of KVM
 * without all the others.
 */
#include "provision/host/probe.h"

#include <stdarg.h>

void dink_usable_yes(struct dink_usable *u)
{
	free(u->why);
	u->why = NULL;
	u->ok = true;
}

void dink_usable_no(struct dink_usable *u, const char *fmt, ...)
{
	va_list ap;

	free(u->why);
	va_start(ap, fmt);
	u->why = xvasprintf(fmt, ap);
	va_end(ap);
	u->ok = false;
}

const struct dink_tool_fact *dink_facts_tool(const struct dink_facts *f, const char *name)
{
	for (size_t i = 0; i < f->n_tools; i++)
		if (STREQ(f->tools[i].name, name))
			return f->tools[i].path ? &f->tools[i] : NULL;
	return NULL;
}
