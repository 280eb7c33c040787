// SPDX-License-Identifier: Apache-2.0
// A stream of test frames: which flows, in which order, and the bytes of each frame.
//
// Side 0 is 02:00:00:xx:xx:xx with 10.1.x.x and talks to side 1, 02:00:10:xx:xx:xx with 10.2.x.x,
// so a port with side=1 answers a port with side=0. Every flow number has a UDP 5-tuple of its own;
// its MAC pair follows from `macs`, `dmacs` and `mix`. Frame sizes are without FCS.
// Pure: no EAL, no I/O. Used by the generator (preload.c) and by weft-bench.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/types.h"

#define BENCH_HEAD_BYTES 128 // longest run of headers, and how much a frame's room must hold
#define BENCH_ORDER_ENTRIES (1u << 20) // least length of a shuffled order

enum bench_order {
	BENCH_ORDER_SEQ,  // 0, 1, 2, …
	BENCH_ORDER_RAND, // shuffled once; each flow equally often
	BENCH_ORDER_ZIPF, // flow i with probability in proportion to 1/(i+1)
};

enum bench_encap { BENCH_ENCAP_NONE, BENCH_ENCAP_VXLAN, BENCH_ENCAP_NVGRE };

// What a stream is made of; docs/bench.md lists the words that set it.
struct bench_spec {
	char port[32];    // name of the ethdev that it feeds
	uint32_t size;    // bytes of a frame, of the inner one with encap: 60…9600
	uint32_t flows;   // distinct 5-tuples, 1…16 Mi
	uint32_t macs;    // distinct source MACs
	uint32_t dmacs;   // distinct destination MACs; 0: as many as macs
	uint32_t mix;     // 1: any source with any destination; 0: pair i with i
	uint32_t order;   // enum bench_order
	uint32_t side;    // 0 or 1
	uint32_t vlan;    // first VLAN id, 0: untagged
	uint32_t vlans;   // number of VLAN ids
	uint32_t encap;   // enum bench_encap
	uint32_t vni;     // first VNI or VSID
	uint32_t vnis;    // number of them
	uint32_t oside;   // outer side: 192.168.100.(1+oside) sends to 192.168.100.(2-oside)
	uint32_t flowid;  // NVGRE: 1 puts entropy into the FlowID, 0 leaves it zero
	uint32_t hold;    // send the first so many of the order only, until released; 0: all
	uint32_t rate;    // frames a second, 0: as many as are asked for
	uint32_t depth;   // frames that wait in an emulated descriptor ring, 0 or a power of two
	uint32_t offload; // 1: RSS hash and checksums-good flags, as a NIC sets them
	char odmac[18];   // outer destination MAC, text
	char dump[128];   // pcap file for the first frames sent to the port; empty: none
};

struct bench_stream {
	struct bench_spec spec;
	uint8_t head[BENCH_HEAD_BYTES] CACHE_ALIGNED; // headers of flow 0
	uint32_t head_bytes;                          // of `head` in use
	uint32_t frame_bytes;                         // of a frame, outer headers included
	uint32_t inner;                               // offset of the inner Ethernet header
	uint32_t ip;                                  // offset of the inner IPv4 header
	uint32_t ip_sum;        // one's complement sum of that header without addresses' low halves
	uint32_t *order;        // order[order_entries]: flow numbers; NULL with BENCH_ORDER_SEQ
	uint32_t order_entries; // a multiple of spec.flows with BENCH_ORDER_RAND
};

// Reads one "PORT:word=value,word=value…" (ends at NUL or ';') into *spec.
// Returns 0, or -EINVAL with a sentence that names the word and its range.
int bench_spec_parse(const char *text, struct bench_spec *spec, struct err *err);

// Prepares a stream. Returns 0, or -ENOMEM; bench_stream_fini frees what it holds.
int bench_stream_init(struct bench_stream *s, const struct bench_spec *spec);
void bench_stream_fini(struct bench_stream *s);

// The flow number at place *cursor (0 at first), and moves the cursor on, round before `end`
// (1…s->order_entries). One thread a cursor.
static inline uint32_t bench_stream_next(const struct bench_stream *s, uint32_t *cursor,
					 uint32_t end)
{
	uint32_t at = *cursor;

	*cursor = at + 1 >= end ? 0 : at + 1;
	return s->order ? s->order[at] : at;
}

// Writes the headers of a flow's frame; the payload is left as it is. frame has room for
// BENCH_HEAD_BYTES. Returns the hash that a NIC would deliver with it. Any thread.
uint32_t bench_stream_write(const struct bench_stream *s, uint32_t flow, uint8_t *frame);

// Writes an ARP request of the outer sender for the outer receiver into frame[BENCH_HEAD_BYTES]:
// who sends to it must get to know its MAC. Returns the frame's bytes. For streams with encap.
uint32_t bench_stream_ask(const struct bench_stream *s, uint8_t *frame);
