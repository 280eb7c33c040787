// SPDX-License-Identifier: Apache-2.0
// A switch of four ports for tests, without threads, devices or EAL: a batch in, look who got what.
// After every test each frame must be accounted for.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/test_util.h"
#include "vswitch/vswitch.h"

#define RIG_PORTS 4
#define RIG_TSC_HZ 1000000000ull

struct rig {
	struct port_pools pools;
	struct rcu *rcu;
	struct vswitch *vs;
	struct pipeline *pipeline;
	struct worker_plan *plan;
	struct egress egress[RIG_PORTS]; // what leaves: looked at, never sent
	struct port_counters counters[RIG_PORTS];
	struct worker_out out;
	struct sw_switch_cfg sw;
	struct sw_port_cfg ports[RIG_PORTS]; // as rig_publish will configure them
	uint64_t now;    // TSC
	uint32_t n_sent; // frames taken off egress queues
};

extern struct rig *rig;
extern uint32_t rig_entries; // flows in each table of the next rig
extern struct reassembly *rig_reassembly; // for the next rig's pipeline, if not NULL
extern const struct mac broadcast;

int rig_set_up(void **state);
int rig_tear_down(void **state); // checks conservation
#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_set_up, rig_tear_down)

// Puts rig->sw and rig->ports in force; their policies move into the switch.
void rig_publish(void);

// A second passes: buckets are full again.
void rig_second(void);

// Frames: UDP over IPv4 with 40 bytes of payload unless described otherwise.
struct mac host(uint8_t n);
struct rte_mbuf *frame_with(const struct test_frame *f, struct mac src, struct mac dst);
struct rte_mbuf *frame(struct mac src, struct mac dst);
struct rte_mbuf *tagged(struct mac src, struct mac dst, uint16_t vid); // priority 5

// One frame in from `port`, and what was learnt taken in. What left before is forgotten.
void rig_send(uint16_t port, struct rte_mbuf *m);

// Takes what left off the egress queues and frees it.
void rig_forget(void);

// "12": exactly ports 1 and 2 got one frame each.
void expect_at(const char *ports);

uint64_t drops(uint16_t port, enum drop_dir dir, enum drop reason);

// The tag word of a frame: 0, or TAG_PRESENT | VID.
uint16_t tag_of(const struct rte_mbuf *m);
