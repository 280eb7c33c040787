// SPDX-License-Identifier: Apache-2.0
// Unit tests of net/: layer search, checksums, segmentation. No EAL.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/csum.h"
#include "net/outer.h"
#include "net/segment.h"
#include "net/test_util.h"

static struct rte_mempool *small, *large;

static int setup(void **state)
{
	small = test_pool_create(256, TEST_SMALL_ROOM);
	large = test_pool_create(130, TEST_LARGE_ROOM);
	return 0;
}

static int teardown(void **state)
{
	test_pool_destroy(small);
	test_pool_destroy(large);
	return 0;
}

// Sums that carry once, twice, or end as all ones.
static void outer_checksum_is_the_sum_of_its_parts(void **state)
{
	static const uint16_t constants[] = { 0x0045, 0x8000, 0xfffe, 0xffff };

	for (uint32_t i = 0; i < ARRAY_SIZE(constants) * 65536; i++) {
		uint16_t constant = constants[i >> 16], total = (uint16_t)i;
		uint8_t tos = (uint8_t)(i * 7 >> 3);
		uint32_t sum = constant + (tos << 8);

		sum = (sum & 0xffff) + (sum >> 16) + total;
		sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal(outer_csum(constant, tos, (FORCE be16)total), (uint16_t)~sum);
	}
}

// Shapes that every test below goes through.
static const struct test_frame shapes[] = {
	{ .payload_bytes = 0 },
	{ .payload_bytes = 1 },
	{ .payload_bytes = 101, .n_tags = 1 },
	{ .payload_bytes = 1000, .n_tags = 2, .option_bytes = 8 },
	{ .payload_bytes = 1471, .split = 193 },
	{ .payload_bytes = 999, .split = 7 },
	{ .payload_bytes = 9, .padding_bytes = 9 },
	{ .payload_bytes = 33, .ipv6 = true },
	{ .payload_bytes = 1234, .ipv6 = true, .n_tags = 1, .option_bytes = 16, .split = 201 },
	{ .tcp = true },
	{ .tcp = true, .payload_bytes = 1, .tcp_options = 12, .padding_bytes = 3 },
	{ .tcp = true, .payload_bytes = 1447, .tcp_options = 12, .n_tags = 1, .split = 333 },
	{ .tcp = true, .payload_bytes = 8947, .ipv6 = true, .option_bytes = 24, .tcp_options = 40 },
};

static bool find(const struct rte_mbuf *m, struct layers *at)
{
	return layers_find(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, at);
}

static void layers_are_found(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct test_frame *f = &shapes[i];
		struct rte_mbuf *m = test_frame_build(small, f);
		struct layers at;

		assert_true(find(m, &at));
		assert_int_equal(at.l2_bytes, 14 + 4 * f->n_tags);
		assert_int_equal(at.l3_bytes, (f->ipv6 ? 40 : 20) + f->option_bytes);
		assert_int_equal(at.l4_bytes, f->tcp ? 20 + f->tcp_options : 8);
		assert_int_equal(at.payload_bytes, f->payload_bytes);
		assert_int_equal(at.ipv6, f->ipv6);
		rte_pktmbuf_free(m);
	}
}

// Every prefix of every shape: never read beyond it (AddressSanitizer), never accepted.
static void cut_frames_are_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct rte_mbuf *m = test_frame_build(small, &shapes[i]);
		uint32_t whole = m->pkt_len - shapes[i].padding_bytes;
		uint8_t *flat = test_flat(m);
		struct layers at;

		for (uint32_t len = 0; len < RTE_MIN(whole, 300u); len++) {
			uint8_t *prefix = malloc(len ? len : 1);

			memcpy(prefix, flat, len);
			assert_false(layers_find(prefix, len, len, &at));
			free(prefix);
		}
		free(flat);
		rte_pktmbuf_free(m);
	}
}

