// SPDX-License-Identifier: Apache-2.0
// The forwarding database of all switches: (VLAN domain, MAC) → slot → port.
//
// Flows point to slots, not to ports, so a MAC that moves is one store for all of them. A slot's
// 64-bit word holds port, egress tag and a generation; a flow that remembers another generation
// re-resolves. Control is the only writer; workers look up, and report what they saw by ring.
// A VLAN domain (`fid`) is one VLAN of one switch; fid 0 is none. IEEE 802.1Q, 8.8.
#pragma once

#include "base/err.h"
#include "base/rcu.h"
#include "base/types.h"

#define FDB_SLOTS (1u << 21) // MACs and VLAN domains, at most; memory is touched as they come
#define FDB_PORT_FLOOD 0xffffu  // in place of a port: all members
#define FDB_PORT_NONE 0xfffeu   // nobody

// What a slot says now.
struct fdb_where {
	uint32_t gen;  // changes when flows to this slot must be resolved anew
	uint16_t port; // index, FDB_PORT_FLOOD or FDB_PORT_NONE
	uint16_t tag;  // 0: leaves untagged; else TAG_PRESENT | VID
};
static_assert(sizeof(struct fdb_where) == 8);

struct fdb;

// How an address came into the FDB.
enum fdb_state { FDB_STATIC, FDB_LEARNT };

// One MAC, for dumps.
struct fdb_entry {
	struct mac mac;
	uint16_t fid, port;
	enum fdb_state state;
	uint32_t age_s; // since it was last seen; 0 for static ones
};

// control
int fdb_create(struct rcu *rcu, struct fdb **out, struct err *err);
void fdb_destroy(struct fdb *fdb);

// Makes the domain's two flood slots, so that unknown and group destinations have one. 0, or
// -ENOSPC. Adding twice is allowed. control.
int fdb_domain_add(struct fdb *fdb, uint16_t fid);

// Puts (fid, mac) on `port`, leaving with `tag`. Same port policy (`touch` false): only the word
// changes; otherwise flows to it re-resolve. -ENOSPC when all slots are taken, or those that
// learning may take. control.
int fdb_set(struct fdb *fdb, uint16_t fid, struct mac mac, struct fdb_where where,
	    enum fdb_state state, bool touch);

// When (fid, mac) was seen where it is now, in ticks of the worker that saw it. control.
void fdb_set_placed(struct fdb *fdb, uint16_t fid, struct mac mac, uint32_t tick);

// How a slot that fdb_find gave came to be. control.
enum fdb_state fdb_slot_state(const struct fdb *fdb, uint32_t slot);

// Removes (fid, mac), if there. control.
void fdb_del(struct fdb *fdb, uint16_t fid, struct mac mac);

// Flows to (fid, mac), or to what the domain does not know, re-resolve. control.
void fdb_touch(struct fdb *fdb, uint16_t fid, struct mac mac);
void fdb_touch_unknown(struct fdb *fdb, uint16_t fid);

// What becomes of a slot.
enum fdb_fate { FDB_KEEP, FDB_TOUCH, FDB_REMOVE }; // TOUCH: flows to it re-resolve

// Asks for the fate of every slot, flood slots of domains too (port FDB_PORT_FLOOD): one walk for
// all that a change has to do. control.
void fdb_sweep(struct fdb *fdb,
	       enum fdb_fate (*fate)(void *arg, uint16_t fid, uint16_t port, enum fdb_state state),
	       void *arg);

// Makes sure that n more MACs and n_domains more domains can be added without failing, whatever is
// learnt meanwhile: 0, -ENOSPC or -ENOMEM. Holds until the next call; 0 and 0 end it. control.
int fdb_reserve(struct fdb *fdb, uint32_t n, uint32_t n_domains);

// Learnt MACs on `port`. control.
uint32_t fdb_port_count(const struct fdb *fdb, uint16_t port);

// Calls fn for every MAC, until it returns false. control.
void fdb_each(const struct fdb *fdb, bool (*fn)(const struct fdb_entry *e, void *arg), void *arg);

// The clock (seconds, monotonic) that stamps are made with. control, once a second.
void fdb_set_now(struct fdb *fdb, uint32_t now_s);

// Forgets learnt MACs of `fid` unseen for age_s seconds, looking at a part of the table per call
// (`n` slots); age_of gives the age limit of a domain. Returns how many went. control.
uint32_t fdb_age(struct fdb *fdb, uint32_t n, uint32_t (*age_of)(uint16_t fid, void *arg),
		 void *arg);

// --- workers -----------------------------------------------------------------------------------

// The slot of (fid, mac), or 0. *where is what it said at that moment.
uint32_t fdb_find(const struct fdb *fdb, uint16_t fid, struct mac mac, struct fdb_where *where);

// The flood slot of a domain: for unknown unicast (re-resolved whenever the domain learns a MAC)
// or for group addresses.
uint32_t fdb_find_flood(const struct fdb *fdb, uint16_t fid, bool group, struct fdb_where *where);

// The words, by slot: what the pipeline reads per packet. Constant address.
const struct fdb_where *fdb_words(const struct fdb *fdb);

// One word, whole: gen and port belong together.
static ALWAYS_INLINE struct fdb_where fdb_word(const struct fdb_where *words, uint32_t slot)
{
	uint64_t v = __atomic_load_n((const uint64_t *)&words[slot], __ATOMIC_RELAXED);
	struct fdb_where w;

	memcpy(&w, &v, sizeof(w));
	return w;
}

// The MAC in this slot: valid as long as the slot's word does not change.
struct mac fdb_mac(const struct fdb *fdb, uint32_t slot);

// What fdb_set_placed said of this slot; older sightings elsewhere count no more.
uint32_t fdb_placed(const struct fdb *fdb, uint32_t slot);

// The MAC in this slot was seen just now.
void fdb_seen(struct fdb *fdb, uint32_t slot);
