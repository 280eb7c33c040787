// SPDX-License-Identifier: Apache-2.0
// How drivers come up and go: the whole switch side, from VMBus messages to frames, against drivers
// of every version and temper. In one thread (rig.h).
#include "tests/guest/rig.h"

#include <errno.h>

#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

#define GUEST (&rig.vms[0].vmm.guest)
#define DRIVER (&rig.vms[0].driver)

// --- as Linux does it --------------------------------------------------------------------------

static void linux_transcript(void **state)
{
	struct fake_channel *channel;

	rig_up(&(struct rig_cfg){ .no_boot = true, .vmm.n_vps = 2 });
	// 1, 2
	assert_int_equal(fake_guest_contact(GUEST, VMBUS_VERSION_IRON), 0);
	assert_int_not_equal(GUEST->connection, 0);
	// 3, 4
	assert_int_equal(fake_guest_request_offers(GUEST), 0);
	while (!fake_guest_nic(GUEST, 0, 0))
		rig_rounds(1);
	channel = fake_guest_nic(GUEST, 0, 0);
	assert_int_equal(GUEST->n_offers, 1);
	assert_memory_equal(channel->instance, rig_info(0).guid, 16);
	// 5, 6
	assert_int_equal(fake_driver_open(DRIVER), 0);
	assert_int_equal(channel->gpadl, 0xe1e10);
	// 7
	assert_int_equal(fake_driver_negotiate(DRIVER), 0);
	assert_int_equal(DRIVER->nvsp_version, NVSP_VERSION_6_1);
	assert_int_equal(fake_driver_configure(DRIVER), 0);
	assert_int_equal(fake_driver_share_buffers(DRIVER), 0);
	assert_int_equal(DRIVER->receive_gpadl, 0xe1e11);
	assert_int_equal(DRIVER->send_section_bytes, 6144);
	assert_int_equal(fake_driver_initialize(DRIVER), 0);
	assert_int_equal(DRIVER->max_packets, 8);
	assert_int_equal(DRIVER->align_shift, 3);
	assert_int_equal(fake_driver_query_all(DRIVER), 0);
	assert_memory_equal(DRIVER->mac, rig_mac(0).b, 6);
	assert_false(rig_info(0).ready);
	assert_int_equal(fake_driver_set_filter(DRIVER, 0xd), 0);
	assert_true(rig_info(0).ready);
	rig_check_traffic(0);
	// 9
	assert_int_equal(fake_channel_modify(channel, 1), 0);
	rig_check_traffic(0);
	// 10, 11
	assert_int_equal(fake_driver_stop(DRIVER), 0);
	assert_false(rig_info(0).ready);
	assert_int_equal(fake_guest_unload(GUEST), 0);
	assert_int_equal(GUEST->memory.n_used, 1 + 2); // the control page, two SIEFP pages
	rig_down();
}

static void every_vmbus_version(void **state)
{
	static const uint32_t versions[] = {
		VMBUS_VERSION_WIN8, VMBUS_VERSION_WIN8_1, VMBUS_VERSION_WIN10, VMBUS_VERSION_RS3,
		VMBUS_VERSION_RS3_1, VMBUS_VERSION_RS4, VMBUS_VERSION_RS5, VMBUS_VERSION_IRON,
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(versions); i++) {
		rig_up(&(struct rig_cfg){ .no_boot = true });
		while (!rig_info(0).attached)
			rig_rounds(1);
		assert_int_equal(fake_guest_contact(GUEST, versions[i]), 0);
		assert_int_equal(fake_guest_request_offers(GUEST), 0);
		while (!fake_guest_nic(GUEST, 0, 0))
			rig_rounds(1);
		assert_int_equal(fake_driver_start(DRIVER), 0);
		rig_check_traffic(0);
		assert_int_equal(fake_driver_stop(DRIVER), 0);
		assert_int_equal(fake_guest_unload(GUEST), 0);
		rig_down();
	}
}

static void every_nvsp_version(void **state)
{
	static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
					     NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_6_1 };

	for (uint32_t i = 0; i < ARRAY_SIZE(versions); i++) {
		rig_up(&(struct rig_cfg){ .driver = { .versions = &versions[i],
						      .n_versions = 1 } });
		assert_int_equal(rig_info(0).nvsp_version, versions[i]);
		rig_check_traffic(0);
		rig_down();
	}
}

