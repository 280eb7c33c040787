// SPDX-License-Identifier: Apache-2.0
// Sub-channels, RSS, and where events go: 1 to 64 channels of one NIC. One thread (rig.h).
#include "tests/guest/rig.h"

#include <rte_mbuf.h>

#include <errno.h>

#include "net/test_util.h"
#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

#define GUEST (&rig.vms[0].vmm.guest)
#define DRIVER (&rig.vms[0].driver)

static struct rig_cfg with(uint32_t n_channels)
{
	return (struct rig_cfg){
		.sw.n_queues = (uint16_t)n_channels,
		.vmm = { .n_pages = 16384, .n_vps = 8 },
		.driver = { .n_subchannels = n_channels - 1, .rings = { 8, 8, 0 },
			    .receive_pages = 1024 },
	};
}

// TCP frames of many flows from the wire.
static void inject_flows(uint32_t n)
{
	const struct test_frame described = { .tcp = true, .payload_bytes = 30 };

	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = test_frame_build(rig.sw.pools.small, &described);
		uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);

		memcpy(frame, rig_mac(0).b, 6);
		frame[34] = (uint8_t)(i >> 8); // source port
		frame[35] = (uint8_t)i;
		fake_switch_inject(&rig.sw, FAKE_WIRE, m);
		if (i % 16 == 15)
			rig_rounds(2);
	}
	rig_rounds(10);
}

static void any_number_of_channels(void **state)
{
	static const uint32_t numbers[] = { 1, 2, 3, 8, 64 };

	for (uint32_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct rig_cfg cfg = with(numbers[i]);

		rig_up(&cfg);
		assert_int_equal(DRIVER->n_channels, numbers[i]);
		assert_int_equal(rig_info(0).n_channels, numbers[i]);
		rig_check_traffic(0);
		for (uint32_t channel = 0; channel < numbers[i]; channel++) {
			uint8_t frame[100];
			const struct fake_packet packet = { frame, sizeof(frame), 0, 0, 0, 0, 0 };
			const struct fake_tx tx = {
				.channel = channel, .form = FAKE_SECTION, .packets = &packet, .n = 1
			};
			uint32_t number =
				rig_frame(frame, sizeof(frame), rig_wire_mac(), rig_mac(0));

			assert_int_equal(fake_driver_put(DRIVER, &tx), 0);
			assert_int_equal(fake_driver_flush(DRIVER), 0);
			rig_expect_wire(number);
		}
		assert_int_equal(fake_driver_stop(DRIVER), 0);
		assert_int_equal(fake_guest_unload(GUEST), 0);
		rig_down();
	}
}

static void table_is_told_once_all_are_open(void **state)
{
	struct rig_cfg cfg = with(4);
	bool used[4] = { false };

	rig_up(&cfg);
	for (uint32_t i = 0; i < 1000 && !DRIVER->n_tables; i++)
		rig_rounds(1);
	assert_int_equal(DRIVER->n_tables, 1);
	for (uint32_t i = 0; i < 16; i++)
		used[DRIVER->table[i]] = true; // the driver has checked that it is below 4
	for (uint32_t i = 0; i < 4; i++)
		assert_true(used[i]);
	rig_down();
}

static void requests_beyond_what_there_is(void **state)
{
	struct rig_cfg cfg = with(4);

	cfg.driver.n_subchannels = 0;
	rig_up(&cfg);
	assert_int_equal(fake_driver_add_subchannels(DRIVER, 64), -EREMOTEIO);
	assert_int_equal(fake_driver_add_subchannels(DRIVER, 4), -EREMOTEIO); // = max
	assert_int_equal(fake_driver_add_subchannels(DRIVER, 3), 3);
	rig_check_traffic(0);
	rig_down();
}

// Frames spread over the channels that the table names, and over no others.
static void rss_spreads_frames(void **state)
{
	static const uint32_t tables[][4] = { { 0, 1, 2, 3 }, { 1, 1, 1, 1 }, { 2, 3, 2, 3 } };
	struct rig_cfg cfg = with(4);

	rig_up(&cfg);
	rig_check_traffic(0);
	for (uint32_t t = 0; t < ARRAY_SIZE(tables); t++) {
		uint64_t n[4];

		assert_int_equal(fake_driver_set_rss(DRIVER, tables[t], 4), 0);
		memset(rig.vms[0].n_by_channel, 0, sizeof(rig.vms[0].n_by_channel));
		inject_flows(800);
		memcpy(n, rig.vms[0].n_by_channel, sizeof(n));
		assert_int_equal(n[0] + n[1] + n[2] + n[3], 800);
		for (uint32_t c = 0; c < 4; c++) {
			uint32_t share = 0;

			for (uint32_t i = 0; i < 4; i++)
				share += tables[t][i] == c;
			assert_in_range(n[c], share * 100, share * 300);
		}
	}
	// Off: all to channel 0. Off twice does no harm.
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(fake_driver_set_rss(DRIVER, NULL, 0), 0);
		memset(rig.vms[0].n_by_channel, 0, sizeof(rig.vms[0].n_by_channel));
		inject_flows(100);
		assert_int_equal(rig.vms[0].n_by_channel[0], 100);
	}
	rig_down();
}

