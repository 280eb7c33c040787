#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The rig of Open vSwitch peers: VXLAN with the kernel at the other end, over IPv4 and IPv6; NVGRE
# with another Open vSwitch, its outer header as tshark sees it.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

# VXLAN, with the kernel.
pair()
{
	local name=$1 here=$2 there=$3 bits=$4
	host "$name-ovs"
	host "$name-linux"
	wire "$name-ovs" "$name-linux"
	ovs_start "$name-ovs"
	ovs_provider "$name-ovs" "$here/$bits"
	ovs_tunnel "$name-ovs" vx vxlan 5001 "$there"
	ovs_tenant "$name-ovs" "$name-a" 10.1.0.1/24
	provider "$name-linux" "$there/$bits"
	kernel_vxlan "$name-linux" "$name-b" 5001 "$there" 10.1.0.2/24
	kernel_record "$name-b" 10.1.0.1 "$here"
	expect_ping "$name-a" 10.1.0.2
	expect_size "$name-a" 10.1.0.2 1500
	iperf "$name-a" "$name-b" 10.1.0.2
}

pair v4 192.0.2.1 192.0.2.2 24
pair v6 2001:db8::1 2001:db8::2 64

# NVGRE, with its like.
host one
host two
wire one two
for name in one two; do
	ovs_start $name
done
ovs_provider one 192.0.2.1/24
ovs_provider two 192.0.2.2/24
ovs_tunnel one gre nvgre 5001 192.0.2.2
ovs_tunnel two gre nvgre 5001 192.0.2.1
ovs_tenant one gre-a 10.1.0.1/24
ovs_tenant two gre-b 10.1.0.2/24
capture two gre.pcap 'ip proto 47'
expect_ping gre-a 10.1.0.2
captured gre.pcap
expect_outer gre.pcap 'ip.src == 192.0.2.1' ip.dst=192.0.2.2 ip.proto=47 gre.proto=0x6558 \
	gre.flags_and_version=0x2000 gre.key=0x00138900
expect_size gre-a 10.1.0.2 1500
iperf gre-a gre-b 10.1.0.2
