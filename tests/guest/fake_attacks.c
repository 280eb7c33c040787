// SPDX-License-Identifier: Apache-2.0
// What attacks have in common, and those that are made of channel messages: vmbus-host's list of
// what a hostile guest can do, from GPADLs to INITIATE_CONTACT.
#include "tests/guest/fake_attacks.h"

#include <errno.h>

#include "netvsp/nvsp.h"

// --- common ------------------------------------------------------------------------------------

uint32_t fake_attack_random(struct fake_attacker *attacker)
{
	attacker->seed = attacker->seed * 1664525 + 1013904223;
	return attacker->seed >> 8;
}

void fake_attack_settle(struct fake_attacker *attacker)
{
	// A round takes no time in this thread, and a millisecond with a switch in another process.
	uint32_t n = attacker->vmm->cfg.pump ? 20 : 5;

	for (uint32_t i = 0; i < n; i++) {
		fake_driver_poll(attacker->driver);
		fake_vmm_pump(attacker->vmm);
	}
}

bool fake_attack_answered(struct fake_attacker *attacker, uint64_t before)
{
	for (uint32_t i = 0; i < 300 && fake_attack_n_answered(attacker) == before; i++) {
		fake_driver_poll(attacker->driver);
		fake_vmm_pump(attacker->vmm);
	}
	return fake_attack_n_answered(attacker) != before;
}

int fake_attack_recover(struct fake_attacker *attacker)
{
	struct fake_driver *driver = attacker->driver;
	struct fake_driver_cfg cfg = driver->cfg;
	struct fake_guest *guest = driver->guest;
	int ret;

	attacker->vmm->deaf = false;
	fake_attack_settle(attacker);
	fake_driver_fini(driver);
	ret = fake_vmm_boot(attacker->vmm);
	fake_driver_init(driver, guest, 0, &cfg);
	ret = ret ? ret : fake_driver_start(driver);
	guest->complaint[0] = 0; // what it complained of was its own doing
	return ret;
}

const struct fake_attack *fake_attack_find(const char *name)
{
	static const struct fake_attack *const all[] = { fake_message_attacks, fake_ring_attacks,
							 fake_nvsp_attacks };

	for (uint32_t i = 0; i < ARRAY_SIZE(all); i++)
		for (const struct fake_attack *attack = all[i]; attack->name; attack++)
			if (!strcmp(attack->name, name))
				return attack;
	return NULL;
}

static struct fake_guest *guest_of(struct fake_attacker *attacker)
{
	return attacker->driver->guest;
}

static uint32_t relid_of(struct fake_attacker *attacker)
{
	return attacker->driver->channels[0]->relid;
}

static void post(struct fake_attacker *attacker, const void *message, uint32_t bytes)
{
	struct fake_vmm *vmm = attacker->vmm;

	// Once: a flood is no flood if it waits.
	vmbus_server_post(vmm->server, guest_of(attacker)->connection, message, bytes);
}

// --- GPADLs ------------------------------------------------------------------------------------

struct VMBUS_PACKED gpadl_message {
	struct vmbus_gpadl_header head;
	struct vmbus_gpa_range range;
	uint64_t pages[26];
};

static struct gpadl_message gpadl_message(struct fake_attacker *attacker, uint32_t id,
					  uint32_t n_pages)
{
	struct gpadl_message message = {
		.head = { .message.type = cpu_to_le32(VMBUS_GPADL_HEADER),
			  .relid = cpu_to_le32(relid_of(attacker)), .gpadl = cpu_to_le32(id),
			  .range_bytes = cpu_to_le16((uint16_t)(8 + n_pages * 8)),
			  .n_ranges = cpu_to_le16(1) },
		.range = { cpu_to_le32(n_pages * VMBUS_PAGE_BYTES), 0 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(message.pages); i++)
		message.pages[i] = i + 1;
	return message;
}

// The guest has an entry for it, so that an answer is no surprise.
static struct fake_gpadl *expect_gpadl(struct fake_attacker *attacker, uint32_t id)
{
	struct fake_guest *guest = guest_of(attacker);

	for (uint32_t i = 0; i < FAKE_MAX_GPADLS; i++) {
		if (guest->gpadls[i].state != FAKE_NO_GPADL)
			continue;
		guest->gpadls[i] = (struct fake_gpadl){ FAKE_GPADL_SENT, id, relid_of(attacker) };
		return &guest->gpadls[i];
	}
	return NULL;
}

static const char *gpadl_storm(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 20000; i++) {
		struct gpadl_message message = gpadl_message(attacker, 0x1000 + i, 8000);

		post(attacker, &message, sizeof(message));
	}
	return NULL;
}

