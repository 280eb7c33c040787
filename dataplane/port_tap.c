// SPDX-License-Identifier: Apache-2.0
// Our kernel tap: an interface of the host, or of a network namespace, whose wire is this port.
//
// Frames are read straight into a prepared chain of mbufs and written straight from theirs; one
// system call a frame, of which one may be 64 KiB: checksum and segmentation requests cross in
// both directions (vnet.h). The descriptor polls readable, so an idle worker can sleep.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dataplane/pools.h"
#include "dataplane/port.h"
#include "dataplane/port_util.h"
#include "dataplane/tap_open.h"
#include "dataplane/vnet.h"

// Small mbufs that hold the kernel's largest send, 64 KiB of IP packet, and a little more, so that
// a read that fills them all is known to be cut off.
#define TAP_CHAIN 34
#define TAP_MAX_SEGS 64 // mbufs of a frame we send
#define TAP_OVERHEAD 22 // Ethernet header and two VLAN tags

struct tap_queue {
	struct port_queue q;
	int fd;
	bool gone;           // the interface was deleted under us
	uint16_t n_missing;  // places at the start of chain[] that want a new mbuf
	struct rte_mempool *pool;
	struct rte_mbuf *chain[TAP_CHAIN]; // where the next frame goes
	struct iovec rx_iov[1 + TAP_CHAIN]; // rx_header and the rooms of chain[]
	struct vnet_header rx_header;
	uint64_t missed;    // worker: w, control: r; as the rest
	uint64_t no_mbuf;
	uint64_t tx_errors;
} CACHE_ALIGNED;

struct tap_dev {
	struct port_dev dev;
	struct tap_fds fds;
	struct tap_queue *queues;
};

// Fills the empty places of the chain. False if the pool is short.
static bool chain_fill(struct tap_queue *q)
{
	if (likely(q->n_missing == 0))
		return true;
	if (unlikely(rte_pktmbuf_alloc_bulk(q->pool, q->chain, q->n_missing) != 0)) {
		counter_add(&q->no_mbuf, 1);
		return false;
	}
	for (uint16_t i = 0; i < q->n_missing; i++)
		q->rx_iov[1 + i] = (struct iovec){
			.iov_base = rte_pktmbuf_mtod(q->chain[i], void *),
			.iov_len = rte_pktmbuf_tailroom(q->chain[i]),
		};
	q->n_missing = 0;
	return true;
}

// Makes one frame of the mbufs that `bytes` have filled, and takes them out of the chain.
static struct rte_mbuf *chain_take(struct tap_queue *q, uint32_t bytes)
{
	struct rte_mbuf *head = q->chain[0];
	uint16_t used = 0;

	head->pkt_len = bytes;
	do {
		struct rte_mbuf *m = q->chain[used++];

		m->data_len = (uint16_t)RTE_MIN(bytes, rte_pktmbuf_tailroom(m));
		bytes -= m->data_len;
		m->next = bytes && used < TAP_CHAIN ? q->chain[used] : NULL;
	} while (bytes && used < TAP_CHAIN);
	head->nb_segs = used;
	q->n_missing = used;
	return head;
}

// The interface is gone, so its descriptor polls as an error for ever: put a silent one in its
// place, else the worker would wake up all the time.
static void queue_silence(struct tap_queue *q)
{
	int never = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	q->gone = true;
	if (never < 0)
		return;
	dup3(never, q->fd, O_CLOEXEC);
	close(never);
}

static uint16_t tap_rx(struct port_queue *pq, struct rte_mbuf **pkts, uint16_t n)
{
	struct tap_queue *q = container_of(pq, struct tap_queue, q);
	const ssize_t room = TAP_CHAIN * (ssize_t)POOLS_SMALL_ROOM;
	uint16_t got = 0;

	if (unlikely(q->gone))
		return 0;
	for (uint16_t i = 0; i < n && chain_fill(q); i++) {
		ssize_t len = readv(q->fd, q->rx_iov, 1 + TAP_CHAIN);
		struct rte_mbuf *m;

		if (len < 0) {
			if (errno == EBADFD)
				queue_silence(q);
			break;
		}
		len -= (ssize_t)sizeof(q->rx_header);
		if (unlikely(len <= 0 || len >= room)) {
			counter_add(&q->missed, 1);
			continue;
		}
		m = chain_take(q, (uint32_t)len);
		if (likely(vnet_to_mbuf(&q->rx_header, m))) {
			pkts[got++] = m;
			continue;
		}
		rte_pktmbuf_free(m);
		counter_add(&q->missed, 1);
	}
	return got;
}

// Writes one frame. Returns 0 or -errno.
static int frame_write(struct tap_queue *q, struct rte_mbuf *m)
{
	struct vnet_header header;
	struct iovec iov[1 + TAP_MAX_SEGS] = { { &header, sizeof(header) } };
	int n = 1;

	if (q->gone)
		return -ENODEV;
	if (m->nb_segs > TAP_MAX_SEGS)
		return -EMSGSIZE;
	vnet_from_mbuf(&header, m);
	for (; m; m = m->next, n++)
		iov[n] = (struct iovec){ rte_pktmbuf_mtod(m, void *), m->data_len };
	return writev(q->fd, iov, n) < 0 ? -errno : 0;
}

