// SPDX-License-Identifier: Apache-2.0
// libweftgen.so: an infinite packet source and counting sink inside any DPDK application.
//
// LD_PRELOADed, it stands before the ethdev library and waits for ports named in WEFT_GEN to be
// started. Such a port (a stock net_null) keeps its driver for everything slow; its burst functions
// in the public table rte_eth_fp_ops are replaced by ours. The application calls them directly, so
// source and sink cost what they cost and nothing around them, in weftd, Open vSwitch and testpmd
// alike. No driver headers, no driver of our own.
//   WEFT_GEN           "net_null0:side=0,flows=1000;net_null1:side=1,flows=1000", see stream.h
//   WEFT_GEN_COUNTERS  file for the counters, default /dev/shm/weft-gen
// Threads: setup, start and stop on whatever thread the application uses, bursts on its pollers.
#include "bench/counters.h"
#include "bench/pcap.h"
#include "bench/stream.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define MAX_BURST 256
#define DUMP_FRAMES 64    // written to a dump file at most
#define CLOCK_BURSTS 8192 // bursts between two measurements of the core's clock

struct gen_rx {
	const struct bench_stream *stream;
	struct rte_mempool *pool;
	struct bench_rx_counters *counters;
	uint32_t cursor;
	uint32_t end;           // the cursor goes round before this place of the order
	uint32_t at;            // place in ring
	uint64_t due_tsc;       // when the next frame may leave; 0: never polled
	uint64_t tsc_per_frame; // 0: no limit
	struct rte_mbuf **ring; // ring[spec.depth] of written frames, or NULL
} CACHE_ALIGNED;

struct gen_tx {
	struct bench_tx_counters *counters;
	FILE *dump; // NULL once it is full
	uint32_t dumped;
} CACHE_ALIGNED;

struct gen_port {
	struct bench_stream stream;
	struct gen_rx rx[BENCH_MAX_QUEUES];
	struct gen_tx tx[BENCH_MAX_QUEUES];
	void *rx_data[RTE_MAX_QUEUES_PER_PORT], *tx_data[RTE_MAX_QUEUES_PER_PORT];
};

static struct gen_port ports[BENCH_MAX_PORTS];
static unsigned int n_ports;
static struct bench_counters *counters;
// The pool that the application gave each ethdev queue.
static struct rte_mempool *pools[RTE_MAX_ETHPORTS][BENCH_MAX_QUEUES];

// Times a chain of one-cycle steps: how fast the core really runs, seen from inside the load.
static void measure_clock(struct bench_rx_counters *c)
{
	uint64_t x = 1, step = 3, start = rte_rdtsc(), took;

	for (int i = 0; i < BENCH_CLOCK_STEPS / 4; i++)
		asm volatile("add %1, %0\n\tadd %1, %0\n\tadd %1, %0\n\tadd %1, %0"
			     : "+r"(x)
			     : "r"(step));
	took = rte_rdtsc() - start;
	c->thread = (uint64_t)syscall(SYS_gettid);
	if (took > 2 * BENCH_CLOCK_STEPS)
		return; // interrupted
	c->clock_tsc += took;
	c->clock_runs++;
}

static inline void fill(struct gen_rx *q, struct rte_mbuf *m)
{
	const struct bench_stream *s = q->stream;
	uint32_t flow = bench_stream_next(s, &q->cursor, q->end);

	m->hash.rss = bench_stream_write(s, flow, rte_pktmbuf_mtod(m, uint8_t *));
	m->data_len = (uint16_t)s->frame_bytes;
	m->pkt_len = s->frame_bytes;
	m->packet_type = 0;
	m->ol_flags = !s->spec.offload ? 0
				       : RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_IP_CKSUM_GOOD |
						 RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

// The frame becomes a question by which others learn who encapsulates.
static void ask(struct gen_rx *q, struct rte_mbuf *m)
{
	m->pkt_len = bench_stream_ask(q->stream, rte_pktmbuf_mtod(m, uint8_t *));
	m->data_len = (uint16_t)m->pkt_len;
}

// How many of n frames the rate lets out now. A poller that fell 100 ms behind starts afresh.
static uint16_t paced(struct gen_rx *q, uint64_t now, uint16_t n)
{
	uint64_t owed;

	if (!q->due_tsc || now > q->due_tsc + counters->tsc_hz / 10)
		q->due_tsc = now;
	if (now < q->due_tsc)
		return 0;
	owed = (now - q->due_tsc) / q->tsc_per_frame + 1;
	n = (uint16_t)RTE_MIN(owed, n);
	q->due_tsc += n * q->tsc_per_frame;
	return n;
}

// Queues fresh frames behind those in the ring and hands out the oldest, which have long left the
// nearer caches: a NIC with that many descriptors filled behaves so.
static void exchange(struct gen_rx *q, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf **slot = &q->ring[q->at++ & (q->stream->spec.depth - 1)];
		struct rte_mbuf *oldest = *slot;

		*slot = pkts[i];
		pkts[i] = oldest;
		rte_prefetch0(oldest);
	}
}

