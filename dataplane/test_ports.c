// SPDX-License-Identifier: Apache-2.0
// Unit tests of the ports that need neither EAL nor a kernel: null, pair, pcap.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#include "dataplane/pools.h"
#include "dataplane/port_util.h"
#include "net/test_util.h"

static struct port_pools pools;
static char folder[] = "/tmp/test_ports.XXXXXX";

static int setup(void **state)
{
	pools.small = test_pool_create(2048, POOLS_SMALL_ROOM);
	pools.large = test_pool_create(64, POOLS_LARGE_ROOM);
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	test_pool_destroy(pools.small);
	test_pool_destroy(pools.large);
	return rmdir(folder);
}

static struct port_dev *open_port(const char *kind, const struct port_cfg *cfg)
{
	struct port_cfg full = *cfg;
	struct port_dev *dev = NULL;
	struct err err = { 0 };

	full.name = "p";
	full.pools = &pools;
	if (port_kind_find(kind)->open(&full, &dev, &err) < 0)
		fail_msg("%s", err.text);
	return dev;
}

static void refused(const char *kind, const struct port_cfg *cfg, int error, const char *says)
{
	struct port_cfg full = *cfg;
	struct port_dev *dev;
	struct err err = { 0 };

	full.name = "p";
	full.pools = &pools;
	assert_int_equal(port_kind_find(kind)->open(&full, &dev, &err), -error);
	if (!strstr(err.text, says))
		fail_msg("'%s' does not say '%s'", err.text, says);
}

static bool rings(struct port_queue *q)
{
	struct pollfd fd = { q->dev->ops->doorbell(q), POLLIN, 0 };

	assert_true(fd.fd >= 0);
	return poll(&fd, 1, 0) == 1;
}

static void kinds_are_found(void **state)
{
	for (const struct port_ops *const *k = port_kinds; *k; k++)
		assert_ptr_equal(port_kind_find((*k)->kind), *k);
	assert_null(port_kind_find("carrier-pigeon"));
}

static void null_swallows(void **state)
{
	struct port_dev *dev = open_port("null", &(struct port_cfg){ .n_queues = 2 });
	struct rte_mbuf *pkts[3];

	rte_pktmbuf_alloc_bulk(pools.small, pkts, 3);
	assert_int_equal(dev->n_queues, 2);
	assert_int_equal(dev->ops->tx(dev->queues[1], pkts, 3), 3);
	assert_int_equal(dev->ops->rx(dev->queues[0], pkts, 3), 0);
	assert_false(rings(dev->queues[0]));
	dev->ops->close(dev);
}

static void pair_carries_requests(void **state)
{
	struct port_cfg cfg = { .peer = "x" };
	struct test_frame f = { .payload_bytes = 5000, .mss = 999, .tcp = true, .request = true };
	struct port_dev *a = open_port("pair", &cfg), *b = open_port("pair", &cfg);
	struct rte_mbuf *m = test_frame_build(pools.small, &f), *got;
	uint64_t flags = m->ol_flags, lengths = m->tx_offload;
	struct port_link link;

	a->ops->link(a, &link);
	assert_true(link.up);
	m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	assert_int_equal(a->ops->tx(a->queues[0], &m, 1), 1);
	assert_int_equal(a->ops->rx(a->queues[0], &got, 1), 0);
	assert_int_equal(b->ops->rx(b->queues[0], &got, 1), 1);
	assert_ptr_equal(got, m);
	assert_int_equal(got->ol_flags, flags | RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	assert_int_equal(got->tx_offload, lengths);
	rte_pktmbuf_free(got);
	a->ops->close(a);
	b->ops->close(b);
}

static void pair_refuses(void **state)
{
	struct port_cfg cfg = { .peer = "x", .n_queues = 2 };
	struct port_dev *a = open_port("pair", &cfg), *b;

	refused("pair", &(struct port_cfg){ .peer = "" }, EINVAL, "needs peer");
	refused("pair", &(struct port_cfg){ .peer = "x", .n_queues = 3 }, EINVAL, "2 queues");
	b = open_port("pair", &cfg);
	refused("pair", &cfg, EBUSY, "both ends are in use");
	b->ops->close(b);
	b = open_port("pair", &cfg);
	a->ops->close(a);
	b->ops->close(b);
}

// Nobody there: sent frames are lost and counted. Gone in between: nothing stale, nothing leaks.
static void pair_without_peer(void **state)
{
	struct port_cfg cfg = { .peer = "x" };
	struct port_dev *a = open_port("pair", &cfg), *b;
	struct port_dev_stats stats;
	struct port_link link;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.small);

	a->ops->link(a, &link);
	assert_false(link.up);
	assert_int_equal(a->ops->tx(a->queues[0], &m, 1), 1);
	a->ops->stats(a, &stats);
	assert_int_equal(stats.tx_errors, 1);
	b = open_port("pair", &cfg);
	m = rte_pktmbuf_alloc(pools.small);
	assert_int_equal(a->ops->tx(a->queues[0], &m, 1), 1);
	b->ops->close(b);
	b = open_port("pair", &cfg);
	assert_int_equal(b->ops->rx(b->queues[0], &m, 1), 0);
	b->ops->close(b);
	a->ops->close(a);
}

