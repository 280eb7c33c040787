#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Open vSwitch's userspace datapath as the other host: VXLAN, and NVGRE as GRE with a key of VSID
# << 8, towards which FlowID is fixed at 0.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host w
host o
wire w o
fabric_start w
fabric_provider w 192.0.2.1/24
ovs_start o
ovs_provider o 192.0.2.2/24
on w expect_ok weft add network red
on w expect_ok weft add network blue
on w expect_ok weft add subnet red network=red encap=nvgre vsid=5001 flow=fixed flow_id=0 \
	prefix=10.1.0.0/24 gateway=10.1.0.254
on w expect_ok weft add subnet blue network=blue encap=vxlan vsid=5002 prefix=10.1.0.0/24 \
	gateway=10.1.0.254
# The two tunnels of Open vSwitch end in one bridge: two VLANs keep the tenants apart.
ovs_tunnel o gre nvgre 5001 192.0.2.1
ovs_tunnel o vx vxlan 5002 192.0.2.1
ovs_tenant o red-b 10.1.0.2/24
ovs_tenant o blue-b 10.1.0.4/24
ovs_vsctl o set port gre tag=10 -- set port red-b tag=10 -- set port vx tag=20 -- \
	set port blue-b tag=20
fabric_record w red 10.1.0.1 192.0.2.1
fabric_record w red 10.1.0.2 192.0.2.2
fabric_record w blue 10.1.0.3 192.0.2.1
fabric_record w blue 10.1.0.4 192.0.2.2
fabric_tenant w red-a red 10.1.0.1/24
fabric_tenant w blue-a blue 10.1.0.3/24

capture o outer.pcap
expect_ping red-a 10.1.0.2
expect_ping blue-a 10.1.0.4
captured outer.pcap
expect_outer outer.pcap 'gre && ip.src == 192.0.2.1' ip.dst=192.0.2.2 ip.proto=47 ip.flags.df=1 \
	ip.checksum.status=1 gre.proto=0x6558 gre.flags_and_version=0x2000 gre.key=0x00138900
expect_outer outer.pcap 'vxlan && ip.src == 192.0.2.1' ip.dst=192.0.2.2 udp.dstport=4789 \
	ip.flags.df=1 ip.checksum.status=1 vxlan.vni=5002 vxlan.flags=0x0800
for line in "red 10.1.0.1 10.1.0.2" "blue 10.1.0.3 10.1.0.4"; do
	read -r name a b <<<"$line"
	expect_ping "$name-b" "$a"
	expect_size "$name-a" "$b" 1500
	expect_size "$name-b" "$a" 1500
	expect_ping "$name-a" "$b" -s 8000
	iperf "$name-a" "$name-b" "$b"
	iperf "$name-b" "$name-a" "$a"
done
expect_matrix "red-a red 10.1.0.1" "red-b red 10.1.0.2" "blue-a blue 10.1.0.3" \
	"blue-b blue 10.1.0.4"
fabric_stop w
