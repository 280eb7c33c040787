// SPDX-License-Identifier: Apache-2.0
// VF association, by itself and through the control machine.
#include "netvsp/test_control_rig.h"

enum event {
	OFFER_5,
	OFFER_6,
	WITHDRAW,
	SPEAK,      // what is to be said is said, and published
	SAY,        // … and not published yet
	PUBLISH,
	TO_VF,      // the guest switches
	TO_SYNTHETIC,
	TO_NOWHERE,
	RESET,
};

#define UNAVAILABLE NETVSP_VF_UNAVAILABLE
#define OFFERED NETVSP_VF_OFFERED
#define SWITCHED NETVSP_VF_SWITCHED
#define RESTORING NETVSP_VF_RESTORING

// Each row goes on where the one before it stopped, until a name begins the next story.
static const struct {
	const char *name;
	enum event event;
	enum netvsp_vf_state state; // then
	int told;                   // by SPEAK and SAY: serial, -serial when taken away, 0: nothing
	bool moves;                 // by TO_…: frames have to move
	bool free;                  // whether the host may take what it does not offer
} rows[] = {
	{ "no VF", SPEAK, UNAVAILABLE, 0, false, true },
	{ NULL, TO_VF, UNAVAILABLE, 0, false, true },
	{ NULL, TO_SYNTHETIC, UNAVAILABLE, 0, false, true },
	{ NULL, WITHDRAW, UNAVAILABLE, 0, false, true },

	{ "there and back", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, TO_VF, UNAVAILABLE, 0, false, true }, // it cannot know
	{ NULL, SPEAK, OFFERED, 5, false, true },
	{ NULL, SPEAK, OFFERED, 0, false, true }, // once
	{ NULL, TO_NOWHERE, OFFERED, 0, false, true },
	{ NULL, TO_VF, SWITCHED, 0, true, true },
	{ NULL, TO_VF, SWITCHED, 0, false, true },
	{ NULL, TO_SYNTHETIC, OFFERED, 0, true, true },
	{ NULL, TO_VF, SWITCHED, 0, true, true },
	{ NULL, WITHDRAW, RESTORING, 0, false, false },
	{ NULL, SPEAK, RESTORING, -5, false, false },
	{ NULL, SPEAK, RESTORING, 0, false, false }, // waits for the guest
	{ NULL, TO_VF, RESTORING, 0, false, false },
	{ NULL, TO_SYNTHETIC, UNAVAILABLE, 0, true, true },
	{ NULL, OFFER_5, UNAVAILABLE, 0, false, true }, // the same serial again
	{ NULL, SPEAK, OFFERED, 5, false, true },

	{ "taken away unused", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, SPEAK, OFFERED, 5, false, true },
	{ NULL, WITHDRAW, RESTORING, 0, false, false },
	{ NULL, SPEAK, UNAVAILABLE, -5, false, true },

	{ "taken away before it was told", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, WITHDRAW, UNAVAILABLE, 0, false, true },
	{ NULL, SPEAK, UNAVAILABLE, 0, false, true },

	{ "taken away while it is told", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, SAY, OFFERED, 5, false, true },
	{ NULL, TO_VF, SWITCHED, 0, true, true }, // faster than we hear that it was told
	{ NULL, WITHDRAW, RESTORING, 0, false, false },
	{ NULL, PUBLISH, RESTORING, 0, false, false },
	{ NULL, SPEAK, RESTORING, -5, false, false },
	{ NULL, TO_SYNTHETIC, UNAVAILABLE, 0, true, true },

	{ "taken away while it is told, unused", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, SAY, OFFERED, 5, false, true },
	{ NULL, WITHDRAW, RESTORING, 0, false, false }, // the guest is about to know it
	{ NULL, PUBLISH, RESTORING, 0, false, false },
	{ NULL, SPEAK, UNAVAILABLE, -5, false, true },

	{ "gone before the guest looks", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, SPEAK, OFFERED, 5, false, true },
	{ NULL, WITHDRAW, RESTORING, 0, false, false },
	{ NULL, TO_VF, RESTORING, 0, false, false },
	{ NULL, SPEAK, UNAVAILABLE, -5, false, true },

	{ "another one", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, SPEAK, OFFERED, 5, false, true },
	{ NULL, TO_VF, SWITCHED, 0, true, true },
	{ NULL, OFFER_6, RESTORING, 0, false, false },
	{ NULL, SPEAK, RESTORING, -5, false, false },
	{ NULL, SPEAK, RESTORING, 0, false, false }, // not before the guest is back
	{ NULL, TO_SYNTHETIC, UNAVAILABLE, 0, true, true },
	{ NULL, SPEAK, OFFERED, 6, false, true },
	{ NULL, TO_VF, SWITCHED, 0, true, true },

	{ "opened again", OFFER_5, UNAVAILABLE, 0, false, true },
	{ NULL, SPEAK, OFFERED, 5, false, true },
	{ NULL, TO_VF, SWITCHED, 0, true, true },
	{ NULL, RESET, UNAVAILABLE, 0, false, true },
	{ NULL, TO_VF, UNAVAILABLE, 0, false, true }, // a driver that remembers its last life
	{ NULL, SPEAK, OFFERED, 5, false, true },
	{ NULL, TO_VF, SWITCHED, 0, true, true },
	{ NULL, WITHDRAW, RESTORING, 0, false, false },
	{ NULL, RESET, UNAVAILABLE, 0, false, true }, // closing ends all waiting
	{ NULL, SPEAK, UNAVAILABLE, 0, false, true },
};

