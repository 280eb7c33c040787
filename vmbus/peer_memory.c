// SPDX-License-Identifier: Apache-2.0
// The part of a peer that is about memory: state memory, regions, GPADLs, monitor page, dirty
// bitmap. docs/vmbus-user.md, sections 3.2 to 3.4, 3.7, 3.9 and 4.
#include "vmbus/peer_parts.h"

#include <stdlib.h>

#define MAX_REGION_BYTES (1ull << 42) // all of a NIC: address space is shared by all guests
#define MAX_DIRTY_BYTES (1ull << 30)

// --- state memory ------------------------------------------------------------------------------

static int state_check(const struct vmbus_peer *peer, const struct vmbus_state *state,
		       struct err *err)
{
	struct vmbus_state_header header;

	memcpy(&header, &state->header, sizeof(header));
	if (le64_to_cpu(header.magic) != VMBUS_STATE_MAGIC)
		return err_set(err, EINVAL, "this is no state memory");
	if (le32_to_cpu(header.layout) != VMBUS_STATE_LAYOUT ||
	    le32_to_cpu(header.bytes) != sizeof(*state))
		return err_set(err, EINVAL, "layout %u of the state memory: only %u is understood",
			       le32_to_cpu(header.layout), VMBUS_STATE_LAYOUT);
	if (memcmp(header.guid, peer->welcome.guid, sizeof(header.guid)) != 0)
		return err_set(err, EINVAL, "the state memory is another NIC's");
	return 0;
}

// Its header, magic last: a switch that dies in between leaves something that is refused.
static void state_write_header(const struct vmbus_peer *peer, struct vmbus_state *state, bool fresh)
{
	struct vmbus_state_header *header = &state->header;
	uint64_t n = fresh ? 0 : le64_to_cpu(header->n_adopted);

	memcpy(header->guid, peer->welcome.guid, sizeof(header->guid));
	header->layout = cpu_to_le32(VMBUS_STATE_LAYOUT);
	header->bytes = cpu_to_le32(sizeof(*state));
	header->instance = cpu_to_le64(peer->welcome.instance);
	header->n_adopted = cpu_to_le64(n + 1);
	__atomic_store_n((uint64_t *)state, (FORCE uint64_t)cpu_to_le64(VMBUS_STATE_MAGIC),
			 __ATOMIC_RELEASE);
}

int peer_state_begin(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_state *m = (const void *)datagram->message;
	uint32_t origin = le32_to_cpu(m->origin), n_granted = 0;
	struct vmbus_mapping_cfg cfg = { .fd = datagram->fds[0], .bytes = le64_to_cpu(m->bytes),
					 .sealed = true, .dead = peer->welcome.dead };
	struct vmbus_state *state;
	int ret = peer_check_zero(le32_to_cpu(m->reserved), err);

	if (ret < 0)
		return ret;
	if (origin > VMBUS_USER_IMAGE)
		return err_set(err, EINVAL, "origin %u is none of 0, 1 and 2", origin);
	if (cfg.bytes != sizeof(*state))
		return err_set(err, EINVAL, "the state memory has %zu bytes, not %llu",
			       sizeof(*state), (unsigned long long)cfg.bytes);
	if (peer->state_memory.at || peer->opened)
		return err_set(err, EBUSY, "STATE comes once, and before any OPEN");
	ret = vmbus_mapping_init(&peer->state_memory, &cfg, err);
	if (ret < 0)
		return ret;
	state = (struct vmbus_state *)peer->state_memory.at;
	if (origin != VMBUS_USER_NEW)
		ret = state_check(peer, state, err);
	if (ret == 0)
		ret = peer->welcome.ops->state(peer->welcome.arg, state, origin, &n_granted, err);
	if (ret < 0) {
		vmbus_mapping_fini(&peer->state_memory);
		return ret;
	}
	peer->n_granted = n_granted < VMBUS_USER_MAX_CHANNELS ? n_granted : 0;
	state_write_header(peer, state, origin == VMBUS_USER_NEW);
	return 0;
}

// --- regions -----------------------------------------------------------------------------------

static struct peer_region *region_find(struct vmbus_peer *peer, uint32_t number)
{
	for (int i = 0; i < VMBUS_USER_MAX_REGIONS; i++)
		if (peer->regions[i].mapping.at && peer->regions[i].number == number)
			return &peer->regions[i];
	return NULL;
}

static struct peer_region *region_find_free(struct vmbus_peer *peer)
{
	for (int i = 0; i < VMBUS_USER_MAX_REGIONS; i++)
		if (!peer->regions[i].mapping.at)
			return &peer->regions[i];
	return NULL;
}

