// SPDX-License-Identifier: Apache-2.0
#include "vswitch/fdb.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <immintrin.h>

#define INDEX_GONE ~0u // tombstone in the index
#define MIN_INDEX 1024u
#define GROUP_FLOOD 0xffffffffffffull   // MACs that stand for a domain's flood slots; both are
#define UNKNOWN_FLOOD 0x010000000000ull // group addresses, so nobody can be learnt there
#define MAC_MASK 0xffffffffffffull
#define LEARN_SLOTS (FDB_SLOTS / 8 * 7) // the rest is for what is configured

struct slot {
	uint64_t key;   // fid << 48 | MAC, 0: free. control: w, worker: r (checked twice)
	uint32_t seen;  // second of the last frame. all: w, relaxed
	uint8_t state;  // enum fdb_state
	uint32_t placed; // tick of the frame it was learnt by. control: w, worker: r, relaxed
	uint32_t next;  // free chain
};

// Open addressing over slot numbers; replaced whole when it fills up.
struct index {
	uint32_t mask;
	uint32_t n_filled; // words that are not 0, tombstones too. control
	uint32_t slots[];
};

struct fdb {
	struct fdb_where *words; // [FDB_SLOTS]
	struct slot *slots;      // [FDB_SLOTS]; slot 0 is nobody's
	RCU_POINTER(struct index) index;
	struct rcu *rcu;
	uint32_t n_made, n_used, free, hand, next_gen, now_s;
	uint32_t n_reserved; // slots that a change under way will take
	uint32_t *port_learnt; // [65536] learnt MACs by port
};

static uint64_t key_of(uint16_t fid, struct mac mac)
{
	return (uint64_t)fid << 48 | mac_to_u64(mac);
}

static uint32_t hash(uint64_t key)
{
	return (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 32);
}

static struct index *index_create(uint32_t size)
{
	struct index *ix = calloc(1, sizeof(*ix) + size * sizeof(uint32_t));

	if (ix)
		ix->mask = size - 1;
	return ix;
}

