// SPDX-License-Identifier: Apache-2.0
// Attacks by NVSP and RNDIS: messages of unknown types, in the wrong order, with numbers that lie.
#include "tests/guest/fake_attacks.h"

#include <errno.h>

#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"
#include "netvsp/rndis.h"

static const uint32_t odd_numbers[] = { 0, 1, 7, 8, 35, 36, 43, 44, 45, 100, 1514, 4096, 6144,
					0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };

// An NVSP message of any kind, with a completion. True: it came.
static bool is_completed(struct fake_attacker *attacker, const void *message, uint32_t bytes)
{
	return fake_driver_nvsp(attacker->driver, message, bytes, true) == 0;
}

// --- NVSP --------------------------------------------------------------------------------------

static const char *unknown_nvsp_types(struct fake_attacker *attacker)
{
	for (uint32_t type = 0; type < 300; type++) {
		uint32_t message[10] = { type, 0x60000, 0x60000, 3, 4, 5, 6, 7, 8, 9 };

		if (type == NVSP_REVOKE_RECV_BUF || type == NVSP_REVOKE_SEND_BUF ||
		    type == NVSP_SWITCH_DATA_PATH || type == NVSP_INIT ||
		    type == NVSP_RNDIS_PACKET)
			continue; // these mean something; below
		if (!is_completed(attacker, message, sizeof(message)))
			return "an NVSP message got no completion";
	}
	return fake_attack_is_dead(attacker) ? "an unknown NVSP message has killed it" : NULL;
}

static const char *short_nvsp_messages(struct fake_attacker *attacker)
{
	static const uint32_t types[] = { NVSP_INIT, NVSP_SEND_NDIS_VERSION, NVSP_SEND_RECV_BUF,
					  NVSP_SEND_SEND_BUF, NVSP_RNDIS_PACKET,
					  NVSP_SEND_NDIS_CONFIG, NVSP_SUBCHANNEL,
					  NVSP_SWITCH_DATA_PATH, NVSP_REVOKE_SEND_BUF };
	struct fake_channel *channel = attacker->driver->channels[0];

	for (uint32_t i = 0; i < ARRAY_SIZE(types); i++) {
		for (uint32_t bytes = 0; bytes <= 40; bytes += 8) {
			uint32_t message[10] = { types[i] };
			const struct vmbus_packet_out packet = { .type = VMBUS_PACKET_INBAND,
								 .transaction = i,
								 .payload = message,
								 .payload_bytes = bytes };

			if (fake_channel_put(channel, &packet))
				break;
		}
		fake_channel_kick(channel);
		fake_attack_settle(attacker);
	}
	return NULL;
}

// In an order that makes no sense, with numbers that do not.
static const char *nvsp_in_any_order(struct fake_attacker *attacker)
{
	static const uint32_t types[] = {
		NVSP_INIT,            NVSP_SEND_NDIS_VERSION, NVSP_SEND_RECV_BUF,
		NVSP_REVOKE_RECV_BUF, NVSP_SEND_SEND_BUF,     NVSP_REVOKE_SEND_BUF,
		NVSP_SEND_NDIS_CONFIG, NVSP_SWITCH_DATA_PATH, NVSP_SUBCHANNEL,
		NVSP_OID_QUERY_EX,
	};
	struct fake_driver *driver = attacker->driver;

	for (uint32_t i = 0; i < 400; i++) {
		uint32_t message[10] = { types[fake_attack_random(attacker) % ARRAY_SIZE(types)] };

		for (uint32_t w = 1; w < 5; w++)
			message[w] = odd_numbers[fake_attack_random(attacker) %
						 ARRAY_SIZE(odd_numbers)];
		if (i % 6 == 0)
			message[1] = driver->receive_gpadl;
		if (i % 6 == 3)
			message[1] = driver->channels[0]->gpadl;
		if (i % 7 == 0)
			message[1] = message[2] = NVSP_VERSION_6_1;
		if (!is_completed(attacker, message, sizeof(message)))
			return "an NVSP message got no completion";
	}
	return NULL;
}

static const char *too_many_subchannels(struct fake_attacker *attacker)
{
	static const uint32_t counts[] = { 64, 65, 255, 0x7fffffff, 0xffffffff, 0xfffffffe };

	for (uint32_t i = 0; i < ARRAY_SIZE(counts); i++) {
		uint32_t message[10] = { NVSP_SUBCHANNEL, NVSP_SUBCHANNEL_ALLOCATE, counts[i] };

		if (!is_completed(attacker, message, sizeof(message)))
			return "a request for sub-channels got no completion";
		if (load_u32(attacker->driver->completion + 4) == NVSP_STATUS_SUCCESS &&
		    load_u32(attacker->driver->completion + 8) >= 64)
			return "more sub-channels were granted than there can be";
		message[1] = 2 + i; // an op that does not exist
		message[2] = 1;
		if (!is_completed(attacker, message, sizeof(message)) ||
		    load_u32(attacker->driver->completion + 4) == NVSP_STATUS_SUCCESS)
			return "sub-channels were granted to an unknown op";
	}
	return NULL;
}