static uint16_t gen_rx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct gen_rx *q = queue;
	struct bench_rx_counters *c = q->counters;
	uint64_t start = rte_rdtsc();

	n = RTE_MIN(n, (uint16_t)MAX_BURST);
	if (q->tsc_per_frame)
		n = paced(q, start, n);
	if (!n)
		return 0;
	if (unlikely(q->end == q->stream->spec.hold) && counters->released)
		q->end = q->stream->order_entries;
	if (unlikely(rte_pktmbuf_alloc_bulk(q->pool, pkts, n))) {
		c->no_mbuf++;
		return 0;
	}
	for (uint16_t i = 0; i < n; i++)
		fill(q, pkts[i]);
	if (q->ring)
		exchange(q, pkts, n);
	c->packets += n;
	c->bytes += (uint64_t)n * q->stream->frame_bytes;
	c->cycles += rte_rdtsc() - start;
	if (unlikely(c->bursts++ % CLOCK_BURSTS == 0)) {
		measure_clock(c);
		if (q->stream->spec.encap)
			ask(q, pkts[0]);
	}
	return n;
}

static void dump(struct gen_tx *q, const struct rte_mbuf *m)
{
	bench_pcap_begin(q->dump, q->dumped, m->pkt_len);
	for (; m; m = m->next)
		fwrite(rte_pktmbuf_mtod(m, const void *), m->data_len, 1, q->dump);
	if (++q->dumped < DUMP_FRAMES)
		return;
	fclose(q->dump);
	q->dump = NULL;
}

static uint16_t gen_tx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct gen_tx *q = queue;
	struct bench_tx_counters *c = q->counters;
	uint64_t start = rte_rdtsc(), bytes = 0;

	for (uint16_t i = 0; i < n; i++) {
		bytes += pkts[i]->pkt_len;
		if (unlikely(q->dump != NULL))
			dump(q, pkts[i]);
	}
	rte_pktmbuf_free_bulk(pkts, n);
	c->packets += n;
	c->bytes += bytes;
	c->bursts++;
	c->cycles += rte_rdtsc() - start;
	return n;
}

// Maps the counters' file; the same file for all ports of the process.
static int open_counters(void)
{
	const char *path = getenv("WEFT_GEN_COUNTERS") ?: "/dev/shm/weft-gen";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	void *map = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, sizeof(*counters)))
		map = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED) {
		fprintf(stderr, "weftgen: %s: %m\n", path);
		return -EIO;
	}
	counters = map;
	counters->tsc_hz = rte_get_tsc_hz();
	counters->pid = (uint64_t)getpid();
	asm volatile("" ::: "memory"); // the magic says that the rest is there
	counters->magic = BENCH_COUNTERS_MAGIC;
	return 0;
}

// Reads WEFT_GEN once, when the first port starts.
static int configure(void)
{
	const char *text = getenv("WEFT_GEN");
	struct bench_spec spec;
	struct err err = { 0 };

	if (counters || !text)
		return 0;
	for (; text && *text; text = strchr(text, ';'), text = text ? text + 1 : NULL) {
		int ret = n_ports == BENCH_MAX_PORTS
				  ? err_set(&err, E2BIG, "more than %d ports", BENCH_MAX_PORTS)
				  : bench_spec_parse(text, &spec, &err);

		if (!ret)
			ret = bench_stream_init(&ports[n_ports].stream, &spec);
		if (ret) {
			fprintf(stderr, "weftgen: WEFT_GEN: %s\n",
				*err.text ? err.text : "no memory");
			return ret;
		}
		n_ports++;
	}
	return open_counters();
}

static struct gen_port *find_port(uint16_t port_id)
{
	char name[RTE_ETH_NAME_MAX_LEN];

	if (rte_eth_dev_get_name_by_port(port_id, name))
		return NULL;
	for (unsigned int i = 0; i < n_ports; i++)
		if (strcmp(name, ports[i].stream.spec.port) == 0)
			return &ports[i];
	return NULL;
}

