// SPDX-License-Identifier: Apache-2.0
// Devices as people see them: link, counters, the conservation law. control.
#include <stdio.h>

#include "daemon/device.h"

#define DROPS_TOTAL (DROP_N_DIRS * DROP_N_REASONS)

// --- counters ----------------------------------------------------------------------------------

static void add_counters(struct port_counters *sum, const struct port_counters *c)
{
	const uint64_t *from = (const uint64_t *)c;
	uint64_t *to = (uint64_t *)sum;

	for (size_t i = 0;
	     i < offsetof(struct port_counters, drops) / sizeof(uint64_t) + DROPS_TOTAL; i++)
		to[i] += counter_get(&from[i]);
}

void device_sum(const struct device *p, struct port_counters *sum)
{
	for (unsigned int w = 0; w < p->all->cfg.n_workers; w++)
		add_counters(sum, &p->plan.counters[w]);
}

// --- showing -----------------------------------------------------------------------------------

static const struct device *find(const struct devices *d, const char *name)
{
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i] && d->ports[i]->want &&
		    strcmp(d->ports[i]->want->name, name) == 0)
			return d->ports[i];
	return NULL;
}

static void link_text(const struct device *p, char *text, size_t size)
{
	struct port_link link = { 0 };

	switch (p->state) {
	case OPEN:
		p->opened->ops->link(p->opened, &link);
		if (!link.up)
			snprintf(text, size, "down: %s", link.reason);
		else if (link.speed_mbps)
			snprintf(text, size, "up %u Mb/s", link.speed_mbps);
		else
			snprintf(text, size, "up");
		return;
	case FAILED:
		snprintf(text, size, "down: %s", p->err.text);
		return;
	case OPENING:
	case ABSENT:
		snprintf(text, size, "opening");
		return;
	case LEAVING:
	case LEFT:
	case CLOSING:
		snprintf(text, size, "closing");
	}
}

void devices_status(const struct devices *d, const char *port, json_t *out)
{
	const struct device *p = find(d, port);
	char text[640];
	size_t used = 0;

	if (!p)
		return;
	link_text(p, text, sizeof(text));
	json_object_set_new(out, "link", json_string(text));
	if (p->state != OPEN)
		return;
	json_object_set_new(out, "device", json_string(p->opened->what));
	for (uint16_t q = 0; q < p->opened->n_queues && used < sizeof(text) - 8; q++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u", q ? "," : "",
					 p->plan.owner[q]);
	json_object_set_new(out, "workers", json_string(text));
}

bool devices_counters(const struct devices *d, const char *port, struct port_counters *sum,
		      struct port_dev_stats *stats)
{
	const struct device *p = find(d, port);

	*sum = (struct port_counters){ 0 };
	*stats = (struct port_dev_stats){ 0 };
	if (!p)
		return false;
	device_sum(p, sum);
	if (p->state == OPEN && p->opened->ops->stats)
		p->opened->ops->stats(p->opened, stats);
	return true;
}

void devices_conservation(const struct devices *d, struct conservation *c)
{
	struct port_counters sum = d->gone;

	*c = (struct conservation){ 0 };
	for (unsigned int i = 0; i < PORT_MAX; i++)
		if (d->ports[i])
			device_sum(d->ports[i], &sum);
	for (unsigned int w = 0; w < d->cfg.n_workers; w++) {
		add_counters(&sum, worker_spare(d->cfg.workers[w]));
		c->held += worker_held(d->cfg.workers[w]);
	}
	c->received = sum.rx_packets;
	c->created = sum.created;
	c->sent = sum.tx_packets;
	c->consumed = sum.consumed;
	for (int dir = 0; dir < DROP_N_DIRS; dir++)
		for (int r = 0; r < DROP_N_REASONS; r++)
			c->dropped += sum.drops[dir][r];
}