// --- sections ----------------------------------------------------------------------------------

// An INBAND packet with NVSP 107 as it is. True: it was answered by a failure.
static bool section_fails(struct fake_attacker *attacker, uint32_t section, uint32_t bytes)
{
	struct fake_driver *driver = attacker->driver;
	const struct nvsp_rndis_packet nvsp = { cpu_to_le32(NVSP_RNDIS_PACKET), 0,
						cpu_to_le32(section), cpu_to_le32(bytes) };
	struct fake_tx_slot *slot = &driver->slots[driver->next_slot++ % FAKE_MAX_TX];
	const struct vmbus_packet_out packet = {
		.type = VMBUS_PACKET_INBAND, .wants_completion = true,
		.transaction = driver->cfg.tx_id + (uint64_t)(slot - driver->slots),
		.payload = &nvsp, .payload_bytes = sizeof(nvsp),
	};
	uint64_t failed = driver->n_failed, before = fake_attack_n_answered(attacker);

	*slot = (struct fake_tx_slot){ .used = true, .section = NVSP_NO_SECTION };
	driver->n_slots++;
	if (fake_channel_put(driver->channels[0], &packet))
		return false;
	fake_driver_kick(driver);
	return fake_attack_answered(attacker, before) && driver->n_failed == failed + 1;
}

static const char *sections_that_are_none(struct fake_attacker *attacker)
{
	uint32_t n = attacker->driver->n_send_sections;
	const struct {
		uint32_t section, bytes;
	} lies[] = {
		{ n, 100 },  { n + 1, 100 },    { 0x7fffffff, 100 },      { 0xfffffffe, 100 },
		{ 0, 6145 }, { 0, 0xffffffff }, { n - 1, 12288 },         { 0x2aaaaab, 6144 },
		{ 0, 0 },    { 0, 43 },         { NVSP_NO_SECTION, 100 }, { NVSP_NO_SECTION, 0 }
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++)
		if (!section_fails(attacker, lies[i].section, lies[i].bytes))
			return "a section that is none was not answered by a failure";
	return fake_attack_is_dead(attacker) ? "a section that is none has killed it" : NULL;
}

// --- RNDIS packets -----------------------------------------------------------------------------

static const uint8_t frame[100] = { 2, 0, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0xee, 0x88, 0xb5 };

static const struct fake_packet packet = {
	frame, sizeof(frame), FAKE_PPI_CSUM | FAKE_PPI_VLAN | FAKE_PPI_LSO | FAKE_PPI_HASH,
	0, 0, 5 << 4, 9
};

// Sends a message as it is. True: it was answered, whichever way.
static bool is_answered(struct fake_attacker *attacker, const void *message, uint32_t bytes,
			enum fake_form form)
{
	struct fake_driver *driver = attacker->driver;
	const struct fake_tx how = { .form = form };
	const struct fake_raw raw = { message, bytes, NVSP_CHANNEL_DATA };
	uint64_t before = fake_attack_n_answered(attacker);

	if (fake_driver_put_raw(driver, &how, &raw))
		return false;
	fake_driver_kick(driver);
	return fake_attack_answered(attacker, before);
}

// Every field of a packet and of its PPIs gets every odd number.
static const char *rndis_packets_that_lie(struct fake_attacker *attacker)
{
	uint8_t good[512], message[512];
	uint32_t bytes = fake_packet_build(&packet, true, good, sizeof(good));

	for (uint32_t at = 0; at < sizeof(struct rndis_packet) + 64; at += 4) {
		for (uint32_t i = 0; i < ARRAY_SIZE(odd_numbers); i++) {
			memcpy(message, good, bytes);
			store_u32(message + at, odd_numbers[i]);
			if (!is_answered(attacker, message, bytes,
					 i & 1 ? FAKE_PAGES : FAKE_SECTION))
				return "an RNDIS packet got no completion";
		}
	}
	return fake_attack_is_dead(attacker) ? "an RNDIS packet has killed the channel" : NULL;
}

