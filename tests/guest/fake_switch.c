// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/fake_switch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_mbuf.h>

#include "dataplane/transmit.h"
#include "net/test_util.h"

#define READER 0u       // of the RCU domain
#define IDLE_ROUNDS 4u  // without a frame, before a queue sleeps
#define N_SMALL 8192u
#define N_LARGE 64u

// --- forwarding --------------------------------------------------------------------------------

// To the queues that the device selects. Each frame by itself: order does not change.
static void send_all(struct fake_switch *sw, uint32_t index, struct rte_mbuf **pkts, uint16_t n)
{
	struct fake_port *port = &sw->ports[index];
	uint16_t queues[PORT_BATCH] = { 0 };

	if (port->dev->ops->select)
		port->dev->ops->select(port->dev, pkts, n, queues);
	for (uint16_t i = 0; i < n; i++) {
		if (port->dev->ops->tx(port->dev->queues[queues[i]], &pkts[i], 1)) {
			port->n_sent++;
			sw->n_sent++;
			continue;
		}
		port->n_full++;
		sw->n_dropped++;
		rte_pktmbuf_free(pkts[i]);
	}
}

static void output(struct fake_switch *sw, uint32_t index, struct rte_mbuf *m)
{
	struct rte_mbuf *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = { 0 };
	uint16_t n_done, n;

	if (index == FAKE_WIRE) {
		sw->n_collected++;
		if (sw->n_wire < FAKE_MAX_WIRE)
			sw->wire[sw->n_wire++] = m;
		else
			rte_pktmbuf_free(m);
		return;
	}
	n = transmit_finish(sw->ports[index].dev, &sw->pools, &m, 1, &n_done, out,
			    TRANSMIT_MAX_SEGMENTS, &result);
	sw->n_created += result.created;
	for (uint32_t i = 0; i < DROP_N_REASONS; i++) {
		sw->ports[index].n_drops[i] += result.drops[i];
		sw->n_dropped += result.drops[i];
	}
	for (uint16_t at = 0; at < n; at += PORT_BATCH)
		send_all(sw, index, out + at, RTE_MIN((uint16_t)(n - at), (uint16_t)PORT_BATCH));
}

static void learn(struct fake_switch *sw, struct mac mac, uint32_t port)
{
	for (uint32_t i = 0; i < sw->n_macs; i++) {
		if (mac_to_u64(sw->macs[i].mac) == mac_to_u64(mac)) {
			sw->macs[i].port = port;
			return;
		}
	}
	if (sw->n_macs < FAKE_MAX_MACS && !mac_is_group(mac)) {
		sw->macs[sw->n_macs].mac = mac;
		sw->macs[sw->n_macs++].port = port;
	}
}

static bool is_there(const struct fake_switch *sw, uint32_t port)
{
	return port == FAKE_WIRE ? sw->cfg.wire : sw->ports[port].dev != NULL;
}

static void flood(struct fake_switch *sw, uint32_t from, struct rte_mbuf *m)
{
	uint32_t last = UINT32_MAX;

	for (uint32_t to = 0; to <= FAKE_WIRE; to++) {
		struct rte_mbuf *copy;

		if (to == from || !is_there(sw, to))
			continue;
		if (last != UINT32_MAX) {
			copy = rte_pktmbuf_copy(m, sw->pools.small, 0, UINT32_MAX);
			if (copy) {
				sw->n_created++;
				output(sw, last, copy);
			}
		}
		last = to;
	}
	if (last != UINT32_MAX) {
		output(sw, last, m);
		return;
	}
	sw->n_dropped++;
	rte_pktmbuf_free(m);
}

