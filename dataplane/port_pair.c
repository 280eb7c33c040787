// SPDX-License-Identifier: Apache-2.0
// Two ports of this process joined by rings in memory: what one sends, the other receives. Used
// by tests, by benches, and to join two switches.
//
// Queue i of one end talks to queue i of the other: one producer and one consumer a ring, so no
// locks. A send costs no system call unless the receiver sleeps. Offload requests cross untouched,
// but no shared mbuf does: what rx returns must be the receiver's alone.
#include <errno.h>
#include <rte_atomic.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/port.h"
#include "dataplane/port_util.h"

#define PAIR_RING_SIZE 1024 // frames under way in one direction of one queue; a power of two

struct pair_queue {
	struct port_queue q;
	struct rte_ring *rx;       // peer: produces, we: consume
	struct pair_queue *peer;   // the queue that consumes what we send
	int wakeup;                // eventfd: peer: w when we are armed
	atomic_bool armed;         // we: w, peer: r; our worker sleeps
	uint64_t lost;             // our worker: w, control: r; sent while nobody was there
} CACHE_ALIGNED;

struct pair_end {
	struct port_dev dev;
	struct pair_link *link;
	atomic_bool open; // helper: w, workers of both ends: r
	struct pair_queue *queues;
};

// Both ends, made by the first open and freed by the last close.
struct pair_link {
	struct pair_link *next;
	char *name;
	uint16_t n_queues;
	struct pair_end ends[2];
};

static struct pair_link *links; // helper only

static void queue_fini(struct pair_queue *q)
{
	free(q->rx);
	if (q->wakeup > 0)
		close(q->wakeup);
}

