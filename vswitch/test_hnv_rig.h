// SPDX-License-Identifier: Apache-2.0
// The rig's switch with virtual networks: ports 0 and 1 in subnet blue, 2 in red, of one network; 3
// is the uplink. Tables are made by hand. A peer at the other end of each way.
#pragma once

#include "nvgre/nvgre.h"
#include "vswitch/hnv_tables.h"
#include "vswitch/test_rig.h"
#include "vxlan/vxlan.h"

enum { BLUE = 100, RED = 101 }; // domains
#define BLUE_VSID 5001u // NVGRE, 10.0.1.0/24, fd00:1::/64
#define RED_VSID 6002u  // VXLAN, 10.0.2.0/24, fd00:2::/64
#define UPLINK 3
#define WAY_BLUE WAY_FIRST      // NVGRE, to 192.0.2.2
#define WAY_RED (WAY_FIRST + 1) // VXLAN, to 192.0.2.3
#define WAY_MTU 1450

struct hnv_rig {
	struct hnv hnv;
	struct hnv_subnet subnets[2]; // blue, red
	const struct hnv_subnet *by_fid[65536];
	struct hnv_provider_cfg provider;
	struct hnv_underlay underlay;
	const struct hnv_underlay *underlays[PORT_SLOTS];
	struct way ways[2];
	struct way_header headers[2];
	struct snapshot *snap;
	struct sw_port ports[RIG_PORTS];
	struct sw_domain *domains[2];
	const struct sw_domain *domain_table[RED + 1];
	struct learn_report reports[64]; // since the last frame
	uint32_t n_reports;
};

extern struct hnv_rig *hrig;

int hnv_rig_set_up(void **state);
int hnv_rig_tear_down(void **state);
#define HNV_TEST(fn) cmocka_unit_test_setup_teardown(fn, hnv_rig_set_up, hnv_rig_tear_down)

// Puts what hrig says in force; ports get new generations.
void hnv_rig_publish(void);

// A customer at `place`, a port or way: FDB entry, and neighbours 10.0.<subnet>.<n> and
// fd00:<subnet>::<n> with MAC host(n).
void hnv_rig_customer(uint16_t fid, uint8_t n, uint16_t place);

// 10.0.<subnet>.<n>, 192.0.2.<n>, and the IPv6 address of a customer.
struct ip_address ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
struct ip_address customer4(uint16_t fid, uint8_t n);
struct ip_address customer6(uint16_t fid, uint8_t n);

// As rig_send; reports go to hrig->reports.
void hnv_send(uint16_t port, struct rte_mbuf *m);

// m as the peer behind `way` encapsulates it, for `vsid`.
struct rte_mbuf *encapsulated(uint16_t way, uint32_t vsid, struct rte_mbuf *m);

// Takes the outer header off the i-th frame waiting at the uplink, checking that it is from us to
// the peer of `way`; *info is what it said. The inner frame stays in the queue.
struct rte_mbuf *expect_encapsulated(uint16_t way, uint16_t i, struct encap_info *info);