// Fills the emulated descriptor ring. Needs a pool that can spare `depth` mbufs.
static int fill_ring(struct gen_rx *q, uint32_t depth)
{
	if (!depth || q->ring)
		return 0;
	q->ring = calloc(depth, sizeof(*q->ring));
	if (!q->ring)
		return -ENOMEM;
	if (rte_pktmbuf_alloc_bulk(q->pool, q->ring, depth)) {
		free(q->ring);
		q->ring = NULL;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < depth; i++)
		fill(q, q->ring[i]);
	return 0;
}

static int attach_rx(struct gen_port *p, uint16_t port_id, uint16_t n)
{
	const struct bench_spec *spec = &p->stream.spec;

	for (uint16_t i = 0; i < n; i++) {
		struct gen_rx *q = &p->rx[i];

		q->stream = &p->stream;
		q->pool = pools[port_id][i];
		q->counters = &counters->ports[p - ports].rx[i];
		q->tsc_per_frame = spec->rate ? RTE_MAX(counters->tsc_hz / spec->rate, 1u) : 0;
		q->end = spec->hold ?: p->stream.order_entries;
		q->cursor = i * 7919 % q->end;
		p->rx_data[i] = q;
		if (!q->pool || rte_pktmbuf_data_room_size(q->pool) <
					RTE_PKTMBUF_HEADROOM + p->stream.frame_bytes) {
			fprintf(stderr, "weftgen: %s: frames of %u bytes do not fit its mbufs\n",
				spec->port, p->stream.frame_bytes);
			return -EINVAL;
		}
		if (fill_ring(q, spec->depth))
			return -ENOMEM;
	}
	return 0;
}

static void attach_tx(struct gen_port *p, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		p->tx[i].counters = &counters->ports[p - ports].tx[i];
		p->tx_data[i] = &p->tx[i];
	}
	if (*p->stream.spec.dump && !p->tx[0].dumped)
		p->tx[0].dump = bench_pcap_create(p->stream.spec.dump);
}

// Puts our bursts in the place of the driver's.
static int attach(uint16_t port_id)
{
	struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[port_id];
	struct rte_eth_dev_info info;
	struct gen_port *p;
	int ret = configure();

	if (ret)
		return ret;
	p = find_port(port_id);
	if (!p)
		return 0;
	ret = rte_eth_dev_info_get(port_id, &info);
	if (ret)
		return ret;
	if (info.nb_rx_queues > BENCH_MAX_QUEUES || info.nb_tx_queues > BENCH_MAX_QUEUES) {
		fprintf(stderr, "weftgen: %s: more than %d queues\n", p->stream.spec.port,
			BENCH_MAX_QUEUES);
		return -EINVAL;
	}
	counters->ports[p - ports].held =
		p->stream.spec.hold ? p->stream.spec.flows - p->stream.spec.hold : 0;
	ret = attach_rx(p, port_id, info.nb_rx_queues);
	if (ret)
		return ret;
	attach_tx(p, info.nb_tx_queues);
	ops->rxq.data = p->rx_data;
	ops->txq.data = p->tx_data;
	ops->tx_pkt_burst = gen_tx_burst;
	ops->rx_pkt_burst = gen_rx_burst;
	return 0;
}

// Gives the ring's mbufs back before the application may free their pool.
static void detach(uint16_t port_id)
{
	struct gen_port *p = find_port(port_id);

	for (int i = 0; p && i < BENCH_MAX_QUEUES; i++) {
		struct gen_rx *q = &p->rx[i];

		if (!q->ring)
			continue;
		rte_pktmbuf_free_bulk(q->ring, p->stream.spec.depth);
		free(q->ring);
		q->ring = NULL;
	}
}

// The real function behind an interposed one.
#define NEXT(function) ((typeof(&function))dlsym(RTLD_NEXT, #function))
#define INTERPOSED __attribute__((visibility("default")))

INTERPOSED int rte_eth_rx_queue_setup(uint16_t port_id, uint16_t queue, uint16_t n_desc,
				      unsigned int socket, const struct rte_eth_rxconf *conf,
				      struct rte_mempool *pool)
{
	if (port_id < RTE_MAX_ETHPORTS && queue < BENCH_MAX_QUEUES)
		pools[port_id][queue] = pool;
	return NEXT(rte_eth_rx_queue_setup)(port_id, queue, n_desc, socket, conf, pool);
}

INTERPOSED int rte_eth_dev_start(uint16_t port_id)
{
	int ret = NEXT(rte_eth_dev_start)(port_id);

	return ret ? ret : attach(port_id);
}

INTERPOSED int rte_eth_dev_stop(uint16_t port_id)
{
	int ret = NEXT(rte_eth_dev_stop)(port_id);

	if (!ret)
		detach(port_id);
	return ret;
}
