// SPDX-License-Identifier: Apache-2.0
// The life of a NIC's control machine. Input: a byte of configuration, then steps: a byte that
// says what, and what it needs. A guest sends NVSP and RNDIS of any bytes and lengths, or does the
// next thing of an honest handshake, so that the fuzzer gets far; host and VMM do what they may;
// a record is taken over, or damaged and taken over. Whatever comes, answers have legal sizes, one
// is made for each request, and a record that is believed stays the same.
#include <assert.h>
#include <stdlib.h>

#include "netvsp/control.h"
#include "netvsp/rndis.h"

#define MAX_STEPS 200
#define RECEIVE_GPADL 1
#define SEND_GPADL 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step { NVSP, RNDIS, QUERY, SET, HONEST, HOST, VF, NOTICE, RECORD, DAMAGE, N_STEPS };

static const uint8_t *input;
static size_t n_left;

static struct netvsp_control control;
static struct netvsp_request request;
static struct netvsp_answer answer;
static uint32_t n_honest; // steps of the handshake that were made
static uint64_t now_ns;

static uint8_t byte(void)
{
	if (!n_left)
		return 0;
	n_left--;
	return *input++;
}

// Fills at most n bytes with what there is. Returns how many.
static uint32_t bytes(uint8_t *out, uint32_t n)
{
	if (n > n_left)
		n = (uint32_t)n_left;
	memcpy(out, input, n);
	input += n;
	n_left -= n;
	return n;
}

static uint64_t gpadl_bytes(void *, uint32_t gpadl)
{
	return gpadl == RECEIVE_GPADL ? 40 * 1856 : gpadl == SEND_GPADL ? 3 * 6144 : 0;
}

static void totals(void *, struct netvsp_totals *out)
{
	memset(out, 0x11, sizeof(*out));
}

// --- requests ----------------------------------------------------------------------------------

static void check_answer(void)
{
	assert(answer.serial == control.answer_serial);
	assert(answer.completion_bytes == 0 || answer.completion_bytes == 32 ||
	       answer.completion_bytes == 40);
	assert(answer.completes || answer.completion_bytes == 0);
	assert(answer.message_bytes <= 1856);
	if (answer.message_bytes)
		assert(load_u32(answer.message + 4) == answer.message_bytes);
}

static void handle(void)
{
	uint64_t serial = control.answer_serial;
	uint32_t effects;
	uint8_t outcome;

	request.transaction++;
	request.wants_completion = request.transaction % 4;
	effects = netvsp_control_handle(&control, &request, &answer);
	assert(answer.serial == serial + 1 && answer.transaction == request.transaction);
	if (effects & NETVSP_ASK_CHANNELS) {
		outcome = byte();
		assert(control.n_wanted < control.config.max_channels);
		if (outcome < 0xc0)
			netvsp_control_granted(&control, outcome % 64, &answer);
		else
			netvsp_control_failed(&control, &answer);
	} else if (effects && byte() == 0xff) {
		netvsp_control_failed(&control, &answer);
	}
	check_answer();
}

static void send_nvsp(void)
{
	memset(request.nvsp, 0, sizeof(request.nvsp));
	request.nvsp_bytes = byte() % (sizeof(request.nvsp) + 1);
	bytes(request.nvsp, request.nvsp_bytes);
	request.rndis_bytes = 0;
	handle();
}

// What stands in request.rndis, under an honest NVSP 107.
static void send_rndis(uint32_t n)
{
	struct nvsp_rndis_packet packet = { cpu_to_le32(NVSP_RNDIS_PACKET),
					    cpu_to_le32(NVSP_CHANNEL_CONTROL), cpu_to_le32(0),
					    cpu_to_le32(0) };

	memset(request.nvsp, 0, sizeof(request.nvsp));
	memcpy(request.nvsp, &packet, sizeof(packet));
	request.nvsp_bytes = NVSP_MESSAGE_BYTES;
	request.rndis_bytes = n;
	handle();
}

static void send_any_rndis(void)
{
	send_rndis(bytes(request.rndis, byte() * 2u));
}

// An object of the list, or any, with a value of any bytes that lies where it should, or nearby.
static void send_oid(enum rndis_type type)
{
	static const uint32_t oids[] = {
#define NUMBER(name, number, access, version) number,
		NDIS_OIDS(NUMBER)
#undef NUMBER
	};
	uint8_t which = byte(), shift = byte();
	uint32_t n = bytes(request.rndis + sizeof(struct rndis_oid_request), byte() * 2u);
	struct rndis_oid_request head = {
		.request.header.type = cpu_to_le32(type),
		.request.header.bytes = cpu_to_le32((uint32_t)sizeof(head) + n),
		.oid = cpu_to_le32(which < ARRAY_SIZE(oids) ? oids[which] : which),
		.info_bytes = cpu_to_le32(n + (shift >> 4)),
		.info_offset = cpu_to_le32(20 + (shift & 0xf)),
	};

	memcpy(request.rndis, &head, sizeof(head));
	send_rndis((uint32_t)sizeof(head) + n);
}

static void send_honest_rndis(const void *message, uint32_t n)
{
	memcpy(request.rndis, message, n);
	send_rndis(n);
}

