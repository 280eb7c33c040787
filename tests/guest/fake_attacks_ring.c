// SPDX-License-Identifier: Apache-2.0
// Attacks through the rings: indices, packet headers, page lists, acknowledgements, memory that
// changes or is in two places.
#include "tests/guest/fake_attacks.h"

#include <errno.h>
#include <pthread.h>

#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

static struct fake_channel *channel_of(struct fake_attacker *attacker)
{
	return attacker->driver->channels[0];
}

static void store(le32 *word, uint32_t value)
{
	__atomic_store_n((FORCE uint32_t *)word, value, __ATOMIC_RELEASE);
}

void fake_attack_raw(struct fake_attacker *attacker, const void *bytes, uint32_t n, uint32_t moved)
{
	struct fake_channel *channel = channel_of(attacker);
	struct vmbus_writer *out = &channel->out;
	uint32_t to = (out->next + moved) % out->ring.size;

	vmbus_ring_store(&out->ring, out->next, bytes, n);
	store(&fake_channel_out_header(channel)->write, to);
	if (to % 8 == 0)
		out->next = out->published = to;
	fake_channel_signal(channel);
}

// --- a packet that must be answered ------------------------------------------------------------

// A small frame, to nobody in particular.
static const uint8_t frame[60] = { 2, 0, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0xee, 0x88, 0xb5 };

static bool put_frame(struct fake_attacker *attacker)
{
	const struct fake_packet packet = { frame, sizeof(frame), 0, 0, 0, 0, 0 };
	const struct fake_tx tx = { .form = FAKE_PAGES, .packets = &packet, .n = 1 };

	return fake_driver_put(attacker->driver, &tx) == 0;
}

bool fake_attack_is_dead(struct fake_attacker *attacker)
{
	uint64_t before;

	fake_attack_settle(attacker);
	before = fake_attack_n_answered(attacker);
	if (!put_frame(attacker))
		return true;
	fake_driver_kick(attacker->driver);
	// Whatever was done to masks and indices, both look at their rings.
	fake_channel_signal(channel_of(attacker));
	attacker->driver->cfg.polls = true;
	if (fake_attack_answered(attacker, before))
		before = UINT64_MAX;
	attacker->driver->cfg.polls = false;
	attacker->driver->awake[0] = true;
	return before != UINT64_MAX;
}

// --- indices -----------------------------------------------------------------------------------

static const char *write_index_beyond_the_ring(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 6; i++) {
		struct fake_channel *channel = channel_of(attacker);
		uint32_t size = channel->out.ring.size, next = channel->out.next;
		const uint32_t values[] = {
			size, size + 8, UINT32_MAX, 1u << 31, next + 4, next + 1
		};
		uint64_t before = fake_attack_n_answered(attacker);

		put_frame(attacker); // what lies there is a packet
		store(&fake_channel_out_header(channel)->write, values[i]);
		fake_channel_signal(channel);
		fake_attack_settle(attacker);
		if (fake_attack_n_answered(attacker) != before || !fake_attack_is_dead(attacker))
			return "an impossible write index was believed";
		if (fake_attack_recover(attacker))
			return "no recovery";
	}
	return NULL;
}

static const char *write_index_jumps(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 40; i++) {
		struct fake_channel *channel = channel_of(attacker);
		uint32_t size = channel->out.ring.size;

		put_frame(attacker);
		store(&fake_channel_out_header(channel)->write,
		      i < 3 ? (channel->out.next + 8) % size
			    : fake_attack_random(attacker) % size & ~7u);
		fake_channel_signal(channel);
		fake_attack_settle(attacker);
		if (i % 8 == 0 && fake_attack_recover(attacker))
			return "no recovery";
	}
	return NULL;
}

