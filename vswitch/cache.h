// SPDX-License-Identifier: Apache-2.0
// One worker's memory of decisions: the flow tables of both levels, the programs they share, and
// what a miss costs: classification, the miss budget, reports of new MACs. pipeline.c looks up,
// cache.c does everything that is not a hit. One thread (worker) but where stated.
#pragma once

#include "base/err.h"
#include "net/parse.h"
#include "vswitch/fdb.h"
#include "vswitch/flow.h"
#include "vswitch/program.h"
#include "vswitch/snapshot.h"

struct rte_ring;
struct reassembly;

enum learn_kind {
	LEARN_MAC,      // (fid, mac) is behind `port`, a port or a way; the FDB says otherwise
	LEARN_CUSTOMER, // the same, and has this customer address (learning subnets)
	LEARN_PEER,     // this provider address sent to subnet `fid` by `encap` over uplink `port`
	LEARN_UNDERLAY, // this address of an underlay has that MAC, on uplink `port`
	LEARN_ECHO,     // an answer to a request of control's, see probe.h
	LEARN_UNKNOWN,  // somebody on `port` in subnet `fid` wants this unknown customer address
};

// What a worker saw and control may want to know. Worker → control.
struct learn_report {
	uint8_t kind;   // enum learn_kind
	uint8_t encap;  // enum hnv_encap; LEARN_ECHO: enum probe_answer
	uint16_t fid, port;
	union {
		struct mac mac;
		struct { // LEARN_ECHO
			uint16_t id, sequence;
			uint16_t mtu; // PROBE_TOO_BIG
		} echo;
	};
	uint32_t tick; // of the frame
	struct ip_address address;
};
static_assert(sizeof(struct learn_report) == 36);

// How reports reach control: a ring, and a doorbell that is rung when control asked for it.
struct learn_queue {
	struct rte_ring *ring; // of struct learn_report; this worker produces
	int event_fd;          // control's
	bool armed;            // control: sets before it sleeps, worker: clears when it rings
};

// A rate per second, spent one by one; a burst of one second's worth passes.
struct token_bucket {
	uint64_t tokens, stamp;
};

enum { LEVEL1, LEVEL2, LEVEL2_V6, N_LEVELS };

// worker: w, control: r (relaxed).
struct cache_stats {
	uint64_t misses[N_LEVELS]; // flows set up
	uint64_t stale;    // hits that were resolved anew because something changed
	uint64_t uncached; // decided for one packet only: the table was full
	uint64_t expired;
	uint64_t learn_lost; // reports that did not fit the ring
};

struct cache {
	struct flow_table tables[N_LEVELS];
	struct program_table programs;
	const struct snapshot_ref *snapshot;
	uint64_t *rule_drops; // [CACHE_RULES] frames that died by each rule. worker: w, control: r
	struct fdb *fdb;
	struct learn_queue *learn;
	struct reassembly *reassembly; // of outer fragments, or NULL: they drop
	struct {
		struct token_bucket miss, storm, report, icmp;
	} ports[PORT_SLOTS];
	uint64_t tsc_hz;
	uint32_t tick;         // now, in units of 2^TICK_SHIFT TSC cycles
	uint64_t now_tsc;
	uint64_t swept_tsc;    // when the clock hands last moved
	uint32_t n_scratch;    // scratch[] is used round and round; a batch needs all of it at most
	struct flow6 scratch[2 * PORT_BATCH]; // decisions for which there was no room
	struct cache_stats stats;
};

#define CACHE_RULES 65536u // ids of rules are below this; 0 is none
#define TICK_SHIFT 21 // about 0.8 ms

// What a batch is looked at with: one snapshot from its first packet to its last.
struct view {
	const struct snapshot *snap;
	const struct sw_port *port; // ingress
	const struct fdb_where *words;
	const struct hnv_underlay *underlay; // of the ingress port, NULL: it is none
};

// One frame in the hands of what is not the usual case. Who takes it frees, sends or drops m.
struct frame {
	struct cache *c;
	const struct view *v;
	struct worker_out *out;
	const struct program *p;
	const struct key *key; // level 1
	struct rte_mbuf *m;
};

// What a worker's cache is made with.
struct cache_cfg {
	uint32_t entries; // flows in each table, 1 … FLOW_MAX
	uint64_t tsc_hz;  // of the clock that cache_sweep is given
	const struct snapshot_ref *snapshot;
	struct fdb *fdb;
	struct learn_queue *learn;
	struct reassembly *reassembly; // the cache's from now on; NULL: outer fragments drop
};

int cache_init(struct cache *c, const struct cache_cfg *cfg, struct err *err); // control
void cache_fini(struct cache *c); // control, after it has stopped

// A key that the first look did not find, and the frame that it came from.
struct miss {
	int level;
	uint32_t hash;
	const struct key *key;
	const struct key6 *addresses; // LEVEL2_V6, else NULL
	const struct key *l1;         // the frame's level-1 key
	const struct key_l3 *l3;      // its IP headers, NULL at level 1
};

// The flow: looked up whole, else classified and entered. NULL: over the miss budget.
struct flow *cache_miss(struct cache *c, const struct view *v, const struct miss *m);

// Decides anew for a flow that is not current; never subject to the budget. l3: NULL at level 1.
void cache_refresh(struct cache *c, const struct view *v, struct flow *f, const struct key *l1,
		   const struct key_l3 *l3);

// Takes one token; false: none left. per_s: the rate, 0 … 2^32-1; now: of any clock of `hz`.
bool token_take(struct token_bucket *b, uint32_t per_s, uint64_t now, uint64_t hz);

// Tells control that p's source MAC was behind p->in_port, or p->way, at `tick`.
void cache_report(struct cache *c, uint16_t fid, const struct packet *p, uint32_t tick);

// Tells control anything else, within REPORTS_PER_S of its port r->port.
void cache_tell(struct cache *c, uint16_t in_port, const struct learn_report *r);

// Expires idle flows, and looks again at where the sources of live ones are. Bounded. worker, once
// a loop.
void cache_sweep(struct cache *c, uint64_t now_tsc);
