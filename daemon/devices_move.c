// SPDX-License-Identifier: Apache-2.0
// Which worker owns which queue of the devices that are open, and how that changes under load.
// control.
#include <errno.h>

#include "daemon/device.h"

unsigned int devices_list_plans(const struct devices *d, struct plan_port **list)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i] && (d->ports[i]->state == OPEN || d->ports[i]->want))
			list[n++] = &d->ports[i]->plan;
	return n;
}

int devices_publish_plans(struct devices *d, const struct plan_move *move)
{
	struct plan_port *list[PORT_SLOTS];
	const struct plan_set set = { d->cfg.workers, d->cfg.n_workers, list,
				      devices_list_plans(d, list), move };

	if (!plan_settled(d->cfg.workers, d->cfg.n_workers))
		return -EBUSY;
	return plan_publish(&set);
}

static void give(const struct device_queue *list, unsigned int n, uint8_t owner)
{
	for (unsigned int i = 0; i < n; i++)
		list[i].device->plan.owner[list[i].pair] = owner;
}

int devices_move(struct devices *d, const struct plan_move *move, const struct device_queue *list,
		 unsigned int n)
{
	int ret;

	if (d->plans_timer >= 0 || !plan_settled(d->cfg.workers, d->cfg.n_workers))
		return -EBUSY;
	give(list, n, move->to);
	ret = devices_publish_plans(d, move);
	if (ret)
		give(list, n, move->from);
	return ret;
}