// Gives the device a snapshot of what memory will be. Returns as its call, or -ENOMEM.
static int memory_replace(struct vmbus_peer *peer, const struct guest_memory *memory, bool wait,
			  struct err *err)
{
	struct guest_memory *snapshot = malloc(sizeof(*snapshot));
	int ret;

	if (!snapshot)
		return err_set(err, ENOMEM, "no memory for a list of regions");
	*snapshot = *memory;
	ret = peer->welcome.ops->memory(peer->welcome.arg, snapshot, wait);
	if (ret < 0)
		free(snapshot);
	else
		peer->memory = *memory;
	return ret;
}

static int region_check(const struct vmbus_peer *peer, const struct vmbus_user_region_add *m,
			struct err *err)
{
	uint64_t bytes = le64_to_cpu(m->bytes);
	int ret = peer_check_zero(le64_to_cpu(m->reserved), err);

	if (ret == 0)
		ret = peer_check_flags(le32_to_cpu(m->flags), VMBUS_USER_REGION_READ_ONLY, err);
	if (ret < 0)
		return ret;
	// Before anything is mapped: the address space that one NIC may take is bounded.
	if (bytes > MAX_REGION_BYTES || bytes > MAX_REGION_BYTES - peer->region_bytes)
		return err_set(err, ENOSPC, "a NIC's regions have at most %llu bytes in all",
			       MAX_REGION_BYTES);
	return 0;
}

// What guest_memory_add had against a region.
static int region_refuse(int ret, struct err *err)
{
	return err_set(err, -ret, ret == -EEXIST ? "it overlaps another region" :
				  ret == -ENOSPC ? "a NIC has at most 64 regions" :
						   "GPA and bytes must be multiples of 4096, bytes "
						   "not 0, the end at most 2^52");
}

int peer_region_add(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_region_add *m = (const void *)datagram->message;
	bool read_only = le32_to_cpu(m->flags) & VMBUS_USER_REGION_READ_ONLY;
	struct peer_region *region = region_find_free(peer);
	struct guest_memory memory = peer->memory;
	struct vmbus_mapping_cfg cfg = {
		.fd = datagram->fds[0], .offset = le64_to_cpu(m->offset),
		.bytes = le64_to_cpu(m->bytes), .read_only = read_only, .dead = peer->welcome.dead,
	};
	struct guest_region added = { .gpa = le64_to_cpu(m->gpa), .bytes = cfg.bytes,
				      .read_only = read_only };
	struct vmbus_mapping mapping;
	int ret = region_check(peer, m, err);

	if (ret < 0)
		return ret;
	if (region_find(peer, le32_to_cpu(m->region)))
		return err_set(err, EEXIST, "region %u exists", le32_to_cpu(m->region));
	ret = region ? guest_memory_add(&memory, &added) : -ENOSPC;
	if (ret < 0)
		return region_refuse(ret, err);
	ret = vmbus_mapping_init(&mapping, &cfg, err);
	if (ret < 0)
		return ret;
	memory = peer->memory;
	added.host = mapping.at;
	guest_memory_add(&memory, &added);
	ret = memory_replace(peer, &memory, false, err);
	if (ret < 0) {
		vmbus_mapping_fini(&mapping);
		return ret;
	}
	*region = (struct peer_region){ le32_to_cpu(m->region), added.gpa, mapping };
	peer->region_bytes += added.bytes;
	return ret;
}

static bool lies_in(const struct peer_region *region, uint64_t gpa)
{
	return gpa >= region->gpa && gpa - region->gpa < region->mapping.bytes;
}

static bool gpadl_lies_in(const struct peer_region *region, const struct peer_gpadl *gpadl)
{
	for (uint32_t i = 0; gpadl && i < gpadl->list.n; i++)
		if (lies_in(region, gpadl->list.runs[i].gpa))
			return true;
	return false;
}

// What still needs the region, or NULL. Nothing of all this reaches over a region's end.
static const char *region_in_use(const struct vmbus_peer *peer, const struct peer_region *region)
{
	for (uint32_t i = 0; i < peer->n_gpadls; i++)
		if (gpadl_lies_in(region, peer->gpadls[i]))
			return "a GPADL";
	if (gpadl_lies_in(region, peer->making))
		return "a GPADL in the making";
	for (int i = 0; i < VMBUS_USER_MAX_CHANNELS; i++) {
		const struct peer_channel *c = &peer->channels[i];

		if (c->open && le32_to_cpu(c->target.mode) == VMBUS_USER_MODE_DIRECT &&
		    lies_in(region, le64_to_cpu(c->target.gpa)))
			return "a doorbell";
	}
	return peer->monitor_on && lies_in(region, peer->monitor_gpa) ? "the monitor page" : NULL;
}

