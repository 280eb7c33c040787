// SPDX-License-Identifier: Apache-2.0
// A layer: one step of a port's policy. Every port has an ordered list of layers for frames that
// come in from it, and one for frames that go out to it.
//
// Layers run on a flow's first packet only, in classify.c. Each says beforehand which header
// fields it will read; if it reads none beyond Ethernet, the verdict is good for every packet
// between two MACs and costs one look-up, else one look-up more, however many rules it has.
// To add a layer: one file with its ops, and one line in compile.c where ports get their lists.
#pragma once

#include "dataplane/drop.h"
#include "net/key.h"

// What classification decided, growing from layer to layer.
struct verdict {
	enum drop reason;  // DROP_NONE: goes on
	enum drop_dir dir; // DROP_TX: a layer of the destination port did it
	uint8_t layer;     // position of the layer that dropped it, 1 …; 0: the switch itself
	uint32_t rule;     // id of the rule that did it, 0: none
};

struct layer_ops {
	const char *name; // "filter": in drop reports

	// Fields (enum packet_field) that classify may read of an IP packet with these MACs.
	// Pure. worker.
	uint8_t (*reads)(const void *policy, const struct packet *p);

	// Judges the packet; sets v->reason and v->rule to drop it. Only fields that `reads`
	// named are valid beyond the Ethernet header. Pure. worker.
	void (*classify)(const void *policy, const struct packet *p, struct verdict *v);

	// Two policies that judge every packet alike? control.
	bool (*equal)(const void *a, const void *b);

	// control, after the grace period.
	void (*destroy)(void *policy);
};

// A layer in a port's list.
struct layer {
	const struct layer_ops *ops;
	void *policy; // owned by the port
};

#define LAYER_MAX 8 // of one port and direction
