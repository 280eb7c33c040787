// SPDX-License-Identifier: Apache-2.0
// Frames by hand, cut at every length: what the keys say, and that nothing is read past the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/parse.h"

#define MACS 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1
#define IPV4(proto, frag_hi, frag_lo)                                                              \
	0x45, 0, 0, 40, 0, 0, frag_hi, frag_lo, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2
#define ADDRESS_V6(last) 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last
#define IPV6(next) 0x60, 0, 0, 0, 0, 32, next, 64, ADDRESS_V6(1), ADDRESS_V6(2)
#define PORTS 0x12, 0x34, 0x00, 0x35
#define LENGTH_V4(...) (sizeof((uint8_t[]){ __VA_ARGS__ }))

// What a frame must come out as.
struct expected {
	const char *name;
	uint16_t tag, ethertype;
	uint8_t version, bits, protocol;
	uint16_t source_port, destination_port;
	uint8_t bytes[96];
	uint32_t len;
};

#define FRAME(...) .bytes = { MACS, __VA_ARGS__ }, .len = LENGTH_V4(MACS, __VA_ARGS__)

static const struct expected table[] = {
	{ "udp", 0, 0x0800, 4, 0, 17, 0x1234, 53, FRAME(8, 0, IPV4(17, 0, 0), PORTS) },
	{ "tagged tcp", TAG_PRESENT | 100, 0x0800, 4, 0, 6, 0x1234, 53,
	  FRAME(0x81, 0, 0xe0, 100, 8, 0, IPV4(6, 0x40, 0), PORTS) },
	{ "priority tag", TAG_PRESENT, 0x0806, 0, 0, 0, 0, 0, FRAME(0x81, 0, 0xe0, 0, 8, 6) },
	{ "service tag is payload", 0, 0x88a8, 0, 0, 0, 0, 0, FRAME(0x88, 0xa8, 0, 5, 8, 0) },
	{ "802.3 length", 0, 0, 0, 0, 0, 0, 0, FRAME(0, 46, 0xaa, 0xaa) },
	{ "first fragment has ports", 0, 0x0800, 4, PACKET_FRAGMENT, 17, 0x1234, 53,
	  FRAME(8, 0, IPV4(17, 0x20, 0), PORTS) },
	{ "later fragment has none", 0, 0x0800, 4,
	  PACKET_FRAGMENT | PACKET_LATER_FRAGMENT, 17, 0, 0,
	  FRAME(8, 0, IPV4(17, 0, 1), PORTS) },
	{ "icmp error", 0, 0x0800, 4, PACKET_ICMP_ERROR, 1, 0, 3,
	  FRAME(8, 0, IPV4(1, 0, 0), 3, 4, 0, 0) },
	{ "icmp echo", 0, 0x0800, 4, 0, 1, 0, 8, FRAME(8, 0, IPV4(1, 0, 0), 8, 0, 0, 0) },
	{ "ipv6 udp", 0, 0x86dd, 6, PACKET_IPV6, 17, 0x1234, 53,
	  FRAME(0x86, 0xdd, IPV6(17), PORTS) },
	{ "ipv6 behind options", 0, 0x86dd, 6, PACKET_IPV6, 6, 0x1234, 53,
	  FRAME(0x86, 0xdd, IPV6(60), 6, 0, 0, 0, 0, 0, 0, 0, PORTS) },
	{ "ipv6 later fragment", 0, 0x86dd, 6,
	  PACKET_IPV6 | PACKET_FRAGMENT | PACKET_LATER_FRAGMENT, 17, 0, 0,
	  FRAME(0x86, 0xdd, IPV6(44), 17, 0, 0, 8, 0, 0, 0, 0, PORTS) },
	{ "icmpv6 too big", 0, 0x86dd, 6, PACKET_IPV6 | PACKET_ICMP_ERROR, 58, 0, 2,
	  FRAME(0x86, 0xdd, IPV6(58), 2, 0, 0, 0) },
	{ "wrong version", 0, 0x0800, 4, PACKET_MALFORMED, 0, 0, 0,
	  FRAME(8, 0, 0x55, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, PORTS) },
	{ "header of 16 bytes", 0, 0x0800, 4, PACKET_MALFORMED, 17, 0, 0,
	  FRAME(8, 0, 0x44, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, PORTS) },
	{ "options cut off", 0, 0x0800, 4, PACKET_MALFORMED, 17, 0, 0,
	  FRAME(8, 0, 0x4f, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, PORTS) },
};

// Parses a copy that ends where the heap does.
static enum parse_result parse(const uint8_t *bytes, uint32_t len, struct packet *out)
{
	uint8_t *p = malloc(len ? len : 1);
	struct key key;
	struct key_l3 l3;
	enum parse_result r;

	memcpy(p, bytes, len);
	r = parse_l2(p, len, 3, &key);
	if (r == PARSE_OK) {
		uint64_t addresses, rest;

		parse_l3(p, len, &key, &l3);
		if (parse_l3_plain(p, len, &key, &addresses, &rest)) { // the short cut agrees
			assert_int_equal(addresses, l3.addresses);
			assert_int_equal(rest, l3.rest);
		}
		packet_from_keys(&key, &l3, out);
	}
	free(p);
	return r;
}