// Those that are wrong beyond doubt are answered by a failure.
static const char *malformed_rndis_packets(struct fake_attacker *attacker)
{
	static const struct {
		uint32_t at, value;
	} lies[] = {
		{ 4, 43 }, { 4, 0 }, { 4, 0xffffffff }, { 4, 600 }, // the message's length
		{ 8, 0xffffffff }, { 8, 0xfffffff8 }, { 8, 600 }, // where its frame is
		{ 12, 0xffffffff }, { 12, 600 }, { 12, 0 }, { 12, 13 }, // and its length
		{ 28, 0xffffffff }, { 28, 600 }, // where its PPIs are
		{ 32, 0xffffffff }, { 32, 600 },
		{ 44, 0 }, { 44, 0xffffffff }, { 44, 11 }, { 44, 4 }, // size of the first
		{ 0, 0 }, { 0, 77 },
	};
	uint8_t message[512];
	uint32_t bytes = fake_packet_build(&packet, true, message, sizeof(message));

	for (uint32_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint64_t failed = attacker->driver->n_failed;
		uint32_t good = load_u32(message + lies[i].at);

		store_u32(message + lies[i].at, lies[i].value);
		if (!is_answered(attacker, message, bytes, FAKE_PAGES))
			return "a malformed RNDIS packet got no completion";
		if (attacker->driver->n_failed != failed + 1)
			return "a malformed RNDIS packet was not answered by a failure";
		store_u32(message + lies[i].at, good);
	}
	return fake_attack_is_dead(attacker) ? "a malformed RNDIS packet has killed it" : NULL;
}

static const char *frames_of_impossible_sizes(struct fake_attacker *attacker)
{
	static uint8_t big[70000], message[70100];
	static const uint32_t sizes[] = { 1, 13, 14, 15, 1600, 9300, 30000, 65535, 66000 };

	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct fake_packet odd = { big, sizes[i], 0, 0, 0, 0, 0 };
		uint32_t bytes;

		memcpy(big, frame, sizeof(frame));
		bytes = fake_packet_build(&odd, true, message, sizeof(message));
		if (!is_answered(attacker, message, bytes, FAKE_PAGES))
			return "a frame of an impossible size got no completion";
	}
	return NULL;
}

// More packets in a message than were allowed.
static const char *too_many_packets(struct fake_attacker *attacker)
{
	static uint8_t message[65536];
	const struct fake_packet small = { frame, 60, 0, 0, 0, 0, 0 };

	for (uint32_t n = 9; n < 500; n *= 2) {
		uint32_t bytes = 0;

		for (uint32_t i = 0; i < n; i++)
			bytes += fake_packet_build(&small, i + 1 == n, message + bytes,
						   (uint32_t)sizeof(message) - bytes);
		if (!is_answered(attacker, message, bytes, FAKE_PAGES))
			return "a message of too many packets got no completion";
	}
	return fake_attack_is_dead(attacker) ? "too many packets have killed the channel" : NULL;
}

// --- RNDIS control -----------------------------------------------------------------------------

static void send_control(struct fake_attacker *attacker, const void *message, uint32_t bytes)
{
	// The answer, if there is one, is not waited for.
	fake_driver_rndis(attacker->driver, message, bytes, 0);
}

static const char *unknown_rndis_messages(struct fake_attacker *attacker)
{
	static const uint32_t types[] = { RNDIS_RESET, RNDIS_INDICATE_STATUS, RNDIS_SET_EX, 0, 10,
					  0x80000002, 0xffffffff, RNDIS_PACKET };

	for (uint32_t i = 0; i < ARRAY_SIZE(types); i++) {
		for (uint32_t bytes = 8; bytes <= 64; bytes += 4) {
			uint32_t message[16] = { types[i], bytes };

			send_control(attacker, message, bytes);
		}
	}
	return fake_attack_is_dead(attacker) ? "an RNDIS message has killed the channel" : NULL;
}

static const char *rndis_control_that_lies(struct fake_attacker *attacker)
{
	static const uint32_t types[] = { RNDIS_INITIALIZE, RNDIS_QUERY, RNDIS_SET,
					  RNDIS_KEEPALIVE };

	for (uint32_t t = 0; t < ARRAY_SIZE(types); t++) {
		for (uint32_t at = 1; at < 7; at++) {
			for (uint32_t i = 0; i < ARRAY_SIZE(odd_numbers); i++) {
				uint32_t message[16] = {
					types[t], 32, 1, NDIS_OID_GEN_CURRENT_PACKET_FILTER, 4, 20
				};

				message[at] = odd_numbers[i];
				send_control(attacker, message, 32);
			}
		}
		for (uint32_t bytes = 1; bytes < 28; bytes++) {
			uint32_t message[16] = { types[t], bytes, 1 };

			send_control(attacker, message, bytes);
		}
	}
	return fake_attack_is_dead(attacker) ? "an RNDIS message has killed the channel" : NULL;
}