// Frames come in meanwhile: the caller sees to them.
static const char *read_index_of_the_other_ring(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 8; i++) {
		struct fake_channel *channel = channel_of(attacker);
		uint32_t size = channel->in.ring.size;
		const uint32_t values[] = { size, UINT32_MAX, 1u << 31, 1, 4,
					    (channel->in.next + 8) % size, size - 8, 0 };

		store(&fake_channel_in_header(channel)->read, values[i]);
		put_frame(attacker); // its completion needs room
		fake_driver_kick(attacker->driver);
		for (uint32_t n = 0; n < 50; n++)
			fake_vmm_pump(attacker->vmm);
		if (fake_attack_recover(attacker))
			return "no recovery";
	}
	return NULL;
}

static const char *indices_of_the_switch(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 200; i++) {
		struct fake_channel *channel = channel_of(attacker);
		struct vmbus_ring_header *out = fake_channel_out_header(channel);
		struct vmbus_ring_header *in = fake_channel_in_header(channel);
		le32 *const words[] = {
			&out->read,        &out->interrupt_mask, &in->write,
			&in->pending_send, &in->features,        &in->interrupt_mask
		};

		put_frame(attacker);
		fake_driver_kick(attacker->driver);
		store(words[i % ARRAY_SIZE(words)], fake_attack_random(attacker) << (i % 8));
		fake_channel_signal(channel);
		for (uint32_t n = 0; n < 5; n++)
			fake_vmm_pump(attacker->vmm);
		if (i % 10 == 9 && fake_attack_recover(attacker))
			return "no recovery";
	}
	return NULL;
}

static const char *pending_send_garbage(struct fake_attacker *attacker)
{
	struct fake_channel *channel = channel_of(attacker);
	const uint32_t values[] = {
		UINT32_MAX, 1, 7, 8, channel->out.ring.size, channel->out.ring.size - 1, 1u << 31
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(values); i++) {
		store(&fake_channel_out_header(channel)->pending_send, values[i]);
		if (fake_attack_is_dead(attacker))
			return "a pending send size has killed the channel";
	}
	return NULL;
}

// --- packet headers ----------------------------------------------------------------------------

static const char *packets_whose_lengths_lie(struct fake_attacker *attacker)
{
	static const struct {
		uint16_t type, payload8, length8, flags;
		uint32_t moved;
	} lies[] = {
		{ 6, 0, 4, 1, 40 },      { 6, 1, 4, 1, 40 },      { 6, 3, 2, 1, 40 },
		{ 6, 2, 5, 1, 40 },      { 6, 2, 0xffff, 1, 40 }, { 6, 0xffff, 4, 1, 40 },
		{ 6, 2, 1, 1, 40 },      { 6, 2, 0, 1, 40 },      { 6, 2, 4, 2, 40 },
		{ 6, 2, 4, 0xffff, 40 }, { 6, 2, 4, 1, 8 },       { 6, 2, 4, 1, 32 },
		{ 0, 2, 4, 1, 40 },      { 8, 2, 4, 1, 40 },      { 0xc, 2, 4, 1, 40 },
		{ 0xffff, 2, 4, 1, 40 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint16_t packet[32] = { lies[i].type, lies[i].payload8, lies[i].length8,
					lies[i].flags };

		fake_attack_raw(attacker, packet, sizeof(packet), lies[i].moved);
		if (!fake_attack_is_dead(attacker))
			return "a packet whose lengths lie was believed";
		if (fake_attack_recover(attacker))
			return "no recovery";
	}
	return NULL;
}

// --- page lists --------------------------------------------------------------------------------

// A GPA_DIRECT packet with extra[n] as it is. True if it was answered by a failure.
static bool gpa_fails(struct fake_attacker *attacker, const void *extra, uint32_t n)
{
	struct fake_driver *driver = attacker->driver;
	const struct nvsp_rndis_packet nvsp = { cpu_to_le32(NVSP_RNDIS_PACKET), 0,
						cpu_to_le32(NVSP_NO_SECTION), 0 };
	struct fake_tx_slot *slot = &driver->slots[driver->next_slot++ % FAKE_MAX_TX];
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_GPA_DIRECT, .wants_completion = true,
		.transaction = driver->cfg.tx_id + (uint64_t)(slot - driver->slots),
		.extra = extra, .extra_bytes = n, .payload = &nvsp, .payload_bytes = sizeof(nvsp),
	};
	uint64_t failed = driver->n_failed, before = fake_attack_n_answered(attacker);

	*slot = (struct fake_tx_slot){ .used = true, .section = NVSP_NO_SECTION };
	driver->n_slots++;
	if (fake_channel_put(channel_of(attacker), &packet))
		return false;
	fake_driver_kick(driver);
	return fake_attack_answered(attacker, before) && driver->n_failed == failed + 1;
}