static void send_honest(void)
{
	static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_4, NVSP_VERSION_6_1 };
	uint32_t version = versions[byte() % 3];
	const uint32_t words[][5] = {
		{ NVSP_INIT, version, version },
		{ NVSP_SEND_NDIS_CONFIG, 1514, 0, 0xff },
		{ NVSP_SEND_NDIS_VERSION, 6, version == NVSP_VERSION_6_1 ? 30 : 1 },
		{ NVSP_SEND_RECV_BUF, RECEIVE_GPADL, 0xcafe },
		{ NVSP_SEND_SEND_BUF, SEND_GPADL, 0 },
		{ NVSP_SUBCHANNEL, 1, 3 },
	};
	static const uint32_t initialize[] = { RNDIS_INITIALIZE, 24, 1, 1, 0, 0x4000 };
	uint32_t n = n_honest++;

	if (n == 5) {
		send_honest_rndis(initialize, sizeof(initialize));
		return;
	}
	n -= n > 5;
	if (n >= ARRAY_SIZE(words))
		return;
	memset(request.nvsp, 0, sizeof(request.nvsp));
	memcpy(request.nvsp, words[n], sizeof(words[n]));
	request.nvsp_bytes = NVSP_MESSAGE_BYTES;
	request.rndis_bytes = 0;
	handle();
}

// --- the rest of the world ---------------------------------------------------------------------

static void do_host(void)
{
	uint8_t what = byte(), value = byte();

	switch (what % 6) {
	case 0: netvsp_control_set_open(&control, 1u | value); break;
	case 1: netvsp_control_set_link(&control, value & 1, value * 100ull); break;
	case 2: netvsp_control_announce(&control); break;
	case 3: netvsp_control_forget_gpadl(&control, value); break;
	case 4: now_ns += value * 100000000ull; break;
	case 5:
		netvsp_control_reset(&control);
		n_honest = 0;
		break;
	}
}

static void do_vf(void)
{
	uint8_t what = byte();

	if (what % 4)
		netvsp_vf_offer(&control.vf, what);
	else
		netvsp_vf_withdraw(&control.vf);
	assert(netvsp_vf_state(&control.vf) <= NETVSP_VF_RESTORING);
}

static void do_notice(void)
{
	struct netvsp_notice notice;

	if (netvsp_control_notice(&control, now_ns, &notice)) {
		assert(notice.bytes >= 8 && notice.bytes <= sizeof(notice.data));
		assert(control.agreed.phase == VMBUS_STATE_OPERATIONAL);
		assert(!notice.in_section || control.agreed.receive.n_sections);
	}
	if (byte() % 4)
		netvsp_control_told(&control);
}

// --- records -----------------------------------------------------------------------------------

static bool decode(const struct vmbus_state_record *record)
{
	struct netvsp_config config = control.config;
	uint64_t open_channels = control.open_channels;
	static struct netvsp_control next;
	static struct netvsp_answer next_answer;
	struct err err;

	config.name = "";
	netvsp_control_init(&next, &config);
	if (netvsp_control_decode(&next, record, &next_answer, &err) < 0)
		return false;
	control = next;
	answer = next_answer;
	netvsp_control_set_open(&control, open_channels);
	return true;
}

static void encode(struct vmbus_state_record *record)
{
	memset(record, 0, sizeof(*record));
	netvsp_control_encode(&control, control.answer_serial ? &answer : NULL, record);
}

// What was believed once is believed again and says the same.
static void check_record(void)
{
	static struct vmbus_state_record first, second;

	encode(&first);
	if (!decode(&first))
		abort();
	encode(&second);
	if (answer.message_bytes || le32_to_cpu(first.answer_kind) != VMBUS_STATE_RNDIS_ANSWER)
		assert(memcmp(&first, &second, sizeof(first)) == 0);
}

static void damage_record(void)
{
	static struct vmbus_state_record record;
	uint32_t at;

	encode(&record);
	at = byte() | (byte() & 1u) << 8;
	((uint8_t *)&record)[at] = byte();
	if (decode(&record))
		check_record();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct netvsp_control_ops ops = { gpadl_bytes, totals };
	struct netvsp_config config = {
		.ops = &ops, .name = "fuzz", .mac = { { 2 } }, .link_up = true,
		.link_speed = 10000000000ull, .mtu = 1514,
	};
	uint8_t shape;

	input = data;
	n_left = size;
	n_honest = 0;
	now_ns = 1;
	request.transaction = 0;
	shape = byte();
	config.any_mac = shape & 1;
	config.rsc = shape & 2;
	config.max_channels = shape & 4 ? 64 : 4;
	netvsp_control_init(&control, &config);
	netvsp_control_set_open(&control, 1);
	answer.serial = 0;
	for (int i = 0; i < MAX_STEPS && n_left; i++) {
		switch ((enum step)(byte() % N_STEPS)) {
		case NVSP: send_nvsp(); break;
		case RNDIS: send_any_rndis(); break;
		case QUERY: send_oid(RNDIS_QUERY); break;
		case SET: send_oid(RNDIS_SET); break;
		case HONEST: send_honest(); break;
		case HOST: do_host(); break;
		case VF: do_vf(); break;
		case NOTICE: do_notice(); break;
		case RECORD: check_record(); break;
		case DAMAGE: damage_record(); break;
		case N_STEPS: break;
		}
	}
	check_record();
	return 0;
}