static void pair_fills_up(void **state)
{
	struct port_cfg cfg = { .peer = "x" };
	struct port_dev *a = open_port("pair", &cfg), *b = open_port("pair", &cfg);
	uint32_t sent = 0, got = 0, took;
	struct rte_mbuf *pkts[32];

	do {
		assert_int_equal(rte_pktmbuf_alloc_bulk(pools.small, pkts, 32), 0);
		took = a->ops->tx(a->queues[0], pkts, 32);
		rte_pktmbuf_free_bulk(pkts + took, 32 - took);
		sent += took;
	} while (took == 32);
	while ((took = b->ops->rx(b->queues[0], pkts, 32)) > 0) {
		rte_pktmbuf_free_bulk(pkts, took);
		got += took;
	}
	assert_int_equal(sent, got);
	a->ops->close(a);
	b->ops->close(b);
}

// The doorbell rings for a sleeper only, and never misses a frame that came while it lay down.
static void pair_doorbell(void **state)
{
	struct port_cfg cfg = { .peer = "x" };
	struct port_dev *a = open_port("pair", &cfg), *b = open_port("pair", &cfg);
	struct port_queue *qa = a->queues[0], *qb = b->queues[0];
	struct rte_mbuf *m;

	for (int i = 0; i < 3; i++) {
		m = rte_pktmbuf_alloc(pools.small);
		a->ops->tx(qa, &m, 1);
		assert_false(rings(qb)); // awake
		assert_true(b->ops->arm(qb, true));
		b->ops->arm(qb, false);
		assert_int_equal(b->ops->rx(qb, &m, 1), 1);
		rte_pktmbuf_free(m);
		assert_false(b->ops->arm(qb, true));
		assert_false(rings(qb));
		m = rte_pktmbuf_alloc(pools.small);
		a->ops->tx(qa, &m, 1);
		assert_true(rings(qb));
		b->ops->arm(qb, false);
		assert_false(rings(qb));
		assert_int_equal(b->ops->rx(qb, &m, 1), 1);
		rte_pktmbuf_free(m);
	}
	a->ops->close(a);
	b->ops->close(b);
}

#define N_ECHO 200000u

// Sends back what it gets, sleeping on the doorbell whenever there is nothing.
static void *echo(void *arg)
{
	struct port_queue *q = arg;
	struct rte_mbuf *pkts[32];
	uint32_t seen = 0;

	while (seen < N_ECHO) {
		uint16_t n = q->dev->ops->rx(q, pkts, 32), done = 0;

		while (done < n)
			done += q->dev->ops->tx(q, pkts + done, n - done);
		seen += n;
		if (n == 0) {
			struct pollfd fd = { q->dev->ops->doorbell(q), POLLIN, 0 };

			if (!q->dev->ops->arm(q, true) && poll(&fd, 1, 2000) != 1)
				break; // a lost wake-up: the count below tells
			q->dev->ops->arm(q, false);
		}
	}
	return (void *)(uintptr_t)seen;
}

static void pair_between_threads(void **state)
{
	struct port_cfg cfg = { .peer = "x" };
	struct port_dev *a = open_port("pair", &cfg), *b = open_port("pair", &cfg);
	uint32_t sent = 0, got = 0;
	struct rte_mbuf *pkts[32];
	pthread_t thread;
	void *seen;

	pthread_create(&thread, NULL, echo, b->queues[0]);
	for (uint32_t idle = 0; got < N_ECHO && idle < 200000000; idle++) {
		uint16_t want = (uint16_t)RTE_MIN(N_ECHO - sent, 1 + sent % 7), n = 0;

		if (sent - got < 512 && want &&
		    rte_pktmbuf_alloc_bulk(pools.small, pkts, want) == 0) {
			for (uint16_t i = 0; i < want; i++)
				store_u32(rte_pktmbuf_append(pkts[i], 4), sent + i);
			n = a->ops->tx(a->queues[0], pkts, want);
			rte_pktmbuf_free_bulk(pkts + n, want - n);
			sent += n;
		}
		n = a->ops->rx(a->queues[0], pkts, 32);
		for (uint16_t i = 0; i < n; i++)
			assert_int_equal(load_u32(rte_pktmbuf_mtod(pkts[i], void *)), got++);
		rte_pktmbuf_free_bulk(pkts, n);
		if (n == 0)
			sched_yield();
	}
	pthread_join(thread, &seen);
	assert_int_equal((uintptr_t)seen, N_ECHO);
	assert_int_equal(got, N_ECHO);
	a->ops->close(a);
	b->ops->close(b);
}