static const char *page_lists_that_lie(struct fake_attacker *attacker)
{
	static const struct {
		uint32_t n_ranges, count, offset;
		uint32_t extra; // bytes
	} lies[] = {
		{ 0, 4096, 0, 24 },          { UINT32_MAX, 4096, 0, 24 }, { 2, 4096, 0, 24 },
		{ 1, UINT32_MAX, 0, 24 },    { 1, UINT32_MAX, 4095, 24 }, { 1, 0, 0, 24 },
		{ 1, 4096, 4096, 24 },       { 1, 100, UINT32_MAX, 24 },  { 1, 4097, 0, 24 },
		{ 1, 4096, 1, 24 },          { 1, 4096, 0, 16 },          { 1, 4096, 0, 8 },
		{ 1, 4096, 0, 0 },           { 1, 129 * 4096, 0, 2048 },  { 200, 8, 0, 2048 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint8_t extra[2048] = { 0 };
		const uint64_t page = attacker->driver->control_page;

		store_u32(extra + 4, lies[i].n_ranges);
		store_u32(extra + 8, lies[i].count);
		store_u32(extra + 12, lies[i].offset);
		for (uint32_t at = 16; at + 8 <= sizeof(extra); at += 8)
			memcpy(extra + at, &page, 8);
		if (!gpa_fails(attacker, extra, lies[i].extra))
			return "a page list that lies was not answered by a failure";
	}
	return fake_attack_is_dead(attacker) ? "a page list has killed the channel" : NULL;
}

static const char *pages_outside_ram(struct fake_attacker *attacker)
{
	const uint64_t n_pages = attacker->driver->guest->memory.n_pages;
	const uint64_t pages[] = { n_pages, n_pages + 1, 1ull << 36, (1ull << 40) - 1, 1ull << 40,
				   1ull << 52, UINT64_MAX };

	for (uint32_t i = 0; i < ARRAY_SIZE(pages); i++) {
		for (uint32_t where = 0; where < 2; where++) {
			uint64_t extra[4] = { 1ull << 32, 6000, attacker->driver->control_page,
					      attacker->driver->control_page };

			extra[2 + where] = pages[i];
			if (!gpa_fails(attacker, extra, sizeof(extra)))
				return "pages that are not RAM were not answered by a failure";
		}
	}
	return fake_attack_is_dead(attacker) ? "pages that are not RAM have killed it" : NULL;
}

// --- memory that is in two places --------------------------------------------------------------

// Rings of which a page is there twice: refused.
static const char *ring_page_twice(struct fake_attacker *attacker)
{
	struct fake_driver *driver = attacker->driver;
	struct fake_channel *channel = channel_of(attacker);
	struct fake_guest *guest = driver->guest;
	uint64_t pages[4] = { channel->rings.pages[0], channel->rings.pages[1],
			      channel->rings.pages[2], channel->rings.pages[1] };
	const struct fake_gpadl_cfg cfg = { channel->relid, pages, 4, 0, 0 };
	uint32_t page = channel->in_page, id;
	struct vmbus_open_channel open = {
		.message.type = cpu_to_le32(VMBUS_OPEN_CHANNEL),
		.relid = cpu_to_le32(channel->relid), .open_id = cpu_to_le32(channel->relid),
		.downstream_page = cpu_to_le32(2),
	};

	driver->n_channels = 0;
	fake_channel_close(channel);
	if (fake_gpadl_post(guest, &cfg, &id))
		return NULL;
	fake_attack_settle(attacker);
	channel->in_page = page;
	open.gpadl = cpu_to_le32(id);
	channel->state = FAKE_OPENING;
	fake_guest_post(guest, &open, sizeof(open));
	fake_attack_settle(attacker);
	return channel->state == FAKE_OPEN ? "rings with a page twice were opened" : NULL;
}

// Gives the NIC a receive buffer made of these pages, and lets frames come.
static const char *receive_into(struct fake_attacker *attacker, uint64_t *pages)
{
	struct fake_driver *driver = attacker->driver;
	struct fake_channel *channel = channel_of(attacker);
	const struct fake_gpadl_cfg cfg = { channel->relid, pages, 64, 0, 0 };
	struct nvsp_revoke revoke = { cpu_to_le32(NVSP_REVOKE_RECV_BUF),
				      cpu_to_le16(driver->cfg.receive_id) };
	struct nvsp_buffer buffer = { .type = cpu_to_le32(NVSP_SEND_RECV_BUF),
				      .id = cpu_to_le16(driver->cfg.receive_id) };
	uint32_t id;

	if (fake_driver_nvsp(driver, &revoke, sizeof(revoke), false) ||
	    fake_gpadl_post(driver->guest, &cfg, &id))
		return NULL;
	fake_attack_settle(attacker);
	buffer.gpadl = cpu_to_le32(id);
	fake_driver_nvsp(driver, &buffer, sizeof(buffer), true);
	for (uint32_t i = 0; i < 50; i++) {
		put_frame(attacker);
		fake_attack_settle(attacker);
	}
	return NULL;
}

static const char *receive_buffer_over_rings(struct fake_attacker *attacker)
{
	return receive_into(attacker, channel_of(attacker)->rings.pages +
					      channel_of(attacker)->rings.n_pages - 64);
}

static const char *receive_buffer_over_event_flags(struct fake_attacker *attacker)
{
	uint64_t pages[64];

	for (uint32_t i = 0; i < 64; i++) // and the same page many times
		pages[i] = attacker->driver->guest->siefp[0];
	return receive_into(attacker, pages);
}

static const char *monitor_page_over_rings(struct fake_attacker *attacker)
{
	struct fake_channel *channel = channel_of(attacker);
	const struct vmbus_initiate_contact contact = {
		.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
		.version = cpu_to_le32(VMBUS_VERSION_IRON), .sint = FAKE_SINT,
		.to_guest_monitor_gpa = cpu_to_le64(channel->rings.pages[0] * VMBUS_PAGE_BYTES),
		.to_host_monitor_gpa = cpu_to_le64(channel->rings.pages[0] * VMBUS_PAGE_BYTES),
	};

	attacker->driver->n_channels = 0;
	vmbus_server_post(attacker->vmm->server, 4, &contact, sizeof(contact));
	fake_attack_settle(attacker);
	return NULL;
}

// --- never and too often -----------------------------------------------------------------------

static const char *acks_of_nothing(struct fake_attacker *attacker)
{
	struct fake_driver *driver = attacker->driver;

	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t id = i & 1 ? i : (uint64_t)fake_attack_random(attacker) << (i % 40);

		fake_driver_ack_raw(driver, 0, id);
		fake_driver_ack_raw(driver, 0, id);
		if (i % 100 == 0) {
			fake_driver_kick(driver);
			fake_attack_settle(attacker);
		}
	}
	fake_driver_ack_raw(driver, 0, UINT64_MAX);
	return fake_attack_is_dead(attacker) ? "acknowledgements of nothing have killed it" : NULL;
}