static int queue_init(struct pair_queue *q)
{
	ssize_t size = rte_ring_get_memsize(PAIR_RING_SIZE);

	q->wakeup = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->wakeup < 0)
		return -EMFILE;
	q->rx = aligned_alloc(CACHE_LINE, (size_t)size);
	if (!q->rx)
		return -ENOMEM;
	return rte_ring_init(q->rx, "pair", PAIR_RING_SIZE, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static int end_init(struct pair_end *end, struct pair_link *link)
{
	int ret = 0;

	end->link = link;
	end->queues = aligned_alloc(CACHE_LINE, link->n_queues * sizeof(*end->queues));
	if (!end->queues)
		return -ENOMEM;
	memset(end->queues, 0, link->n_queues * sizeof(*end->queues));
	end->dev.ops = &port_pair;
	end->dev.offloads = PORT_OFFLOAD_IP_CSUM | PORT_OFFLOAD_L4_CSUM | PORT_OFFLOAD_TSO |
			    PORT_OFFLOAD_USO | PORT_OFFLOAD_MULTI_SEG;
	end->dev.max_frame = PORT_MAX_FRAME;
	end->dev.n_queues = link->n_queues;
	snprintf(end->dev.what, sizeof(end->dev.what), "pair %s", link->name);
	for (uint16_t i = 0; i < link->n_queues && ret == 0; i++) {
		struct pair_queue *q = &end->queues[i];

		q->q = (struct port_queue){ .dev = &end->dev, .index = i };
		end->dev.queues[i] = &q->q;
		ret = queue_init(q);
	}
	return ret;
}

// Frees what waits in the end's rings. The end's workers are gone.
static void end_drain(struct pair_end *end)
{
	struct rte_mbuf *m;

	for (uint16_t i = 0; i < end->link->n_queues; i++)
		while (rte_ring_sc_dequeue(end->queues[i].rx, (void **)&m) == 0)
			rte_pktmbuf_free(m);
}

static void link_destroy(struct pair_link *link)
{
	for (int e = 0; e < 2; e++) {
		for (uint16_t i = 0; link->ends[e].queues && i < link->n_queues; i++)
			queue_fini(&link->ends[e].queues[i]);
		free(link->ends[e].queues);
	}
	free(link->name);
	free(link);
}

static int link_create(const char *name, uint16_t n_queues, struct pair_link **out)
{
	struct pair_link *link = calloc(1, sizeof(*link));
	int ret = -ENOMEM;

	if (!link)
		return ret;
	link->name = strdup(name);
	link->n_queues = n_queues;
	if (link->name)
		ret = end_init(&link->ends[0], link);
	if (ret == 0)
		ret = end_init(&link->ends[1], link);
	if (ret < 0) {
		link_destroy(link);
		return ret;
	}
	for (uint16_t i = 0; i < n_queues; i++) {
		link->ends[0].queues[i].peer = &link->ends[1].queues[i];
		link->ends[1].queues[i].peer = &link->ends[0].queues[i];
	}
	link->next = links;
	links = link;
	*out = link;
	return 0;
}

static struct pair_link *link_find(const char *name)
{
	struct pair_link *link = links;

	while (link && strcmp(link->name, name) != 0)
		link = link->next;
	return link;
}

static int pair_open(const struct port_cfg *cfg, struct port_dev **out, struct err *err)
{
	uint16_t n_queues = cfg->n_queues ? RTE_MIN(cfg->n_queues, PORT_MAX_QUEUES) : 1;
	struct pair_link *link;
	struct pair_end *end;
	int ret;

	if (!cfg->peer || !*cfg->peer)
		return err_set(err, EINVAL, "pair port %s needs peer, the name both ends share",
			       cfg->name);
	link = link_find(cfg->peer);
	if (!link) {
		ret = link_create(cfg->peer, n_queues, &link);
		if (ret < 0)
			return err_set(err, -ret, "pair %s with %u queues: %s", cfg->peer, n_queues,
				       strerror(-ret));
	}
	if (link->n_queues != n_queues)
		return err_set(err, EINVAL, "pair %s: the other end has %u queues, not %u",
			       cfg->peer, link->n_queues, n_queues);
	end = &link->ends[atomic_load(&link->ends[0].open)];
	if (atomic_load(&end->open))
		return err_set(err, EBUSY, "pair %s: both ends are in use", cfg->peer);
	end_drain(end);
	atomic_store(&end->open, true);
	*out = &end->dev;
	return 0;
}

static void pair_close(struct port_dev *dev)
{
	struct pair_end *end = container_of(dev, struct pair_end, dev);
	struct pair_link *link = end->link;

	// The peer may send a last batch after this; the next open or the end of the link frees it.
	atomic_store(&end->open, false);
	end_drain(end);
	if (atomic_load(&link->ends[0].open) || atomic_load(&link->ends[1].open))
		return;
	end_drain(&link->ends[0]);
	end_drain(&link->ends[1]);
	for (struct pair_link **l = &links; *l; l = &(*l)->next)
		if (*l == link) {
			*l = link->next;
			break;
		}
	link_destroy(link);
}

static uint16_t pair_rx(struct port_queue *pq, struct rte_mbuf **pkts, uint16_t n)
{
	struct pair_queue *q = container_of(pq, struct pair_queue, q);

	n = (uint16_t)rte_ring_sc_dequeue_burst(q->rx, (void **)pkts, n, NULL);
	return port_rx_fix(pkts, n, PORT_REQUEST_FLAGS | PORT_FAMILY_FLAGS | PORT_STATE_FLAGS);
}

static void ring_bell(struct pair_queue *peer)
{
	// Full fence: the frames are visible before we look at `armed`. Pairs with pair_arm.
	rte_smp_mb();
	if (likely(!atomic_load_explicit(&peer->armed, memory_order_relaxed)))
		return;
	// Only the first sender of a sleep rings.
	if (atomic_exchange_explicit(&peer->armed, false, memory_order_relaxed))
		eventfd_write(peer->wakeup, 1);
}

static uint16_t pair_tx(struct port_queue *pq, struct rte_mbuf **pkts, uint16_t n)
{
	struct pair_queue *q = container_of(pq, struct pair_queue, q), *peer = q->peer;
	struct pair_end *peer_end = container_of(peer->q.dev, struct pair_end, dev);

	if (unlikely(!atomic_load_explicit(&peer_end->open, memory_order_relaxed))) {
		rte_pktmbuf_free_bulk(pkts, n);
		counter_add(&q->lost, n);
		return n;
	}
	n = (uint16_t)rte_ring_sp_enqueue_burst(peer->rx, (void *const *)pkts, n, NULL);
	ring_bell(peer);
	return n;
}

static int pair_doorbell(struct port_queue *pq)
{
	return container_of(pq, struct pair_queue, q)->wakeup;
}

static bool pair_arm(struct port_queue *pq, bool armed)
{
	struct pair_queue *q = container_of(pq, struct pair_queue, q);
	eventfd_t count;

	atomic_store_explicit(&q->armed, armed, memory_order_relaxed);
	if (!armed) {
		eventfd_read(q->wakeup, &count);
		return false;
	}
	// Full fence: `armed` is visible before we look at the ring. Pairs with ring_bell.
	rte_smp_mb();
	// rte_ring_empty, but an atomic read: the other thread may be writing the tail.
	return __atomic_load_n(&q->rx->prod.tail, __ATOMIC_ACQUIRE) != q->rx->cons.tail;
}

static void pair_get_link(struct port_dev *dev, struct port_link *link)
{
	struct pair_end *end = container_of(dev, struct pair_end, dev);
	struct pair_end *other = &end->link->ends[end == &end->link->ends[0]];

	*link = (struct port_link){ .up = atomic_load(&other->open) };
	if (!link->up)
		snprintf(link->reason, sizeof(link->reason), "no other port has peer %s yet",
			 end->link->name);
}

static void pair_stats(struct port_dev *dev, struct port_dev_stats *stats)
{
	struct pair_end *end = container_of(dev, struct pair_end, dev);

	*stats = (struct port_dev_stats){ 0 };
	for (uint16_t i = 0; i < dev->n_queues; i++)
		stats->tx_errors += counter_get(&end->queues[i].lost);
}

const struct port_ops port_pair = {
	.kind = "pair",
	.open = pair_open,
	.close = pair_close,
	.rx = pair_rx,
	.tx = pair_tx,
	.doorbell = pair_doorbell,
	.arm = pair_arm,
	.link = pair_get_link,
	.stats = pair_stats,
};
