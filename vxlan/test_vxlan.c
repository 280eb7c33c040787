// SPDX-License-Identifier: Apache-2.0
// VXLAN byte by byte, what RFC 7348 forbids, UDP checksums, and what every codec must do
// (net/test_encap.h).
#include "net/test_encap.h"
#include "vxlan/vxlan.h"

#include <rte_mbuf.h>

#define UDP(port_hi, port_lo) port_hi, port_lo, 0x12, 0xb5, 0, 90, 0, 0
#define VXLAN(...) 0x08, 0, 0, 0, __VA_ARGS__, 0
#define V4(tos, csum_hi, csum_lo)                                                                  \
	0x45, tos, 0, 110, 0, 0, 0x40, 0, 64, 17, csum_hi, csum_lo, GOLDEN_PA4(1), GOLDEN_PA4(2)
#define V6(...) __VA_ARGS__, 0, 90, 17, 64, GOLDEN_PA6(1), GOLDEN_PA6(2)

static const struct test_golden golden[] = {
	{ "IPv4", { GOLDEN_WAY4 }, 5001, 0xabcd1234, 0, 0xd234,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_V4, V4(0, 0xb6, 0x7b), UDP(0xd2, 0x34),
		       VXLAN(0x00, 0x13, 0x89)) },
	{ "IPv6", { GOLDEN_WAY6 }, 5001, 0xabcd1234, 0, 0xd234,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_V6, V6(0x60, 0x0d, 0x12, 0x34), UDP(0xd2, 0x34),
		       VXLAN(0x00, 0x13, 0x89)) },
	{ "IPv4, tagged, expedited forwarding and ECT(0) copied", { GOLDEN_WAY4, GOLDEN_TAGGED },
	  VXLAN_MAX_VNI, 0xffffffff, 0xba, 0xffff,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_TAG, GOLDEN_V4, V4(0xba, 0xb5, 0xc1), UDP(0xff, 0xff),
		       VXLAN(0xff, 0xff, 0xff)) },
	{ "IPv6, tagged, DSCP 10 for all", { GOLDEN_WAY6, GOLDEN_TAGGED,
					     .dscp_mode = ENCAP_DSCP_PIPE, .dscp = 10 },
	  VXLAN_MIN_VNI, 0, 0xba, 0xc000,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_TAG, GOLDEN_V6, V6(0x62, 0xa0, 0x00, 0x00),
		       UDP(0xc0, 0x00), VXLAN(0x00, 0x00, 0x01)) },
};

static const struct test_broken broken[] = {
	{ "any source port", 0, 34, 2, { 0, 1 }, false, ENCAP_OK },
	{ "another port", 0, 36, 2, { 0x12, 0xb6 }, false, ENCAP_OUTER_PROTOCOL },
	{ "UDP shorter than IP", 0, 38, 2, { 0, 89 }, false, ENCAP_OUTER_INVALID },
	{ "UDP longer than IP", 1, 58, 2, { 0, 91 }, false, ENCAP_OUTER_INVALID },
	{ "UDP length 0", 1, 58, 2, { 0, 0 }, false, ENCAP_OUTER_INVALID },
	{ "UDP checksum", 0, 40, 2, { 0xde, 0xad }, false, ENCAP_OUTER_CHECKSUM },
	{ "UDP checksum, IPv6", 1, 60, 2, { 0xde, 0xad }, false, ENCAP_OUTER_CHECKSUM },
	{ "no valid VNI", 0, 42, 1, { 0x00 }, false, ENCAP_TUNNEL_FLAGS },
	{ "all flags but the one", 1, 62, 1, { 0xf7 }, false, ENCAP_TUNNEL_FLAGS },
	{ "reserved fields are ignored", 0, 42, 4, { 0xff, 0xff, 0xff, 0xff }, false, ENCAP_OK },
	{ "reserved byte is ignored", 0, 49, 1, { 0xff }, false, ENCAP_OK },
	{ "VNI 0", 0, 46, 3, { 0, 0, 0 }, false, ENCAP_VIRTUAL_SUBNET_ID },
	{ "VNI 1", 1, 66, 3, { 0, 0, 1 }, false, ENCAP_OK },
	{ "VNI 0xffffff", 0, 46, 3, { 0xff, 0xff, 0xff }, false, ENCAP_OK },
};

// The datagram's checksum, the slow way: a pseudo header and all bytes, in 16-bit words.
static uint16_t slow_csum(const uint8_t *p, bool ipv6)
{
	const uint8_t *l4 = p + (ipv6 ? 54 : 34);
	uint32_t n = (uint32_t)(l4[4] << 8 | l4[5]), sum = n + 17;

	for (const uint8_t *a = p + (ipv6 ? 22 : 26); a < l4; a += 2)
		sum += (uint32_t)(a[0] << 8 | a[1]);
	for (uint32_t i = 0; i < n; i++)
		sum += i % 2 ? l4[i] : (uint32_t)l4[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff ? 0xffff : (uint16_t)~sum;
}

// A right checksum passes, whatever the flags say of it; each flipped bit is seen, unless a device
// has vouched for it.
static void checksums_are_verified(void **state)
{
	for (int i = 0; i < 4; i++) {
		const struct test_golden *g = &golden[i % 2];
		struct encap_where where = test_encap_where(g);
		uint32_t l4 = g->way.ipv6 ? 54 : 34;

		for (uint32_t at = l4 + 16; at < l4 + 90; at++) {
			struct rte_mbuf *m = test_encap_frame(g);
			uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
			uint16_t csum = slow_csum(p, g->way.ipv6);
			bool is_damaged = at > l4 + 30; // behind the inner Ethernet header
			struct encap_info info;

			p[l4 + 6] = (uint8_t)(csum >> 8);
			p[l4 + 7] = (uint8_t)csum;
			p[at] ^= is_damaged ? 0x10 : 0;
			m->ol_flags = i < 2 ? 0 : RTE_MBUF_F_RX_L4_CKSUM_GOOD;
			assert_int_equal(vxlan_ops.pop(m, &where, &info),
					 is_damaged && i < 2 ? ENCAP_OUTER_CHECKSUM : ENCAP_OK);
			rte_pktmbuf_free(m);
		}
	}
}

int main(void)
{
	static struct test_encap suite = { &vxlan_ops, golden, ARRAY_SIZE(golden), broken,
					   ARRAY_SIZE(broken) };
	const struct CMUnitTest tests[] = { TEST_ENCAP_CASES(suite),
					    cmocka_unit_test(checksums_are_verified) };

	return cmocka_run_group_tests(tests, test_encap_set_up, test_encap_tear_down);
}