// Nothing is read: what asks for a completion is not taken once there is no room for it.
static const char *completions_never_read(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 5000; i++) {
		if (!put_frame(attacker))
			attacker->driver->n_slots = 0; // forgets what it has sent
		fake_channel_kick(channel_of(attacker));
		fake_vmm_pump(attacker->vmm);
	}
	return NULL;
}

static const char *bell_storm(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 100000; i++) {
		fake_channel_signal(channel_of(attacker));
		if (i % 1000 == 0)
			fake_vmm_pump(attacker->vmm);
	}
	return fake_attack_is_dead(attacker) ? "a storm of bells has killed it" : NULL;
}

// --- memory that changes -----------------------------------------------------------------------

struct flipper {
	struct fake_driver *driver;
	volatile bool end;
};

// Changes lengths and offsets in ring packets and RNDIS headers as fast as it can.
static void *flip(void *arg)
{
	struct flipper *flipper = arg;
	struct fake_channel *channel = flipper->driver->channels[0];
	struct fake_memory *memory = &flipper->driver->guest->memory;
	uint32_t seed = 7;

	while (!flipper->end) {
		const struct fake_tx_slot *slot;
		volatile uint8_t *at;

		seed = seed * 1664525 + 1013904223;
		slot = &flipper->driver->slots[(seed >> 8) % FAKE_MAX_TX];
		at = channel->rings.at + VMBUS_PAGE_BYTES +
		     (channel->out.published + (seed >> 20) % 512) % channel->out.ring.size;
		if (seed & 1 && slot->used && slot->n_pages)
			at = fake_page_at(memory, slot->pages[0]) + (seed >> 16) % 64;
		*at ^= (uint8_t)(seed >> 3);
	}
	return NULL;
}

