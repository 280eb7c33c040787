// SPDX-License-Identifier: Apache-2.0
// The filter layer: an ordered list of allow and deny rules over the 5-tuple. The first that
// matches decides; what none matches is allowed. A rule that names ports never matches a packet
// without them (later fragments, other protocols); a packet whose headers contradict themselves
// is dropped as InvalidPacket if any rule reads them.
#pragma once

#include "base/values.h"
#include "vswitch/layer.h"

struct filter_rule {
	uint32_t id;       // named in drop reports; ≥ 1
	int16_t protocol;  // 0 … 255, or -1: any
	bool allow;
	struct ip_prefix source, destination;              // family 0: any address
	struct port_range source_ports, destination_ports; // 0-0: any port, or none
};

extern const struct layer_ops layer_filter;

// Compiles rules[n], in order of evaluation (n ≤ 65536), copied; padding in them must be zero.
// NULL when memory is short. Free with layer_filter.destroy. control.
void *filter_create(const struct filter_rule *rules, uint32_t n);