static uint16_t tap_tx(struct port_queue *pq, struct rte_mbuf **pkts, uint16_t n)
{
	struct tap_queue *q = container_of(pq, struct tap_queue, q);
	uint16_t i;

	for (i = 0; i < n; i++) {
		int ret = frame_write(q, pkts[i]);

		if (ret == -EAGAIN)
			break;
		// Anything else will not get better by trying again: interface down (EIO) or gone,
		// no memory in the kernel.
		if (ret < 0)
			counter_add(&q->tx_errors, 1);
	}
	rte_pktmbuf_free_bulk(pkts, i);
	return i;
}

static void tap_close(struct port_dev *dev)
{
	struct tap_dev *tap = container_of(dev, struct tap_dev, dev);

	tap_fds_close(&tap->fds);
	for (uint16_t i = 0; tap->queues && i < dev->n_queues; i++)
		for (uint16_t j = tap->queues[i].n_missing; j < TAP_CHAIN; j++)
			rte_pktmbuf_free(tap->queues[i].chain[j]);
	free(tap->queues);
	free(tap);
}

static int queues_create(struct tap_dev *tap, const struct port_pools *pools)
{
	size_t size = tap->dev.n_queues * sizeof(*tap->queues);

	tap->queues = aligned_alloc(CACHE_LINE, size);
	if (!tap->queues)
		return -ENOMEM;
	memset(tap->queues, 0, size);
	for (uint16_t i = 0; i < tap->dev.n_queues; i++) {
		struct tap_queue *q = &tap->queues[i];

		q->q = (struct port_queue){ .dev = &tap->dev, .index = i };
		q->fd = tap->fds.queue[i];
		q->pool = pools->small;
		q->n_missing = TAP_CHAIN;
		q->rx_iov[0] = (struct iovec){ &q->rx_header, sizeof(q->rx_header) };
		tap->dev.queues[i] = &q->q;
	}
	return 0;
}

static int tap_open(const struct port_cfg *cfg, struct port_dev **out, struct err *err)
{
	const char *ifname = cfg->ifname && *cfg->ifname ? cfg->ifname : cfg->name;
	const char *netns = cfg->netns && *cfg->netns ? cfg->netns : NULL;
	struct tap_dev *tap = calloc(1, sizeof(*tap));
	uint32_t mtu = cfg->mtu ? cfg->mtu : 1500;
	int ret;

	if (!tap)
		return err_set(err, ENOMEM, "no memory for port %s", cfg->name);
	ret = tap_fds_open(cfg, ifname, &tap->fds, err);
	if (ret < 0) {
		free(tap);
		return ret;
	}
	tap->dev.ops = &port_tap;
	tap->dev.offloads = PORT_OFFLOAD_L4_CSUM | PORT_OFFLOAD_TSO | PORT_OFFLOAD_MULTI_SEG |
			    PORT_OFFLOAD_INDIRECT;
	if (tap->fds.uso)
		tap->dev.offloads |= PORT_OFFLOAD_USO;
	tap->dev.max_frame = RTE_MIN(mtu + cfg->overhead + TAP_OVERHEAD, PORT_MAX_FRAME);
	tap->dev.n_queues = tap->fds.n_queues;
	snprintf(tap->dev.what, sizeof(tap->dev.what), "tap %s%s%s", ifname,
		 netns ? " in namespace " : "", netns ? netns : "");
	ret = queues_create(tap, cfg->pools);
	if (ret < 0) {
		tap_close(&tap->dev);
		return err_set(err, -ret, "no memory for port %s", cfg->name);
	}
	*out = &tap->dev;
	return 0;
}

static int tap_doorbell(struct port_queue *pq)
{
	return container_of(pq, struct tap_queue, q)->fd;
}

static void tap_link(struct port_dev *dev, struct port_link *link)
{
	struct tap_dev *tap = container_of(dev, struct tap_dev, dev);
	struct ifreq ifr = { 0 };

	*link = (struct port_link){ 0 };
	// The name as it is now: an administrator may have changed it.
	if (ioctl(tap->fds.queue[0], TUNGETIFF, &ifr) < 0 ||
	    ioctl(tap->fds.control, SIOCGIFFLAGS, &ifr) < 0)
		snprintf(link->reason, sizeof(link->reason), "the interface was deleted or moved");
	else if (ifr.ifr_flags & IFF_UP)
		link->up = true;
	else
		snprintf(link->reason, sizeof(link->reason), "down: `ip link set %s up`",
			 ifr.ifr_name);
}

static void tap_stats(struct port_dev *dev, struct port_dev_stats *stats)
{
	struct tap_dev *tap = container_of(dev, struct tap_dev, dev);

	*stats = (struct port_dev_stats){ 0 };
	for (uint16_t i = 0; i < dev->n_queues; i++) {
		const struct tap_queue *q = &tap->queues[i];

		stats->missed += counter_get(&q->missed);
		stats->no_mbuf += counter_get(&q->no_mbuf);
		stats->tx_errors += counter_get(&q->tx_errors);
	}
}

const struct port_ops port_tap = {
	.kind = "tap",
	.open = tap_open,
	.close = tap_close,
	.rx = tap_rx,
	.tx = tap_tx,
	.doorbell = tap_doorbell,
	.link = tap_link,
	.stats = tap_stats,
};
