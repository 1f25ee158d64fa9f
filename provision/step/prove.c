/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether KVM works in a layer that starts VMs and was given /dev/kvm: dink-vm boots a probe guest
 * there and keeps the answer in the layer, where it goes by it from then on. "No" is an answer: the
 * layer's VMs then run without.
 */
#include "provision/base/log.h"
#include "provision/engine/engine.h"
#include "provision/step/instance.h"
#include "provision/step/kinds.h"
#include "provision/vm/guest.h"

enum { ANSWER_MAX = 64 << 10 };

static char *describe_prove(struct json_object *params)
{
	return dink_step_describe(params, "prove KVM in", "layer");
}

/* Asks in the layer; *ret is {kvm, why}. */
static int ask(const struct dink_reach *reached, struct json_object **ret, struct dink_err *err)
{
	char *const argv[] = {(char[]){DINK_GUEST_IN_LAYER "/dink-vm"}, (char[]){"probe"}, NULL};
	_cleanup_free_ char *text = NULL;
	int r = dink_engine_exec_capture(reached->parent, reached->container, argv, ANSWER_MAX,
					 &text, err);

	if (r < 0)
		return r;
	if (r > 0)
		return dink_err_set(err, DINK_E_CHILD, 0, "dink-vm probe failed (%d): %s", r, text);
	return dink_json_parse(text, strlen(text), "dink-vm probe", ret, err);
}

static int ask_layer(struct dink_step_ctx *ctx, struct json_object *params,
		     struct json_object **ret, struct dink_err *err)
{
	const char *layer = dink_json_str_or(params, "layer", "");
	_cleanup_reach_ struct dink_reach reached = {};
	int r = dink_reach_from(dink_step_journal(ctx), dink_step_instance(ctx), layer, &reached,
				err);

	if (r == 0 && !reached.parent)
		return dink_err_set(err, DINK_E_BUG, 0, "%s is no container", layer);
	return r < 0 ? r : ask(&reached, ret, err);
}

static int apply_prove(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object **ret, struct dink_err *err)
{
	_cleanup_json_ struct json_object *said = NULL;
	int r = ask_layer(ctx, params, &said, err);
	bool kvm;

	if (r < 0)
		return r;
	kvm = dink_json_bool_or(said, "kvm", false);
	*ret = dink_json_new();
	dink_json_set_bool(*ret, "kvm", kvm);
	if (!kvm)
		dink_json_set_str(*ret, "why", dink_json_str_or(said, "why", "it was not said"));
	dink_debug("step", "KVM in %s: %s", dink_json_str_or(params, "layer", ""),
		   kvm ? "works" : dink_json_str_or(*ret, "why", ""));
	return 0;
}

/* The answer lies in the layer and goes with it: one that was made anew is asked anew. */
static int check_prove(struct dink_step_ctx *ctx, struct json_object *params,
		       struct json_object *identity, struct dink_err *err)
{
	_cleanup_(dink_err_clear) struct dink_err quiet = {};
	_cleanup_json_ struct json_object *said = NULL;

	(void)err;
	return ask_layer(ctx, params, &said, &quiet) == 0 &&
	       dink_json_bool_or(said, "kvm", false) == dink_json_bool_or(identity, "kvm", false);
}

const struct dink_step_kind dink_kind_prove_kvm = {
	.name = "prove-kvm",
	.describe = describe_prove,
	.apply = apply_prove,
	.check = check_prove,
};
