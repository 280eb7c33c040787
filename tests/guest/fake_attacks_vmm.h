// SPDX-License-Identifier: Apache-2.0
// What a hostile VMM may try at the switch's socket: docs/vmbus-user.md, section 10. Each attack
// speaks vmbus-user by hand, over connections of its own.
#pragma once

#include "tests/guest/line.h"

struct fake_vmm_attack {
	const char *name;
	// Returns NULL, or what the switch did that it must not do.
	const char *(*run)(struct fake_intruder *intruder);
};

extern const struct fake_vmm_attack fake_vmm_attacks[]; // ended by one without a name

// Runs one, or "all", or names them ("list"); again for so many seconds, at least once. Prints a
// line each. Returns an exit code.
int fake_vmm_attacks_run(const char *path, const char *nic, const char *name, double seconds);
