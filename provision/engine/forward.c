/* SPDX-License-Identifier: Apache-2.0 */
#include "provision/engine/engine.h"
int dink_forward_serve(const struct dink_forward *f _unused_, size_t n _unused_, int ready_fd _unused_, struct dink_err *err)
{
	return dink_err_set(err, DINK_E_BUG, ENOSYS, "not yet");
}