int fdb_create(struct rcu *rcu, struct fdb **out, struct err *err)
{
	struct fdb *fdb = calloc(1, sizeof(*fdb));

	if (!fdb)
		return err_set(err, ENOMEM, "no memory for the forwarding database");
	fdb->rcu = rcu;
	fdb->words = mmap(NULL, FDB_SLOTS * sizeof(*fdb->words), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	fdb->slots = mmap(NULL, FDB_SLOTS * sizeof(*fdb->slots), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	fdb->port_learnt = calloc(65536, sizeof(*fdb->port_learnt));
	fdb->index.rcu_ptr = index_create(MIN_INDEX);
	if (fdb->words == MAP_FAILED || fdb->slots == MAP_FAILED || !fdb->port_learnt ||
	    !fdb->index.rcu_ptr) {
		fdb_destroy(fdb);
		return err_set(err, ENOMEM, "no memory for the forwarding database");
	}
	fdb->words[0].port = FDB_PORT_NONE;
	fdb->hand = 1;
	fdb->next_gen = 1;
	*out = fdb;
	return 0;
}

void fdb_destroy(struct fdb *fdb)
{
	if (!fdb)
		return;
	if (fdb->words != MAP_FAILED)
		munmap(fdb->words, FDB_SLOTS * sizeof(*fdb->words));
	if (fdb->slots != MAP_FAILED)
		munmap(fdb->slots, FDB_SLOTS * sizeof(*fdb->slots));
	free(fdb->port_learnt);
	free(fdb->index.rcu_ptr);
	free(fdb);
}

// --- index -------------------------------------------------------------------------------------

// Slot of the key, or 0. Safe beside a writer: a slot's key is set before its number appears.
static uint32_t find_key(const struct fdb *fdb, uint64_t key)
{
	const struct index *ix = rcu_get(&fdb->index);

	for (uint32_t i = hash(key) & ix->mask;; i = (i + 1) & ix->mask) {
		uint32_t slot = __atomic_load_n(&ix->slots[i], __ATOMIC_ACQUIRE);

		if (!slot)
			return 0;
		if (slot != INDEX_GONE &&
		    __atomic_load_n(&fdb->slots[slot].key, __ATOMIC_RELAXED) == key)
			return slot;
	}
}

static void index_put(struct index *ix, uint64_t key, uint32_t slot)
{
	uint32_t i = hash(key) & ix->mask;

	while (ix->slots[i])
		i = (i + 1) & ix->mask;
	ix->n_filled++;
	// Release: the slot's key is complete.
	__atomic_store_n(&ix->slots[i], slot, __ATOMIC_RELEASE);
}

// Room for n more at load ≤ 0.5; rebuilds without tombstones, larger if need be.
static int index_reserve(struct fdb *fdb, uint32_t n)
{
	struct index *old = fdb->index.rcu_ptr, *ix;
	uint32_t size = MIN_INDEX;

	if ((uint64_t)(old->n_filled + n) * 2 <= old->mask + 1)
		return 0;
	while (size < 4 * (fdb->n_used + n))
		size *= 2;
	ix = index_create(size);
	if (!ix)
		return -ENOMEM;
	for (uint32_t i = 0; i <= old->mask; i++)
		if (old->slots[i] && old->slots[i] != INDEX_GONE)
			index_put(ix, fdb->slots[old->slots[i]].key, old->slots[i]);
	rcu_set(&fdb->index, ix);
	rcu_retire(fdb->rcu, free, old);
	return 0;
}

static void index_del(struct fdb *fdb, uint64_t key, uint32_t slot)
{
	struct index *ix = fdb->index.rcu_ptr;
	uint32_t i = hash(key) & ix->mask;

	while (ix->slots[i] != slot)
		i = (i + 1) & ix->mask;
	__atomic_store_n(&ix->slots[i], INDEX_GONE, __ATOMIC_RELEASE);
}

// --- slots -------------------------------------------------------------------------------------

static void set_word(struct fdb *fdb, uint32_t slot, struct fdb_where w)
{
	uint64_t v;

	memcpy(&v, &w, sizeof(v));
	// Release: who sees the new word also sees what was prepared for it.
	__atomic_store_n((uint64_t *)&fdb->words[slot], v, __ATOMIC_RELEASE);
}

static void touch(struct fdb *fdb, uint32_t slot)
{
	struct fdb_where w = fdb->words[slot];

	w.gen = fdb->next_gen++;
	set_word(fdb, slot, w);
}

// A slot for a new key, its word saying "nobody". Returns 0 when there is none.
static uint32_t slot_take(struct fdb *fdb, uint64_t key)
{
	uint32_t slot = fdb->free;

	if (index_reserve(fdb, 1))
		return 0;
	if (slot)
		fdb->free = fdb->slots[slot].next;
	else if (fdb->n_made + 1 < FDB_SLOTS)
		slot = ++fdb->n_made;
	else
		return 0;
	// The word first: a reader that still holds the old key finds a new generation.
	set_word(fdb, slot, (struct fdb_where){ fdb->next_gen++, FDB_PORT_NONE, 0 });
	__atomic_store_n(&fdb->slots[slot].key, key, __ATOMIC_RELEASE);
	fdb->n_used++;
	index_put(fdb->index.rcu_ptr, key, slot);
	return slot;
}

static void count_port(struct fdb *fdb, uint32_t slot, int by)
{
	if (fdb->slots[slot].state == FDB_LEARNT)
		fdb->port_learnt[fdb->words[slot].port] += (uint32_t)by;
}

static void slot_give(struct fdb *fdb, uint32_t slot)
{
	struct slot *s = &fdb->slots[slot];

	count_port(fdb, slot, -1);
	set_word(fdb, slot, (struct fdb_where){ fdb->next_gen++, FDB_PORT_NONE, 0 });
	index_del(fdb, s->key, slot);
	__atomic_store_n(&s->key, 0, __ATOMIC_RELEASE);
	s->state = FDB_STATIC; // a free slot counts for no port
	s->next = fdb->free;
	fdb->free = slot;
	fdb->n_used--;
}

// --- control -----------------------------------------------------------------------------------

static int add_flood(struct fdb *fdb, uint16_t fid, uint64_t mac)
{
	uint64_t key = (uint64_t)fid << 48 | mac;
	uint32_t slot;

	if (find_key(fdb, key))
		return 0;
	slot = slot_take(fdb, key);
	if (!slot)
		return -ENOSPC;
	set_word(fdb, slot, (struct fdb_where){ fdb->next_gen++, FDB_PORT_FLOOD, 0 });
	return 0;
}

int fdb_domain_add(struct fdb *fdb, uint16_t fid)
{
	int ret = add_flood(fdb, fid, GROUP_FLOOD);

	return ret ? ret : add_flood(fdb, fid, UNKNOWN_FLOOD);
}

int fdb_set(struct fdb *fdb, uint16_t fid, struct mac mac, struct fdb_where where,
	    enum fdb_state state, bool touch_flows)
{
	uint64_t key = key_of(fid, mac);
	uint32_t slot = find_key(fdb, key);

	if (!slot) {
		if (state == FDB_LEARNT && fdb->n_used + fdb->n_reserved >= LEARN_SLOTS)
			return -ENOSPC;
		slot = slot_take(fdb, key);
		if (!slot)
			return -ENOSPC;
		touch_flows = true;
		// Who flooded for want of this MAC looks again.
		touch(fdb, find_key(fdb, (uint64_t)fid << 48 | UNKNOWN_FLOOD));
	}
	count_port(fdb, slot, -1);
	where.gen = touch_flows ? fdb->next_gen++ : fdb->words[slot].gen;
	fdb->slots[slot].state = (uint8_t)state;
	fdb_seen(fdb, slot);
	set_word(fdb, slot, where);
	count_port(fdb, slot, 1);
	return 0;
}

void fdb_set_placed(struct fdb *fdb, uint16_t fid, struct mac mac, uint32_t tick)
{
	__atomic_store_n(&fdb->slots[find_key(fdb, key_of(fid, mac))].placed, tick,
			 __ATOMIC_RELAXED);
}

enum fdb_state fdb_slot_state(const struct fdb *fdb, uint32_t slot)
{
	return fdb->slots[slot].state;
}

void fdb_del(struct fdb *fdb, uint16_t fid, struct mac mac)
{
	uint32_t slot = find_key(fdb, key_of(fid, mac));

	if (slot)
		slot_give(fdb, slot);
}

void fdb_touch(struct fdb *fdb, uint16_t fid, struct mac mac)
{
	uint32_t slot = find_key(fdb, key_of(fid, mac));

	if (slot)
		touch(fdb, slot);
}

void fdb_touch_unknown(struct fdb *fdb, uint16_t fid)
{
	fdb_touch(fdb, fid, mac_from_u64(UNKNOWN_FLOOD));
}

void fdb_sweep(struct fdb *fdb,
	       enum fdb_fate (*fate)(void *arg, uint16_t fid, uint16_t port, enum fdb_state state),
	       void *arg)
{
	for (uint32_t slot = 1; slot <= fdb->n_made; slot++) {
		const struct slot *s = &fdb->slots[slot];
		enum fdb_fate f = FDB_KEEP;

		if (s->key)
			f = fate(arg, (uint16_t)(s->key >> 48), fdb->words[slot].port, s->state);
		if (f == FDB_REMOVE)
			slot_give(fdb, slot);
		else if (f == FDB_TOUCH)
			touch(fdb, slot);
	}
}

int fdb_reserve(struct fdb *fdb, uint32_t n, uint32_t n_domains)
{
	int ret;

	n += 2 * n_domains;
	ret = fdb->n_used + n + 1 >= FDB_SLOTS ? -ENOSPC : index_reserve(fdb, n);
	fdb->n_reserved = ret ? 0 : n;
	return ret;
}

uint32_t fdb_port_count(const struct fdb *fdb, uint16_t port)
{
	return fdb->port_learnt[port];
}

void fdb_each(const struct fdb *fdb, bool (*fn)(const struct fdb_entry *e, void *arg), void *arg)
{
	for (uint32_t i = 1; i <= fdb->n_made; i++) {
		const struct slot *s = &fdb->slots[i];
		struct fdb_entry e = { .mac = mac_from_u64(s->key & MAC_MASK),
				       .fid = (uint16_t)(s->key >> 48),
				       .port = fdb->words[i].port,
				       .state = s->state };

		if (!s->key || mac_is_group(e.mac))
			continue;
		if (e.state == FDB_LEARNT)
			e.age_s = fdb->now_s - __atomic_load_n(&s->seen, __ATOMIC_RELAXED);
		if (!fn(&e, arg))
			return;
	}
}

void fdb_set_now(struct fdb *fdb, uint32_t now_s)
{
	__atomic_store_n(&fdb->now_s, now_s, __ATOMIC_RELAXED);
}

uint32_t fdb_age(struct fdb *fdb, uint32_t n, uint32_t (*age_of)(uint16_t fid, void *arg),
		 void *arg)
{
	uint32_t gone = 0;

	for (; n > 0 && fdb->n_made > 0; n--) {
		struct slot *s = &fdb->slots[fdb->hand];
		uint32_t unseen = fdb->now_s - __atomic_load_n(&s->seen, __ATOMIC_RELAXED);

		// A worker may have stamped a moment after now_s was read: negative is young.
		if (s->key && s->state == FDB_LEARNT && (int32_t)unseen > 0 &&
		    unseen > age_of((uint16_t)(s->key >> 48), arg)) {
			slot_give(fdb, fdb->hand);
			gone++;
		}
		fdb->hand = fdb->hand >= fdb->n_made ? 1 : fdb->hand + 1;
		if (fdb->hand == 1)
			break; // once round is enough for a call
	}
	return gone;
}

// --- workers -----------------------------------------------------------------------------------

static uint32_t find_with_word(const struct fdb *fdb, uint64_t key, struct fdb_where *where)
{
	uint32_t slot = find_key(fdb, key);

	*where = fdb_word(fdb->words, slot);
	if (!slot)
		return 0;
	// Acquire orders the word before this second look: had the slot been given to another
	// MAC in between, either the key differs or the word's generation is about to.
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&fdb->slots[slot].key, __ATOMIC_RELAXED) == key ? slot : 0;
}

uint32_t fdb_find(const struct fdb *fdb, uint16_t fid, struct mac mac, struct fdb_where *where)
{
	return find_with_word(fdb, key_of(fid, mac), where);
}

uint32_t fdb_find_flood(const struct fdb *fdb, uint16_t fid, bool group, struct fdb_where *where)
{
	return find_with_word(fdb, (uint64_t)fid << 48 | (group ? GROUP_FLOOD : UNKNOWN_FLOOD),
			      where);
}

struct mac fdb_mac(const struct fdb *fdb, uint32_t slot)
{
	return mac_from_u64(__atomic_load_n(&fdb->slots[slot].key, __ATOMIC_RELAXED) & MAC_MASK);
}

uint32_t fdb_placed(const struct fdb *fdb, uint32_t slot)
{
	return __atomic_load_n(&fdb->slots[slot].placed, __ATOMIC_RELAXED);
}

const struct fdb_where *fdb_words(const struct fdb *fdb)
{
	return fdb->words;
}

void fdb_seen(struct fdb *fdb, uint32_t slot)
{
	uint32_t now = __atomic_load_n(&fdb->now_s, __ATOMIC_RELAXED);

	// The line is shared by workers: written only when the second has changed.
	if (__atomic_load_n(&fdb->slots[slot].seen, __ATOMIC_RELAXED) != now)
		__atomic_store_n(&fdb->slots[slot].seen, now, __ATOMIC_RELAXED);
}
