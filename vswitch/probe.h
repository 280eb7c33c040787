// SPDX-License-Identifier: Apache-2.0
// Echo requests of control's own, by which it finds out whether a path carries packets: how they
// look, and how workers know the answers from those that others wait for. RFC 792, RFC 4443.
#pragma once

#include "vswitch/cache.h"

#define PROBE_MAX 16u         // under way at a time
#define PROBE_FRAME_MAX 9300u // bytes of a frame with a request

// Which answers control waits for. Each slot is one word, seen whole: the port that they come to
// (index), their id << 16, and PROBE_* bits. control: w, worker: r.
struct probe_table {
	uint64_t slots[PROBE_MAX];
};

#define PROBE_IN_USE (1ull << 32)
#define PROBE_GUEST (1ull << 33) // the port is a guest's; else an uplink

// What became of a request, as far as its answer says.
enum probe_answer { PROBE_REPLY, PROBE_UNREACHABLE, PROBE_TOO_BIG, PROBE_TTL };

// Does control wait for answers to guest port `port`? t may be NULL. worker.
static inline bool probe_watches(const struct probe_table *t, uint16_t port)
{
	for (uint32_t i = 0; t && i < PROBE_MAX; i++) {
		uint64_t slot = __atomic_load_n(&t->slots[i], __ATOMIC_RELAXED);

		if (slot & PROBE_GUEST && (uint16_t)slot == port)
			return true;
	}
	return false;
}

// May p, all of whose fields are filled in, be such an answer? worker.
bool probe_may_answer(const struct packet *p);

// Reports f->m to control and uses it up, if it is an answer that control waits for. guest: it is
// for a guest's port; else for a provider address. worker.
bool probe_take(const struct frame *f, bool guest);

// --- control -------------------------------------------------------------------------------------

// Reserves a slot for requests with this id. 0, -EEXIST the id is in use, or -ENOSPC.
int probe_begin(struct probe_table *t, uint16_t port, uint16_t id, bool guest);
void probe_end(struct probe_table *t, uint16_t id);

// A request. from and to are of one family.
struct probe_request {
	struct mac src, dst;
	uint16_t vid; // 0: untagged
	struct ip_address from, to;
	uint16_t id, sequence;
	uint32_t payload_bytes; // behind the ICMP header
};

// Writes the frame, with DF over IPv4, into frame[PROBE_FRAME_MAX]; returns its bytes, 0: it is
// larger than that.
uint32_t probe_build(const struct probe_request *r, uint8_t *frame);
