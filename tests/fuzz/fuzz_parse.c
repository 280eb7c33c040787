// SPDX-License-Identifier: Apache-2.0
// Any bytes as a frame: level 1, level 2, and the keys spelt out again; they must agree with each
// other. The last byte also chooses the port and the fields of the level-2 key. The buffer is
// exactly as long as the frame, so that AddressSanitizer sees a read past its end.
#include <assert.h>

#include "net/layers.h"
#include "net/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_deep(const uint8_t *frame, uint32_t len, const struct key *l1, uint8_t fields)
{
	struct packet packet = { 0 };
	uint64_t addresses, rest;
	struct key_l3 l3;
	struct key l2;

	parse_l3(frame, len, l1, &l3);
	// The short cut is the same as the long way.
	if (parse_l3_plain(frame, len, l1, &addresses, &rest))
		assert(addresses == l3.addresses && rest == l3.rest);
	l2 = key_l2(l3.addresses, l3.rest, 1, fields);
	assert((l2.w[0] & ~l3.addresses) == 0 && (l2.w[1] & ~l3.rest) == 0);
	if (key_l3_is_v6(&l3))
		key6_l2(&l3, fields);
	packet_from_keys(l1, &l3, &packet);
	assert(packet.version == 0 || packet.version == 4 || packet.version == 6);
	assert(key_l3_is_v6(&l3) == (packet.version == 6));
	assert(!(packet.bits & PACKET_LATER_FRAGMENT) ||
	       (!packet.source_port && !packet.destination_port));
}

static void parse(const uint8_t *frame, uint32_t len, uint8_t choice)
{
	struct packet packet = { 0 };
	struct layers at;
	struct key l1;

	if (parse_l2(frame, len, choice, &l1) == PARSE_OK) {
		assert(len >= sizeof(struct eth_header) && (key_tag(&l1) & VID_MASK) <= VID_MAX);
		packet_from_keys(&l1, NULL, &packet);
		assert(packet.in_port == choice && packet.tag == key_tag(&l1));
		assert(memcmp(packet.dst.b, frame, 6) == 0);
		assert(memcmp(packet.src.b, frame + 6, 6) == 0);
		parse_deep(frame, len, &l1, choice & FIELD_ALL);
	}
	if (layers_find(frame, len, len, &at))
		assert(layers_header_bytes(&at) + at.payload_bytes <= len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= UINT16_MAX)
		parse(data, (uint32_t)size, size ? data[size - 1] : 0);
	return 0;
}