// One byte of a good frame changed so that it no longer is what a request may be about.
static void odd_frames_are_refused(void **state)
{
	static const struct {
		struct test_frame f;
		uint32_t offset;
		uint8_t value;
	} cases[] = {
		{ { .payload_bytes = 8 }, 12, 0x07 }, // EtherType
		{ { .payload_bytes = 8 }, 14, 0x55 }, // version
		{ { .payload_bytes = 8 }, 14, 0x44 }, // header length 16
		{ { .payload_bytes = 8 }, 17, 19 }, // total length below the header
		{ { .payload_bytes = 8 }, 17, 200 }, // beyond the frame
		{ { .payload_bytes = 8 }, 20, 0x20 }, // more fragments
		{ { .payload_bytes = 8 }, 21, 1 }, // fragment offset
		{ { .payload_bytes = 8 }, 23, 1 }, // ICMP
		{ { .payload_bytes = 8 }, 39, 8 }, // UDP length
		{ { .tcp = true }, 46, 0x40 }, // TCP header of 16 bytes
		{ { .tcp = true }, 46, 0xf0 }, // of 60, beyond the frame
		{ { .ipv6 = true }, 14, 0x40 }, // version
		{ { .ipv6 = true }, 20, 44 }, // fragment header
		{ { .ipv6 = true, .option_bytes = 8 }, 55, 200 }, // options beyond the frame
		{ { .ipv6 = true, .option_bytes = 8 }, 54, 60 }, // UDP read as options
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rte_mbuf *m = test_frame_build(small, &cases[i].f);
		struct layers at;

		assert_true(find(m, &at));
		*rte_pktmbuf_mtod_offset(m, uint8_t *, cases[i].offset) = cases[i].value;
		assert_false(find(m, &at));
		rte_pktmbuf_free(m);
	}
}

// A packet still on its way along a source route has another destination in its checksum.
static void routing_header_must_be_used_up(void **state)
{
	struct rte_mbuf *m =
		test_frame_build(small, &(struct test_frame){ .ipv6 = true, .option_bytes = 24 });
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
	struct layers at;

	frame[14 + 6] = 43;
	assert_true(find(m, &at));
	frame[14 + 40 + 3] = 1;
	assert_false(find(m, &at));
	rte_pktmbuf_free(m);
}

static void checksums_are_set(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct test_frame f = shapes[i];
		struct rte_mbuf *m;
		struct layers at;
		uint32_t payload;

		f.request = true; // leaves rubbish in the field
		m = test_frame_build(small, &f);
		assert_true(find(m, &at));
		csum_set_l4(m, &at);
		if (!f.ipv6) {
			store_u16(rte_pktmbuf_mtod_offset(m, uint8_t *, at.l2_bytes + 10), 0xbeef);
			csum_set_ipv4(rte_pktmbuf_mtod(m, uint8_t *), &at);
		}
		test_frame_check(m, &payload);
		assert_int_equal(payload, f.payload_bytes);
		rte_pktmbuf_free(m);
	}
}

// The field holds the pseudo header's sum, as a kernel leaves it.
static void partial_checksums_are_completed(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct rte_mbuf *m = test_frame_build(small, &shapes[i]);
		uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
		uint32_t payload, start;
		struct layers at;

		assert_true(find(m, &at));
		start = at.l2_bytes + at.l3_bytes;
		store_u16(frame + layers_csum_offset(&at), csum_fold(csum_pseudo(frame, &at)));
		assert_true(csum_complete(m, start, layers_csum_offset(&at) - start));
		test_frame_check(m, &payload);
		assert_false(csum_complete(m, start, m->data_len - start - 1));
		assert_false(csum_complete(m, m->pkt_len, 0));
		assert_false(csum_complete(m, 0xffff, 0xffff));
		rte_pktmbuf_free(m);
	}
}

