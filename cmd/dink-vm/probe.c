/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether KVM works here, proved as `dink doctor` proves it, where there is no dink: in a layer that
 * starts VMs. The answer is kept for this boot, and --accel auto goes by it.
 */
#include "cmd/dink-vm/vm.h"

#include "provision/base/file.h"
#include "provision/base/json.h"
#include "provision/host/facts.h"

#include <stdio.h>

int vm_probe(_unused_ const struct vm_globals *g, char **argv, struct dink_err *err)
{
	_cleanup_free_ char *qemu = dink_which("qemu-system-x86_64"), *text = NULL;
	_cleanup_json_ struct json_object *o = NULL;
	struct dink_usable kvm = {};
	int r = vm_parse("probe", argv, NULL, err);

	if (r < 0)
		return r;
	if (argv[r])
		return dink_err_set(err, DINK_E_USAGE, 0, "probe takes no arguments");
	if (!qemu) {
		dink_err_set(err, DINK_E_HOST, ENOENT, "qemu-system-x86_64 is not installed");
		return dink_err_hint(err, "apt-get install qemu-system-x86");
	}
	dink_prove_kvm(qemu, &kvm);
	o = dink_json_new();
	dink_json_set_bool(o, "kvm", kvm.ok);
	if (!kvm.ok)
		dink_json_set_str(o, "why", kvm.why);
	free(kvm.why);
	text = dink_json_text(o);
	fputs(text, stdout);
	return 0;
}
