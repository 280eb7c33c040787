// SPDX-License-Identifier: Apache-2.0
// Frames are written and recognised, and whatever is done to one is seen.
#include "tests/pmd/frame.h"
#include "tests/pmd/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/csum.h"
#include "net/layers.h"

#define MAX_BYTES 9014

static const struct frame_claims check_all = { .check_fill = true };

static const struct {
	const char *name;
	struct frame_cfg cfg;
} kinds[] = {
	{ "udp4", { .sender = 3, .fill = true } },
	{ "udp6", { .sender = 200, .ipv6 = true, .fill = true } },
	{ "tcp4", { .sender = 1, .tcp = true, .fill = true } },
	{ "tcp6", { .sender = 1, .tcp = true, .ipv6 = true, .fill = true } },
	{ "many MACs", { .n_macs = 1000, .fill = true } },
};

static uint8_t frame[MAX_BYTES];

static void frames_are_recognised(void **)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct frame_cfg *cfg = &kinds[i].cfg;

		for (uint32_t bytes = frame_min_bytes(cfg); bytes <= MAX_BYTES; bytes += 61) {
			struct frame_place place = { bytes * 7 % FRAME_MAX_FLOWS, bytes * 977, 5 };
			struct frame_seen seen;

			frame_write(cfg, &place, bytes, frame);
			assert_int_equal(frame_check(frame, bytes, check_all, &seen), FRAME_OURS);
			assert_int_equal(seen.sender, cfg->sender);
			assert_int_equal(seen.place.flow, place.flow);
			assert_int_equal(seen.place.number, place.number);
			assert_int_equal(seen.tcp, cfg->tcp);
			if (!cfg->tcp)
				assert_int_equal(seen.place.queue, 5);
		}
	}
}

// Any changed byte behind the Ethernet header, and any missing one, is noticed.
static void damage_is_seen(void **)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct frame_cfg *cfg = &kinds[i].cfg;
		struct frame_place place = { 77, 123456, 0 };
		struct frame_seen seen;

		frame_write(cfg, &place, 200, frame);
		for (uint32_t at = sizeof(struct eth_header); at < 200; at++) {
			// What no checksum covers: ports of UDP over IPv4, that goes without;
			// class, flow label and hop limit of IPv6.
			bool bare = cfg->ipv6 ? at < 18 || at == 21 :
						!cfg->tcp && at >= 34 && at < 38;

			frame[at] ^= 0x40;
			if (!bare && frame_check(frame, 200, check_all, &seen) == FRAME_OURS)
				fail_msg("%s: byte %u changed, not seen", kinds[i].name, at);
			frame[at] ^= 0x40;
		}
		assert_int_not_equal(frame_check(frame, 199, check_all, &seen), FRAME_OURS);
		assert_int_equal(frame_check(frame, 200, check_all, &seen), FRAME_OURS);
	}
}

// With offloads the fields hold what a NIC goes on from; a claim that all is well is believed.
static void offloads_leave_work(void **)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame_claims good = { .ip_good = true, .l4_good = true, .check_fill = true };
		struct frame_cfg cfg = kinds[i].cfg;
		struct frame_place place = { 1, 2, 0 };
		struct frame_seen seen;
		struct layers at;
		uint64_t sum;
		uint16_t field;

		cfg.offload_csum = true;
		frame_write(&cfg, &place, 300, frame);
		assert_int_equal(frame_check(frame, 300, check_all, &seen), FRAME_BAD_CSUM);
		assert_int_equal(frame_check(frame, 300, good, &seen), FRAME_OURS);

		// The NIC's part: sum from the L4 header on, the field as it stands included.
		assert_true(layers_find(frame, 300, 300, &at));
		sum = csum_add(0, frame + at.l2_bytes + at.l3_bytes,
			       (size_t)at.l4_bytes + at.payload_bytes);
		field = (uint16_t)~csum_fold(sum);
		memcpy(frame + layers_csum_offset(&at), &field, sizeof(field));
		if (!at.ipv6)
			csum_set_ipv4(frame, &at);
		assert_int_equal(frame_check(frame, 300, check_all, &seen), FRAME_OURS);
	}
}

// A frame of another flow is one that frame_write might have written, but for its tag.
static void flows_are_changed(void **)
{
	const struct frame_cfg cfg = { .sender = 9, .fill = true };
	static uint8_t other[200];

	for (uint32_t flow = 0; flow < FRAME_MAX_FLOWS; flow += 997) {
		struct frame_place place = { 12345, 7, 0 }, other_place = { flow, 7, 0 };

		frame_write(&cfg, &place, sizeof(other), frame);
		frame_write(&cfg, &other_place, sizeof(other), other);
		frame_set_flow(frame, flow);
		assert_memory_equal(frame, other, frame_header_bytes(&cfg));
	}
}

static void books_are_kept(void **)
{
	struct ledger l;

	assert_int_equal(ledger_init(&l, 4), 0);
	for (uint32_t n = 0; n < 200; n++)
		if (n != 100 && n != 150)
			ledger_frame(&l, 2, n);
	assert_int_equal(ledger_seen(&l), 198);
	assert_int_equal(ledger_missing(&l), 2);
	assert_int_equal(l.n_twice + l.n_late + l.n_stale, 0);
	ledger_frame(&l, 2, 150); // late, and then missing no more
	assert_int_equal(l.n_late, 1);
	assert_int_equal(ledger_missing(&l), 1);
	ledger_frame(&l, 2, 150);
	ledger_frame(&l, 2, 199);
	assert_int_equal(l.n_twice, 2);
	ledger_frame(&l, 2, 100);
	assert_int_equal(l.n_stale, 1);
	ledger_frame(&l, 2, 262); // a gap as long as what is remembered
	ledger_frame(&l, 2, 199);
	assert_int_equal(l.n_twice, 3);
	ledger_fini(&l);

	assert_int_equal(ledger_init(&l, 1), 0);
	ledger_stream(&l, 0, 0, 1000);
	ledger_stream(&l, 0, 1000, 500);
	assert_int_equal(l.n_holes, 0);
	ledger_stream(&l, 0, 1600, 400);
	assert_int_equal(l.n_holes, 1);
	ledger_stream(&l, 0, 1500, 100);
	assert_int_equal(l.n_late, 1);
	assert_int_equal(ledger_missing(&l), 0);
	ledger_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_recognised),
		cmocka_unit_test(damage_is_seen),
		cmocka_unit_test(offloads_leave_work),
		cmocka_unit_test(flows_are_changed),
		cmocka_unit_test(books_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