static int say(struct netvsp_vf *vf, struct netvsp_vf_word *word)
{
	if (!netvsp_vf_next_word(vf, word))
		return 0;
	return word->allocated ? (int)word->serial : -(int)word->serial;
}

static void runs_the_stories(void **state)
{
	struct netvsp_vf vf = {};
	struct netvsp_vf_word word = {};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool moves = false;
		int told = 0;

		if (rows[i].name)
			vf = (struct netvsp_vf){};
		print_message("%zu %s\n", i, rows[i].name ?: "");
		switch (rows[i].event) {
		case OFFER_5: netvsp_vf_offer(&vf, 5); break;
		case OFFER_6: netvsp_vf_offer(&vf, 6); break;
		case WITHDRAW: netvsp_vf_withdraw(&vf); break;
		case SPEAK:
			told = say(&vf, &word);
			if (told)
				netvsp_vf_said(&vf, &word);
			break;
		case SAY: told = say(&vf, &word); break;
		case PUBLISH: netvsp_vf_said(&vf, &word); break;
		case TO_VF: moves = netvsp_vf_switch(&vf, NVSP_PATH_VF); break;
		case TO_SYNTHETIC: moves = netvsp_vf_switch(&vf, NVSP_PATH_SYNTHETIC); break;
		case TO_NOWHERE: moves = netvsp_vf_switch(&vf, 7); break;
		case RESET: netvsp_vf_reset(&vf); break;
		}
		assert_int_equal(netvsp_vf_state(&vf), rows[i].state);
		assert_int_equal(told, rows[i].told);
		assert_int_equal(moves, rows[i].moves);
		assert_int_equal(netvsp_vf_is_free(&vf), rows[i].free);
	}
}

// --- through the control machine ---------------------------------------------------------------

static void tells_of_vf(void **state)
{
	rig_init(NVSP_VERSION_6_1);
	rig_ndis(NDIS_VERSION_6_30);
	rig_buffers();
	netvsp_vf_offer(&rig.control.vf, 7);
	assert_false(rig_notice(1)); // DPDK waits for answers here and takes nothing else
	rig_initialize();
	assert_true(rig_notice(1));
	assert_false(rig.notice.in_section);
	assert_int_equal(rig.notice.bytes, 32);
	assert_int_equal(load_u32(rig.notice.data), NVSP_SEND_VF_ASSOCIATION);
	assert_int_equal(load_u32(rig.notice.data + 4), 1);
	assert_int_equal(load_u32(rig.notice.data + 8), 7);
	assert_false(rig_notice(1)); // one at a time
	netvsp_control_told(&rig.control);
	assert_false(rig_notice(1));
	netvsp_vf_withdraw(&rig.control.vf);
	assert_true(rig_notice(1));
	assert_int_equal(load_u32(rig.notice.data + 4), 0);
	assert_int_equal(load_u32(rig.notice.data + 8), 7);
	netvsp_control_told(&rig.control);
	assert_true(netvsp_vf_is_free(&rig.control.vf));
}

// Old protocols have no word for it, and not every guest wants one.
static void tells_only_who_can_hear(void **state)
{
	static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4 };

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		rig_open();
		rig_handshake(versions[i]);
		netvsp_vf_offer(&rig.control.vf, 7);
		assert_int_equal(rig_notice(1), versions[i] >= NVSP_VERSION_4);
	}
	rig_open();
	rig_handshake(NVSP_VERSION_6_1);
	rig.control.agreed.capabilities &= ~(uint64_t)NVSP_CAPABILITY_SRIOV;
	netvsp_vf_offer(&rig.control.vf, 7);
	assert_false(rig_notice(1));
}

// Each life of the channel hears of the same VF.
static void tells_again_after_open(void **state)
{
	netvsp_vf_offer(&rig.control.vf, 7);
	for (int life = 0; life < 3; life++) {
		rig_handshake(NVSP_VERSION_6_1);
		assert_true(rig_notice(1));
		assert_int_equal(load_u32(rig.notice.data + 8), 7);
		if (life == 1) // closed before it was published
			netvsp_control_reset(&rig.control);
		netvsp_control_told(&rig.control);
		assert_int_equal(rig.control.vf.told, life == 1 ? 0 : 7);
		netvsp_control_reset(&rig.control);
		netvsp_control_set_open(&rig.control, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_the_stories),
		cmocka_unit_test_setup(tells_of_vf, rig_set_up),
		cmocka_unit_test_setup(tells_only_who_can_hear, rig_set_up),
		cmocka_unit_test_setup(tells_again_after_open, rig_set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
