// SPDX-License-Identifier: Apache-2.0
// Just enough of an IPv4 host to be pinged, and to ping: ARP and ICMP echo.
#pragma once

#include "base/types.h"

struct fake_answers {
	struct mac mac;
	uint32_t address; // network order in memory, as every address here; 0: none

	uint32_t target; // to be pinged, 0: nobody
	uint64_t count;  // answers wanted
	struct mac target_mac;
	bool knows_target;
	double last; // when something was sent, seconds
	uint16_t sequence;

	uint64_t n_answered; // requests
	uint64_t n_pongs;    // answers to ours
};

// Takes a frame. Returns the bytes of the answer in reply[], 0: there is none to give.
uint32_t fake_answers_take(struct fake_answers *answers, const uint8_t *frame, uint32_t bytes,
			   uint8_t *reply);

// Sends what is due at `now`, in seconds. Returns how many.
uint32_t fake_answers_tick(struct fake_answers *answers, double now,
			   bool (*send)(const uint8_t *frame, uint32_t bytes, uint32_t vlan,
					uint32_t channel),
			   uint32_t vlan);

// An address in text, 0 if it is none.
uint32_t fake_answers_address(const char *text);
