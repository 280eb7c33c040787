// SPDX-License-Identifier: Apache-2.0
// Our kind of port for guests: a worker's receive and transmit go to the channel that stands in
// the queue at that moment, if any. What stands there is control's business (nic*.c).
#include "netvsp/port_netvsp.h"

#include <rte_mbuf.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "netvsp/announce.h"
#include "netvsp/nic_parts.h"
#include "netvsp/rss.h"

#define MONITOR_NS 1000000 // between looks at the monitor page while a worker sleeps
#define TAG_BYTES 8        // two VLAN tags

static struct netvsp_queue *queue_of(struct port_queue *q)
{
	return container_of(q, struct netvsp_queue, q);
}

struct netvsp_nic *port_netvsp_nic(struct port_dev *dev)
{
	return container_of(dev, struct netvsp_nic, dev);
}

// Has something happened that control must hear of? It is told once. worker.
static bool is_broken(struct netvsp_queue *queue, const struct netvsp_channel *channel)
{
	const struct netvsp_nic *nic = queue->nic;
	unsigned int what = netvsp_channel_failure(channel);

	if (unlikely(__atomic_load_n(&nic->guest.dead, __ATOMIC_ACQUIRE)))
		what = ~0u;
	if (likely(!what))
		return false;
	if (queue->told != what)
		eventfd_write(nic->mailbox.fd, 1);
	queue->told = what;
	return true;
}

// Are its rings to be left alone, around a restart? worker.
static bool is_still(const struct netvsp_nic *nic)
{
	return __atomic_load_n(&nic->draining, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&nic->held, __ATOMIC_ACQUIRE);
}

// In the guest's name, as though it had come from its ring. worker of queue 0.
static uint16_t announce(struct netvsp_nic *nic, struct rte_mbuf **pkts)
{
	__atomic_store_n(&nic->announce, false, __ATOMIC_RELAXED);
	pkts[0] = netvsp_announcement(nic->guest.pools->small, nic->mac);
	return pkts[0] != NULL;
}

static uint16_t rx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct netvsp_queue *queue = queue_of(q);
	struct netvsp_channel *channel = rcu_get(&queue->channel);

	if (unlikely(!channel) || is_still(queue->nic) || is_broken(queue, channel))
		return 0;
	if (unlikely(__atomic_load_n(&queue->nic->announce, __ATOMIC_RELAXED)) && !q->index)
		return announce(queue->nic, pkts);
	n = netvsp_channel_receive(channel, pkts, n);
	if (unlikely(netvsp_channel_failure(channel)))
		is_broken(queue, channel);
	return n;
}

// A frame that is too long for this guest stands in nobody's way: it goes to the end of pkts[n].
static void move_back(struct rte_mbuf **pkts, uint16_t n)
{
	struct rte_mbuf *first = pkts[0];

	for (uint16_t i = 1; i < n; i++)
		pkts[i - 1] = pkts[i];
	pkts[n - 1] = first;
}

static uint16_t tx(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct netvsp_queue *queue = queue_of(q);
	struct netvsp_channel *channel = rcu_get(&queue->channel);
	uint16_t sent = 0, n_long = 0;
	enum drop why = DROP_NONE;

	q->refusal = DROP_DISCONNECTED;
	if (unlikely(!channel) || is_broken(queue, channel))
		return 0;
	while (sent + n_long < n) {
		uint16_t rest = (uint16_t)(n - n_long - sent);

		sent = (uint16_t)(sent + netvsp_channel_transmit(channel, pkts + sent, rest, &why));
		if (likely(why != DROP_MTU_MISMATCH) || sent + n_long == n)
			break;
		move_back(pkts + sent, (uint16_t)(n - n_long - sent));
		n_long++;
	}
	q->refusal = (uint8_t)(n_long ? DROP_MTU_MISMATCH : why);
	return sent;
}

static int doorbell(struct port_queue *q) { return queue_of(q)->epoll_fd; }

// Takes the events of the last sleep out of the doorbell, and counts the guest's. The eventfds
// are edge-triggered and never read. worker.
static void drain(struct netvsp_queue *queue)
{
	struct epoll_event events[4];
	int n = epoll_wait(queue->epoll_fd, events, ARRAY_SIZE(events), 0);

	for (int i = 0; i < n; i++)
		if (events[i].data.u32 == NETVSP_GUEST_BELL)
			counter_add(&queue->counters.guest_bells, 1);
}

