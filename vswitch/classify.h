// SPDX-License-Identifier: Apache-2.0
// The slow path's judgement, without any cache: snapshot + FDB + packet → what to do with every
// packet of this flow. Pure but for reading the FDB; pipeline.c caches what comes out.
#pragma once

#include "vswitch/fdb.h"
#include "vswitch/snapshot.h"

enum op {
	OP_NONE,    // no program: a free entry
	OP_FORWARD, // to the port that the destination's FDB slot says
	OP_PROBE,   // the same, but for answers that control waits for (probe.h)
	OP_FLOOD,   // to every other member of the domain
	OP_DROP,
	OP_LOOKUP,  // level 2 decides; `fields` are read
	OP_ROUTE,   // into another subnet: to whom the destination's FDB slot says, by its MAC
	OP_ANSWER,  // by ourselves
};

// OP_ANSWER: what it may be. Each frame is judged by itself.
enum answer {
	ANSWER_ARP,         // asks for a customer address
	ANSWER_LOOK,        // ARP of a learning subnet: looked at, then forwarded
	ANSWER_SOLICIT,     // the same by ND
	ANSWER_GATEWAY,     // to the subnet's gateway itself
	ANSWER_UNREACHABLE, // for a customer address that leads nowhere: `reason` says why
	ANSWER_PROVIDER,    // to one of our provider addresses
	ANSWER_UNDERLAY,    // ARP or ND on an underlay; what does not concern us is flooded
};

// How the frames of a flow carry their VLAN when they arrive.
enum tag_form { TAG_NONE, TAG_VID, TAG_PRIORITY /* VID 0: only a priority */ };

struct decision {
	enum op op;
	enum tag_form form;
	uint8_t fields;      // OP_LOOKUP: enum packet_field
	uint16_t fid;        // domain, 0 when the frame died before it had one
	bool unknown;        // OP_FLOOD: for want of the destination's MAC
	bool learn;          // the source MAC is not known to be on this port, or way
	uint16_t to_fid;     // OP_ROUTE: domain of the destination
	uint32_t vsid;       // if it leaves by a way: virtual subnet there; 0: it must not
	int16_t flow_id;     // NVGRE's FlowID there, -1: from the inner packet
	enum answer answer;  // OP_ANSWER
	struct verdict verdict; // OP_ANSWER: its reason, if the frame dies in the end
	uint32_t dest;       // FDB slot, 0: none
	struct fdb_where where; // what the slot said
};

// Decides for p, which came from `port`. With `deep` false only the Ethernet header of *p is
// filled, and OP_LOOKUP may come out; with true, never. Sets p->vid. worker.
void classify(const struct snapshot *snap, const struct fdb *fdb, const struct sw_port *port,
	      struct packet *p, bool deep, struct decision *d);

// May a flooded p leave by `to`? Runs the out layers of one member. worker.
void classify_flood_copy(const struct sw_port *to, const struct packet *p, struct verdict *v);
