// SPDX-License-Identifier: Apache-2.0
// Any DPDK ethdev as a port: a PCI NIC, or a virtual device (net_pcap, net_null, net_af_packet,
// …) named by devargs. The device is plugged in when the port opens and removed when it closes.
//
// Drivers set more ol_flags than our contract has and differ in what they offer; both end here.
// Which checksum field content a NIC expects is the driver's knowledge: rte_eth_tx_prepare asks
// it, for batches that carry a request. UDP segmentation is never left to an ethdev: DPDK 22.11
// describes its flag as IP fragmentation of UDP, and drivers differ in what they do.
#include <errno.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/pools.h"
#include "dataplane/port.h"
#include "dataplane/port_util.h"

#define ETHDEV_DESCRIPTORS 1024 // per queue, where the device allows
// Beside the payload: Ethernet header and two VLAN tags, no FCS.
#define ETHDEV_OVERHEAD (RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN)

struct ethdev_queue {
	struct port_queue q;
	uint16_t port_id;
	bool prepare;       // the device has offloads: frames with requests need tx_prepare
	uint64_t tx_errors; // worker: w, control: r; refused by the driver
	uint64_t missed;    // worker: w, control: r; a first segment we could not mend
} CACHE_ALIGNED;

struct ethdev {
	struct port_dev dev;
	uint16_t port_id;
	struct rte_device *device;
	struct ethdev_queue *queues;
};

// Ports of DPDK that belong to one of ours. helper only.
static bool taken[RTE_MAX_ETHPORTS];

static uint16_t ethdev_rx(struct port_queue *pq, struct rte_mbuf **pkts, uint16_t n)
{
	struct ethdev_queue *q = container_of(pq, struct ethdev_queue, q);
	uint64_t flags = 0, chains = 0;
	uint16_t kept;

	n = rte_eth_rx_burst(q->port_id, q->q.index, pkts, n);
	for (uint16_t i = 0; i < n; i++) {
		flags |= pkts[i]->ol_flags;
		chains |= pkts[i]->nb_segs ^ 1u;
	}
	if (likely((flags & ~PORT_STATE_FLAGS) == 0 && chains == 0))
		return n;
	kept = port_rx_fix(pkts, n, PORT_STATE_FLAGS);
	counter_add(&q->missed, n - kept);
	return kept;
}

// Sends frames of which some carry requests. Those that the driver refuses are lost here.
static uint16_t tx_prepared(struct ethdev_queue *q, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t done = 0;

	while (done < n) {
		uint16_t good =
			rte_eth_tx_prepare(q->port_id, q->q.index, pkts + done, n - done);
		uint16_t sent = rte_eth_tx_burst(q->port_id, q->q.index, pkts + done, good);

		done += sent;
		if (sent < good)
			break;
		if (done < n) {
			rte_pktmbuf_free(pkts[done++]);
			counter_add(&q->tx_errors, 1);
		}
	}
	return done;
}

static uint16_t ethdev_tx(struct port_queue *pq, struct rte_mbuf **pkts, uint16_t n)
{
	struct ethdev_queue *q = container_of(pq, struct ethdev_queue, q);
	uint64_t flags = 0;

	if (q->prepare)
		for (uint16_t i = 0; i < n; i++)
			flags |= pkts[i]->ol_flags;
	if (unlikely(flags & PORT_REQUEST_FLAGS))
		return tx_prepared(q, pkts, n);
	return rte_eth_tx_burst(q->port_id, q->q.index, pkts, n);
}

// The first DPDK port of that device that nobody uses, or RTE_MAX_ETHPORTS.
static uint16_t port_find(const char *devargs, bool *busy)
{
	struct rte_dev_iterator it;
	uint16_t id, found = RTE_MAX_ETHPORTS;

	*busy = false;
	RTE_ETH_FOREACH_MATCHING_DEV(id, devargs, &it)
	{
		if (!taken[id]) {
			found = id;
			rte_eth_iterator_cleanup(&it);
			break;
		}
		*busy = true;
	}
	return found;
}

static int port_probe(const struct port_cfg *cfg, uint16_t *port_id, struct err *err)
{
	bool busy;

	if (!cfg->devargs || !*cfg->devargs)
		return err_set(err, EINVAL, "ethdev port %s needs devargs, such as 0000:01:00.0 or "
			       "net_af_packet0,iface=eth0", cfg->name);
	*port_id = port_find(cfg->devargs, &busy);
	if (*port_id != RTE_MAX_ETHPORTS)
		return 0;
	if (busy)
		return err_set(err, EBUSY, "devargs %s: another port uses this device",
			       cfg->devargs);
	if (rte_dev_probe(cfg->devargs) == 0)
		*port_id = port_find(cfg->devargs, &busy);
	if (*port_id != RTE_MAX_ETHPORTS)
		return 0;
	return err_set(err, ENODEV,
		       "no DPDK device answers to devargs %s: `dpdk-devbind.py --status-dev net` "
		       "lists the NICs and their drivers, a virtual device is a driver's name and "
		       "a number (net_af_packet0,iface=eth0); the log has DPDK's own words",
		       cfg->devargs);
}