static const char *file(const char *name)
{
	static char paths[4][64];
	static unsigned int i;

	snprintf(paths[++i & 3], sizeof(paths[0]), "%s/%s", folder, name);
	return paths[i & 3];
}

#define SIZES { 0, 1, 13, 14, 60, 1514, 2048, 2049, 9014, 9216 }

// A capture of frames of those sizes, byte i of frame k being k+i. Returns its path.
static const char *capture(const char *name, int link_type)
{
	static const uint32_t sizes[] = SIZES;
	const char *path = file(name);
	pcap_t *p = pcap_open_dead(link_type, 65535);
	pcap_dumper_t *dump = pcap_dump_open(p, path);

	assert_non_null(dump);
	for (uint32_t k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct pcap_pkthdr h = { .ts = { .tv_sec = (time_t)k }, .caplen = sizes[k],
					 .len = sizes[k] + (k & 1) * 1000 }; // some are snapped
		uint8_t bytes[9216];

		for (uint32_t i = 0; i < sizes[k]; i++)
			bytes[i] = (uint8_t)(k + i);
		pcap_dump((uint8_t *)dump, &h, bytes);
	}
	pcap_dump_close(dump);
	pcap_close(p);
	return path;
}

static void pcap_round_trip(void **state)
{
	static const uint32_t sizes[] = SIZES;
	const char *in = capture("in.pcap", DLT_EN10MB), *out = file("out.pcap");
	struct port_cfg cfg = { .rx_file = in, .tx_file = out, .loops = 2 };
	struct port_dev *dev = open_port("pcap", &cfg);
	char text[PCAP_ERRBUF_SIZE];
	struct rte_mbuf *pkts[7];
	struct pcap_pkthdr h;
	struct port_link link;
	uint32_t k = 0;
	uint16_t n;
	pcap_t *p;

	assert_true(rings(dev->queues[0]));
	while ((n = dev->ops->rx(dev->queues[0], pkts, 7)) > 0) {
		for (uint16_t i = 0; i < n; i++) {
			assert_int_equal(rte_mbuf_check(pkts[i], 1, &(const char *){ NULL }), 0);
			assert_true(port_head_contiguous(pkts[i]));
		}
		assert_int_equal(dev->ops->tx(dev->queues[0], pkts, n), n);
	}
	assert_false(rings(dev->queues[0]));
	dev->ops->link(dev, &link);
	assert_true(link.up);
	assert_string_equal(link.reason, "played 10 frames");
	p = pcap_open_offline_with_tstamp_precision(out, PCAP_TSTAMP_PRECISION_NANO, text);
	assert_non_null(p); // whole already, before the port closes
	for (const uint8_t *bytes; (bytes = pcap_next(p, &h)); k++) {
		assert_int_equal(h.caplen, sizes[k % 10]);
		assert_true(h.ts.tv_sec > 1600000000);
		for (uint32_t i = 0; i < h.caplen; i++)
			assert_int_equal(bytes[i], (uint8_t)(k % 10 + i));
	}
	assert_int_equal(k, 20);
	pcap_close(p);
	dev->ops->close(dev);
	unlink(in);
	unlink(out);
}

static void pcap_filters(void **state)
{
	const char *in = capture("in.pcap", DLT_EN10MB);
	struct port_cfg cfg = { .rx_file = in, .filter = "greater 2049" };
	struct port_dev *dev = open_port("pcap", &cfg);
	struct rte_mbuf *pkts[32];
	uint16_t n = dev->ops->rx(dev->queues[0], pkts, 32);

	rte_pktmbuf_free_bulk(pkts, n);
	assert_int_equal(n, 4); // by length on the wire: 2514, 3049, 9014, 10216
	dev->ops->close(dev);
	cfg.filter = "tcp and and";
	refused("pcap", &cfg, EINVAL, "filter 'tcp and and'");
	cfg.filter = "greater 20000"; // nothing left
	dev = open_port("pcap", &cfg);
	assert_int_equal(dev->ops->rx(dev->queues[0], pkts, 32), 0);
	assert_false(rings(dev->queues[0]));
	dev->ops->close(dev);
	unlink(in);
}