// A UDP checksum that comes out as zero is sent as all ones.
static void udp_zero_becomes_ones(void **state)
{
	struct test_frame f = { .payload_bytes = 2 };
	struct rte_mbuf *m = test_frame_build(small, &f);
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
	struct layers at;

	assert_true(find(m, &at));
	// Put the checksum itself into the payload: the sum of all becomes zero.
	store_u16(frame + 42, 0);
	csum_set_l4(m, &at);
	store_u16(frame + 42, load_u16(frame + 40));
	csum_set_l4(m, &at);
	assert_int_equal(load_u16(frame + 40), 0xffff);
	rte_pktmbuf_free(m);
}

static void sums_do_not_mind_alignment(void **state)
{
	uint8_t bytes[600];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(rand() >> 4);
	for (uint32_t start = 0; start < 9; start++)
		for (uint32_t len = 0; len < 300; len++) {
			uint32_t slow = 0;

			for (uint32_t i = 0; i < len; i++)
				slow += i & 1 ? (uint32_t)bytes[start + i] << 8 : bytes[start + i];
			slow = (slow & 0xffff) + (slow >> 16);
			slow = (slow & 0xffff) + (slow >> 16);
			assert_int_equal(csum_fold(csum_add(0, bytes + start, len)), slow);
		}
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(csum_fold(csum_add(~0ull >> 16, bytes, sizeof(bytes))), 0xffff);
}

static void updates_equal_recomputation(void **state)
{
	for (int i = 0; i < 10000; i++) {
		uint16_t words[10];
		be16 csum, from;
		be32 from32;

		for (size_t w = 0; w < ARRAY_SIZE(words); w++)
			words[w] = (uint16_t)(i < 100 ? (rand() & 1 ? 0xffff : 0) : rand());
		csum = (FORCE be16)(uint16_t)~csum_fold(csum_add(0, words, sizeof(words)));
		from = (FORCE be16)words[3];
		from32 = load_be32(&words[6]);
		words[3] = (uint16_t)rand();
		words[6] = (uint16_t)rand();
		words[7] = (uint16_t)rand();
		csum = csum_update16(csum, from, (FORCE be16)words[3]);
		csum = csum_update32(csum, from32, load_be32(&words[6]));
		// Verified as a receiver does: with the checksum the sum is all ones (or nothing).
		assert_int_equal(
			(uint16_t)(csum_fold(csum_add((FORCE uint16_t)csum, words, sizeof(words))) +
				   1) & 0xfffe, 0);
	}
}

static uint32_t seq_of(const struct rte_mbuf *m, const struct layers *at)
{
	return be32_to_cpu(load_be32(
		rte_pktmbuf_mtod_offset(m, const uint8_t *, at->l2_bytes + at->l3_bytes + 4)));
}

// One segment: i-th of n, from `offset` of the payload on.
static void segment_check(struct rte_mbuf *m, const struct test_frame *f, uint32_t i, uint32_t n,
			  uint32_t offset)
{
	uint32_t want = RTE_MIN(f->mss, f->payload_bytes - offset), payload, at_payload;
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *), flags = f->tcp_flags;
	struct layers at;

	assert_int_equal(m->nb_segs, 1);
	assert_true(find(m, &at));
	assert_int_equal(m->l2_len, at.l2_bytes);
	assert_int_equal(m->l3_len, at.l3_bytes);
	assert_int_equal(m->l4_len, at.l4_bytes);
	if (!f->ipv6)
		csum_set_ipv4(frame, &at);
	csum_set_l4(m, &at);
	at_payload = test_frame_check(m, &payload);
	assert_int_equal(payload, want);
	assert_int_equal(at_payload + want, m->pkt_len);
	for (uint32_t b = 0; b < want; b++)
		assert_int_equal(frame[at_payload + b], test_payload(offset + b));
	if (!f->ipv6)
		assert_int_equal(be16_to_cpu(load_be16(frame + at.l2_bytes + 4)),
				 (uint16_t)(TEST_IP_ID + i));
	if (!f->tcp)
		return;
	assert_int_equal(seq_of(m, &at), TEST_SEQ + offset);
	if (i < n - 1)
		flags &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (i > 0)
		flags &= (uint8_t)~TCP_CWR;
	assert_int_equal(frame[at.l2_bytes + at.l3_bytes + 13], flags);
}

