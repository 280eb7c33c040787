// SPDX-License-Identifier: Apache-2.0
// What the host says unasked, and what few guests ask for: link indications, a VF beside the NIC,
// coalesced frames (RSC). One thread (rig.h).
#include "tests/guest/rig.h"

#include <rte_mbuf.h>

#include <unistd.h>

#include "net/test_util.h"
#include "netvsp/ndis.h"
#include "netvsp/nic_parts.h"
#include "netvsp/nvsp.h"

#define DRIVER (&rig.vms[0].driver)

static struct netvsp_nic *nic(void) { return port_netvsp_nic(rig.sw.ports[0].dev); }

// For what has to wait for a clock. Fails after half a minute.
static void wait_long(bool (*done)(void *arg), void *arg)
{
	for (uint32_t i = 0; i < 30000 && !done(arg); i++) {
		rig_pump(NULL);
		usleep(1000);
	}
	assert_true(done(arg));
}

// --- link --------------------------------------------------------------------------------------

static bool is_down(void *arg) { return DRIVER->n_disconnects == 1; }
static bool is_up(void *arg) { return DRIVER->n_connects == 1; }

static void set_link(bool up)
{
	netvsp_control_set_link(&nic()->control, up, 10000000000);
	nic_notice_look(nic());
}

static void link_goes_and_comes(void **state)
{
	rig_up(NULL);
	set_link(false);
	wait_long(is_down, NULL);
	set_link(true);
	rig_check_traffic(0); // meanwhile: guests take one such word in two seconds
	assert_int_equal(DRIVER->n_connects, 0);
	wait_long(is_up, NULL);
	assert_int_equal(DRIVER->n_disconnects, 1);
	rig_down();
}

static bool is_not_connected(void *arg)
{
	struct port_link link;

	rig.sw.ports[0].dev->ops->link(rig.sw.ports[0].dev, &link);
	return !link.up && strstr(link.reason, "not connected");
}

static bool is_connected(void *arg) { return rig_info(0).ready; }

// As a user changes it: the port is opened anew, and the guest stays.
static void configure(bool disconnected, uint32_t link_mbps)
{
	rig.sw.cfg.disconnected = disconnected;
	rig.sw.cfg.link_mbps = link_mbps;
	fake_switch_close(&rig.sw, 0);
	assert_int_equal(fake_switch_open(&rig.sw, 0), 0);
}

// The cable is taken out, and put in again.
static void port_is_disconnected(void **state)
{
	struct port_link link;

	rig_up(NULL);
	rig_check_traffic(0);
	configure(true, 0);
	wait_long(is_down, NULL);
	rig_wait(is_not_connected, NULL);
	rig_inject(0, 60);
	rig_rounds(50);
	assert_int_equal(DRIVER->n_connects, 0);
	configure(false, 2500);
	wait_long(is_up, NULL);
	rig_wait(is_connected, NULL);
	rig.sw.ports[0].dev->ops->link(rig.sw.ports[0].dev, &link);
	assert_int_equal(link.speed_mbps, 2500);
	rig_check_traffic(0);
	rig_down();
}

// Down and up within that time: nothing is said.
static void link_that_flaps_is_not_told(void **state)
{
	rig_up(NULL);
	set_link(false);
	wait_long(is_down, NULL);
	for (uint32_t i = 0; i < 50; i++) {
		set_link(true);
		rig_rounds(5);
		set_link(false);
		rig_rounds(5);
	}
	assert_int_equal(DRIVER->n_disconnects + DRIVER->n_connects, 1);
	rig_down();
}

// A guest that woke up elsewhere is told to renew its addresses.
static bool has_renewed(void *arg) { return DRIVER->n_changes == 1; }

static void moved_guests_renew_their_addresses(void **state)
{
	rig_up(NULL);
	assert_int_equal(fake_vmm_migrate(&rig.vms[0].vmm, NULL), 0);
	wait_long(has_renewed, NULL);
	rig_check_traffic(0);
	rig_down();
}

// --- VF ----------------------------------------------------------------------------------------

static bool knows_vf(void *arg) { return DRIVER->vf_allocated == 1; }
static bool has_lost_vf(void *arg) { return DRIVER->n_vf > 1 && DRIVER->vf_allocated == 0; }

