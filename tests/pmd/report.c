// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/report.h"

#include <stdio.h>

#include <rte_cycles.h>

#include "tests/pmd/eal.h"

struct sums {
	uint64_t sent, received, seen, missing, twice, late, corrupt, doorbells, bells;
};

static void add(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void add_books(json_t *object, const struct guest *g, struct sums *sums)
{
	uint64_t seen = 0, missing = 0, twice = 0, late = 0, stale = 0, holes = 0;

	for (uint32_t i = 0; i < GUEST_MAX_SENDERS; i++) {
		const struct ledger *l = &g->ledgers[i];

		seen += ledger_seen(l);
		missing += ledger_missing(l);
		twice += l->n_twice;
		late += l->n_late;
		stale += l->n_stale;
		holes += l->n_holes;
	}
	add(object, "seen", seen);
	add(object, "missing", missing + holes);
	add(object, "duplicated", twice);
	add(object, "reordered", late);
	add(object, "stale", stale);
	sums->seen += seen;
	sums->missing += missing + holes;
	sums->twice += twice;
	sums->late += late + stale;
}

static void add_queues(json_t *object, const struct guest *g)
{
	json_t *sent = json_array(), *received = json_array(), *free_now = json_array();

	for (uint32_t q = 0; q < g->cfg.n_queues; q++) {
		int n = g->port.open ? port_free_descriptors(&g->port, q) : -ENOENT;

		json_array_append_new(sent, json_integer((json_int_t)g->queues[q].n_sent));
		json_array_append_new(received, json_integer((json_int_t)g->queues[q].n_received));
		if (n >= 0)
			json_array_append_new(free_now, json_integer(n));
	}
	json_object_set_new(object, "queues_sent", sent);
	json_object_set_new(object, "queues_received", received);
	json_object_set_new(object, "free_descriptors", free_now);
	add(object, "descriptors", g->port.n_descriptors);
}

static void add_nic(json_t *object, struct guest *g)
{
	struct nic_events e = nic_events(&g->nic);
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", g->port.mac.b[0],
		 g->port.mac.b[1], g->port.mac.b[2], g->port.mac.b[3], g->port.mac.b[4],
		 g->port.mac.b[5]);
	json_object_set_new(object, "mac", json_string(mac));
	add(object, "attached", e.n_attached);
	add(object, "lost", e.n_lost);
	add(object, "channels_failed", e.n_channels_failed);
	add(object, "batches_recovered", e.n_batches);
	add(object, "frames_lost_at_most", e.n_lost_frames);
	add(object, "plugged", g->n_plugged);
	add(object, "doorbells", g->nic.n_doorbells);
	add(object, "bells", g->nic.n_bells);
	if (*e.why)
		json_object_set_new(object, "why", json_string(e.why));
}

static void add_driver(json_t *object, const struct guest *g)
{
	struct rte_eth_stats stats;

	if (!g->port.open || rte_eth_stats_get(g->port.id, &stats))
		return;
	add(object, "driver_missed", stats.imissed);
	add(object, "driver_errors", stats.ierrors + stats.oerrors);
	add(object, "driver_no_mbuf", stats.rx_nombuf);
}

static json_t *make_guest(struct guest *g, struct sums *sums)
{
	const struct guest_counters *c = &g->counters;
	json_t *object = json_object();

	json_object_set_new(object, "nic", json_string(g->cfg.name));
	add_nic(object, g);
	add(object, "sent", c->sent);
	add(object, "sent_bytes", c->sent_bytes);
	add(object, "received", c->received);
	add(object, "received_bytes", c->received_bytes);
	add_books(object, g, sums);
	add(object, "corrupt", c->corrupt);
	add(object, "bad_csum", c->bad_csum);
	add(object, "bad_vlan", c->bad_vlan);
	add(object, "foreign", c->foreign);
	add(object, "ip_good", c->ip_good);
	add(object, "l4_good", c->l4_good);
	add(object, "no_mbuf", c->no_mbuf);
	add(object, "longest_pause_ms", g->longest_pause_tsc * 1000 / rte_get_tsc_hz());
	add_driver(object, g);
	add_queues(object, g);
	sums->sent += c->sent;
	sums->received += c->received;
	sums->corrupt += c->corrupt + c->bad_csum + c->bad_vlan;
	sums->doorbells += g->nic.n_doorbells;
	sums->bells += g->nic.n_bells;
	return object;
}

json_t *report_make(struct guest *guests, uint32_t n_guests, double seconds)
{
	json_t *object = json_object(), *list = json_array();
	struct sums sums = { 0 };

	for (uint32_t i = 0; i < n_guests; i++)
		json_array_append_new(list, make_guest(&guests[i], &sums));
	json_object_set_new(object, "seconds", json_real(seconds));
	json_object_set_new(object, "mpps",
			    json_real(seconds > 0 ? (double)sums.received / seconds / 1e6 : 0));
	add(object, "sent", sums.sent);
	add(object, "received", sums.received);
	add(object, "seen", sums.seen);
	add(object, "missing", sums.missing);
	add(object, "duplicated", sums.twice);
	add(object, "reordered", sums.late);
	add(object, "corrupt", sums.corrupt);
	add(object, "doorbells", sums.doorbells);
	add(object, "bells", sums.bells);
	add(object, "driver_messages", eal_n_messages());
	json_object_set_new(object, "nics", list);
	return object;
}
