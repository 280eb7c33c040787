// SPDX-License-Identifier: Apache-2.0
#include "tests/pmd/port.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>

#include <rte_bus.h>
#include <rte_devargs.h>
#include <rte_errno.h>
#include <rte_mempool.h>

#define RSS_WANTED (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | \
		    RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |            \
		    RTE_ETH_RSS_NONFRAG_IPV6_UDP)
#define NVSP_NDIS_CONFIG 125

// --- the MTU that the driver asks for ----------------------------------------------------------
// DPDK's driver asks the host for 1500 until 26.x, whatever the application wants. The number is
// changed on its way from the driver to the bus library, whose function this stands in front of.

static uint32_t driver_mtu; // 0: leave it

struct vmbus_channel;
int rte_vmbus_chan_send(struct vmbus_channel *channel, uint16_t type, void *data, uint32_t bytes,
			uint64_t transaction, uint32_t flags, bool *need_signal);

// The bus library's own. DPDK loads it where dlsym's RTLD_NEXT does not look; the bus is in it.
static typeof(&rte_vmbus_chan_send) find_chan_send(void)
{
	Dl_info info;
	void *library = NULL, *function = NULL;

	if (dladdr(rte_bus_find_by_name("vmbus"), &info))
		library = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
	if (library)
		function = dlsym(library, "rte_vmbus_chan_send");
	if (!function)
		rte_exit(EXIT_FAILURE, "weft-pmd: no rte_vmbus_chan_send in DPDK's bus library\n");
	return (typeof(&rte_vmbus_chan_send))function;
}

int rte_vmbus_chan_send(struct vmbus_channel *channel, uint16_t type, void *data, uint32_t bytes,
			uint64_t transaction, uint32_t flags, bool *need_signal)
{
	static typeof(&rte_vmbus_chan_send) next;
	uint8_t *message = data;

	if (unlikely(!next))
		next = find_chan_send();
	if (driver_mtu && bytes >= 8 && load_u32(message) == NVSP_NDIS_CONFIG)
		store_u32(message + 4, driver_mtu + RTE_ETHER_HDR_LEN);
	return next(channel, type, data, bytes, transaction, flags, need_signal);
}

// -----------------------------------------------------------------------------------------------

static int failed(struct err *err, int ret, const char *name, const char *what)
{
	return err_set(err, -ret, "%s: %s: %s", name, what, rte_strerror(-ret));
}

static int configure(struct port *port, const char *name, const struct port_cfg *cfg,
		     struct err *err)
{
	struct rte_eth_conf conf = { 0 };
	struct rte_eth_dev_info info;
	int ret = rte_eth_dev_info_get(port->id, &info);

	if (ret)
		return failed(err, ret, name, "dev_info");
	if (cfg->n_queues > info.max_rx_queues)
		return err_set(err, EINVAL, "%s: %u queues, and the switch allows %u", name,
			       cfg->n_queues, info.max_rx_queues);
	if (cfg->tx_offloads & ~info.tx_offload_capa || cfg->rx_offloads & ~info.rx_offload_capa)
		return err_set(err, EOPNOTSUPP,
			       "%s: offloads tx %#lx rx %#lx are wanted, tx %#lx rx %#lx are there",
			       name, cfg->tx_offloads, cfg->rx_offloads, info.tx_offload_capa,
			       info.rx_offload_capa);
	conf.txmode.offloads = cfg->tx_offloads;
	conf.rxmode.offloads = cfg->rx_offloads;
	// The netvsc driver knows nothing of MTUs: see driver_mtu.
	if (cfg->mtu > RTE_ETHER_MTU && info.max_rx_pktlen > cfg->mtu + RTE_ETHER_HDR_LEN)
		conf.rxmode.mtu = cfg->mtu;
	if (cfg->n_queues > 1) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = RSS_WANTED & info.flow_type_rss_offloads;
	}
	ret = rte_eth_dev_configure(port->id, (uint16_t)cfg->n_queues, (uint16_t)cfg->n_queues,
				    &conf);
	return ret ? failed(err, ret, name, "configure") : 0;
}