static void flows_keep_their_channel(void **state)
{
	static const uint32_t table[] = { 0, 1, 2, 3 };
	struct rig_cfg cfg = with(4);
	uint64_t n[4];

	rig_up(&cfg);
	assert_int_equal(fake_driver_set_rss(DRIVER, table, 4), 0);
	inject_flows(100);
	memcpy(n, rig.vms[0].n_by_channel, sizeof(n));
	inject_flows(100);
	for (uint32_t c = 0; c < 4; c++)
		assert_int_equal(rig.vms[0].n_by_channel[c], 2 * n[c]);
	rig_down();
}

// The table that counts is that of the open channels: a closed sub-channel gets nothing.
static void closing_a_subchannel(void **state)
{
	static const uint32_t table[] = { 0, 1, 2, 3 };
	struct rig_cfg cfg = with(4);
	struct fake_channel *last;

	rig_up(&cfg);
	rig_check_traffic(0);
	assert_int_equal(fake_driver_set_rss(DRIVER, table, 4), 0);
	last = DRIVER->channels[--DRIVER->n_channels];
	assert_int_equal(fake_channel_close(last), 0);
	memset(rig.vms[0].n_by_channel, 0, sizeof(rig.vms[0].n_by_channel));
	inject_flows(400);
	rig_check_traffic(0);
	assert_int_equal(rig.vms[0].n_by_channel[3], 0);
	// It may come back.
	assert_int_equal(fake_driver_open_channel(DRIVER, 3), 0);
	inject_flows(400);
	rig_check_traffic(0);
	rig_down();
}

// The primary goes first: the sub-channels go with it.
static void closing_the_primary_first(void **state)
{
	struct rig_cfg cfg = with(3);

	rig_up(&cfg);
	rig_check_traffic(0);
	fake_driver_set_filter(DRIVER, 0);
	rig.vms[0].started = false;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(fake_channel_close(DRIVER->channels[i]), 0);
	DRIVER->n_channels = 0;
	assert_int_equal(rig_info(0).n_channels, 0);
	rig_drop();
}

// --- where events go ---------------------------------------------------------------------------

static void events_follow_the_vp(void **state)
{
	struct rig_cfg cfg = with(4);

	rig_up(&cfg);
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t c = i % 4;

		assert_int_equal(fake_channel_modify(DRIVER->channels[c], (i * 5) % 8), 0);
		rig_check_traffic(0);
	}
	rig_down();
}

static void events_follow_the_page(void **state)
{
	rig_up(&(struct rig_cfg){ .vmm.n_vps = 2 });
	for (uint32_t i = 0; i < 50; i++) {
		rig_inject(0, 60); // perhaps rung on the old page
		assert_int_equal(fake_vmm_move_synic(&rig.vms[0].vmm, 0), 0);
		rig_check_traffic(0);
	}
	rig_down();
}

static void masked_events_come_later(void **state)
{
	uint32_t number;

	rig_up(NULL);
	rig_check_traffic(0);
	assert_int_equal(fake_vmm_mask(&rig.vms[0].vmm, 0, true), 0);
	number = rig_inject(0, 60);
	rig_rounds(50);
	assert_false(rig_has(0, number));
	assert_int_equal(fake_vmm_mask(&rig.vms[0].vmm, 0, false), 0);
	rig_expect(0, number);
	rig_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_number_of_channels),
		cmocka_unit_test(table_is_told_once_all_are_open),
		cmocka_unit_test(requests_beyond_what_there_is),
		cmocka_unit_test(rss_spreads_frames),
		cmocka_unit_test(flows_keep_their_channel),
		cmocka_unit_test(closing_a_subchannel),
		cmocka_unit_test(closing_the_primary_first),
		cmocka_unit_test(events_follow_the_vp),
		cmocka_unit_test(events_follow_the_page),
		cmocka_unit_test(masked_events_come_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