int peer_region_del(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_region_del *m = (const void *)datagram->message;
	struct peer_region *region = region_find(peer, le32_to_cpu(m->region));
	struct guest_memory memory = peer->memory;
	const char *user;
	int ret = peer_check_zero(le32_to_cpu(m->reserved), err);

	if (ret < 0)
		return ret;
	if (!region)
		return err_set(err, ENOENT, "there is no region %u", le32_to_cpu(m->region));
	user = region_in_use(peer, region);
	if (user)
		return err_set(err, EBUSY, "%s lies in region %u", user, region->number);
	guest_memory_del(&memory, region->gpa);
	peer->subject = (uint32_t)(region - peer->regions);
	return memory_replace(peer, &memory, true, err);
}

void peer_region_del_finish(struct vmbus_peer *peer)
{
	struct peer_region *region = &peer->regions[peer->subject];

	peer->region_bytes -= region->mapping.bytes;
	vmbus_mapping_fini(&region->mapping);
}

// --- GPADLs ------------------------------------------------------------------------------------

struct peer_gpadl *peer_gpadl_find(const struct vmbus_peer *peer, uint32_t id, uint32_t channel)
{
	for (uint32_t i = 0; i < peer->n_gpadls; i++)
		if (peer->gpadls[i]->seen.id == id && peer->gpadls[i]->seen.channel == channel)
			return peer->gpadls[i];
	return NULL;
}

const struct vmbus_peer_gpadl *vmbus_peer_gpadl_find(const struct vmbus_peer *peer, uint32_t id,
						     uint32_t channel)
{
	const struct peer_gpadl *gpadl = peer_gpadl_find(peer, id, channel);

	return gpadl ? &gpadl->seen : NULL;
}

void peer_making_drop(struct vmbus_peer *peer)
{
	free(peer->making);
	peer->making = NULL;
}

// A first message: is there room for another GPADL?
static int making_begin(struct vmbus_peer *peer, const struct vmbus_user_gpadl *m, struct err *err)
{
	uint32_t id = le32_to_cpu(m->gpadl), channel = le32_to_cpu(m->channel);
	bool whole = le32_to_cpu(m->flags) & VMBUS_USER_GPADL_LAST;
	uint32_t max = whole ? VMBUS_USER_GPADL_MAX_RUNS : VMBUS_USER_MAX_RUNS;
	// A run may reach over several regions, each of which makes one of it.
	uint32_t room = whole ? max + VMBUS_USER_MAX_REGIONS : max;
	uint64_t bytes = le64_to_cpu(m->bytes);
	struct peer_gpadl *gpadl;

	if (peer_gpadl_find(peer, id, channel))
		return err_set(err, EEXIST, "GPADL 0x%x exists on channel %u", id, channel);
	if (bytes > VMBUS_USER_MAX_GPADL_BYTES || peer->n_gpadls == VMBUS_USER_MAX_GPADLS ||
	    bytes > VMBUS_USER_MAX_ALL_GPADL_BYTES - peer->gpadl_bytes)
		return err_set(err, ENOSPC,
			       "at most 32 MiB a GPADL, 192 GPADLs and 1 GiB in all of a NIC");
	gpadl = malloc(sizeof(*gpadl) + room * sizeof(gpadl->storage[0]));
	if (!gpadl)
		return err_set(err, ENOMEM, "no memory for a GPADL");
	*gpadl = (struct peer_gpadl){ .seen = { .id = id, .channel = channel },
				      .bytes = (uint32_t)bytes,
				      .list = { gpadl->storage, 0, room, 0 } };
	peer->making = gpadl;
	return 0;
}

// Does the message go on where the last one has ended?
static int making_check(const struct vmbus_peer *peer, const struct vmbus_user_gpadl *m,
			struct err *err)
{
	const struct peer_gpadl *gpadl = peer->making;
	bool first = le32_to_cpu(m->flags) & VMBUS_USER_GPADL_FIRST;

	if (first != !gpadl)
		return err_set(err, EINVAL, first ? "FIRST while another GPADL is not complete"
						  : "not FIRST, but nothing was begun");
	if (gpadl && (gpadl->seen.id != le32_to_cpu(m->gpadl) ||
		      gpadl->seen.channel != le32_to_cpu(m->channel) ||
		      gpadl->bytes != le64_to_cpu(m->bytes)))
		return err_set(err, EINVAL, "GPADL 0x%x is not complete, and this is not its rest",
			       gpadl->seen.id);
	return 0;
}

