// SPDX-License-Identifier: Apache-2.0
// What tunnels and routing cost in the pipeline, in TSC cycles a frame, without devices:
// `build/vswitch/test_tunnel_cost`. No EAL; the median of many batches of 64-byte inner frames,
// flows told apart by their source MAC. An argument names the only work to measure. Not a test: it
// asserts nothing about time.
#include <stdio.h>
#include <x86intrin.h>

#include "vswitch/test_hnv_rig.h"

#define BATCHES 8192
#define N_FRAMES 2048 // in use by turns, so that not all lies in the nearest cache

// One kind of work: a frame's first bytes, where it enters, which bytes are the flow's.
struct work {
	const char *what;
	uint16_t port;
	uint32_t flow_at; // of the four bytes that number the flow: the end of a source MAC
	uint16_t bytes;
	uint8_t frame[192];
};

static const char *only = "";
static struct rte_mbuf *frames[N_FRAMES];
static uint64_t cycles[BATCHES];

// Flow i's address ends in these bytes.
static uint32_t flow_word(uint32_t i)
{
	return (FORCE uint32_t)cpu_to_be32(0x01000000u + i);
}

static struct mac flow_mac(uint32_t i)
{
	struct mac m = { .b = { 2, 1 } };

	store_u32(m.b + 2, flow_word(i));
	return m;
}

static void prepare(const struct work *w, struct rte_mbuf *m, uint32_t flow)
{
	rte_pktmbuf_reset(m);
	m->data_len = w->bytes;
	m->pkt_len = w->bytes;
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), w->frame, w->bytes);
	store_u32(rte_pktmbuf_mtod_offset(m, uint8_t *, w->flow_at), flow_word(flow));
}

static void take_back(void)
{
	for (int i = 0; i < RIG_PORTS; i++) {
		rig->n_sent += rig->egress[i].n;
		rig->egress[i].n = 0;
	}
	rig->out.dirty = NULL;
}

static void run(const struct work *w, uint32_t batch, uint32_t n_flows, bool timed)
{
	struct rte_mbuf *pkts[PORT_BATCH];
	uint64_t start;

	for (uint32_t i = 0; i < PORT_BATCH; i++) {
		uint32_t n = batch * PORT_BATCH + i;

		pkts[i] = frames[n % N_FRAMES];
		prepare(w, pkts[i], n % n_flows);
	}
	start = __rdtsc();
	pipeline_ops.input(rig->pipeline, &rig->out, w->port, pkts, PORT_BATCH);
	if (timed)
		cycles[batch % BATCHES] = __rdtsc() - start;
	take_back();
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(const struct work *w, uint32_t n_flows)
{
	for (uint32_t i = 0; i < n_flows / PORT_BATCH + 1; i++) {
		if (i % 500 == 0)
			rig_second(); // for the miss budget
		run(w, i, n_flows, false);
	}
	for (uint32_t i = 0; i < BATCHES; i++)
		run(w, i, n_flows, true);
	qsort(cycles, BATCHES, sizeof(cycles[0]), compare);
	printf("%8.1f %8.1f cycles a frame, best and median: %s, %u flows\n",
	       (double)cycles[0] / PORT_BATCH, (double)cycles[BATCHES / 2] / PORT_BATCH, w->what,
	       n_flows);
}

// m's bytes become the work's frame; m is freed.
static void shape(struct work *w, struct rte_mbuf *m, uint32_t flow_at)
{
	w->flow_at = flow_at;
	w->bytes = (uint16_t)m->pkt_len;
	memcpy(w->frame, rte_pktmbuf_mtod(m, uint8_t *), w->bytes);
	rte_pktmbuf_free(m);
}

static struct rte_mbuf *small(struct mac dst)
{
	return frame_with(&(struct test_frame){ .payload_bytes = 22 }, flow_mac(0), dst);
}

static struct rte_mbuf *routed(struct ip_address to)
{
	struct rte_mbuf *m = small(hrig->hnv.router_mac);

	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 30), to.b, 4);
	test_frame_fix(m);
	return m;
}

static void measure_all(uint32_t n_flows)
{
	struct work works[] = {
		{ .what = "plain, within a subnet", .port = 0 },
		{ .what = "NVGRE encap", .port = 0 },
		{ .what = "VXLAN encap", .port = 2 },
		{ .what = "NVGRE decap", .port = UPLINK },
		{ .what = "VXLAN decap", .port = UPLINK },
		{ .what = "route to a port", .port = 0 },
		{ .what = "route and VXLAN encap", .port = 0 },
	};

	shape(&works[0], small(host(11)), 8);
	shape(&works[1], small(host(20)), 8);
	shape(&works[2], small(host(21)), 8);
	shape(&works[3], encapsulated(WAY_BLUE, BLUE_VSID, small(host(10))), 42 + 8);
	shape(&works[4], encapsulated(WAY_RED, RED_VSID, small(host(12))), 50 + 8);
	shape(&works[5], routed(customer4(RED, 12)), 8);
	shape(&works[6], routed(customer4(RED, 21)), 8);
	for (size_t i = 0; i < ARRAY_SIZE(works); i++)
		if (strstr(works[i].what, only))
			measure(&works[i], n_flows);
}

static void cost(void **state)
{
	struct fdb *fdb = vswitch_fdb(rig->vs);

	for (uint32_t i = 0; i < 100000; i++) {
		fdb_set(fdb, BLUE, flow_mac(i), (struct fdb_where){ 0, WAY_BLUE, TAG_WAY },
			FDB_STATIC, true);
		fdb_set(fdb, RED, flow_mac(i), (struct fdb_where){ 0, WAY_RED, TAG_WAY },
			FDB_STATIC, true);
	}
	for (int i = 0; i < N_FRAMES; i++)
		frames[i] = frame(host(10), host(11));
	measure_all(1000);
	measure_all(100000);
	for (int i = 0; i < N_FRAMES; i++)
		rte_pktmbuf_free(frames[i]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { HNV_TEST(cost) };

	if (argc > 1)
		only = argv[1];
	rig_entries = 1u << 20;
	return cmocka_run_group_tests_name("cost of tunnels", tests, NULL, NULL);
}
