// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/fake_answers.h"

#include <arpa/inet.h>

#define PING_EVERY 0.02 // seconds

static const uint8_t arp_head[8] = { 0x08, 0x06, 0, 1, 8, 0, 6, 4 }; // EtherType and on

static uint16_t checksum(const uint8_t *bytes, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < n; i += 2)
		sum += load_u16(bytes + i);
	if (n % 2)
		sum += bytes[n - 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t build_arp(const struct fake_answers *answers, uint8_t op, struct mac to,
			  uint32_t target, uint8_t *frame)
{
	memset(frame, 0, 60);
	memcpy(frame, to.b, 6);
	memcpy(frame + 6, answers->mac.b, 6);
	memcpy(frame + 12, arp_head, 8);
	frame[20] = 0;
	frame[21] = op;
	memcpy(frame + 22, answers->mac.b, 6);
	store_u32(frame + 28, answers->address);
	if (op == 2)
		memcpy(frame + 32, to.b, 6);
	store_u32(frame + 38, target);
	return 60;
}

static uint32_t take_arp(struct fake_answers *answers, const uint8_t *frame, uint8_t *reply)
{
	struct mac from;

	memcpy(from.b, frame + 22, 6);
	if (answers->target && load_u32(frame + 28) == answers->target) {
		answers->target_mac = from;
		answers->knows_target = true;
	}
	if (frame[21] != 1 || load_u32(frame + 38) != answers->address)
		return 0;
	answers->n_answered++;
	return build_arp(answers, 2, from, load_u32(frame + 28), reply);
}

static uint32_t take_icmp(struct fake_answers *answers, const uint8_t *frame, uint32_t bytes,
			  uint8_t *reply)
{
	const uint8_t *ip = frame + 14;
	uint32_t head = (ip[0] & 15u) * 4, length = (uint32_t)ip[2] << 8 | ip[3];
	uint8_t *icmp = reply + 14 + head;

	if (head < 20 || length < head + 8 || bytes < 14 + length || ip[9] != 1 ||
	    load_u32(ip + 16) != answers->address)
		return 0;
	if (ip[head] == 0 && load_u32(ip + 12) == answers->target)
		answers->n_pongs++;
	if (ip[head] != 8)
		return 0;
	memcpy(reply, frame, 14 + length);
	memcpy(reply, frame + 6, 6);
	memcpy(reply + 6, answers->mac.b, 6);
	store_u32(reply + 26, answers->address);
	store_u32(reply + 30, load_u32(ip + 12));
	icmp[0] = 0;
	store_u16(icmp + 2, 0);
	store_u16(icmp + 2, checksum(icmp, length - head));
	answers->n_answered++;
	return length + 14 < 60 ? 60 : length + 14;
}

uint32_t fake_answers_take(struct fake_answers *answers, const uint8_t *frame, uint32_t bytes,
			   uint8_t *reply)
{
	if (!answers->address || bytes < 42)
		return 0;
	if (!memcmp(frame + 12, arp_head, 8))
		return take_arp(answers, frame, reply);
	if (frame[12] == 8 && frame[13] == 0 && frame[14] >> 4 == 4)
		return take_icmp(answers, frame, bytes, reply);
	return 0;
}

static uint32_t build_ping(struct fake_answers *answers, uint8_t *frame)
{
	memset(frame, 0, 98);
	memcpy(frame, answers->target_mac.b, 6);
	memcpy(frame + 6, answers->mac.b, 6);
	frame[12] = 8;
	frame[14] = 0x45;
	frame[17] = 84;
	frame[22] = 64;
	frame[23] = 1;
	store_u32(frame + 26, answers->address);
	store_u32(frame + 30, answers->target);
	store_u16(frame + 24, checksum(frame + 14, 20));
	frame[34] = 8;
	store_u16(frame + 40, answers->sequence++);
	store_u16(frame + 36, checksum(frame + 34, 64));
	return 98;
}

uint32_t fake_answers_tick(struct fake_answers *answers, double now,
			   bool (*send)(const uint8_t *frame, uint32_t bytes, uint32_t vlan,
					uint32_t channel),
			   uint32_t vlan)
{
	static const struct mac everybody = { { 255, 255, 255, 255, 255, 255 } };
	uint8_t frame[98];
	uint32_t bytes;

	if (!answers->target || answers->n_pongs >= answers->count ||
	    now - answers->last < PING_EVERY)
		return 0;
	answers->last = now;
	bytes = answers->knows_target
			? build_ping(answers, frame)
			: build_arp(answers, 1, everybody, answers->target, frame);
	return send(frame, bytes, vlan, 0);
}

uint32_t fake_answers_address(const char *text)
{
	struct in_addr address;

	return inet_pton(AF_INET, text, &address) == 1 ? address.s_addr : 0;
}
