// SPDX-License-Identifier: Apache-2.0
// The ethdev port with DPDK's virtual devices. The one test here that needs EAL, without huge
// pages and without anything shared.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>
#include <rte_eal.h>
#include <rte_ethdev.h>

#include "dataplane/pools.h"
#include "dataplane/port_util.h"
#include "dataplane/transmit.h"

static struct port_pools pools;

static int setup(void **state)
{
	struct err err = { 0 };

	if (pools_create(&(struct pools_cfg){ 4095, 1023 }, &pools, &err) == 0)
		return 0;
	print_error("%s\n", err.text);
	return -1;
}

static int teardown(void **state)
{
	uint32_t small = rte_mempool_in_use_count(pools.small);
	uint32_t large = rte_mempool_in_use_count(pools.large);

	pools_destroy(&pools);
	return small || large ? -1 : 0;
}

static struct port_dev *open_ethdev(const char *devargs, uint16_t mtu, uint16_t n_queues)
{
	struct port_cfg cfg = {
		.name = "e", .devargs = devargs, .mtu = mtu, .n_queues = n_queues, .pools = &pools
	};
	struct port_dev *dev = NULL;
	struct err err = { 0 };

	if (port_ethdev.open(&cfg, &dev, &err) < 0)
		fail_msg("%s", err.text);
	return dev;
}

static void refused(const char *devargs, uint16_t mtu, int error, const char *says)
{
	struct port_cfg cfg = { .name = "e", .devargs = devargs, .mtu = mtu, .pools = &pools };
	struct port_dev *dev;
	struct err err = { 0 };

	assert_int_equal(port_ethdev.open(&cfg, &dev, &err), -error);
	if (!strstr(err.text, says))
		fail_msg("'%s' does not say '%s'", err.text, says);
}

static void bad_devices_are_refused(void **state)
{
	struct port_dev *dev = open_ethdev("net_null0", 0, 1);

	refused("", 0, EINVAL, "needs devargs");
	refused("net_bogus0", 0, ENODEV, "dpdk-devbind.py --status-dev net");
	refused("0000:ff:1f.7", 0, ENODEV, "0000:ff:1f.7");
	refused("net_pcap7,rx_pcap=/nowhere/x", 0, ENODEV, "net_pcap7");
	refused("net_null0", 0, EBUSY, "another port");
	refused("net_af_packet0,iface=lo,framesz=2048", 9000, EINVAL, "mtu 9000");
	dev->ops->close(dev);
	assert_int_equal(rte_eth_dev_count_avail(), 0); // nothing half open stays
}

static void null_device_passes_frames(void **state)
{
	struct port_dev *dev = open_ethdev("net_null0,size=1514", 0, 2);
	struct rte_mbuf *pkts[32];
	struct port_link link;

	assert_int_equal(dev->n_queues, 2);
	assert_int_equal(dev->max_frame, 1522);
	assert_int_equal(dev->ops->doorbell(dev->queues[0]), -1);
	dev->ops->link(dev, &link);
	assert_true(link.up);
	for (uint16_t q = 0; q < 2; q++) {
		assert_int_equal(dev->ops->rx(dev->queues[q], pkts, 32), 32);
		for (int i = 0; i < 32; i++) {
			assert_int_equal(pkts[i]->pkt_len, 1514);
			assert_int_equal(pkts[i]->ol_flags, 0);
		}
		assert_int_equal(dev->ops->tx(dev->queues[q], pkts, 32), 32);
	}
	dev->ops->close(dev);
	dev = open_ethdev("net_null0", 0, 1); // the name is free again
	dev->ops->close(dev);
}

// net_ring gives back the very mbufs it was sent, flags and all.
static void foreign_flags_are_cleaned(void **state)
{
	struct port_dev *dev = open_ethdev("net_ring0", 0, 1);
	static const uint64_t given[] = {
		0,
		RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_VLAN_STRIPPED,
		RTE_MBUF_F_RX_L4_CKSUM_BAD | RTE_MBUF_F_RX_IP_CKSUM_GOOD,
		RTE_MBUF_F_RX_L4_CKSUM_NONE,
		RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4,
	};
	static const uint64_t want[] = {
		0, RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_L4_CKSUM_GOOD,
		RTE_MBUF_F_RX_IP_CKSUM_GOOD, 0, 0,
	};
	struct rte_mbuf *pkts[ARRAY_SIZE(given)];

	assert_int_equal(rte_pktmbuf_alloc_bulk(pools.small, pkts, ARRAY_SIZE(given)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		rte_pktmbuf_append(pkts[i], 60);
		pkts[i]->ol_flags = given[i];
	}
	assert_int_equal(dev->ops->tx(dev->queues[0], pkts, ARRAY_SIZE(given)), ARRAY_SIZE(given));
	assert_int_equal(dev->ops->rx(dev->queues[0], pkts, 32), ARRAY_SIZE(given));
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		assert_int_equal(pkts[i]->ol_flags, want[i]);
	rte_pktmbuf_free_bulk(pkts, ARRAY_SIZE(given));
	dev->ops->close(dev);
}

// Jumbo frames through a driver that wants a frame in one mbuf when it sends.
static void pcap_device_takes_jumbo(void **state)
{
	char in[] = "/tmp/test_ethdev.XXXXXX", devargs[128];
	struct pcap_pkthdr h = { .caplen = 9014, .len = 9014 };
	pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);
	struct rte_mbuf *m, *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = { 0 };
	pcap_dumper_t *dump;
	struct port_dev *dev;
	uint8_t bytes[9014];
	uint16_t n_done;

	close(mkstemp(in));
	memset(bytes, 0x5a, sizeof(bytes));
	dump = pcap_dump_open(p, in);
	pcap_dump((uint8_t *)dump, &h, bytes);
	pcap_dump_close(dump);
	pcap_close(p);
	snprintf(devargs, sizeof(devargs), "net_pcap0,rx_pcap=%s,tx_pcap=%s.out", in, in);
	dev = open_ethdev(devargs, 9000, 1);
	assert_int_equal(dev->max_frame, 9022);
	assert_int_equal(dev->ops->rx(dev->queues[0], &m, 1), 1);
	assert_int_equal(m->pkt_len, 9014);
	assert_true(port_head_contiguous(m));
	assert_int_equal(transmit_finish(dev, &pools, &m, 1, &n_done, out, TRANSMIT_MAX_SEGMENTS,
					 &result), 1);
	assert_true(out[0]->nb_segs == 1 || (dev->offloads & PORT_OFFLOAD_MULTI_SEG));
	assert_int_equal(dev->ops->tx(dev->queues[0], out, 1), 1);
	dev->ops->close(dev);
	unlink(in);
	snprintf(devargs, sizeof(devargs), "%s.out", in);
	assert_int_equal(unlink(devargs), 0);
}

int main(int argc, char **argv)
{
	char *args[] = { argv[0], "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
			 "-m", "64", "-l", "0", "--log-level=critical" };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_devices_are_refused),
		cmocka_unit_test(null_device_passes_frames),
		cmocka_unit_test(foreign_flags_are_cleaned),
		cmocka_unit_test(pcap_device_takes_jumbo),
	};
	int failed;

	if (rte_eal_init(ARRAY_SIZE(args), args) < 0) {
		printf("1..0 # SKIP ethdev: EAL does not start here\n");
		return 77;
	}
	failed = cmocka_run_group_tests_name("ethdev", tests, setup, teardown);
	rte_eal_cleanup();
	return failed;
}
