// SPDX-License-Identifier: Apache-2.0
// Values that configuration and the data path share: identifiers, VLAN sets, ranges, prefixes.
// control/ reads and prints them as text; whoever enforces them uses them as they are.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// A GUID in the order of its text: b[0] is the first byte printed. All zero: not given.
struct guid {
	uint8_t b[16];
};

// A set of VLAN IDs, one bit each; 1…4094 are in use. Empty: not given.
struct vlan_set {
	uint64_t bits[4096 / 64];
};

static inline bool vlan_set_has(const struct vlan_set *set, uint16_t vid)
{
	return set->bits[vid / 64 % 64] >> vid % 64 & 1;
}

static inline void vlan_set_add(struct vlan_set *set, uint16_t vid)
{
	set->bits[vid / 64 % 64] |= 1ULL << vid % 64;
}

// TCP or UDP ports first … last, both included. 0-0: not given.
struct port_range {
	uint16_t first, last;
};

// An address of either family; IPv4 uses the first four bytes of `b`, the rest is zero.
struct ip_address {
	uint8_t family; // 4 or 6; 0: none
	uint8_t b[16];  // wire order
};

// An address prefix. The bits behind `len` are zero. family 0: not given.
struct ip_prefix {
	uint8_t family;   // 4 or 6
	uint8_t len;      // bits, 0…32 or 0…128
	uint8_t addr[16]; // in wire order; IPv4 uses the first four
};