static const char *gpadl_memory_storm(struct fake_attacker *attacker)
{
	for (uint32_t i = 0; i < 5000; i++) {
		struct gpadl_message message = gpadl_message(attacker, 0x1000 + i, 26);

		post(attacker, &message, sizeof(message));
		if (i % 100 == 0)
			fake_vmm_pump(attacker->vmm);
	}
	return NULL;
}

// Headers whose numbers lie: each is refused.
static const char *gpadl_headers_that_lie(struct fake_attacker *attacker)
{
	static const struct {
		uint16_t range_bytes, n_ranges;
		uint32_t count, offset, bytes; // of the message
	} lies[] = {
		{ 16, 0, 4096, 0, 236 },     { 16, 0xffff, 4096, 0, 236 },
		{ 0, 1, 4096, 0, 236 },      { 7, 1, 4096, 0, 236 },
		{ 8, 1, 4096, 0, 236 },      { 16, 1, 0, 0, 236 },
		{ 16, 1, 0xffffffff, 0, 236 }, { 16, 1, 4096, 4096, 236 },
		{ 16, 1, 4096, 0xffffffff, 236 }, { 16, 1, 4097, 0, 236 },
		{ 16, 1, 8192, 0, 236 },     { 24, 2, 4096, 0, 236 },
		{ 16, 1, 4096, 0, 20 },      { 17, 1, 4096, 0, 28 },
		{ 0xffff, 1, 4096, 0, 236 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct gpadl_message message = gpadl_message(attacker, 0x2000 + i, 1);
		struct fake_gpadl *gpadl = expect_gpadl(attacker, 0x2000 + i);

		message.head.range_bytes = cpu_to_le16(lies[i].range_bytes);
		message.head.n_ranges = cpu_to_le16(lies[i].n_ranges);
		message.range.byte_count = cpu_to_le32(lies[i].count);
		message.range.byte_offset = cpu_to_le32(lies[i].offset);
		post(attacker, &message, lies[i].bytes);
		fake_attack_settle(attacker); // some cannot be answered
		if (gpadl && gpadl->state == FAKE_GPADL_LIVE)
			return "a GPADL that makes no sense was accepted";
		if (gpadl)
			gpadl->state = FAKE_NO_GPADL;
	}
	return NULL;
}

static const char *gpadl_outside_ram(struct fake_attacker *attacker)
{
	static const uint64_t pages[] = { 1ull << 20, 1ull << 40, UINT64_MAX, UINT64_MAX >> 12,
					  1ull << 52 };

	for (uint32_t i = 0; i < ARRAY_SIZE(pages); i++) {
		struct gpadl_message message = gpadl_message(attacker, 0x3000 + i, 2);
		struct fake_gpadl *gpadl = expect_gpadl(attacker, 0x3000 + i);

		message.pages[1] = pages[i];
		post(attacker, &message, sizeof(message));
		if (!gpadl)
			continue;
		fake_gpadl_wait(guest_of(attacker), gpadl);
		if (gpadl->state != FAKE_GPADL_REFUSED)
			return "a GPADL of pages that are not RAM was not refused";
		gpadl->state = FAKE_NO_GPADL;
	}
	return NULL;
}

static const char *gpadl_bodies_from_nowhere(struct fake_attacker *attacker)
{
	uint8_t message[VMBUS_MAX_MESSAGE] = { 0 };
	struct vmbus_gpadl_body *body = (struct vmbus_gpadl_body *)message;

	body->message.type = cpu_to_le32(VMBUS_GPADL_BODY);
	for (uint32_t i = 0; i < 2000; i++) {
		body->number = cpu_to_le32(fake_attack_random(attacker));
		// Unknown ones; that of the rings, which is finished.
		body->gpadl = cpu_to_le32(i & 1 ? attacker->driver->channels[0]->gpadl
						: 0x4000 + i);
		post(attacker, message, 8 + fake_attack_random(attacker) % 233);
	}
	return NULL;
}

static const char *gpadl_body_longer_than_needed(struct fake_attacker *attacker)
{
	struct gpadl_message message = gpadl_message(attacker, 0x5000, 27);
	struct fake_gpadl *gpadl = expect_gpadl(attacker, 0x5000);
	uint8_t bytes[VMBUS_MAX_MESSAGE];
	struct vmbus_gpadl_body *body = (struct vmbus_gpadl_body *)bytes;

	memset(bytes, 0xff, sizeof(bytes));
	body->message.type = cpu_to_le32(VMBUS_GPADL_BODY);
	body->gpadl = cpu_to_le32(0x5000);
	store_u32(body->data, 40);
	store_u32(body->data + 4, 0);
	post(attacker, &message, sizeof(message));
	post(attacker, bytes, sizeof(bytes)); // firmware pads to this
	if (gpadl)
		fake_gpadl_wait(guest_of(attacker), gpadl);
	return gpadl && gpadl->state != FAKE_GPADL_LIVE ? "a padded body was not taken" : NULL;
}

static const char *gpadl_id_twice(struct fake_attacker *attacker)
{
	struct fake_driver *driver = attacker->driver;
	struct fake_gpadl *gpadl = fake_gpadl_find(driver->guest, driver->receive_gpadl);
	struct gpadl_message message = gpadl_message(attacker, driver->receive_gpadl, 26);

	gpadl->state = FAKE_GPADL_SENT;
	post(attacker, &message, sizeof(message));
	fake_gpadl_wait(driver->guest, gpadl);
	return gpadl->state == FAKE_GPADL_LIVE ? "a GPADL id was accepted twice" : NULL;
}

// --- channels ----------------------------------------------------------------------------------

static void post_open(struct fake_attacker *attacker, uint32_t relid, uint32_t gpadl, uint32_t page)
{
	const struct vmbus_open_channel message = {
		.message.type = cpu_to_le32(VMBUS_OPEN_CHANNEL), .relid = cpu_to_le32(relid),
		.open_id = cpu_to_le32(relid), .gpadl = cpu_to_le32(gpadl),
		.downstream_page = cpu_to_le32(page),
	};

	post(attacker, &message, sizeof(message));
	fake_attack_settle(attacker);
}

static void post_relid(struct fake_attacker *attacker, uint32_t type, uint32_t relid)
{
	const struct vmbus_relid_message message = { .message.type = cpu_to_le32(type),
						     .relid = cpu_to_le32(relid) };

	post(attacker, &message, sizeof(message));
}

static const char *open_where_no_rings_are(struct fake_attacker *attacker)
{
	struct fake_driver *driver = attacker->driver;
	struct fake_channel *channel = driver->channels[0];
	const uint32_t pages[] = { 0, 1, 255, 256, 257, 0xffffffff, 0x100000, 0x80000000 };
	const uint32_t gpadls[] = { channel->gpadl, driver->receive_gpadl, 0, 0xffffffff };
	uint32_t rings = channel->gpadl;

	// An open channel is not opened again.
	post_open(attacker, channel->relid, rings, 128);
	post_relid(attacker, VMBUS_CLOSE_CHANNEL, channel->relid);
	driver->n_channels = 0; // the driver's hands off
	for (uint32_t i = 0; i < ARRAY_SIZE(pages); i++) {
		for (uint32_t g = 0; g < ARRAY_SIZE(gpadls); g++) {
			if (gpadls[g] == driver->receive_gpadl && pages[i] && pages[i] < 256)
				continue; // odd, but two rings
			if (pages[i] > 1 && pages[i] < 255)
				continue;
			channel->state = FAKE_OPENING;
			post_open(attacker, channel->relid, gpadls[g], pages[i]);
			if (channel->state == FAKE_OPEN)
				return "a channel was opened where no rings are";
		}
	}
	return NULL;
}

static const char *relids_of_nobody(struct fake_attacker *attacker)
{
	static const uint32_t types[] = { VMBUS_CLOSE_CHANNEL, VMBUS_RELID_RELEASED,
					  VMBUS_OPEN_CHANNEL, VMBUS_MODIFY_CHANNEL,
					  VMBUS_GPADL_TEARDOWN, VMBUS_GPADL_HEADER };
	static const uint32_t relids[] = { 0, 2047, 2048, 0xffffffff, 0x80000000 };
	uint32_t message[VMBUS_MAX_MESSAGE / 4] = { 0 };

	for (uint32_t t = 0; t < ARRAY_SIZE(types); t++) {
		for (uint32_t i = 0; i < ARRAY_SIZE(relids); i++) {
			message[0] = types[t];
			message[2] = relids[i];
			post(attacker, message, sizeof(message));
		}
	}
	// Of an open channel, a relid cannot be released.
	post_relid(attacker, VMBUS_RELID_RELEASED, relid_of(attacker));
	fake_attack_settle(attacker);
	return fake_attack_is_dead(attacker) ? "relids of nobody have closed the channel" : NULL;
}

static const char *open_and_close(struct fake_attacker *attacker)
{
	struct fake_channel *channel = attacker->driver->channels[0];

	attacker->driver->n_channels = 0;
	for (uint32_t i = 0; i < 500; i++) {
		post_relid(attacker, VMBUS_CLOSE_CHANNEL, channel->relid);
		memset(channel->rings.at, 0, VMBUS_PAGE_BYTES);
		memset(fake_channel_in_header(channel), 0, VMBUS_PAGE_BYTES);
		channel->state = FAKE_OPENING;
		post_open(attacker, channel->relid, channel->gpadl, channel->in_page);
	}
	return NULL;
}

static void post_teardown(struct fake_attacker *attacker, uint32_t gpadl)
{
	const struct vmbus_gpadl_teardown message = {
		.message.type = cpu_to_le32(VMBUS_GPADL_TEARDOWN),
		.relid = cpu_to_le32(relid_of(attacker)), .gpadl = cpu_to_le32(gpadl),
	};

	post(attacker, &message, sizeof(message));
}

static const char *teardown_of_rings_in_use(struct fake_attacker *attacker)
{
	struct fake_channel *channel = attacker->driver->channels[0];
	struct fake_gpadl *gpadl = fake_gpadl_find(channel->guest, channel->gpadl);

	gpadl->state = FAKE_GPADL_LEAVING;
	post_teardown(attacker, channel->gpadl);
	fake_attack_settle(attacker);
	if (gpadl->state == FAKE_NO_GPADL && !fake_attack_is_dead(attacker))
		return "the GPADL of rings in use is said to be gone";
	return NULL;
}

// With frames coming in: the caller sees to them.
static const char *teardown_of_buffers_in_use(struct fake_attacker *attacker)
{
	struct fake_driver *driver = attacker->driver;
	const uint32_t ids[] = { driver->receive_gpadl, driver->send_gpadl };

	for (uint32_t i = 0; i < 2; i++) {
		struct fake_gpadl *gpadl = fake_gpadl_find(driver->guest, ids[i]);

		if (!gpadl)
			continue;
		gpadl->state = FAKE_GPADL_LEAVING;
		post_teardown(attacker, ids[i]);
		post_teardown(attacker, ids[i]);
		fake_gpadl_wait(driver->guest, gpadl);
		if (gpadl->state != FAKE_NO_GPADL)
			return "the teardown of a buffer in use was not answered";
	}
	return NULL;
}

static const char *modify_flood(struct fake_attacker *attacker)
{
	struct fake_guest *guest = guest_of(attacker);

	for (uint32_t i = 0; i < 5000; i++) {
		const struct vmbus_modify_channel message = {
			.message.type = cpu_to_le32(VMBUS_MODIFY_CHANNEL),
			.relid = cpu_to_le32(relid_of(attacker)),
			.target_vp = cpu_to_le32(i % (guest->n_vps + 1)),
		};

		post(attacker, &message, sizeof(message));
		if (i % 500 == 0)
			fake_vmm_pump(attacker->vmm);
	}
	fake_attack_settle(attacker);
	return NULL;
}

static const char *modify_to_no_vp(struct fake_attacker *attacker)
{
	struct fake_channel *channel = attacker->driver->channels[0];
	static const uint32_t vps[] = { 64, 0x7fffffff, VMBUS_NO_INTERRUPT };

	for (uint32_t i = 0; i < ARRAY_SIZE(vps); i++) {
		uint32_t before = channel->n_modified;
		const struct vmbus_modify_channel message = {
			.message.type = cpu_to_le32(VMBUS_MODIFY_CHANNEL),
			.relid = cpu_to_le32(channel->relid), .target_vp = cpu_to_le32(vps[i]),
		};

		post(attacker, &message, sizeof(message));
		fake_attack_settle(attacker);
		if (channel->n_modified != before && !channel->modify_status)
			return "events may go to a VP that does not exist";
	}
	return fake_attack_is_dead(attacker) ? "a VP that does not exist has killed it" : NULL;
}

// --- messages ----------------------------------------------------------------------------------

static const char *message_flood(struct fake_attacker *attacker)
{
	uint32_t message[VMBUS_MAX_MESSAGE / 4];

	for (uint32_t i = 0; i < 50000; i++) {
		for (uint32_t w = 0; w < 8; w++)
			message[w] = fake_attack_random(attacker);
		message[0] = i % 40;
		if (message[0] == VMBUS_INITIATE_CONTACT || message[0] == VMBUS_UNLOAD)
			continue; // those have their own attack
		message[2] = i % 8;
		post(attacker, message, fake_attack_random(attacker) % (VMBUS_MAX_MESSAGE + 1));
	}
	return NULL;
}

// The guest takes no message: what the host has for it waits, bounded.
static const char *never_eom(struct fake_attacker *attacker)
{
	attacker->vmm->deaf = true;
	for (uint32_t i = 0; i < 20000; i++) {
		struct gpadl_message message = gpadl_message(attacker, 0x6000 + i, 0);

		post(attacker, &message, sizeof(message));
	}
	fake_attack_settle(attacker);
	if (vmbus_server_n_waiting(attacker->vmm->server) > 4096)
		return "messages for a guest that takes none pile up";
	attacker->vmm->deaf = false;
	fake_attack_settle(attacker);
	return NULL;
}

static void post_contact(struct fake_attacker *attacker, uint32_t version, uint8_t sint,
			 uint8_t vtl)
{
	const struct vmbus_initiate_contact message = {
		.message.type = cpu_to_le32(VMBUS_INITIATE_CONTACT),
		.version = cpu_to_le32(version), .sint = sint, .vtl = vtl,
	};

	vmbus_server_post(attacker->vmm->server, version < VMBUS_VERSION_RS3_1 ? 1 : 4, &message,
			  sizeof(message));
}

static const char *contact_with_no_sint(struct fake_attacker *attacker)
{
	static const struct {
		uint8_t sint, vtl;
	} tries[] = { { 0, 0 }, { 16, 0 }, { 255, 0 }, { 2, 1 }, { 2, 255 } };
	struct fake_guest *guest = guest_of(attacker);

	attacker->driver->n_channels = 0;
	for (uint32_t i = 0; i < ARRAY_SIZE(tries); i++) {
		guest->got_version = false;
		guest->supported = 0;
		post_contact(attacker, VMBUS_VERSION_IRON, tries[i].sint, tries[i].vtl);
		fake_attack_settle(attacker);
		if (guest->got_version && guest->supported && !guest->contact_state)
			return "a contact without a SINT has succeeded";
	}
	return NULL;
}

// At any moment of a bring-up: each step is one more than in the last try.
static const char *contact_at_any_moment(struct fake_attacker *attacker)
{
	struct fake_driver *driver = attacker->driver;
	struct fake_guest *guest = guest_of(attacker);

	for (uint32_t i = 0; i < 60; i++) {
		struct fake_driver_cfg cfg = driver->cfg;
		uint32_t rounds = guest->max_rounds;

		fake_driver_fini(driver);
		fake_driver_init(driver, guest, 0, &cfg);
		guest->max_rounds = 1 + i; // gives up in the midst of something
		if (!fake_vmm_boot(attacker->vmm))
			fake_driver_start(driver);
		guest->max_rounds = rounds;
		driver->n_channels = 0;
		if (i & 1) {
			const struct vmbus_message unload = { .type = cpu_to_le32(VMBUS_UNLOAD) };

			post(attacker, &unload, sizeof(unload));
		}
		post_contact(attacker, i & 2 ? VMBUS_VERSION_IRON : VMBUS_VERSION_WIN10, FAKE_SINT,
			     0);
		post_contact(attacker, VMBUS_VERSION_IRON, FAKE_SINT, 0);
	}
	return NULL;
}

const struct fake_attack fake_message_attacks[] = {
	{ "gpadl-storm", gpadl_storm, 0 },
	{ "gpadl-memory-storm", gpadl_memory_storm, 0 },
	{ "gpadl-headers-that-lie", gpadl_headers_that_lie, 0 },
	{ "gpadl-outside-ram", gpadl_outside_ram, 0 },
	{ "gpadl-bodies-from-nowhere", gpadl_bodies_from_nowhere, 0 },
	{ "gpadl-body-longer-than-needed", gpadl_body_longer_than_needed, 0 },
	{ "gpadl-id-twice", gpadl_id_twice, 0 },
	{ "open-where-no-rings-are", open_where_no_rings_are, 0 },
	{ "open-and-close", open_and_close, 0 },
	{ "relids-of-nobody", relids_of_nobody, 0 },
	{ "teardown-of-rings-in-use", teardown_of_rings_in_use, 0 },
	{ "teardown-of-buffers-in-use", teardown_of_buffers_in_use, 0 },
	{ "modify-flood", modify_flood, 0 },
	{ "modify-to-no-vp", modify_to_no_vp, 0 },
	{ "message-flood", message_flood, 0 },
	{ "never-eom", never_eom, 0 },
	{ "contact-with-no-sint", contact_with_no_sint, 0 },
	{ "contact-at-any-moment", contact_at_any_moment, 0 },
	{ 0 },
};