// How much of [gpa, gpa + bytes) lies in the region of its first byte; 0: it lies in none.
static uint32_t in_one_region(const struct guest_memory *memory, uint64_t gpa, uint32_t bytes)
{
	for (unsigned int i = 0; i < memory->n_regions; i++) {
		const struct guest_region *r = &memory->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->bytes) {
			uint64_t rest = r->bytes - (gpa - r->gpa);

			return rest < bytes ? (uint32_t)rest : bytes;
		}
	}
	return 0;
}

static int run_add(struct vmbus_peer *peer, const struct vmbus_user_run *run, struct err *err)
{
	struct vmbus_run_list *list = &peer->making->list;
	uint64_t gpa = le64_to_cpu(run->gpa);
	uint32_t bytes = le32_to_cpu(run->bytes), part;
	int ret;

	if (!bytes || le32_to_cpu(run->reserved) || bytes > peer->making->bytes - list->bytes)
		return err_set(err, EINVAL, "an empty run, or more than the GPADL's %u bytes",
			       peer->making->bytes);
	for (; bytes > 0; gpa += part, bytes -= part) {
		part = in_one_region(&peer->memory, gpa, bytes);
		ret = part ? vmbus_runs_add(list, &peer->memory, gpa, part) : -EFAULT;
		if (ret == -EFAULT)
			return err_set(err, EFAULT, "0x%llx is in no region that may be written",
				       (unsigned long long)gpa);
		if (ret < 0)
			return err_set(err, -ret, "too many runs: at most %u",
				       VMBUS_USER_MAX_RUNS);
	}
	return 0;
}

// The last message has come. The device hears of it when a channel or a driver names it.
static int making_end(struct vmbus_peer *peer, struct err *err)
{
	struct peer_gpadl *gpadl = peer->making, *tight;

	if (gpadl->list.bytes != gpadl->bytes)
		return err_set(err, EINVAL, "the runs have %u bytes, not %u", gpadl->list.bytes,
			       gpadl->bytes);
	tight = realloc(gpadl, sizeof(*gpadl) + gpadl->list.n * sizeof(gpadl->storage[0]));
	if (tight)
		gpadl = tight;
	gpadl->list.runs = gpadl->storage;
	gpadl->seen.runs = (struct vmbus_runs){ gpadl->storage, gpadl->list.n, gpadl->bytes };
	peer->gpadls[peer->n_gpadls++] = gpadl;
	peer->gpadl_bytes += gpadl->bytes;
	peer->making = NULL;
	return 0;
}

int peer_gpadl(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_gpadl *m = (const void *)datagram->message;
	uint32_t n = le32_to_cpu(m->n_runs), flags = le32_to_cpu(m->flags);
	int ret = peer_check_flags(flags, VMBUS_USER_GPADL_FIRST | VMBUS_USER_GPADL_LAST, err);

	if (ret == 0)
		ret = peer_check_channel(peer, le32_to_cpu(m->channel), err);
	if (ret == 0 && (n < 1 || n > VMBUS_USER_GPADL_MAX_RUNS))
		ret = err_set(err, EINVAL, "%u runs in a message: 1 to %u", n,
			      VMBUS_USER_GPADL_MAX_RUNS);
	if (ret == 0)
		ret = making_check(peer, m, err);
	if (ret == 0 && !peer->making)
		ret = making_begin(peer, m, err);
	for (uint32_t i = 0; i < n && ret == 0; i++)
		ret = run_add(peer, &m->runs[i], err);
	if (ret == 0 && (flags & VMBUS_USER_GPADL_LAST))
		ret = making_end(peer, err);
	if (ret < 0)
		peer_making_drop(peer);
	return ret;
}

int peer_gpadl_teardown(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram,
			struct err *err)
{
	const struct vmbus_user_gpadl_teardown *m = (const void *)datagram->message;
	uint32_t id = le32_to_cpu(m->gpadl), channel = le32_to_cpu(m->channel);
	struct peer_gpadl *gpadl = peer_gpadl_find(peer, id, channel);

	if (!gpadl)
		return err_set(err, ENOENT, "there is no GPADL 0x%x on channel %u", id, channel);
	for (int i = 0; i < VMBUS_USER_MAX_CHANNELS; i++)
		if (peer->channels[i].open && peer->channels[i].gpadl == gpadl)
			return err_set(err, EBUSY, "GPADL 0x%x holds the rings of channel %d", id,
				       i);
	for (peer->subject = 0; peer->gpadls[peer->subject] != gpadl;)
		peer->subject++;
	return peer->welcome.ops->gpadl_gone(peer->welcome.arg, &gpadl->seen);
}