static void forward(struct fake_switch *sw, uint32_t from, struct rte_mbuf *m)
{
	struct mac to, source;

	memcpy(&to, rte_pktmbuf_mtod(m, const uint8_t *), sizeof(to));
	memcpy(&source, rte_pktmbuf_mtod(m, const uint8_t *) + sizeof(to), sizeof(source));
	learn(sw, source, from);
	for (uint32_t i = 0; i < sw->n_macs && !mac_is_group(to); i++) {
		uint32_t port = sw->macs[i].port;

		if (mac_to_u64(sw->macs[i].mac) != mac_to_u64(to) || !is_there(sw, port))
			continue;
		if (port == from)
			break;
		output(sw, port, m);
		return;
	}
	flood(sw, from, m);
}

void fake_switch_inject(struct fake_switch *sw, uint32_t port, struct rte_mbuf *m)
{
	sw->n_injected++;
	forward(sw, port, m);
}

// --- the worker --------------------------------------------------------------------------------

// As idle.c: armed before it sleeps, then nothing is looked at until the doorbell rings.
static bool is_awake(struct fake_switch *sw, struct fake_port *port, struct port_queue *q)
{
	const struct port_ops *ops = q->dev->ops;
	struct pollfd fd = { ops->doorbell(q), POLLIN, 0 };

	if (!port->asleep[q->index])
		return true;
	if (fd.fd >= 0 && poll(&fd, 1, 0) == 0)
		return false;
	port->asleep[q->index] = false;
	port->n_idle[q->index] = 0;
	sw->n_wakes++;
	if (ops->arm)
		ops->arm(q, false);
	return true;
}

static void rest(struct fake_switch *sw, struct fake_port *port, struct port_queue *q)
{
	const struct port_ops *ops = q->dev->ops;

	if (sw->cfg.polls || ++port->n_idle[q->index] < IDLE_ROUNDS)
		return;
	if (ops->arm && ops->arm(q, true)) {
		ops->arm(q, false);
		return;
	}
	port->asleep[q->index] = true;
	sw->n_sleeps++;
}

static void serve(struct fake_switch *sw, uint32_t index, struct port_queue *q)
{
	struct fake_port *port = &sw->ports[index];
	struct rte_mbuf *pkts[PORT_BATCH];
	uint16_t n;

	if (!is_awake(sw, port, q))
		return;
	n = q->dev->ops->rx(q, pkts, PORT_BATCH);
	port->n_received += n;
	sw->n_received += n;
	for (uint16_t i = 0; i < n; i++)
		forward(sw, index, pkts[i]);
	if (n)
		port->n_idle[q->index] = 0;
	else
		rest(sw, port, q);
}

bool fake_switch_pump(void *arg)
{
	struct fake_switch *sw = arg;

	sw->n_rounds++;
	for (uint32_t i = 0; i < FAKE_MAX_PORTS && !sw->stalled; i++)
		for (uint16_t q = 0; sw->ports[i].dev && q < sw->ports[i].dev->n_queues; q++)
			serve(sw, i, sw->ports[i].dev->queues[q]);
	rcu_quiescent(sw->rcu, READER);
	netvsp_service_run(sw->service);
	rcu_poll(sw->rcu);
	return true;
}

// --- life --------------------------------------------------------------------------------------

static void on_event(void *arg, const char *nic, enum netvsp_event event, const char *text)
{
	struct fake_switch *sw = arg;

	if (event < ARRAY_SIZE(sw->n_events))
		sw->n_events[event]++;
	snprintf(sw->event, sizeof(sw->event), "%s: %s", nic, text);
}

int fake_switch_open(struct fake_switch *sw, uint32_t port)
{
	const struct port_cfg cfg = {
		.name = sw->cfg.names[port],
		.mac = { { 0x00, 0x15, 0x5d, 0, 0, (uint8_t)(port + 1) } },
		.mtu = sw->cfg.mtu ? sw->cfg.mtu : 1500,
		.n_queues = sw->cfg.n_queues ? sw->cfg.n_queues : 1,
		.disconnected = sw->cfg.disconnected,
		.rsc = sw->cfg.rsc,
		.link_mbps = sw->cfg.link_mbps,
		.pools = &sw->pools,
	};
	struct err err = { 0 };
	int ret = port_netvsp.open(&cfg, &sw->ports[port].dev, &err);

	if (ret)
		fprintf(stderr, "port %s: %s\n", cfg.name, err.text);
	return ret;
}