static uint64_t tx_offloads(uint64_t capa, uint32_t *offloads)
{
	const uint64_t l4 = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	uint64_t use = 0;

	// The driver reads and frees through rte_pktmbuf_*: shared data is no trouble.
	*offloads = PORT_OFFLOAD_INDIRECT;
	if (capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) {
		use |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
		*offloads |= PORT_OFFLOAD_MULTI_SEG;
	}
	if (capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) {
		use |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
		*offloads |= PORT_OFFLOAD_IP_CSUM;
	}
	if ((capa & l4) == l4) {
		use |= l4;
		*offloads |= PORT_OFFLOAD_L4_CSUM;
	}
	if ((capa & RTE_ETH_TX_OFFLOAD_TCP_TSO) && (*offloads & PORT_OFFLOAD_IP_CSUM) &&
	    (*offloads & PORT_OFFLOAD_L4_CSUM)) {
		use |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
		*offloads |= PORT_OFFLOAD_TSO;
	}
	return use;
}

static void conf_fill(struct rte_eth_conf *conf, const struct rte_eth_dev_info *info,
		      struct port_dev *dev, uint16_t mtu)
{
	const uint64_t rx = RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
			    RTE_ETH_RX_OFFLOAD_UDP_CKSUM;

	*conf = (struct rte_eth_conf){ 0 };
	conf->rxmode.mtu = mtu;
	conf->rxmode.offloads = info->rx_offload_capa & rx;
	conf->txmode.offloads = tx_offloads(info->tx_offload_capa, &dev->offloads);
	if (dev->n_queues == 1)
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rxmode.offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
	conf->rx_adv_conf.rss_conf.rss_hf =
		info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
}

// A driver that offers scatter chains small rooms; others need the frame in one mbuf. Some claim
// scatter and still refuse small rooms: those get the large ones as well.
static int rx_queue_setup(struct ethdev *eth, uint16_t i, uint16_t n_desc,
			  const struct rte_eth_conf *conf, const struct port_pools *pools)
{
	bool small = (conf->rxmode.offloads & RTE_ETH_RX_OFFLOAD_SCATTER) ||
		     eth->dev.max_frame + RTE_ETHER_CRC_LEN <= POOLS_SMALL_ROOM;
	int ret = -EINVAL;

	if (small)
		ret = rte_eth_rx_queue_setup(eth->port_id, i, n_desc, SOCKET_ID_ANY, NULL,
					     pools->small);
	if (ret < 0)
		ret = rte_eth_rx_queue_setup(eth->port_id, i, n_desc, SOCKET_ID_ANY, NULL,
					     pools->large);
	return ret;
}

static int queues_setup(struct ethdev *eth, const struct rte_eth_conf *conf,
			const struct port_pools *pools, struct err *err)
{
	uint16_t n_rx = ETHDEV_DESCRIPTORS, n_tx = ETHDEV_DESCRIPTORS, n = eth->dev.n_queues;
	int ret = rte_eth_dev_configure(eth->port_id, n, n, conf);

	if (ret < 0)
		return err_set(err, -ret, "%s takes no %u queues with MTU %u: %s", eth->dev.what, n,
			       conf->rxmode.mtu, strerror(-ret));
	rte_eth_dev_adjust_nb_rx_tx_desc(eth->port_id, &n_rx, &n_tx);
	for (uint16_t i = 0; i < n; i++) {
		struct ethdev_queue *q = &eth->queues[i];

		ret = rx_queue_setup(eth, i, n_rx, conf, pools);
		if (ret == 0)
			ret = rte_eth_tx_queue_setup(eth->port_id, i, n_tx, SOCKET_ID_ANY, NULL);
		if (ret < 0)
			return err_set(err, -ret, "%s, queue %u: %s", eth->dev.what, i,
				       strerror(-ret));
		q->q = (struct port_queue){ .dev = &eth->dev, .index = i };
		q->port_id = eth->port_id;
		q->prepare = eth->dev.offloads & (PORT_OFFLOAD_IP_CSUM | PORT_OFFLOAD_L4_CSUM);
		eth->dev.queues[i] = &q->q;
	}
	return 0;
}

// Drivers that do not say their largest MTU leave it at 65535 and mean their frame length.
static uint16_t mtu_limit(const struct rte_eth_dev_info *info)
{
	uint32_t by_frame = info->max_rx_pktlen - RTE_ETHER_HDR_LEN - RTE_ETHER_CRC_LEN;

	return info->max_mtu < UINT16_MAX ? info->max_mtu : RTE_MIN(by_frame, UINT16_MAX);
}

