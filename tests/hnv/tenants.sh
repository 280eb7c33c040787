#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two hosts, two tenants with the same addresses: one travels by NVGRE, one by VXLAN. Everybody
# reaches their own and nobody else, and the outer headers are what the RFCs say.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

customer_mac()
{
	printf '02:00:00:00:%02x:%02x\n' "${#1}" "$2"
}

# One host's part of the policy: everything but its provider address is the same on both.
policy()
{
	local h=$1 own=$2 tenant n
	on "$h" expect_ok weft add provider pa port=uplink address="$own" prefix_length=24 mtu=1660
	on "$h" expect_ok weft add network red
	on "$h" expect_ok weft add network blue
	on "$h" expect_ok weft add subnet red network=red encap=nvgre vsid=5001 \
		prefix=10.1.0.0/24 gateway=10.1.0.254
	on "$h" expect_ok weft add subnet blue network=blue encap=vxlan vsid=5002 \
		prefix=10.1.0.0/24 gateway=10.1.0.254
	for tenant in red blue; do
		for n in 1 2; do
			on "$h" expect_ok weft add record "$tenant-$n" subnet="$tenant" address="10.1.0.$n" \
				mac="$(customer_mac "$tenant" "$n")" provider="192.0.2.$n"
		done
	done
}

host h1
host h2
wire h1 h2
for i in 1 2; do
	fabric_start "h$i"
	fabric_uplink "h$i" role=uplink
	policy "h$i" "192.0.2.$i"
	for who in red blue; do
		on "h$i" peer "$who$i" "10.1.0.$i/24" subnet="$who" mac="$(customer_mac "$who" "$i")"
	done
done
capture h2 outer.pcap
expect_ping red1 10.1.0.2
expect_ping blue1 10.1.0.2
expect_ping red2 10.1.0.1
captured outer.pcap
expect_ping red1 10.1.0.254 # the gateway
expect_outer outer.pcap 'gre && ip.src == 192.0.2.1' ip.dst=192.0.2.2 ip.proto=47 ip.flags.df=1 \
	ip.ttl=64 ip.checksum.status=1 gre.proto=0x6558 gre.flags_and_version=0x2000
expect_outer outer.pcap 'vxlan && ip.src == 192.0.2.1' ip.dst=192.0.2.2 udp.dstport=4789 \
	ip.flags.df=1 ip.checksum.status=1 vxlan.vni=5002 vxlan.flags=0x0800 udp.checksum=0x0000
expect_matrix "red1 red 10.1.0.1" "red2 red 10.1.0.2" "blue1 blue 10.1.0.1" "blue2 blue 10.1.0.2"
expect_size red1 10.1.0.2 1500
expect_size blue1 10.1.0.2 1500
fabric_stop h1 h2