static const char *double_fetch(struct fake_attacker *attacker)
{
	struct flipper flipper = { attacker->driver, false };
	pthread_t thread;

	for (uint32_t round = 0; round < 20; round++) {
		flipper.end = false;
		if (pthread_create(&thread, NULL, flip, &flipper))
			return NULL;
		for (uint32_t i = 0; i < 100; i++) {
			put_frame(attacker);
			fake_driver_kick(attacker->driver);
			fake_vmm_pump(attacker->vmm);
		}
		flipper.end = true;
		pthread_join(thread, NULL);
		if (fake_attack_recover(attacker))
			return "no recovery";
	}
	return NULL;
}

// Writes anything anywhere in its RAM.
static const char *scribble(struct fake_attacker *attacker)
{
	for (uint32_t round = 0; round < 30; round++) {
		struct fake_channel *channel = channel_of(attacker);
		uint32_t bytes = fake_buffer_bytes(&channel->rings);

		for (uint32_t i = 0; i < 50; i++) {
			uint32_t at = fake_attack_random(attacker) % bytes;

			put_frame(attacker);
			if (round & 1)
				at %= 8192; // near the header
			channel->rings.at[at] = (uint8_t)fake_attack_random(attacker);
			fake_channel_kick(channel);
			fake_channel_signal(channel);
			fake_vmm_pump(attacker->vmm);
		}
		if (fake_attack_recover(attacker))
			return "no recovery";
	}
	return NULL;
}

const struct fake_attack fake_ring_attacks[] = {
	{ "write-index-beyond-the-ring", write_index_beyond_the_ring, FAKE_CHANNEL_DIES },
	{ "write-index-jumps", write_index_jumps, FAKE_CHANNEL_DIES },
	{ "read-index-of-the-other-ring", read_index_of_the_other_ring, 0 },
	{ "indices-of-the-switch", indices_of_the_switch, 0 },
	{ "pending-send-garbage", pending_send_garbage, 0 },
	{ "packets-whose-lengths-lie", packets_whose_lengths_lie, FAKE_CHANNEL_DIES },
	{ "page-lists-that-lie", page_lists_that_lie, 0 },
	{ "pages-outside-ram", pages_outside_ram, 0 },
	{ "ring-page-twice", ring_page_twice, 0 },
	{ "receive-buffer-over-rings", receive_buffer_over_rings, 0 },
	{ "receive-buffer-over-event-flags", receive_buffer_over_event_flags, 0 },
	{ "monitor-page-over-rings", monitor_page_over_rings, 0 },
	{ "acks-of-nothing", acks_of_nothing, 0 },
	{ "completions-never-read", completions_never_read, 0 },
	{ "bell-storm", bell_storm, 0 },
	{ "double-fetch", double_fetch, 0 },
	{ "scribble", scribble, 0 },
	{ 0 },
};
