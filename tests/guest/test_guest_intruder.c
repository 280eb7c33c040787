// SPDX-License-Identifier: Apache-2.0
// Every attack of fake_attacks_vmm.h, beside a good guest: its frames go through after each, every
// frame is accounted for, and a good VMM can attach where the intruder was. One thread (rig.h).
#include "tests/guest/rig.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/guest/fake_attacks_vmm.h"

static uint32_t n_pumps;

// Frames for both keep coming.
static bool pump_with_frames(void *ctx)
{
	if (++n_pumps % 64 == 0) {
		rig_inject(1, 60);
		rig_expect(0, rig_inject(0, 60));
	}
	if (n_pumps % 512 == 0)
		fake_switch_forget_wire(&rig.sw);
	rig.next %= RIG_MAX_SEEN / 2; // numbers begin again: forget those seen
	if (rig.next == 0)
		memset(rig.vms[0].seen, 0, sizeof(rig.vms[0].seen));
	return rig_pump(ctx);
}

static void attack(void **state)
{
	const struct fake_vmm_attack *what = *state;
	struct fake_intruder intruder = {
		.path = rig_path(), .nic = rig_name(1), .pump = pump_with_frames, .seed = 1
	};
	const char *wrong;

	rig_up(&(struct rig_cfg){ .n_vms = 1, .sw.n_ports = 2 });
	rig_check_traffic(0);
	wrong = what->run(&intruder);
	if (wrong)
		fail_msg("%s", wrong);
	rig_rounds(50);
	fake_switch_forget_wire(&rig.sw);
	rig_check_traffic(0);
	assert_false(rig_info(1).attached);
	rig_down();
}

// With an argument: that attack alone.
int main(int argc, char **argv)
{
	struct CMUnitTest tests[64];
	size_t n = 0;

	for (const struct fake_vmm_attack *what = fake_vmm_attacks; what->name; what++)
		if (argc < 2 || !strcmp(argv[1], what->name))
			tests[n++] = (struct CMUnitTest){ what->name, attack, NULL, NULL,
							  (void *)(uintptr_t)what };
	return _cmocka_run_group_tests("intruder", tests, n, NULL, NULL);
}
