// SPDX-License-Identifier: Apache-2.0
// Unit tests of the transmit stage and of the virtio header, on plain memory. No EAL.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/pools.h"
#include "dataplane/port_util.h"
#include "dataplane/transmit.h"
#include "dataplane/vnet.h"
#include "net/csum.h"
#include "net/test_util.h"

#define CSUM (PORT_OFFLOAD_IP_CSUM | PORT_OFFLOAD_L4_CSUM)
#define SEG (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

static struct port_pools pools;

static int setup(void **state)
{
	pools.small = test_pool_create(512, POOLS_SMALL_ROOM);
	pools.large = test_pool_create(130, POOLS_LARGE_ROOM);
	return 0;
}

static int teardown(void **state)
{
	test_pool_destroy(pools.small);
	test_pool_destroy(pools.large);
	return 0;
}

// What one call made of one frame.
struct outcome {
	struct rte_mbuf *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result;
	uint16_t n;
};

// Sends one frame through the stage; checks that it is accounted for.
static void finish(struct rte_mbuf *m, uint32_t offloads, uint32_t max_frame, struct outcome *o)
{
	struct port_dev dev = { .offloads = offloads, .max_frame = max_frame };
	uint32_t drops = 0;
	uint16_t n_done;

	memset(o, 0, sizeof(*o));
	o->n = transmit_finish(&dev, &pools, &m, 1, &n_done, o->out, TRANSMIT_MAX_SEGMENTS,
			       &o->result);
	assert_int_equal(n_done, 1);
	for (int i = 0; i < DROP_N_REASONS; i++)
		drops += o->result.drops[i];
	assert_int_equal(1 + o->result.created, o->n + drops);
}

// Checks that every frame fits the device, and frees them. Returns the payload bytes.
static uint32_t outcome_check(struct outcome *o, uint32_t offloads, uint32_t max_frame)
{
	uint32_t sum = 0, payload;

	for (uint16_t i = 0; i < o->n; i++) {
		struct rte_mbuf *m = o->out[i];

		assert_true((offloads & PORT_OFFLOAD_MULTI_SEG) || m->nb_segs == 1);
		assert_true((m->ol_flags & SEG) || m->pkt_len <= max_frame);
		if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) {
			struct layers at = { .l2_bytes = m->l2_len, .l3_bytes = m->l3_len };

			assert_true(offloads & PORT_OFFLOAD_IP_CSUM);
			csum_set_ipv4(rte_pktmbuf_mtod(m, uint8_t *), &at); // as the device would
		}
		if (!(offloads & PORT_OFFLOAD_L4_CSUM)) {
			assert_false(m->ol_flags & RTE_MBUF_F_TX_L4_MASK);
			test_frame_check(m, &payload);
		} else {
			payload = m->pkt_len - m->l2_len - m->l3_len - m->l4_len;
		}
		sum += payload;
		rte_pktmbuf_free(m);
	}
	return sum;
}

static void drops_once(struct outcome *o, enum drop reason)
{
	assert_int_equal(o->n, 0);
	assert_int_equal(o->result.drops[reason], 1);
}

static void plain_frames_pass_untouched(void **state)
{
	struct port_dev dev = { .max_frame = 1522 };
	struct rte_mbuf *in[PORT_BATCH], *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = { 0 };
	uint16_t n_done;

	for (int i = 0; i < PORT_BATCH; i++) {
		in[i] = test_frame_build(pools.small, &(struct test_frame){ .payload_bytes = 50 });
		in[i]->ol_flags = PORT_STATE_FLAGS | RTE_MBUF_F_TX_IPV4;
	}
	assert_int_equal(transmit_finish(&dev, &pools, in, PORT_BATCH, &n_done, out,
					 TRANSMIT_MAX_SEGMENTS, &result), PORT_BATCH);
	assert_int_equal(n_done, PORT_BATCH);
	assert_memory_equal(in, out, sizeof(in));
	rte_pktmbuf_free_bulk(in, PORT_BATCH);
}