static void unknown_nvsp_versions_are_refused(void **state)
{
	static const uint32_t versions[] = { 0xffffffff, 0x60002, 0x30003, 0, NVSP_VERSION_4 };

	rig_up(&(struct rig_cfg){ .driver = { .versions = versions, .n_versions = 5 } });
	assert_int_equal(rig_info(0).nvsp_version, NVSP_VERSION_4);
	rig_check_traffic(0);
	rig_down();
}

// --- drivers of other tempers ------------------------------------------------------------------

static void any_setup(void **state)
{
	static const struct {
		const char *name;
		struct rig_cfg cfg;
	} setups[] = {
		{ "no send buffer", { .driver.no_send_buffer = true } },
		{ "scattered pages", { .vmm.memory_flags = FAKE_MEMORY_SCATTERED } },
		{ "rings of odd sizes", { .driver.rings = { 3, 5, 0 } } },
		{ "smallest rings", { .driver.rings = { 2, 2, 0 } } },
		{ "small buffers", { .driver = { .receive_pages = 32, .send_pages = 2 } } },
		{ "big buffers", { .driver = { .receive_pages = 4096, .send_pages = 1024 } } },
		{ "ids", { .driver = { .receive_id = 7, .send_id = 0xface } } },
		{ "like DPDK", { .driver = { .control_id = 0, .tx_id = 0x7f1200000040,
					     .send_id = 0xface, .polls = true,
					     .capabilities = NVSP_CAPABILITY_SRIOV |
							     NVSP_CAPABILITY_8021Q } } },
		{ "ids that look negative", { .driver = { .control_id = UINT64_MAX,
							  .tx_id = 1ull << 63 } } },
		{ "no interrupts", { .driver = { .polls = true,
						 .rings.vp = VMBUS_NO_INTERRUPT } } },
		{ "another VP", { .vmm.n_vps = 64, .driver.rings.vp = 63 } },
		{ "doorbells by call", { .vmm.call = true } },
		{ "monitor page", { .vmm.monitor = true } },
		{ "jumbo frames", { .sw.mtu = 9000, .driver.mtu = 9014 } },
		{ "no DIRECT, no STATE", { .vmm = { .call = true,
						    .features = VMBUS_USER_SUBCHANNELS } } },
		{ "switch polls", { .sw.polls = true } },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(setups); i++) {
		print_message("%s\n", setups[i].name);
		rig_up(&setups[i].cfg);
		for (uint32_t n = 0; n < 20; n++)
			rig_check_traffic(0);
		assert_int_equal(fake_driver_stop(DRIVER), 0);
		assert_int_equal(fake_guest_unload(GUEST), 0);
		rig_down();
	}
}

// A buffer that cannot be used is refused; the guest may offer another one.
static void useless_receive_buffers_are_refused(void **state)
{
	rig_up(&(struct rig_cfg){ .no_start = true, .driver.receive_pages = 2 });
	assert_int_equal(fake_driver_open(DRIVER), 0);
	assert_int_equal(fake_driver_negotiate(DRIVER), 0);
	assert_int_equal(fake_driver_configure(DRIVER), 0);
	assert_int_equal(fake_driver_share_buffers(DRIVER), -EREMOTEIO);
	assert_int_equal(fake_driver_unshare(DRIVER), 0);
	fake_buffer_fini(&DRIVER->receive, &GUEST->memory);
	DRIVER->cfg.receive_pages = 256;
	assert_int_equal(fake_driver_share_buffers(DRIVER), 0);
	assert_int_equal(fake_driver_initialize(DRIVER), 0);
	assert_int_equal(fake_driver_set_filter(DRIVER, 0xd), 0);
	rig_check_traffic(0);
	rig_down();
}

