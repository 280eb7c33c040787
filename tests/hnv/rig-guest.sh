#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The rig of a Linux guest that speaks NVGRE: Open vSwitch at the other end; with one key, and with
# any (`external`).
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host ovs
host linux
wire ovs linux
ovs_start ovs
ovs_provider ovs 192.0.2.1/24
ovs_tunnel ovs gre nvgre 5001 192.0.2.2
ovs_tenant ovs a 10.1.0.1/24
guest_start linux
echo "guest up after $(guest linux "cut -d' ' -f1 /proc/uptime") s"
guest_nvgre linux 5001 192.0.2.2/24 192.0.2.1 10.1.0.2/24
capture linux gre.pcap 'ip proto 47'
expect_ping a 10.1.0.2
expect_ok guest linux ping -c 2 10.1.0.1
captured gre.pcap
expect_outer gre.pcap 'ip.src == 192.0.2.2' ip.dst=192.0.2.1 gre.proto=0x6558 \
	gre.flags_and_version=0x2000 gre.key=0x00138900
expect_size a 10.1.0.2 1500

# Another FlowID is another tunnel to a kernel with `key`: nobody answers.
ovs_vsctl ovs set interface gre options:key=$((5001 << 8 | 7))
expect_no_ping a 10.1.0.2

# With `external` any FlowID is taken; what is sent has the key of the route.
guest linux "ip link del nvgre; ip address flush dev eth0"
guest_nvgre linux 5001 192.0.2.2/24 192.0.2.1 10.1.0.2/24 external
guest_record linux 5001 10.1.0.1 192.0.2.1
ovs_vsctl ovs set interface gre options:in_key=$((5001 << 8)) options:out_key=$((5001 << 8 | 7)) -- \
	remove interface gre options key
expect_ping a 10.1.0.2