// Takes the guest's bit out of the monitor page: the ring is looked at anyway. worker.
static void scan(struct netvsp_queue *queue, uint32_t id)
{
	const struct nic_monitor *monitor = rcu_get(&queue->nic->monitor);
	const struct vmbus_dirty *dirty = rcu_get(&queue->nic->guest.dirty);
	struct vmbus_monitor_ids own = {}, rung;

	vmbus_monitor_add(&own, id);
	if (!monitor || !vmbus_monitor_scan(monitor->page, &own, &rung))
		return;
	counter_add(&queue->counters.guest_bells, 1);
	if (unlikely(dirty))
		vmbus_dirty_mark(dirty, monitor->gpa, sizeof(*monitor->page));
}

static bool arm(struct port_queue *q, bool armed)
{
	const struct itimerspec soon = { .it_value.tv_nsec = MONITOR_NS };
	struct netvsp_queue *queue = queue_of(q);
	struct netvsp_channel *channel = rcu_get(&queue->channel);
	uint32_t id = __atomic_load_n(&queue->monitor_id, __ATOMIC_RELAXED);

	if (!armed)
		drain(queue);
	if (!channel || netvsp_channel_failure(channel) ||
	    is_still(queue->nic))
		return false;
	if (unlikely(id < VMBUS_MONITOR_IDS)) {
		if (armed)
			timerfd_settime(queue->timer_fd, 0, &soon, NULL);
		else
			scan(queue, id);
	}
	return netvsp_channel_arm(channel, armed);
}

static void get_link(struct port_dev *dev, struct port_link *link)
{
	struct netvsp_nic *nic = port_netvsp_nic(dev);
	struct netvsp_nic_info info;

	netvsp_nic_describe(nic, &info);
	*link = (struct port_link){ .up = info.ready,
				    .speed_mbps = info.ready ? nic->link_mbps : 0 };
	if (!info.attached)
		snprintf(link->reason, sizeof(link->reason),
			 "no guest attached: a VMM attaches as %.58s", nic->name);
	else if (!info.ready)
		snprintf(link->reason, sizeof(link->reason), "%s", info.state);
}

static void get_stats(struct port_dev *dev, struct port_dev_stats *stats)
{
	const struct netvsp_nic *nic = port_netvsp_nic(dev);

	*stats = (struct port_dev_stats){};
	for (uint16_t i = 0; i < dev->n_queues; i++) {
		stats->missed += counter_get(&nic->queues[i].counters.rx_bad);
		stats->no_mbuf += counter_get(&nic->queues[i].counters.rx_no_mbuf);
	}
}

// Which channel the guest wants each frame on. One that is not open is served by the primary.
static void choose(const struct port_dev *dev, struct rte_mbuf **pkts, uint16_t n,
		   uint16_t *queues)
{
	const struct netvsp_nic *nic = container_of(dev, const struct netvsp_nic, dev);
	const struct netvsp_spread *spread = rcu_get(&nic->guest.rss);
	uint8_t channels[PORT_BATCH] = {};

	if (spread)
		netvsp_rss_select(spread, pkts, n, channels);
	for (uint16_t i = 0; i < n; i++) {
		uint8_t c = channels[i] < dev->n_queues ? channels[i] : 0;

		queues[i] = rcu_get(&nic->queues[c].channel) ? c : 0;
	}
}

static int open_port(const struct port_cfg *cfg, struct port_dev **out, struct err *err)
{
	struct netvsp_nic *nic;
	int ret = netvsp_nic_create(cfg, &nic, err);

	if (ret < 0)
		return ret;
	*out = &nic->dev;
	return 0;
}

static void close_port(struct port_dev *dev) { netvsp_nic_close(port_netvsp_nic(dev)); }

void netvsp_port_init(struct netvsp_nic *nic)
{
	nic->dev.ops = &port_netvsp;
	nic->dev.offloads = PORT_OFFLOAD_L4_CSUM | PORT_OFFLOAD_IP_CSUM | PORT_OFFLOAD_MULTI_SEG |
			    PORT_OFFLOAD_INDIRECT;
	nic->dev.max_frame = nic->mtu + TAG_BYTES;
	snprintf(nic->dev.what, sizeof(nic->dev.what), "NIC %s of a guest", nic->name);
}

const struct port_ops port_netvsp = {
	.kind = "netvsp",
	.open = open_port,
	.close = close_port,
	.rx = rx,
	.tx = tx,
	.select = choose,
	.doorbell = doorbell,
	.arm = arm,
	.link = get_link,
	.stats = get_stats,
};