// Every frame shape × every device: what comes out fits the device and has all the payload.
static void every_device_gets_what_it_takes(void **state)
{
	static const struct test_frame frames[] = {
		{ .payload_bytes = 1000 },
		{ .payload_bytes = 1000, .split = 100 },
		{ .payload_bytes = 1001, .request = true, .n_tags = 1 },
		{ .payload_bytes = 777, .request = true, .split = 99, .ipv6 = true },
		{ .payload_bytes = 9, .request = true, .tcp = true, .padding_bytes = 5 },
		{ .payload_bytes = 20000, .request = true, .mss = 1000, .split = 1777 },
		{ .payload_bytes = 60000, .request = true, .mss = 1400, .tcp = true, .n_tags = 1 },
		{ .payload_bytes = 9999, .request = true, .mss = 999, .tcp = true, .ipv6 = true,
		  .option_bytes = 8, .tcp_options = 12 },
		{ .payload_bytes = 1400, .request = true, .mss = 1400, .tcp = true }, // just one
		{ .payload_bytes = 10, .request = true, .mss = 9000, .ipv6 = true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		for (uint32_t offloads = 0; offloads < 64; offloads++) {
			struct rte_mbuf *m = test_frame_build(pools.small, &frames[i]);
			struct outcome o;

			if (frames[i].request && !frames[i].ipv6)
				m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
			finish(m, offloads, 1522, &o);
			assert_true(o.n > 0);
			if (frames[i].padding_bytes) {
				rte_pktmbuf_free_bulk(o.out, o.n);
				continue;
			}
			assert_int_equal(outcome_check(&o, offloads, 1522),
					 frames[i].request || !(offloads & PORT_OFFLOAD_L4_CSUM) ?
						 frames[i].payload_bytes :
						 frames[i].payload_bytes + 42);
		}
	assert_int_equal(test_pool_out(pools.small) + test_pool_out(pools.large), 0);
}

static void large_sends_go_whole_where_the_device_cuts(void **state)
{
	struct test_frame f = { .payload_bytes = 60000, .mss = 1400, .tcp = true, .request = true };
	uint32_t offloads = CSUM | PORT_OFFLOAD_TSO | PORT_OFFLOAD_MULTI_SEG;
	struct rte_mbuf *m = test_frame_build(pools.small, &f);
	struct outcome o;

	finish(m, offloads, 1522, &o);
	assert_int_equal(o.n, 1);
	assert_ptr_equal(o.out[0], m);
	assert_int_equal(m->ol_flags, RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM |
					      RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4);
	// Header and MSS count, not the whole.
	finish(m, offloads, 1453, &o);
	drops_once(&o, DROP_MTU_MISMATCH);
	// A device goes by the frame's length: padding must not become payload.
	f.padding_bytes = 4;
	finish(test_frame_build(pools.small, &f), offloads, 1522, &o);
	assert_int_equal(o.n, (60000 + 1399) / 1400);
	rte_pktmbuf_free_bulk(o.out, o.n);
}

static void oversize_is_dropped(void **state)
{
	struct test_frame f = { .payload_bytes = 1481 };
	struct outcome o;

	finish(test_frame_build(pools.small, &f), ~0u, 1522, &o);
	drops_once(&o, DROP_MTU_MISMATCH);
	f.request = true;
	finish(test_frame_build(pools.small, &f), 0, 1522, &o);
	drops_once(&o, DROP_MTU_MISMATCH);
	f.payload_bytes--;
	finish(test_frame_build(pools.small, &f), 0, 1522, &o);
	assert_int_equal(outcome_check(&o, 0, 1522), 1480);
}

// Requests that do not fit their frame. Each case breaks one thing.
static void invalid_requests_are_dropped(void **state)
{
	static const struct {
		struct test_frame f;
		uint64_t set, clear;   // ol_flags
		int l2, l3, l4;        // added to the lengths
		uint16_t mss;
		int16_t byte, value;   // frame[byte] = value
	} cases[] = {
		{ .f = { .tcp = true }, .l2 = 4 },
		{ .f = { .tcp = true }, .l2 = -14 },
		{ .f = { .tcp = true }, .l3 = 4 },
		{ .f = { .tcp = true }, .l3 = -20 },
		{ .f = { .tcp = true }, .l4 = 4 },
		{ .f = { .tcp = true }, .l4 = 200 },
		{ .f = { .tcp = true }, .l3 = 400 },
		{ .f = { .tcp = true }, .clear = RTE_MBUF_F_TX_IPV4 },
		{ .f = { .tcp = true }, .set = RTE_MBUF_F_TX_IPV6 },
		{ .f = { .tcp = true }, .set = RTE_MBUF_F_TX_UDP_CKSUM },
		{ .f = { .tcp = true }, .set = RTE_MBUF_F_TX_SCTP_CKSUM,
		  .clear = RTE_MBUF_F_TX_TCP_CKSUM },
		{ .f = { .tcp = true }, .set = RTE_MBUF_F_TX_TCP_SEG },
		{ .f = { .tcp = true, .mss = 10 }, .set = RTE_MBUF_F_TX_UDP_SEG, .mss = 10 },
		{ .f = { .mss = 10 }, .set = RTE_MBUF_F_TX_TCP_SEG, .clear = RTE_MBUF_F_TX_UDP_SEG,
		  .mss = 10 },
		{ .f = { .ipv6 = true }, .set = RTE_MBUF_F_TX_IP_CKSUM },
		{ .f = { .tcp = true }, .byte = 23, .value = 17 },
		{ .f = { .tcp = true }, .byte = 20, .value = 0x20 },
		{ .f = { .tcp = true, .payload_bytes = 60000 }, .set = RTE_MBUF_F_TX_TCP_SEG,
		  .mss = 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (uint32_t offloads = 0; offloads < 64; offloads += 63) {
			struct test_frame f = cases[i].f;
			struct rte_mbuf *m;
			struct outcome o;

			f.request = true;
			f.payload_bytes = f.payload_bytes ? f.payload_bytes : 100;
			m = test_frame_build(pools.small, &f);
			m->ol_flags = (m->ol_flags & ~cases[i].clear) | cases[i].set;
			m->l2_len += cases[i].l2;
			m->l3_len += cases[i].l3;
			m->l4_len += cases[i].l4;
			m->tso_segsz = cases[i].mss;
			if (cases[i].byte)
				*rte_pktmbuf_mtod_offset(m, uint8_t *, cases[i].byte) =
					(uint8_t)cases[i].value;
			// The last case is a matter of software segmentation alone.
			finish(m, i == ARRAY_SIZE(cases) - 1 ? 0 : offloads, 1522, &o);
			drops_once(&o, DROP_OFFLOAD_INVALID);
		}
}

// An IPv4 header checksum alone may be asked for whatever the packet carries.
static void header_checksum_alone(void **state)
{
	struct rte_mbuf *m =
		test_frame_build(pools.small, &(struct test_frame){ .payload_bytes = 100 });
	uint32_t payload;
	struct outcome o;

	store_u16(rte_pktmbuf_mtod_offset(m, uint8_t *, 24), 0x1234);
	m->ol_flags = RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4;
	m->l2_len = 14;
	m->l3_len = 20;
	finish(m, 0, 1522, &o);
	assert_int_equal(o.n, 1);
	test_frame_check(m, &payload);
	m->ol_flags = RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_IPV4;
	m->l3_len = 24;
	finish(m, 0, 1522, &o);
	drops_once(&o, DROP_OFFLOAD_INVALID);
}

// A frame with another owner is copied before anything in it changes.
static void shared_frames_are_left_alone(void **state)
{
	struct test_frame f = { .payload_bytes = 1000, .request = true };

	for (uint32_t offloads = 0; offloads < 64; offloads++) {
		struct rte_mbuf *m = test_frame_build(pools.small, &f);
		struct rte_mbuf *clone = rte_pktmbuf_clone(m, pools.small);
		uint8_t *before = test_flat(m), *after;
		struct outcome o;

		finish(clone, offloads, 1522, &o);
		outcome_check(&o, offloads, 1522);
		rte_mbuf_refcnt_update(m, 1);
		finish(m, offloads, 1522, &o);
		assert_ptr_not_equal(o.out[0], m);
		outcome_check(&o, offloads, 1522);
		after = test_flat(m);
		assert_memory_equal(before, after, m->pkt_len);
		free(before);
		free(after);
		rte_pktmbuf_free(m);
	}
}

static void shared_plain_frames_pass_where_allowed(void **state)
{
	struct test_frame f = { .payload_bytes = 100 };
	struct rte_mbuf *m = test_frame_build(pools.small, &f);
	struct outcome o;

	rte_mbuf_refcnt_update(m, 1);
	finish(m, PORT_OFFLOAD_INDIRECT, 1522, &o);
	assert_ptr_equal(o.out[0], m);
	finish(m, PORT_OFFLOAD_MULTI_SEG, 1522, &o);
	assert_ptr_not_equal(o.out[0], m);
	rte_pktmbuf_free(o.out[0]);
	rte_pktmbuf_free(m);
	// A chain of which only the last segment is shared.
	f = (struct test_frame){ .payload_bytes = 1000, .split = 500 };
	m = test_frame_build(pools.small, &f);
	rte_mbuf_refcnt_update(rte_pktmbuf_lastseg(m), 1);
	finish(m, PORT_OFFLOAD_MULTI_SEG | PORT_OFFLOAD_INDIRECT, 1522, &o);
	assert_ptr_equal(o.out[0], m);
	m = rte_pktmbuf_lastseg(m);
	finish(o.out[0], PORT_OFFLOAD_MULTI_SEG, 1522, &o);
	assert_int_equal(o.out[0]->nb_segs, 1);
	rte_pktmbuf_free(o.out[0]);
	rte_pktmbuf_free(m);
}

static void jumbo_chains_are_made_flat(void **state)
{
	struct test_frame f = { .payload_bytes = 8972, .n_tags = 1 };
	struct rte_mbuf *m = test_frame_build(pools.small, &f);
	struct outcome o;

	assert_true(m->nb_segs > 1);
	finish(m, 0, 9022, &o);
	assert_int_equal(test_pool_out(pools.large), 1);
	assert_int_equal(outcome_check(&o, 0, 9022), 8972);
}

static void no_buffers_no_crash(void **state)
{
	struct rte_mempool *real = pools.small, *empty = test_pool_create(1, POOLS_SMALL_ROOM);
	struct rte_mbuf *hold = rte_pktmbuf_alloc(empty), *m;
	struct test_frame f = { .payload_bytes = 1000, .split = 200 };
	struct outcome o;

	m = test_frame_build(real, &f);
	pools.small = empty;
	finish(m, 0, 1522, &o);
	drops_once(&o, DROP_RESOURCES);
	f = (struct test_frame){ .payload_bytes = 1700, .mss = 900, .request = true };
	m = test_frame_build(real, &f);
	finish(m, 0, 1522, &o);
	drops_once(&o, DROP_RESOURCES);
	pools.small = real;
	rte_pktmbuf_free(hold);
	test_pool_destroy(empty);
}

// out[] fills up in the middle of a batch: the rest waits, in order, and nothing is lost.
static void full_output_is_taken_up_again(void **state)
{
	struct test_frame f = { .payload_bytes = 60000, .mss = 1000, .tcp = true, .request = true };
	struct port_dev dev = { .max_frame = 1522 };
	struct rte_mbuf *in[5], *out[TRANSMIT_MAX_SEGMENTS];
	struct transmit_result result = { 0 };
	uint16_t done = 0, calls = 0, total = 0;

	for (int i = 0; i < 5; i++)
		in[i] = test_frame_build(pools.small, &f);
	while (done < 5) {
		uint16_t n_done, n = transmit_finish(&dev, &pools, in + done, 5 - done, &n_done,
						     out, TRANSMIT_MAX_SEGMENTS, &result);

		assert_true(n_done > 0);
		done += n_done;
		total += n;
		calls++;
		rte_pktmbuf_free_bulk(out, n);
	}
	assert_int_equal(total, 5 * 60);
	assert_int_equal(result.created, 5 * 59);
	assert_int_equal(calls, 3);
}

// Contract → virtio header → contract: what one tap is told, another would say.
static void virtio_header_there_and_back(void **state)
{
	static const struct test_frame frames[] = {
		{ .payload_bytes = 100, .request = true },
		{ .payload_bytes = 101, .request = true, .tcp = true, .n_tags = 1 },
		{ .payload_bytes = 5000, .request = true, .tcp = true, .mss = 1448 },
		{ .payload_bytes = 5000, .request = true, .tcp = true, .mss = 1428, .ipv6 = true,
		  .tcp_flags = TCP_CWR },
		{ .payload_bytes = 5000, .request = true, .mss = 1000, .option_bytes = 8 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct rte_mbuf *m = test_frame_build(pools.small, &frames[i]);
		uint64_t flags = m->ol_flags, offload = m->tx_offload;
		struct vnet_header h;

		vnet_from_mbuf(&h, m);
		assert_int_equal(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(h.gso_size, frames[i].mss);
		assert_int_equal(!!(h.gso_type & VIRTIO_NET_HDR_GSO_ECN),
				 frames[i].tcp_flags == TCP_CWR);
		m->ol_flags = RTE_MBUF_F_RX_VLAN;
		m->tx_offload = ~0ull;
		assert_true(vnet_to_mbuf(&h, m));
		assert_int_equal(m->ol_flags, flags);
		assert_int_equal(m->tx_offload, offload);
		// The field now holds what csum_complete expects: the pseudo header's sum.
		if (!frames[i].mss) {
			uint32_t payload;

			assert_true(csum_complete(m, h.csum_start, h.csum_offset));
			test_frame_check(m, &payload);
		}
		rte_pktmbuf_free(m);
	}
}

static void known_good_crosses(void **state)
{
	struct rte_mbuf *m = test_frame_build(pools.small, &(struct test_frame){ .tcp = true });
	struct vnet_header h = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };

	assert_true(vnet_to_mbuf(&h, m));
	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	vnet_from_mbuf(&h, m);
	assert_int_equal(h.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	h = (struct vnet_header){ 0 };
	assert_true(vnet_to_mbuf(&h, m));
	assert_int_equal(m->ol_flags, 0);
	rte_pktmbuf_free(m);
}

// Headers that lie, and every value of every field at least once: refused or made harmless.
static void lying_virtio_headers(void **state)
{
	static const struct {
		struct vnet_header h;
		bool good;
	} cases[] = {
		{ { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 100 }, false },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 1 }, false },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 4,
		    .gso_size = 9 }, false },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 5,
		    .gso_size = 9 }, false },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 3,
		    .gso_size = 9 }, false },
		{ { .flags = 1, .csum_start = 38, .csum_offset = 16, .gso_type = 1,
		    .gso_size = 9 }, false },
		{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff }, false },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 5000 }, false },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16, .gso_type = 0x81,
		    .gso_size = 9, .hdr_len = 0xffff }, true },
	};
	struct test_frame f = { .tcp = true, .payload_bytes = 500 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rte_mbuf *m = test_frame_build(pools.small, &f);

		assert_int_equal(vnet_to_mbuf(&cases[i].h, m), cases[i].good);
		rte_pktmbuf_free(m);
	}
	for (uint32_t i = 0; i < 200000; i++) {
		struct rte_mbuf *m = test_frame_build(pools.small, &f);
		struct vnet_header h = { .flags = (uint8_t)rand(), .gso_type = (uint8_t)rand(),
					    .gso_size = (uint16_t)rand(),
					    .csum_start = (uint16_t)(i & 1 ? rand() : 34),
					    .csum_offset = (uint16_t)(rand() % 600) };
		struct outcome o;

		*rte_pktmbuf_mtod_offset(m, uint8_t *, rand() % 60) = (uint8_t)rand();
		if (vnet_to_mbuf(&h, m)) {
			finish(m, 0, 1522, &o);
			rte_pktmbuf_free_bulk(o.out, o.n);
		} else {
			rte_pktmbuf_free(m);
		}
	}
}