void peer_gpadl_teardown_finish(struct vmbus_peer *peer)
{
	struct peer_gpadl **at = &peer->gpadls[peer->subject];

	peer->gpadl_bytes -= (*at)->bytes;
	free(*at);
	*at = peer->gpadls[--peer->n_gpadls];
}

void peer_gpadls_drop(struct vmbus_peer *peer)
{
	peer_making_drop(peer);
	for (uint32_t i = 0; i < peer->n_gpadls; i++)
		free(peer->gpadls[i]);
	peer->n_gpadls = 0;
	peer->gpadl_bytes = 0;
}

// --- pages that are shared for a purpose --------------------------------------------------------

int peer_monitor(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_monitor *m = (const void *)datagram->message;
	bool on = le32_to_cpu(m->flags) & VMBUS_USER_ON;
	uint64_t gpa = le64_to_cpu(m->to_host_gpa), other = le64_to_cpu(m->to_guest_gpa);
	uint8_t *page = NULL;
	int ret = peer_check_flags(le32_to_cpu(m->flags), VMBUS_USER_ON, err);

	if (ret == 0)
		ret = peer_check_zero(le32_to_cpu(m->reserved), err);
	if (ret < 0)
		return ret;
	if ((gpa | other) % GUEST_PAGE_BYTES || (!on && (gpa | other)))
		return err_set(err, EINVAL, "monitor pages: multiples of 4096, both 0 without ON");
	if (on)
		page = guest_memory_at(&peer->memory, gpa, GUEST_PAGE_BYTES, true);
	if (on && !page)
		return err_set(err, EFAULT, "the monitor page is in no region that may be written");
	peer->subject = on;
	peer->subject_gpa = gpa;
	return peer->welcome.ops->monitor(peer->welcome.arg, (struct vmbus_monitor_page *)page,
					  gpa);
}

void peer_monitor_finish(struct vmbus_peer *peer)
{
	peer->monitor_on = peer->subject;
	peer->monitor_gpa = peer->subject_gpa;
}

int peer_dirty_log(struct vmbus_peer *peer, struct vmbus_user_datagram *datagram, struct err *err)
{
	const struct vmbus_user_dirty_log *m = (const void *)datagram->message;
	bool on = le32_to_cpu(m->flags) & VMBUS_USER_ON;
	struct vmbus_mapping_cfg cfg = { .fd = datagram->fds[0], .bytes = le64_to_cpu(m->bytes),
					 .sealed = true, .dead = peer->welcome.dead };
	struct vmbus_dirty dirty = {};
	int ret = peer_check_flags(le32_to_cpu(m->flags), VMBUS_USER_ON, err);

	if (ret == 0)
		ret = peer_check_zero(le32_to_cpu(m->reserved) | le64_to_cpu(m->reserved2), err);
	if (ret < 0)
		return ret;
	if (datagram->n_fds != on || (!on && cfg.bytes))
		return err_set(err, EINVAL, "DIRTY_LOG has one descriptor and a size with ON, "
					    "neither without");
	peer->subject_mapping = (struct vmbus_mapping){};
	if (on) {
		if (!cfg.bytes || cfg.bytes % 8 || cfg.bytes > MAX_DIRTY_BYTES)
			return err_set(err, EINVAL, "a bitmap: 8 bytes to 1 GiB, a multiple of 8");
		ret = vmbus_mapping_init(&peer->subject_mapping, &cfg, err);
		if (ret < 0)
			return ret;
		dirty = (struct vmbus_dirty){ (uint64_t *)peer->subject_mapping.at, cfg.bytes * 8 };
	}
	ret = peer->welcome.ops->dirty(peer->welcome.arg, &dirty);
	if (ret < 0)
		vmbus_mapping_fini(&peer->subject_mapping);
	return ret;
}

void peer_dirty_log_finish(struct vmbus_peer *peer)
{
	vmbus_mapping_fini(&peer->dirty);
	peer->dirty = peer->subject_mapping;
	peer->subject_mapping = (struct vmbus_mapping){};
}

void peer_memory_drop(struct vmbus_peer *peer)
{
	peer_gpadls_drop(peer);
	vmbus_mapping_fini(&peer->subject_mapping);
	vmbus_mapping_fini(&peer->dirty);
	vmbus_mapping_fini(&peer->state_memory);
	for (int i = 0; i < VMBUS_USER_MAX_REGIONS; i++)
		vmbus_mapping_fini(&peer->regions[i].mapping);
}