static int setup_queues(struct port *port, const char *name, const struct port_cfg *cfg,
			struct err *err)
{
	for (uint16_t q = 0; q < cfg->n_queues; q++) {
		uint16_t tx = (uint16_t)cfg->n_descriptors, rx = (uint16_t)cfg->n_staged;
		int ret;

		rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);
		ret = rte_eth_rx_queue_setup(port->id, q, rx, 0, NULL, cfg->pool);
		ret = ret ?: rte_eth_tx_queue_setup(port->id, q, tx, 0, NULL);
		if (ret)
			return failed(err, ret, name, "queue setup");
		port->n_descriptors = tx;
	}
	return 0;
}

int port_setup(struct port *port, const char *name, const struct port_cfg *cfg, struct err *err)
{
	struct rte_ether_addr mac;
	int ret;

	*port = (struct port){ .n_queues = cfg->n_queues };
	ret = rte_eth_dev_get_port_by_name(name, &port->id);
	if (ret)
		return err_set(err, -ret, "%s: DPDK has not taken the device", name);
	port->open = true;
	ret = configure(port, name, cfg, err);
	ret = ret ?: setup_queues(port, name, cfg, err);
	ret = ret ?: port_start(port, err);
	if (ret)
		return ret;
	rte_eth_macaddr_get(port->id, &mac);
	memcpy(&port->mac, &mac, sizeof(port->mac));
	return 0;
}

int port_probe(struct port *port, const struct nic *nic, const struct port_cfg *cfg,
	       struct err *err)
{
	char devargs[128];

	driver_mtu = cfg->mtu > RTE_ETHER_MTU ? cfg->mtu : 0;
	if (cfg->devargs) {
		snprintf(devargs, sizeof(devargs), "vmbus:%s,%s", nic->uio.guid, cfg->devargs);
		if (rte_devargs_add(RTE_DEVTYPE_ALLOWED, devargs))
			return err_set(err, EINVAL, "devargs %s", devargs);
	}
	rte_bus_scan();
	rte_bus_probe();
	return port_setup(port, nic->uio.guid, cfg, err);
}

int port_start(struct port *port, struct err *err)
{
	int ret = rte_eth_dev_start(port->id);

	if (ret)
		return err_set(err, -ret, "port %u: start: %s", port->id, rte_strerror(-ret));
	port->started = true;
	return 0;
}

int port_stop(struct port *port, struct err *err)
{
	int ret = rte_eth_dev_stop(port->id);

	port->started = false;
	return ret ? err_set(err, -ret, "port %u: stop: %s", port->id, rte_strerror(-ret)) : 0;
}

int port_close(struct port *port, struct err *err)
{
	int ret = port->started ? port_stop(port, err) : 0;

	ret = ret ?: rte_eth_dev_close(port->id);
	port->open = false;
	return ret ? err_set(err, -ret, "port %u: close: %s", port->id, rte_strerror(-ret)) : 0;
}

int port_free_descriptors(const struct port *port, uint32_t queue)
{
	struct rte_mempool *pool;
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "hn_txd_%u_%u", port->id, queue); // as the driver names it
	pool = rte_mempool_lookup(name);
	return pool ? (int)rte_mempool_avail_count(pool) : -ENOENT;
}

int port_spread(struct port *port, uint32_t first, uint32_t n, struct err *err)
{
	struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_128 / RTE_ETH_RETA_GROUP_SIZE];
	int ret;

	for (uint32_t i = 0; i < RTE_ETH_RSS_RETA_SIZE_128; i++) {
		table[i / RTE_ETH_RETA_GROUP_SIZE].mask = UINT64_MAX;
		table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
			(uint16_t)(first + i % n);
	}
	ret = rte_eth_dev_rss_reta_update(port->id, table, RTE_ETH_RSS_RETA_SIZE_128);
	return ret ? err_set(err, -ret, "port %u: indirection table: %s", port->id,
			     rte_strerror(-ret)) :
		     0;
}