static void large_sends_are_cut(void **state)
{
	const uint8_t all = TCP_FIN | TCP_PSH | TCP_ACK | TCP_CWR | TCP_ECE;
	static const struct test_frame base[] = {
		{ .tcp = true, .tcp_options = 12, .payload_bytes = 60000, .mss = 1448 },
		{ .tcp = true, .ipv6 = true, .n_tags = 1, .payload_bytes = 65000, .mss = 1440 },
		{ .tcp = true, .ipv6 = true, .option_bytes = 8, .payload_bytes = 4321, .mss = 77,
		  .split = 51 },
		{ .tcp = true, .n_tags = 2, .payload_bytes = 62720, .mss = 8960 }, // no rest
		{ .tcp = true, .payload_bytes = 1449, .mss = 1448 },
		{ .payload_bytes = 65000, .mss = 1472, .n_tags = 1 },
		{ .payload_bytes = 1001, .mss = 13, .split = 100, .padding_bytes = 5 },
		{ .ipv6 = true, .option_bytes = 16, .payload_bytes = 30000, .mss = 1200 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(base); i++) {
		struct rte_mbuf *m, *out[SEGMENT_MAX];
		struct test_frame f = base[i];
		struct layers at;
		uint32_t n;

		f.request = true;
		f.tcp_flags = all;
		m = test_frame_build(small, &f);
		assert_true(find(m, &at));
		n = segment_count(&at, f.mss);
		assert_int_equal(n, (f.payload_bytes + f.mss - 1) / f.mss);
		assert_int_equal(segment_cut(m, &at, f.mss, large, out), n);
		rte_pktmbuf_free(m);
		for (uint32_t s = 0; s < n; s++) {
			segment_check(out[s], &f, s, n, s * f.mss);
			rte_pktmbuf_free(out[s]);
		}
	}
}

static void counts_are_bounded(void **state)
{
	struct layers at = { .payload_bytes = 65000 };

	assert_int_equal(segment_count(&at, 1), SEGMENT_MAX + 1);
	assert_int_equal(segment_count(&at, 65000 / SEGMENT_MAX), SEGMENT_MAX + 1);
	assert_int_equal(segment_count(&at, 65000 / SEGMENT_MAX + 1), SEGMENT_MAX);
	assert_int_equal(segment_count(&at, 65535), 1);
	at.payload_bytes = 0;
	assert_int_equal(segment_count(&at, 1), 1);
}

static void short_pool_takes_nothing(void **state)
{
	struct test_frame f = { .tcp = true, .payload_bytes = 10000, .mss = 100, .request = true };
	struct rte_mempool *tiny = test_pool_create(99, TEST_SMALL_ROOM);
	struct rte_mbuf *m = test_frame_build(small, &f), *out[SEGMENT_MAX];
	struct layers at;

	assert_true(find(m, &at));
	assert_int_equal(segment_cut(m, &at, 100, tiny, out), 0);
	assert_int_equal(test_pool_out(tiny), 0);
	rte_pktmbuf_free(m);
	test_pool_destroy(tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layers_are_found),
		cmocka_unit_test(cut_frames_are_refused),
		cmocka_unit_test(odd_frames_are_refused),
		cmocka_unit_test(routing_header_must_be_used_up),
		cmocka_unit_test(checksums_are_set),
		cmocka_unit_test(partial_checksums_are_completed),
		cmocka_unit_test(udp_zero_becomes_ones),
		cmocka_unit_test(sums_do_not_mind_alignment),
		cmocka_unit_test(outer_checksum_is_the_sum_of_its_parts),
		cmocka_unit_test(updates_equal_recomputation),
		cmocka_unit_test(large_sends_are_cut),
		cmocka_unit_test(counts_are_bounded),
		cmocka_unit_test(short_pool_takes_nothing),
	};

	return cmocka_run_group_tests_name("net", tests, setup, teardown);
}
