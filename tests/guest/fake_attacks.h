// SPDX-License-Identifier: Apache-2.0
// What a hostile guest may try, one function a try. Each begins with a driver that is up, does its
// deed, and leaves things as they are; fake_attack_recover then brings the guest up again from the
// beginning, which must always work. What the host answers is checked where there is one answer.
#pragma once

#include "tests/guest/fake_driver.h"
#include "tests/guest/fake_vmm.h"

struct fake_attacker {
	struct fake_vmm *vmm;
	struct fake_driver *driver;
	uint32_t seed; // of the next random number
};

enum fake_attack_effect {
	FAKE_CHANNEL_DIES = 1 << 0, // the switch gives the channel up: it can know of the attack
};

struct fake_attack {
	const char *name;
	// Returns NULL, or what the host did that it must not do: a sentence.
	const char *(*run)(struct fake_attacker *attacker);
	unsigned int effect; // enum fake_attack_effect
};

// All of them, ended by one without a name: of channel messages; of rings; of NVSP and RNDIS.
extern const struct fake_attack fake_message_attacks[], fake_ring_attacks[], fake_nvsp_attacks[];

// The attack of that name, or NULL.
const struct fake_attack *fake_attack_find(const char *name);

// Resets the guest, by a new contact, and starts its driver again. Returns 0 or -errno.
int fake_attack_recover(struct fake_attacker *attacker);

// --- for the attacks themselves ----------------------------------------------------------------

uint32_t fake_attack_random(struct fake_attacker *attacker);

// Lets the host work for a while.
void fake_attack_settle(struct fake_attacker *attacker);

// Writes bytes as they are behind what stands in the ring to the host of channel 0, moves the write
// index by `moved`, and rings.
void fake_attack_raw(struct fake_attacker *attacker, const void *bytes, uint32_t n, uint32_t moved);

// Lets the host work until it has answered more packets than `before`, or for a while. True: it
// has.
bool fake_attack_answered(struct fake_attacker *attacker, uint64_t before);

static inline uint64_t fake_attack_n_answered(const struct fake_attacker *attacker)
{
	return attacker->driver->n_completed + attacker->driver->n_failed;
}

// True once channel 0 does not react any more: a packet that asks for a completion gets none.
bool fake_attack_is_dead(struct fake_attacker *attacker);