static void short_heads_are_pulled(void **state)
{
	struct rte_mbuf *m = NULL, *chain[3];
	uint8_t *want = malloc(300);

	for (int i = 0; i < 300; i++)
		want[i] = test_payload((uint32_t)i);
	for (int i = 0; i < 3; i++) {
		chain[i] = rte_pktmbuf_alloc(pools.small);
		memcpy(rte_pktmbuf_append(chain[i], 100), want + 100 * i, 100);
	}
	m = chain[0];
	rte_pktmbuf_chain(chain[1], chain[2]);
	rte_pktmbuf_chain(chain[0], chain[1]);
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_RSS_HASH;
	assert_false(port_head_contiguous(m));
	assert_int_equal(port_rx_fix(&m, 1, PORT_STATE_FLAGS), 1);
	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_RSS_HASH);
	assert_true(port_head_contiguous(m));
	assert_int_equal(m->data_len, PORT_HEADER_BYTES);
	assert_int_equal(rte_mbuf_check(m, 1, &(const char *){ NULL }), 0);
	for (uint32_t i = 0; i < 300; i++) {
		uint8_t byte;

		assert_int_equal(*(const uint8_t *)rte_pktmbuf_read(m, i, 1, &byte), want[i]);
	}
	free(want);
	rte_pktmbuf_refcnt_update(m, 1); // shared: may not be touched
	rte_pktmbuf_adj(m, 100);
	assert_int_equal(port_rx_fix(&m, 1, PORT_STATE_FLAGS), 0);
	rte_pktmbuf_free(chain[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_frames_pass_untouched),
		cmocka_unit_test(every_device_gets_what_it_takes),
		cmocka_unit_test(large_sends_go_whole_where_the_device_cuts),
		cmocka_unit_test(oversize_is_dropped),
		cmocka_unit_test(invalid_requests_are_dropped),
		cmocka_unit_test(header_checksum_alone),
		cmocka_unit_test(shared_frames_are_left_alone),
		cmocka_unit_test(shared_plain_frames_pass_where_allowed),
		cmocka_unit_test(jumbo_chains_are_made_flat),
		cmocka_unit_test(no_buffers_no_crash),
		cmocka_unit_test(full_output_is_taken_up_again),
		cmocka_unit_test(virtio_header_there_and_back),
		cmocka_unit_test(known_good_crosses),
		cmocka_unit_test(lying_virtio_headers),
		cmocka_unit_test(short_heads_are_pulled),
	};

	return cmocka_run_group_tests_name("transmit", tests, setup, teardown);
}