static void pcap_refuses(void **state)
{
	const char *in = capture("raw.pcap", DLT_RAW);
	FILE *f;

	refused("pcap", &(struct port_cfg){ 0 }, EINVAL, "needs rx_file");
	refused("pcap", &(struct port_cfg){ .rx_file = "/nowhere/x" }, ENOENT, "/nowhere/x");
	refused("pcap", &(struct port_cfg){ .tx_file = "/nowhere/x" }, EIO, "/nowhere/x");
	refused("pcap", &(struct port_cfg){ .rx_file = in }, EINVAL, "Raw IP");
	f = fopen(in, "w");
	fputs("this is no capture file, not at all", f);
	fclose(f);
	refused("pcap", &(struct port_cfg){ .rx_file = in }, EINVAL, "rx_file");
	unlink(in);
}

// A file that ends inside a record gives its whole frames and says so.
static void pcap_plays_cut_files(void **state)
{
	const char *in = capture("in.pcap", DLT_EN10MB);
	struct rte_mbuf *pkts[32];
	struct port_link link;
	struct port_dev *dev;

	for (long cut = 24 + 16 + 1; cut < 200; cut++) {
		uint16_t n;

		assert_int_equal(truncate(capture("in.pcap", DLT_EN10MB), cut), 0);
		dev = open_port("pcap", &(struct port_cfg){ .rx_file = in });
		n = dev->ops->rx(dev->queues[0], pkts, 32);
		assert_true(n >= 1 && n <= 5);
		rte_pktmbuf_free_bulk(pkts, n);
		dev->ops->link(dev, &link);
		if (cut == 199)
			assert_string_equal(link.reason, "played 5 frames; the file is cut short");
		dev->ops->close(dev);
	}
	unlink(in);
}

static void pcap_waits_for_buffers(void **state)
{
	const char *in = capture("in.pcap", DLT_EN10MB);
	struct port_pools few = { .small = test_pool_create(4, POOLS_SMALL_ROOM) }, all = pools;
	struct port_dev *dev;
	struct port_dev_stats stats;
	struct rte_mbuf *pkts[32];

	pools = few;
	dev = open_port("pcap", &(struct port_cfg){ .rx_file = in });
	assert_int_equal(dev->ops->rx(dev->queues[0], pkts, 32), 4);
	assert_int_equal(dev->ops->rx(dev->queues[0], pkts + 4, 28), 0);
	dev->ops->stats(dev, &stats);
	assert_int_equal(stats.no_mbuf, 2);
	rte_pktmbuf_free_bulk(pkts, 4);
	assert_int_equal(dev->ops->rx(dev->queues[0], pkts, 32), 3); // 60, 1514, 2048; then 2049
	rte_pktmbuf_free_bulk(pkts, 3);
	dev->ops->close(dev);
	pools = all;
	test_pool_destroy(few.small);
	unlink(in);
}

// The disk is full: every frame is taken and counted as lost.
static void pcap_counts_write_errors(void **state)
{
	struct port_dev *dev = open_port("pcap", &(struct port_cfg){ .tx_file = "/dev/full" });
	struct port_dev_stats stats;
	struct rte_mbuf *m;

	for (int i = 0; i < 3; i++) {
		m = test_frame_build(pools.small, &(struct test_frame){ .payload_bytes = 5000 });
		assert_int_equal(dev->ops->tx(dev->queues[0], &m, 1), 1);
	}
	dev->ops->stats(dev, &stats);
	assert_int_equal(stats.tx_errors, 3);
	dev->ops->close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_found),
		cmocka_unit_test(null_swallows),
		cmocka_unit_test(pair_carries_requests),
		cmocka_unit_test(pair_refuses),
		cmocka_unit_test(pair_without_peer),
		cmocka_unit_test(pair_fills_up),
		cmocka_unit_test(pair_doorbell),
		cmocka_unit_test(pair_between_threads),
		cmocka_unit_test(pcap_round_trip),
		cmocka_unit_test(pcap_filters),
		cmocka_unit_test(pcap_refuses),
		cmocka_unit_test(pcap_plays_cut_files),
		cmocka_unit_test(pcap_waits_for_buffers),
		cmocka_unit_test(pcap_counts_write_errors),
	};

	return cmocka_run_group_tests_name("ports", tests, setup, teardown);
}
