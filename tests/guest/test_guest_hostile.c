// SPDX-License-Identifier: Apache-2.0
// Every attack of fake_attacks.h, by a guest beside another one. After each, the other guest's
// frames go through, every frame is accounted for, the attacker can begin anew, and no memory has
// grown that it could make grow again. In one thread (rig.h).
#include "tests/guest/rig.h"

#include <malloc.h>
#include <stdio.h>

#include "tests/guest/fake_attacks.h"

#define BAD 0
#define GOOD 1

// Frames for the attacker keep coming while it attacks, and for its neighbour.
static uint32_t n_pumps;

static bool pump_with_frames(void *ctx)
{
	if (++n_pumps % 8 == 0)
		rig_inject(BAD, 60 + n_pumps % 1400);
	if (n_pumps % 64 == 0)
		rig_expect(GOOD, rig_inject(GOOD, 60));
	if (n_pumps % 512 == 0)
		fake_switch_forget_wire(&rig.sw);
	rig.next %= RIG_MAX_SEEN / 2; // numbers begin again: forget those seen
	if (rig.next == 0)
		for (uint32_t i = 0; i < rig.n_vms; i++)
			memset(rig.vms[i].seen, 0, sizeof(rig.vms[i].seen));
	return rig_pump(ctx);
}

static void begin(void)
{
	const struct rig_cfg cfg = { .n_vms = 2, .vmm = { .n_vps = 4, .max_rounds = 300 } };

	rig_up(&cfg);
	rig_check_traffic(GOOD);
	rig_check_traffic(BAD);
	rig.vms[BAD].started = false; // it is polled by the attack alone
	rig.vms[BAD].driver.cfg.receive = NULL; // frames may be anything
	rig.vms[BAD].vmm.cfg.pump = pump_with_frames;
	rig.vms[GOOD].vmm.guest.max_rounds = 10000;
	n_pumps = 0;
}

static void end(void)
{
	const char *complaint = fake_guest_complaint(&rig.vms[GOOD].vmm.guest);

	if (complaint)
		fail_msg("the neighbour: %s", complaint);
	rig_drop();
}

static void attack(void **state)
{
	const struct fake_attack *what = *state;
	struct fake_attacker attacker = { .seed = 1 };
	size_t before = 0;

	begin();
	attacker.vmm = &rig.vms[BAD].vmm;
	attacker.driver = &rig.vms[BAD].driver;
	for (uint32_t round = 0; round < 3; round++) {
		const char *wrong = what->run(&attacker);

		if (wrong)
			fail_msg("%s", wrong);
		fake_switch_forget_wire(&rig.sw);
		rig_check_traffic(GOOD);
		assert_int_equal(fake_attack_recover(&attacker), 0);
		fake_attack_settle(&attacker);
		// What it cost is given back: a third time costs no more than two.
		if (round == 2)
			assert_in_range(mallinfo2().uordblks, 0, before + (1 << 20));
		before = mallinfo2().uordblks;
	}
	if (what->effect & FAKE_CHANNEL_DIES)
		assert_true(rig.sw.n_events[NETVSP_CHANNEL_FAILED] > 0);
	rig.vms[BAD].started = true;
	fake_switch_forget_wire(&rig.sw);
	rig_expect_wire(rig_send(BAD, 100));
	end();
}

// With an argument: that attack alone.
int main(int argc, char **argv)
{
	static const struct fake_attack *const tables[] = { fake_message_attacks,
							    fake_ring_attacks, fake_nvsp_attacks };
	struct CMUnitTest tests[128];
	size_t n = 0;
	for (uint32_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct fake_attack *what = tables[t]; what->name; what++)
			if (argc < 2 || !strcmp(argv[1], what->name))
				tests[n++] = (struct CMUnitTest){ what->name, attack, NULL, NULL,
								  (void *)(uintptr_t)what };
	return _cmocka_run_group_tests("hostile guest", tests, n, NULL, NULL);
}
