// SPDX-License-Identifier: Apache-2.0
// NVGRE byte by byte, what RFC 7637 forbids, and what every codec must do (net/test_encap.h).
#include "net/test_encap.h"
#include "nvgre/nvgre.h"

#define GRE(...) 0x20, 0x00, 0x65, 0x58, __VA_ARGS__ // key present, transparent Ethernet
#define V4(tos, csum_hi, csum_lo)                                                                  \
	0x45, tos, 0, 102, 0, 0, 0x40, 0, 64, 47, csum_hi, csum_lo, GOLDEN_PA4(1), GOLDEN_PA4(2)
#define V6(...) __VA_ARGS__, 0, 82, 47, 64, GOLDEN_PA6(1), GOLDEN_PA6(2)

static const struct test_golden golden[] = {
	{ "IPv4", { GOLDEN_WAY4 }, 5001, 0xabcd1234, 0, 0x34,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_V4, V4(0, 0xb6, 0x65), GRE(0x00, 0x13, 0x89, 0x34)) },
	{ "IPv6", { GOLDEN_WAY6 }, 5001, 0xabcd1234, 0, 0x34,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_V6, V6(0x60, 0x0d, 0x12, 0x34),
		       GRE(0x00, 0x13, 0x89, 0x34)) },
	{ "IPv4, tagged, expedited forwarding and ECT(0) copied", { GOLDEN_WAY4, GOLDEN_TAGGED },
	  NVGRE_MAX_VSID, 0xff, 0xba, 0xff,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_TAG, GOLDEN_V4, V4(0xba, 0xb5, 0xab),
		       GRE(0xff, 0xff, 0xfe, 0xff)) },
	{ "IPv6, tagged, DSCP 10 for all", { GOLDEN_WAY6, GOLDEN_TAGGED,
					     .dscp_mode = ENCAP_DSCP_PIPE, .dscp = 10 },
	  NVGRE_MIN_VSID, 0, 0xba, 0,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_TAG, GOLDEN_V6, V6(0x62, 0xa0, 0x00, 0x00),
		       GRE(0x00, 0x10, 0x00, 0x00)) },
	{ "FlowID fixed at 0", { GOLDEN_WAY4, .is_flow_fixed = true }, 5001, 0xabcd1234, 0, 0,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_V4, V4(0, 0xb6, 0x65), GRE(0x00, 0x13, 0x89, 0x00)) },
	{ "FlowID fixed at 7", { GOLDEN_WAY4, .is_flow_fixed = true, .flow_id = 7 }, 5001,
	  0xabcd1234, 0, 7,
	  GOLDEN_BYTES(GOLDEN_MACS, GOLDEN_V4, V4(0, 0xb6, 0x65), GRE(0x00, 0x13, 0x89, 0x07)) },
};

static const struct test_broken broken[] = {
	{ "checksum present", 0, 34, 1, { 0xa0 }, false, ENCAP_TUNNEL_FLAGS },
	{ "sequence number present", 0, 34, 1, { 0x30 }, false, ENCAP_TUNNEL_FLAGS },
	{ "routing present", 0, 34, 1, { 0x60 }, false, ENCAP_TUNNEL_FLAGS },
	{ "strict route", 1, 54, 1, { 0x28 }, false, ENCAP_TUNNEL_FLAGS },
	{ "recursion", 1, 54, 1, { 0x24 }, false, ENCAP_TUNNEL_FLAGS },
	{ "version 1 (PPTP)", 0, 35, 1, { 0x01 }, false, ENCAP_TUNNEL_FLAGS },
	{ "version 2", 0, 35, 1, { 0x02 }, false, ENCAP_TUNNEL_FLAGS },
	{ "version 4", 0, 35, 1, { 0x04 }, false, ENCAP_TUNNEL_FLAGS },
	{ "reserved bits are ignored", 0, 34, 2, { 0x23, 0xf8 }, false, ENCAP_OK },
	{ "no key", 0, 34, 1, { 0x00 }, false, ENCAP_TUNNEL_NO_KEY },
	{ "no key, IPv6", 1, 54, 1, { 0x00 }, false, ENCAP_TUNNEL_NO_KEY },
	{ "IP inside", 0, 36, 2, { 0x08, 0x00 }, false, ENCAP_OUTER_PROTOCOL },
	{ "VSID 0", 0, 38, 3, { 0, 0, 0 }, false, ENCAP_VIRTUAL_SUBNET_ID },
	{ "VSID 4095", 0, 38, 3, { 0, 0x0f, 0xff }, false, ENCAP_VIRTUAL_SUBNET_ID },
	{ "VSID 4096", 0, 38, 3, { 0, 0x10, 0x00 }, false, ENCAP_OK },
	{ "VSID 0xfffffe", 1, 58, 3, { 0xff, 0xff, 0xfe }, false, ENCAP_OK },
	{ "VSID 0xffffff", 1, 58, 3, { 0xff, 0xff, 0xff }, false, ENCAP_VIRTUAL_SUBNET_ID },
};

int main(void)
{
	static struct test_encap suite = { &nvgre_ops, golden, ARRAY_SIZE(golden), broken,
					   ARRAY_SIZE(broken) };
	const struct CMUnitTest tests[] = { TEST_ENCAP_CASES(suite) };

	return cmocka_run_group_tests(tests, test_encap_set_up, test_encap_tear_down);
}