// Whatever comes too early is refused or ignored, and what is due works afterwards.
static void nothing_works_out_of_order(void **state)
{
	struct nvsp_buffer buffer = { cpu_to_le32(NVSP_SEND_RECV_BUF), cpu_to_le32(0xe1e11),
				      cpu_to_le16(0xcafe) };

	rig_up(&(struct rig_cfg){ .no_start = true });
	assert_int_equal(fake_driver_open(DRIVER), 0);
	assert_int_equal(fake_driver_nvsp(DRIVER, &buffer, sizeof(buffer), true), 0);
	assert_int_not_equal(load_u32(DRIVER->completion + 4), NVSP_STATUS_SUCCESS);
	assert_int_equal(fake_driver_initialize(DRIVER), -EREMOTEIO);
	assert_int_equal(fake_driver_negotiate(DRIVER), 0);
	assert_int_equal(fake_driver_initialize(DRIVER), -EREMOTEIO);
	// From version 2 on the MTU comes before the buffer.
	assert_int_equal(fake_driver_share_buffers(DRIVER), -EREMOTEIO);
	assert_int_equal(fake_driver_unshare(DRIVER), 0);
	fake_buffer_fini(&DRIVER->receive, &GUEST->memory);
	assert_int_equal(fake_driver_configure(DRIVER), 0);
	assert_int_equal(fake_driver_share_buffers(DRIVER), 0);
	assert_int_equal(fake_driver_initialize(DRIVER), 0);
	assert_int_equal(fake_driver_set_filter(DRIVER, 0xd), 0);
	rig_check_traffic(0);
	rig_down();
}

// --- RNDIS control -----------------------------------------------------------------------------

static void every_oid_has_a_value(void **state)
{
	uint32_t oids[256], bytes = sizeof(oids), status;
	uint8_t value[512];

	rig_up(NULL);
	assert_int_equal(fake_driver_query(DRIVER, NDIS_OID_GEN_SUPPORTED_LIST, oids, &bytes,
					   &status), 0);
	assert_in_range(bytes / 4, 30, 255);
	for (uint32_t i = 0; i < bytes / 4; i++) {
		uint32_t n = sizeof(value);

		// Those that can only be set are in the list as well.
		if (fake_driver_query(DRIVER, oids[i], value, &n, &status) < 0)
			assert_int_equal(status, RNDIS_STATUS_NOT_SUPPORTED);
	}
	bytes = sizeof(value);
	assert_int_equal(fake_driver_query(DRIVER, 0x12345678, value, &bytes, &status),
			 -EREMOTEIO);
	assert_int_equal(status, RNDIS_STATUS_NOT_SUPPORTED);
	assert_int_equal(fake_driver_set(DRIVER, 0x12345678, value, 4, &status), -EREMOTEIO);
	assert_int_equal(status, RNDIS_STATUS_NOT_SUPPORTED);
	bytes = sizeof(value);
	assert_int_equal(fake_driver_query(DRIVER, NDIS_OID_GEN_MAC_OPTIONS, value, &bytes,
					   &status), 0);
	assert_int_equal(load_u32(value), 0x24d);
	rig_check_traffic(0);
	rig_down();
}

static void packet_filter_holds_frames_back(void **state)
{
	uint32_t number;

	rig_up(NULL);
	rig_check_traffic(0);
	assert_int_equal(fake_driver_set_filter(DRIVER, 0), 0);
	number = rig_inject(0, 60);
	rig_rounds(50);
	assert_false(rig_has(0, number));
	assert_int_equal(fake_driver_set_filter(DRIVER, NDIS_FILTER_DIRECTED), 0);
	rig_check_traffic(0);
	rig_down();
}

static void keepalive_reset_halt(void **state)
{
	const struct rndis_request reset = { .header = { cpu_to_le32(RNDIS_RESET),
							 cpu_to_le32(sizeof(reset)) } };

	rig_up(NULL);
	assert_int_equal(fake_driver_keepalive(DRIVER), 0);
	assert_int_equal(fake_driver_rndis(DRIVER, &reset, sizeof(reset),
					   RNDIS_ANSWER | RNDIS_RESET), 0);
	assert_int_equal(load_u32(DRIVER->answer + 8), RNDIS_STATUS_SUCCESS);
	rig_check_traffic(0);
	assert_int_equal(fake_driver_halt(DRIVER), 0);
	assert_false(rig_info(0).ready);
	assert_int_equal(fake_driver_initialize(DRIVER), 0);
	assert_int_equal(fake_driver_set_filter(DRIVER, 0xd), 0);
	rig_check_traffic(0);
	rig_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linux_transcript),
		cmocka_unit_test(every_vmbus_version),
		cmocka_unit_test(every_nvsp_version),
		cmocka_unit_test(unknown_nvsp_versions_are_refused),
		cmocka_unit_test(any_setup),
		cmocka_unit_test(useless_receive_buffers_are_refused),
		cmocka_unit_test(nothing_works_out_of_order),
		cmocka_unit_test(every_oid_has_a_value),
		cmocka_unit_test(packet_filter_holds_frames_back),
		cmocka_unit_test(keepalive_reset_halt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