void fake_switch_close(struct fake_switch *sw, uint32_t port)
{
	struct port_dev *dev = sw->ports[port].dev;

	if (!dev)
		return;
	sw->ports[port] = (struct fake_port){ 0 };
	dev->ops->close(dev);
}

int fake_switch_init(struct fake_switch *sw, const struct fake_switch_cfg *cfg)
{
	struct netvsp_service_cfg service = { .path = cfg->path, .listen_fd = -1,
					      .instance = 0x1122334455667788,
					      .event = on_event, .arg = sw };
	struct err err = { 0 };
	int ret;

	memset(sw, 0, sizeof(*sw));
	sw->cfg = *cfg;
	sw->rcu = rcu_create();
	if (!sw->rcu)
		return -ENOMEM;
	rcu_reader_online(sw->rcu, READER);
	sw->pools.small = test_pool_create(N_SMALL, TEST_SMALL_ROOM);
	sw->pools.large = test_pool_create(N_LARGE, TEST_LARGE_ROOM);
	service.rcu = sw->rcu;
	ret = netvsp_service_create(&service, &sw->service, &err);
	if (ret)
		fprintf(stderr, "%s\n", err.text);
	for (uint32_t i = 0; !ret && i < cfg->n_ports; i++)
		ret = fake_switch_open(sw, i);
	return ret;
}

void fake_switch_fini(struct fake_switch *sw)
{
	for (uint32_t i = 0; i < FAKE_MAX_PORTS; i++)
		fake_switch_close(sw, i);
	for (uint32_t i = 0; i < 1000 && netvsp_service_busy(sw->service); i++)
		fake_switch_pump(sw);
	netvsp_service_destroy(sw->service);
	fake_switch_forget_wire(sw);
	rcu_reader_offline(sw->rcu, READER);
	rcu_destroy(sw->rcu);
	test_pool_destroy(sw->pools.small);
	test_pool_destroy(sw->pools.large);
}

void fake_switch_forget_wire(struct fake_switch *sw)
{
	while (sw->n_wire > 0)
		rte_pktmbuf_free(sw->wire[--sw->n_wire]);
}

const char *fake_switch_unbalanced(const struct fake_switch *sw)
{
	static char text[256];
	uint64_t in = sw->n_injected + sw->n_received + sw->n_created;
	uint64_t out = sw->n_sent + sw->n_collected + sw->n_dropped;

	if (in == out)
		return NULL;
	snprintf(text, sizeof(text),
		 "%lu injected, %lu received, %lu made; %lu sent, %lu collected, %lu dropped",
		 sw->n_injected, sw->n_received, sw->n_created, sw->n_sent, sw->n_collected,
		 sw->n_dropped);
	return text;
}

struct search {
	const char *name;
	struct netvsp_nic_info info;
	struct netvsp_counters total;
	bool found;
};

static void look(void *arg, const struct netvsp_nic_info *info)
{
	struct search *search = arg;
	uint64_t *total = (uint64_t *)&search->total;

	if (strcmp(info->name, search->name))
		return;
	search->info = *info;
	search->info.counters = NULL;
	search->found = true;
	for (uint32_t i = 0; i < info->n_queues; i++)
		for (size_t c = 0; c < sizeof(*info->counters) / sizeof(uint64_t); c++)
			total[c] += ((const uint64_t *)&info->counters[i])[c];
}

bool fake_switch_info(const char *nic, struct netvsp_nic_info *info, struct netvsp_counters *total)
{
	struct search search = { .name = nic };

	netvsp_nic_list(look, &search);
	*info = search.info;
	*total = search.total;
	return search.found;
}
