// SPDX-License-Identifier: Apache-2.0
// RNDIS packets in messages that are cut anywhere into pieces, and packets whose numbers lie.
// Every piece is an allocation of its own, so that AddressSanitizer sees a byte too many.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "netvsp/test_rig.h"
#include "netvsp/rndis_data.h"

#define MTU_FRAME 1514u
#define MAX_PIECES 256

static struct rte_mempool *pool;
static uint8_t data[70000], message[140000];
static struct netvsp_frame frames[PORT_BATCH];

static int set_up(void **state)
{
	pool = test_pool_create(256, TEST_SMALL_ROOM);
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = test_payload(i);
	return 0;
}

static int tear_down(void **state)
{
	test_pool_destroy(pool);
	return 0;
}

// Cuts message[bytes] after each of cuts[n], rising; NULL for none. Returns the spans, to be
// freed by drop.
static struct netvsp_span *cut(uint32_t bytes, const uint32_t *cuts, uint32_t n)
{
	struct netvsp_span *spans = calloc(n + 2, sizeof(*spans));
	uint32_t at = 0, i = 0;

	for (uint32_t j = 0; j <= n; j++) {
		uint32_t end = cuts && j < n ? cuts[j] : bytes;
		uint8_t *copy;

		if (end <= at)
			continue;
		copy = malloc(end - at);
		memcpy(copy, message + at, end - at);
		spans[i++] = (struct netvsp_span){ copy, end - at };
		at = end;
	}
	return spans;
}

// Finds frames[*n] in it.
static int look(const struct netvsp_span *spans, uint32_t bytes, uint32_t max, uint32_t *n)
{
	const struct netvsp_message all = { spans, bytes };

	return netvsp_frames_find(&all, MTU_FRAME, max, frames, n);
}

static void drop(struct netvsp_span *spans)
{
	for (struct netvsp_span *span = spans; span->host; span++)
		free((void *)(uintptr_t)span->host);
	free(spans);
}

static void must_gather(const struct netvsp_frame *frame, uint32_t from, uint32_t bytes)
{
	struct rte_mbuf *mbufs[NETVSP_MAX_MBUFS], *m;
	uint8_t *flat;

	assert_int_equal(frame->bytes, bytes);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, mbufs, netvsp_frame_mbufs(bytes)), 0);
	m = netvsp_frame_gather(frame, mbufs);
	assert_int_equal(m->nb_segs, netvsp_frame_mbufs(bytes));
	assert_int_equal(rte_mbuf_check(m, 1, &(const char *){ NULL }), 0);
	flat = test_flat(m);
	assert_int_equal(m->pkt_len, bytes);
	assert_memory_equal(flat, data + from, bytes);
	free(flat);
	rte_pktmbuf_free(m);
}

static void a_message_may_be_cut_anywhere(void **state)
{
	const struct rig_frame first = {
		.data = data, .bytes = 60, .csum = 0x220003, .hash = 1, .align = true
	};
	const struct rig_frame second = {
		.data = data + 7, .bytes = 333, .vlan = 0x123, .lso = 0x50000100
	};
	uint32_t bytes = rig_rndis(message, &first), n;

	bytes += rig_rndis(message + bytes, &second);
	for (uint32_t a = 0; a <= bytes; a++) {
		for (uint32_t step = 0; step < 12; step++) {
			static const uint32_t steps[] = {
				0, 1, 2, 3, 4, 8, 44, 63, 64, 65, 127, 128
			};
			uint32_t cuts[2] = { a, a + steps[step] < bytes ? a + steps[step] : bytes };
			struct netvsp_span *spans = cut(bytes, cuts, 2);

			assert_int_equal(look(spans, bytes, PORT_BATCH, &n), 0);
			assert_int_equal(n, 2);
			assert_int_equal(frames[0].info, NETVSP_FRAME_CSUM);
			assert_int_equal(frames[0].csum, 0x220003);
			assert_int_equal(frames[1].info, NETVSP_FRAME_VLAN | NETVSP_FRAME_LSO);
			assert_int_equal(frames[1].vlan, 0x123);
			assert_int_equal(frames[1].lso, 0x50000100);
			must_gather(&frames[0], 0, 60);
			must_gather(&frames[1], 7, 333);
			drop(spans);
		}
	}
}

