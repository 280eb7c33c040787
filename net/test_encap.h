// SPDX-License-Identifier: Apache-2.0
// For the unit tests of codecs: what every encap_ops must do, over golden frames and broken ones
// that the codec's own test lists.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "net/encap.h"

struct rte_mbuf;

#define TEST_ENCAP_PORT 4789

// A way, one frame on it, and the outer header that must come out, byte for byte. The inner frame
// is an IPv4 UDP frame of TEST_ENCAP_INNER bytes.
struct test_golden {
	const char *name;
	struct encap_way way;
	uint32_t id, entropy;
	uint8_t inner_tos;
	uint16_t flow; // what pop must say
	uint8_t n;     // length of bytes[]
	uint8_t bytes[ENCAP_MAX_BYTES + 6];
};
#define TEST_ENCAP_INNER 74

// A golden frame with bytes[n] written over at `offset` from its start.
struct test_broken {
	const char *name;
	uint8_t golden; // index
	uint8_t offset, n;
	uint8_t bytes[8];
	bool is_csum_kept;         // else an IPv4 header's checksum is made right again
	enum encap_result result; // of pop
};

struct test_encap {
	const struct encap_ops *ops;
	const struct test_golden *golden; // [0] untagged IPv4, [1] untagged IPv6, and more
	uint32_t n_golden;
	const struct test_broken *broken;
	uint32_t n_broken;
};

// Memory for the names below; cmocka's group set-up and tear-down.
int test_encap_set_up(void **state);
int test_encap_tear_down(void **state);

// A golden frame as it arrives, the end of its memory right behind it.
struct rte_mbuf *test_encap_frame(const struct test_golden *g);

// Where its outer IP header is.
struct encap_where test_encap_where(const struct test_golden *g);

// Writes the checksum of the IPv4 header at `ip`.
void test_encap_csum(uint8_t *ip);

void test_encap_golden(void **state);
void test_encap_find(void **state);
void test_encap_pop(void **state);
void test_encap_cut(void **state);
void test_encap_padded(void **state);
void test_encap_chains(void **state);
void test_encap_broken(void **state);
void test_encap_requests(void **state);
void test_encap_congestion(void **state);
void test_encap_dscp(void **state);
void test_encap_lengths(void **state);
void test_encap_plain(void **state);

// All of them, for a table of cmocka: `suite` is a struct test_encap.
#define TEST_ENCAP_CASE(name, suite) cmocka_unit_test_prestate(test_encap_##name, &(suite))
#define TEST_ENCAP_CASES(suite)                                                                    \
	TEST_ENCAP_CASE(golden, suite), TEST_ENCAP_CASE(find, suite), TEST_ENCAP_CASE(pop, suite), \
		TEST_ENCAP_CASE(cut, suite), TEST_ENCAP_CASE(padded, suite),                       \
		TEST_ENCAP_CASE(chains, suite), TEST_ENCAP_CASE(broken, suite),                    \
		TEST_ENCAP_CASE(requests, suite), TEST_ENCAP_CASE(congestion, suite),              \
		TEST_ENCAP_CASE(dscp, suite), TEST_ENCAP_CASE(lengths, suite),                     \
		TEST_ENCAP_CASE(plain, suite)

// Pieces of golden frames.
#define GOLDEN_MACS 2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa
#define GOLDEN_V4 0x08, 0x00
#define GOLDEN_V6 0x86, 0xdd
#define GOLDEN_TAG 0x81, 0x00, 0x60, 0x64 // priority 3, VID 100
#define GOLDEN_PA4(last) 192, 0, 2, last
#define GOLDEN_PA6(last) 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last
#define GOLDEN_WAY                                                                                 \
	.src = { { 2, 0, 0, 0, 0, 0xa } }, .dst = { { 2, 0, 0, 0, 0, 0xb } }, .ttl = 64,           \
	.udp_port = TEST_ENCAP_PORT
#define GOLDEN_WAY4 GOLDEN_WAY, .source = { GOLDEN_PA4(1) }, .destination = { GOLDEN_PA4(2) }
#define GOLDEN_WAY6                                                                                \
	GOLDEN_WAY, .ipv6 = true, .source = { GOLDEN_PA6(1) }, .destination = { GOLDEN_PA6(2) }
#define GOLDEN_TAGGED .vid = 100, .priority = 3
#define GOLDEN_BYTES(...) .n = sizeof((uint8_t[]){ __VA_ARGS__ }), .bytes = { __VA_ARGS__ }