static void frames_come_out_as_they_are(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct expected *e = &table[i];
		struct packet p;

		print_message("%s\n", e->name);
		assert_int_equal(parse(e->bytes, e->len, &p), PARSE_OK);
		assert_int_equal(p.in_port, 3);
		assert_int_equal(p.tag, e->tag);
		assert_int_equal(be16_to_cpu(p.ethertype), e->ethertype);
		assert_int_equal(mac_to_u64(p.src), 0x020000000001);
		assert_int_equal(mac_to_u64(p.dst), 0x020000000002);
		assert_int_equal(p.version, e->version);
		assert_int_equal(p.bits, e->bits);
		assert_int_equal(p.protocol, e->protocol);
		assert_int_equal(p.source_port, e->source_port);
		assert_int_equal(p.destination_port, e->destination_port);
	}
}

static void short_cut_takes_the_plain_ones(void **state)
{
	static const uint8_t plain[] = { MACS, 8, 0, IPV4(17, 0x40, 0), PORTS };
	uint64_t addresses, rest;
	struct key key;

	assert_int_equal(parse_l2(plain, sizeof(plain), 3, &key), PARSE_OK);
	assert_true(parse_l3_plain(plain, sizeof(plain), &key, &addresses, &rest));
	for (uint32_t len = 14; len < sizeof(plain); len++)
		assert_false(parse_l3_plain(plain, len, &key, &addresses, &rest));
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct expected *e = &table[i];

		parse_l2(e->bytes, e->len, 3, &key);
		if (e->tag || e->version != 4 || e->bits || e->protocol == 1)
			assert_false(parse_l3_plain(e->bytes, e->len, &key, &addresses, &rest));
	}
}

static void every_cut_is_survived(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		for (uint32_t len = 0; len < table[i].len; len++) {
			bool tag = table[i].tag && len < 18;
			enum parse_result want = len < 14 ? PARSE_SHORT
						 : tag	  ? PARSE_BAD_VLAN
							  : PARSE_OK;
			struct packet p = { 0 };

			assert_int_equal(parse(table[i].bytes, len, &p), want);
			// No ports out of thin air.
			if (want == PARSE_OK && table[i].version && len < table[i].len - 4)
				assert_int_equal(p.source_port, 0);
		}
	}
}

static void reserved_vid_is_refused(void **state)
{
	const uint8_t bytes[] = { MACS, 0x81, 0, 0x0f, 0xff, 8, 0 };
	struct packet p;

	assert_int_equal(parse(bytes, sizeof(bytes), &p), PARSE_BAD_VLAN);
}

static void endless_extensions_end(void **state)
{
	uint8_t bytes[14 + 40 + 8 * 20] = { MACS, 0x86, 0xdd, IPV6(60) };
	struct packet p;

	for (int i = 0; i < 20; i++)
		bytes[54 + 8 * i] = 60;
	assert_int_equal(parse(bytes, sizeof(bytes), &p), PARSE_OK);
	assert_true(p.bits & PACKET_MALFORMED);
}

// Only the fields asked for may tell two packets apart.
static void level2_keys_hold_what_was_asked(void **state)
{
	const uint8_t a[] = { MACS, 8, 0, IPV4(17, 0, 0), PORTS };
	struct key l1, one, other;
	struct key_l3 l3;
	static const struct {
		uint8_t field;
		unsigned int at; // byte of the frame that it reads
	} fields[] = { { FIELD_PROTOCOL, 23 }, { FIELD_SOURCE, 26 }, { FIELD_DESTINATION, 30 },
		       { FIELD_SOURCE_PORT, 34 }, { FIELD_DESTINATION_PORT, 37 } };

	for (size_t f = 0; f < ARRAY_SIZE(fields); f++) {
		for (size_t g = 0; g < ARRAY_SIZE(fields); g++) {
			uint8_t b[sizeof(a)];

			memcpy(b, a, sizeof(a));
			b[fields[g].at] ^= fields[g].field == FIELD_PROTOCOL ? 17 ^ 6 : 1;
			parse_l2(a, sizeof(a), 0, &l1);
			parse_l3(a, sizeof(a), &l1, &l3);
			one = key_l2(l3.addresses, l3.rest, 9, fields[f].field);
			parse_l3(b, sizeof(b), &l1, &l3);
			other = key_l2(l3.addresses, l3.rest, 9, fields[f].field);
			assert_int_equal(memcmp(&one, &other, sizeof(one)) != 0, f == g);
		}
	}
	one = key_l2(l3.addresses, l3.rest, 10, FIELD_ALL);
	other = key_l2(l3.addresses, l3.rest, 11, FIELD_ALL);
	assert_memory_not_equal(&one, &other, sizeof(one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_as_they_are),
		cmocka_unit_test(short_cut_takes_the_plain_ones),
		cmocka_unit_test(every_cut_is_survived),
		cmocka_unit_test(reserved_vid_is_refused),
		cmocka_unit_test(endless_extensions_end),
		cmocka_unit_test(level2_keys_hold_what_was_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