static void a_byte_a_piece_will_do(void **state)
{
	const struct rig_frame frame = {
		.data = data, .bytes = 100, .csum = 1, .vlan = 2, .hash = 3
	};
	uint32_t bytes = rig_rndis(message, &frame), cuts[MAX_PIECES], n;
	struct netvsp_span *spans;

	for (uint32_t i = 0; i < bytes; i++)
		cuts[i] = i + 1;
	spans = cut(bytes, cuts, bytes);
	assert_int_equal(look(spans, bytes, 1, &n), 0);
	must_gather(&frames[0], 0, 100);
	drop(spans);
}

static void frames_of_all_sizes(void **state)
{
	static const uint32_t sizes[] = { 14, 15, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 191,
					  192, 1514, 2047, 2048, 2049, 4095, 4096, 4097, 9014,
					  16384, 65535, 65557 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct rig_frame frame = { .data = data + i, .bytes = sizes[i],
						 .lso = 1u << 30 | 1000 };
		uint32_t bytes = rig_rndis(message, &frame), n;
		uint32_t cuts[] = { 44, bytes / 2 };
		struct netvsp_span *spans = cut(bytes, cuts, 2), *whole = cut(bytes, cuts, 0);

		assert_int_equal(look(spans, bytes, 1, &n), 0);
		must_gather(&frames[0], (uint32_t)i, sizes[i]);
		assert_int_equal(look(whole, bytes, 1, &n), 0);
		must_gather(&frames[0], (uint32_t)i, sizes[i]);
		drop(spans);
		drop(whole);
	}
}

// A message of a good packet of 128 bytes, with some numbers changed.
static const struct {
	const char *what;
	uint32_t at, value; // a 32-bit number and what it becomes
	bool is_fine;
} lies[] = {
	{ "nothing", 32, 32, true },
	{ "type: a control message", 0, RNDIS_QUERY, false },
	{ "type: 0", 0, 0, false },
	{ "length: longer than there is", 4, 137, false },
	{ "length: 2^32 - 1", 4, UINT32_MAX, false },
	{ "length: less than the header", 4, 43, false },
	{ "length: 0", 4, 0, false },
	{ "length: less than the data", 4, 135, false },
	{ "data: begins in the header", 8, 35, false },
	{ "data: ends behind the packet", 8, 77, false },
	{ "data: begins behind the packet", 8, 200, false },
	{ "data: offset wraps", 8, UINT32_MAX - 7, false },
	{ "data: 13 bytes", 12, 13, false },
	{ "data: 14 bytes", 12, 14, true },
	{ "data: too many bytes", 12, 61, false },
	{ "data: 2^32 - 1 bytes", 12, UINT32_MAX, false },
	{ "data: bytes wrap with the offset", 12, UINT32_MAX - 76, false },
	{ "out of band data", 20, 1, false },
	{ "a virtual circuit", 36, 1, false },
	{ "information: begins in the header", 28, 35, false },
	{ "information: behind the packet", 28, 100, false },
	{ "information: offset wraps", 28, UINT32_MAX - 7, false },
	{ "information: too long", 32, 93, false },
	{ "information: 2^32 - 1 bytes", 32, UINT32_MAX, false },
	{ "information: none", 32, 0, true },
	{ "information: cut short", 32, 31, false },
	{ "information: 11 bytes more are nobody's", 32, 43, true },
	{ "element: no bytes", 44, 0, false },
	{ "element: 11 bytes", 44, 11, false },
	{ "element: longer than all", 44, 33, false },
	{ "element: 2^32 - 1 bytes", 44, UINT32_MAX, false },
	{ "element: nobody knows it", 48, 77, true },
	{ "element: data in its header", 52, 11, false },
	{ "element: data behind it", 52, 17, false },
	{ "element: data cut off", 52, 13, false },
	{ "element: offset of 2^32 - 1", 52, UINT32_MAX, false },
};

static void lies_are_found(void **state)
{
	const struct rig_frame frame = { .data = data, .bytes = 60, .csum = 5, .vlan = 6 };

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint32_t bytes = rig_rndis(message, &frame), n;
		struct netvsp_span *spans;
		int ret;

		assert_int_equal(bytes, 136);
		memcpy(message + lies[i].at, &lies[i].value, 4);
		spans = cut(bytes, NULL, 0);
		ret = look(spans, bytes, PORT_BATCH, &n);
		if (ret != (lies[i].is_fine ? 0 : -EINVAL))
			fail_msg("%s: %d", lies[i].what, ret);
		assert_int_equal(n, lies[i].is_fine);
		drop(spans);
	}
}

