// SPDX-License-Identifier: Apache-2.0
// How the daemon follows the desired state: prepare compiles the switch and reserves for devices,
// publish makes both true. Called by control/control.c. control.
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/daemon.h"

struct config_plan {
	struct vswitch_plan *vswitch;
	struct numbers numbers;
};

static int prepare(void *ctx, const struct model *from, const struct model *to, void **out,
		   struct err *err)
{
	struct daemon *d = ctx;
	struct config_plan *plan = calloc(1, sizeof(*plan));
	bool resting[PORT_MAX];
	int ret;

	if (!plan)
		return err_set(err, ENOMEM, "no memory for a plan");
	devices_resting(d->devices, resting);
	ret = numbers_make(to, &d->numbers, resting, &plan->numbers, err);
	if (!ret)
		ret = wishes_prepare(d->vswitch, to, &plan->numbers, &plan->vswitch, err);
	if (!ret) {
		ret = devices_prepare(d->devices, to, &plan->numbers, err);
		if (ret)
			vswitch_abort(plan->vswitch);
	}
	if (ret) {
		numbers_free(&plan->numbers);
		free(plan);
		return ret;
	}
	*out = plan;
	return 0;
}

static void publish(void *ctx, void *arg)
{
	struct daemon *d = ctx;
	struct config_plan *plan = arg;

	// The policy before the port: a port passes nothing until its policy is in force.
	for (uint32_t i = 0; i < plan->numbers.rules.n; i++) {
		uint32_t id = plan->numbers.rules.list[i].number + 1u;

		if (numbering_find(&d->numbers.rules, plan->numbers.rules.list[i].obj->name) < 0)
			d->rule_base[id] = show_rule_drops(d, id);
	}
	vswitch_publish(d->vswitch, plan->vswitch);
	devices_publish(d->devices);
	numbers_free(&d->numbers);
	d->numbers = plan->numbers;
	free(plan);
}

static void abort_plan(void *ctx, void *arg)
{
	struct daemon *d = ctx;
	struct config_plan *plan = arg;

	vswitch_abort(plan->vswitch);
	devices_abort(d->devices);
	numbers_free(&plan->numbers);
	free(plan);
}

const struct control_hooks config_hooks = {
	.prepare = prepare,
	.publish = publish,
	.abort = abort_plan,
	.counters = show_counters,
};