static void frames_move_to_the_vf_and_back(void **state)
{
	uint32_t number;

	rig_up(&(struct rig_cfg){ .driver.capabilities = NVSP_CAPABILITY_SRIOV |
							 NVSP_CAPABILITY_8021Q });
	rig_check_traffic(0);
	netvsp_vf_offer(&nic()->control.vf, 7);
	nic_notice_look(nic());
	rig_wait(knows_vf, NULL);
	assert_int_equal(DRIVER->vf_serial, 7);
	assert_int_equal(netvsp_vf_state(&nic()->control.vf), NETVSP_VF_OFFERED);
	rig_check_traffic(0); // not before the guest says so

	assert_int_equal(fake_driver_switch_path(DRIVER, true), 0);
	assert_int_equal(netvsp_vf_state(&nic()->control.vf), NETVSP_VF_SWITCHED);
	number = rig_inject(0, 60);
	rig_rounds(20);
	assert_false(rig_has(0, number));

	netvsp_vf_withdraw(&nic()->control.vf);
	assert_false(netvsp_vf_is_free(&nic()->control.vf)); // its driver holds it
	nic_notice_look(nic());
	rig_wait(has_lost_vf, NULL);
	assert_int_equal(fake_driver_switch_path(DRIVER, false), 0);
	assert_true(netvsp_vf_is_free(&nic()->control.vf));
	rig_check_traffic(0);
	rig_down();
}

// Nobody has offered one; a guest that is too old hears of none.
static void vf_that_is_not_there(void **state)
{
	static const uint32_t old = NVSP_VERSION_2;

	rig_up(NULL);
	assert_int_equal(fake_driver_switch_path(DRIVER, true), 0); // it is answered
	rig_check_traffic(0);
	rig_down();
	rig_up(&(struct rig_cfg){ .driver = { .versions = &old, .n_versions = 1 } });
	netvsp_vf_offer(&nic()->control.vf, 7);
	nic_notice_look(nic());
	rig_rounds(50);
	assert_int_equal(DRIVER->n_vf, 0);
	rig_check_traffic(0);
	rig_down();
}

// --- RSC ---------------------------------------------------------------------------------------

// A large TCP send as another guest makes it. Returns frames that the device took.
static uint16_t give_large(uint32_t payload)
{
	const struct test_frame described = {
		.tcp = true, .payload_bytes = payload, .request = true, .mss = 1460
	};
	struct rte_mbuf *m = test_frame_build(rig.sw.pools.small, &described);
	struct port_queue *q = rig.sw.ports[0].dev->queues[0];
	uint16_t n = q->dev->ops->tx(q, &m, 1);

	if (!n)
		rte_pktmbuf_free(m);
	return n;
}

static void rig_up_rsc(bool host, bool guest)
{
	rig_up(&(struct rig_cfg){ .no_start = true, .sw.rsc = host,
				  .driver.capabilities = NVSP_CAPABILITY_8021Q |
							 (guest ? NVSP_CAPABILITY_RSC : 0) });
	assert_int_equal(fake_driver_start(DRIVER), 0);
	rig_check_traffic(0);
}

static void large_frames_come_in_pieces(void **state)
{
	static const uint32_t payloads[] = { 1, 1460, 1461, 3000, 9000, 20000, 60000 };

	rig_up_rsc(true, true);
	assert_true(rig.sw.ports[0].dev->offloads & PORT_OFFLOAD_TSO);
	for (uint32_t i = 0; i < ARRAY_SIZE(payloads); i++) {
		uint64_t n = DRIVER->n_frames;
		uint32_t bytes = 14 + 20 + 20 + payloads[i];

		assert_int_equal(give_large(payloads[i]), 1);
		rig_rounds(10);
		assert_int_equal(DRIVER->n_frames, n + 1);
		assert_int_equal(rig.vms[0].last.n_bytes, bytes);
		assert_int_equal(rig.vms[0].last.n_pieces, (bytes + 1513) / 1514);
		for (uint32_t b = 0; b < payloads[i]; b++)
			assert_int_equal(rig.vms[0].last_bytes[54 + b], test_payload(b));
		rig_check_traffic(0);
	}
	rig_down();
}

// Unless both sides want it, a large send is not the device's to take.
static void pieces_only_if_both_want_them(void **state)
{
	for (uint32_t i = 0; i < 3; i++) {
		rig_up_rsc(i & 1, i & 2);
		assert_false(rig.sw.ports[0].dev->offloads & PORT_OFFLOAD_TSO);
		assert_int_equal(give_large(9000), 0);
		rig_check_traffic(0);
		rig_down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(link_goes_and_comes),
		cmocka_unit_test(port_is_disconnected),
		cmocka_unit_test(link_that_flaps_is_not_told),
		cmocka_unit_test(moved_guests_renew_their_addresses),
		cmocka_unit_test(frames_move_to_the_vf_and_back),
		cmocka_unit_test(vf_that_is_not_there),
		cmocka_unit_test(large_frames_come_in_pieces),
		cmocka_unit_test(pieces_only_if_both_want_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