static const char *oids_set_to_anything(struct fake_attacker *attacker)
{
	static const uint32_t oids[] = {
#define OID(name, number, access, version) number,
		NDIS_OIDS(OID)
#undef OID
	};
	struct fake_driver *driver = attacker->driver;
	uint32_t value[64], status;

	for (uint32_t i = 0; i < 8 * ARRAY_SIZE(oids); i++) {
		uint32_t bytes = fake_attack_random(attacker) % sizeof(value);

		for (uint32_t w = 0; w < ARRAY_SIZE(value); w++)
			value[w] = fake_attack_random(attacker) & 1
					   ? odd_numbers[fake_attack_random(attacker) %
							 ARRAY_SIZE(odd_numbers)]
					   : fake_attack_random(attacker);
		if (fake_driver_set(driver, oids[i % ARRAY_SIZE(oids)], value, bytes, &status) ==
		    -ETIMEDOUT)
			return "SET got no answer";
		bytes = sizeof(value);
		if (fake_driver_query(driver, oids[i % ARRAY_SIZE(oids)], value, &bytes, &status) ==
		    -ETIMEDOUT)
			return "QUERY got no answer";
	}
	return fake_attack_is_dead(attacker) ? "an OID has killed the channel" : NULL;
}

static const char *rss_that_lies(struct fake_attacker *attacker)
{
	struct {
		struct ndis_rss_parameters head;
		uint32_t table[128];
		uint8_t key[40];
	} good = { .head = { .object = { NDIS_OBJECT_RSS_PARAMETERS, 2, cpu_to_le16(sizeof(good)) },
			     .hash = cpu_to_le32(0x1701), .table_bytes = cpu_to_le16(512),
			     .table_offset = cpu_to_le32(40), .key_bytes = cpu_to_le16(40),
			     .key_offset = cpu_to_le32(552) } };
	uint32_t status;

	for (uint32_t at = 0; at < sizeof(good.head); at += 2) {
		for (uint32_t i = 0; i < ARRAY_SIZE(odd_numbers); i++) {
			uint8_t value[sizeof(good)];

			memcpy(value, &good, sizeof(good));
			store_u16(value + at, (uint16_t)odd_numbers[i]);
			if (fake_driver_set(attacker->driver, NDIS_OID_GEN_RECEIVE_SCALE_PARAMETERS,
					    value, sizeof(value), &status) == -ETIMEDOUT)
				return "SET got no answer";
		}
	}
	good.table[77] = 5; // no such channel is open
	if (fake_driver_set(attacker->driver, NDIS_OID_GEN_RECEIVE_SCALE_PARAMETERS, &good,
			    sizeof(good), &status) == 0)
		return "a channel that is not open was taken into the table";
	return fake_attack_is_dead(attacker) ? "RSS parameters have killed the channel" : NULL;
}

// Requests by the thousand, whose answers are not read.
static const char *control_flood(struct fake_attacker *attacker)
{
	const struct nvsp_rndis_packet nvsp = { cpu_to_le32(NVSP_RNDIS_PACKET),
						cpu_to_le32(NVSP_CHANNEL_CONTROL),
						cpu_to_le32(NVSP_NO_SECTION), 0 };
	struct fake_driver *driver = attacker->driver;
	const uint32_t keepalive[3] = { RNDIS_KEEPALIVE, 12, 1 };
	const uint64_t extra[3] = { 1ull << 32, 12, driver->control_page };
	const struct vmbus_packet_out request = {
		.type = VMBUS_PACKET_GPA_DIRECT, .transaction = 0, .extra = extra,
		.extra_bytes = sizeof(extra), .payload = &nvsp, .payload_bytes = sizeof(nvsp),
	};

	memcpy(fake_page_at(&driver->guest->memory, driver->control_page), keepalive, 12);
	for (uint32_t i = 0; i < 20000; i++) {
		if (fake_channel_put(driver->channels[0], &request))
			fake_vmm_pump(attacker->vmm);
		fake_channel_kick(driver->channels[0]);
	}
	return NULL;
}

const struct fake_attack fake_nvsp_attacks[] = {
	{ "unknown-nvsp-types", unknown_nvsp_types, 0 },
	{ "short-nvsp-messages", short_nvsp_messages, 0 },
	{ "nvsp-in-any-order", nvsp_in_any_order, 0 },
	{ "too-many-subchannels", too_many_subchannels, 0 },
	{ "sections-that-are-none", sections_that_are_none, 0 },
	{ "rndis-packets-that-lie", rndis_packets_that_lie, 0 },
	{ "malformed-rndis-packets", malformed_rndis_packets, 0 },
	{ "frames-of-impossible-sizes", frames_of_impossible_sizes, 0 },
	{ "too-many-packets", too_many_packets, 0 },
	{ "unknown-rndis-messages", unknown_rndis_messages, 0 },
	{ "rndis-control-that-lies", rndis_control_that_lies, 0 },
	{ "oids-set-to-anything", oids_set_to_anything, 0 },
	{ "rss-that-lies", rss_that_lies, 0 },
	{ "control-flood", control_flood, 0 },
	{ 0 },
};
