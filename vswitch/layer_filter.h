// SPDX-License-Identifier: Apache-2.0
// The filter layer: an ordered list of allow and deny rules over the 5-tuple. The first that
// matches decides; what none matches is allowed. A rule that names ports never matches a packet
// without them (later fragments, other protocols); a packet whose headers contradict themselves
// is dropped as InvalidPacket if any rule reads them.
#pragma once

#include "vswitch/layer.h"

struct filter_prefix {
	uint8_t version; // 4 or 6; 0: any address, both versions
	uint8_t bits;    // prefix length
	uint8_t addr[16];
};

struct filter_range {
	uint16_t first, last; // host order; 0 … 65535: any
};

struct filter_rule {
	uint32_t id;       // named in drop reports; ≥ 1
	int16_t protocol;  // 0 … 255, or -1: any
	bool allow;
	struct filter_prefix source, destination;
	struct filter_range source_ports, destination_ports;
};

extern const struct layer_ops layer_filter;

// Compiles rules[n], in order of evaluation (n ≤ 65536), copied. NULL when memory is short.
// Free with layer_filter.destroy. control.
void *filter_create(const struct filter_rule *rules, uint32_t n);