static int port_configure(struct ethdev *eth, const struct port_cfg *cfg,
			  const struct rte_eth_dev_info *info, struct err *err)
{
	uint16_t max = mtu_limit(info), mtu = cfg->mtu ? cfg->mtu : RTE_MIN(RTE_ETHER_MTU, max);
	struct rte_eth_conf conf;
	int ret;

	if (mtu < info->min_mtu || mtu > max)
		return err_set(err, EINVAL, "mtu %u: %s takes %u to %u", mtu, eth->dev.what,
			       info->min_mtu, max);
	mtu = (uint16_t)RTE_MIN((uint32_t)mtu + cfg->overhead, max);
	eth->dev.max_frame = RTE_MIN((uint32_t)mtu + ETHDEV_OVERHEAD, PORT_MAX_FRAME);
	conf_fill(&conf, info, &eth->dev, mtu);
	ret = queues_setup(eth, &conf, cfg->pools, err);
	if (ret < 0)
		return ret;
	ret = rte_eth_dev_start(eth->port_id);
	if (ret < 0)
		return err_set(err, -ret, "%s does not start: %s", eth->dev.what, strerror(-ret));
	// A switch must see everything; some virtual devices do so without being asked.
	ret = rte_eth_promiscuous_enable(eth->port_id);
	if (ret < 0 && ret != -ENOTSUP)
		return err_set(err, -ret, "%s takes no promiscuous mode: %s", eth->dev.what,
			       strerror(-ret));
	rte_eth_stats_reset(eth->port_id);
	return 0;
}

static void ethdev_close(struct port_dev *dev)
{
	struct ethdev *eth = container_of(dev, struct ethdev, dev);

	rte_eth_dev_stop(eth->port_id);
	rte_eth_dev_close(eth->port_id);
	taken[eth->port_id] = false;
	// A card with several ports stays while another is there.
	if (rte_eth_find_next_of(0, eth->device) >= RTE_MAX_ETHPORTS)
		rte_dev_remove(eth->device);
	free(eth->queues);
	free(eth);
}

static int ethdev_open(const struct port_cfg *cfg, struct port_dev **out, struct err *err)
{
	struct ethdev *eth = calloc(1, sizeof(*eth));
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int ret;

	if (!eth)
		return err_set(err, ENOMEM, "no memory for port %s", cfg->name);
	ret = port_probe(cfg, &eth->port_id, err);
	if (ret < 0) {
		free(eth);
		return ret;
	}
	taken[eth->port_id] = true;
	rte_eth_dev_info_get(eth->port_id, &info);
	eth->device = info.device;
	eth->dev.ops = &port_ethdev;
	eth->dev.n_queues = RTE_MAX(1, RTE_MIN(RTE_MIN(cfg->n_queues, PORT_MAX_QUEUES),
					       RTE_MIN(info.max_rx_queues, info.max_tx_queues)));
	snprintf(eth->dev.what, sizeof(eth->dev.what), "%s (%s)", cfg->devargs, info.driver_name);
	if (rte_eth_macaddr_get(eth->port_id, &mac) == 0)
		memcpy(eth->dev.mac.b, mac.addr_bytes, sizeof(eth->dev.mac.b));
	eth->queues = aligned_alloc(CACHE_LINE, eth->dev.n_queues * sizeof(*eth->queues));
	if (eth->queues) {
		memset(eth->queues, 0, eth->dev.n_queues * sizeof(*eth->queues));
		ret = port_configure(eth, cfg, &info, err);
	} else {
		ret = err_set(err, ENOMEM, "no memory for port %s", cfg->name);
	}
	if (ret < 0) {
		ethdev_close(&eth->dev);
		return ret;
	}
	*out = &eth->dev;
	return 0;
}

static int ethdev_doorbell(struct port_queue *q)
{
	return -1;
}

static void ethdev_link(struct port_dev *dev, struct port_link *link)
{
	struct ethdev *eth = container_of(dev, struct ethdev, dev);
	struct rte_eth_link now = { 0 };

	rte_eth_link_get_nowait(eth->port_id, &now);
	*link = (struct port_link){ .up = now.link_status == RTE_ETH_LINK_UP };
	if (now.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
		link->speed_mbps = now.link_speed;
	if (!link->up)
		snprintf(link->reason, sizeof(link->reason), "no carrier");
}

static void ethdev_stats(struct port_dev *dev, struct port_dev_stats *stats)
{
	struct ethdev *eth = container_of(dev, struct ethdev, dev);
	struct rte_eth_stats now = { 0 };

	rte_eth_stats_get(eth->port_id, &now);
	*stats = (struct port_dev_stats){
		.missed = now.imissed + now.ierrors,
		.tx_errors = now.oerrors,
		.no_mbuf = now.rx_nombuf,
	};
	for (uint16_t i = 0; i < dev->n_queues; i++) {
		stats->missed += counter_get(&eth->queues[i].missed);
		stats->tx_errors += counter_get(&eth->queues[i].tx_errors);
	}
}

const struct port_ops port_ethdev = {
	.kind = "ethdev",
	.open = ethdev_open,
	.close = ethdev_close,
	.rx = ethdev_rx,
	.tx = ethdev_tx,
	.doorbell = ethdev_doorbell,
	.link = ethdev_link,
	.stats = ethdev_stats,
};