static void too_long_frames_are_refused(void **state)
{
	struct rig_frame frame = { .data = data, .bytes = MTU_FRAME + 4 };
	uint32_t bytes = rig_rndis(message, &frame), n;
	struct netvsp_span *spans = cut(bytes, NULL, 0);

	assert_int_equal(look(spans, bytes, 1, &n), 0);
	drop(spans);
	frame.bytes++;
	bytes = rig_rndis(message, &frame);
	spans = cut(bytes, NULL, 0);
	assert_int_equal(look(spans, bytes, 1, &n), -EINVAL);
	drop(spans);
	frame.lso = 1u << 30 | 1;
	frame.bytes = 65558;
	bytes = rig_rndis(message, &frame);
	spans = cut(bytes, NULL, 0);
	assert_int_equal(look(spans, bytes, 1, &n), -EINVAL);
	drop(spans);
}

static void good_packets_before_a_bad_one_stand(void **state)
{
	const struct rig_frame frame = { .data = data, .bytes = 58, .align = true };
	uint32_t each = 0, n;
	struct netvsp_span *spans;

	for (uint32_t i = 0; i < 9; i++)
		each = rig_rndis(message + i * each, &frame);
	spans = cut(9 * each, NULL, 0);
	assert_int_equal(look(spans, 9 * each, 9, &n), 0);
	assert_int_equal(n, 9);
	assert_int_equal(look(spans, 9 * each, 8, &n), -EINVAL);
	assert_int_equal(n, 8);
	// The sender's padding, if it is not a header.
	for (uint32_t i = 1; i < each; i++) {
		int ret = look(spans, 8 * each + i, 9, &n);

		assert_int_equal(ret, i < 8 ? 0 : -EINVAL);
		assert_int_equal(n, 8);
	}
	drop(spans);
	// A packet whose length is no multiple of 8 must be the last.
	message[4 + each] = (uint8_t)(each - 1);
	spans = cut(9 * each, NULL, 0);
	assert_int_equal(look(spans, 9 * each, 9, &n), -EINVAL);
	assert_int_equal(n, 2);
	drop(spans);
}

static void much_information_is_read(void **state)
{
	// A header whose information ends at byte 512, and one that goes on.
	for (uint32_t extra = 0; extra < 2; extra++) {
		struct rndis_packet packet = { .header.type = cpu_to_le32(RNDIS_PACKET) };
		uint32_t ppi_bytes = 512 - 44 + extra * 4, bytes = 44 + ppi_bytes + 60, n;
		const uint32_t csum[] = { ppi_bytes - 400, 0, 12, 0x1234 };
		const uint32_t other[] = { 400, 999, 12, 0 };
		struct netvsp_span *spans;

		packet.header.bytes = cpu_to_le32(bytes);
		packet.data_offset = cpu_to_le32(44 + ppi_bytes - 8);
		packet.data_bytes = cpu_to_le32(60);
		packet.ppi_offset = cpu_to_le32(36);
		packet.ppi_bytes = cpu_to_le32(ppi_bytes);
		memcpy(message, &packet, sizeof(packet));
		memcpy(message + 44, other, sizeof(other));
		memcpy(message + 444, csum, sizeof(csum));
		memcpy(message + 44 + ppi_bytes, data, 60);
		for (uint32_t at = 0; at < 512; at += 50) {
			spans = cut(bytes, &at, 1);
			assert_int_equal(look(spans, bytes, 1, &n),
					 extra ? -EINVAL : 0);
			if (!extra) {
				assert_int_equal(frames[0].csum, 0x1234);
				must_gather(&frames[0], 0, 60);
			}
			drop(spans);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_may_be_cut_anywhere),
		cmocka_unit_test(a_byte_a_piece_will_do),
		cmocka_unit_test(frames_of_all_sizes),
		cmocka_unit_test(lies_are_found),
		cmocka_unit_test(too_long_frames_are_refused),
		cmocka_unit_test(good_packets_before_a_bad_one_stand),
		cmocka_unit_test(much_information_is_read),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
