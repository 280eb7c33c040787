#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The outer headers between two hosts, field by field as tshark reads them, and how far 1000 flows
# of one tenant are spread: over FlowIDs, over source ports.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host h1
host h2
wire h1 h2
for i in 1 2; do
	fabric_start "h$i"
	fabric_provider "h$i" "192.0.2.$i/24"
	on "h$i" expect_ok weft add provider pa6 port=uplink address="2001:db8::$i" prefix_length=64 \
		mtu=1660
	on "h$i" expect_ok weft add network one
	on "h$i" expect_ok weft add subnet gre network=one encap=nvgre vsid=5001 prefix=10.1.0.0/24 \
		gateway=10.1.0.254
	on "h$i" expect_ok weft add subnet vx network=one encap=vxlan vsid=5002 prefix=10.2.0.0/24 \
		gateway=10.2.0.254
	on "h$i" expect_ok weft add subnet vx6 network=one encap=vxlan vsid=16777214 \
		prefix=10.3.0.0/24 gateway=10.3.0.254
	for n in 1 2; do
		fabric_record "h$i" gre "10.1.0.1$n" "192.0.2.$n"
		fabric_record "h$i" vx "10.2.0.2$n" "192.0.2.$n"
		fabric_record "h$i" vx6 "10.3.0.3$n" "2001:db8::$n"
	done
	fabric_tenant "h$i" "gre$i" gre "10.1.0.1$i/24"
	fabric_tenant "h$i" "vx$i" vx "10.2.0.2$i/24"
	fabric_tenant "h$i" "vx6$i" vx6 "10.3.0.3$i/24"
done
for line in "gre 10.1.0.1" "vx 10.2.0.2" "vx6 10.3.0.3"; do
	read -r name address <<<"$line"
	expect_ping "${name}1" "${address}2"
done

# flows NAME ADDRESS TOS N: frames of UDP from NAME1, at ADDRESS1, to NAME2.
flows()
{
	local made at
	mapfile -t made < <("$hnv/craft" flows "$4" smac="$(tenant_mac "${2}1")" \
		dmac="$(tenant_mac "${2}2")" src="${2}1" dst="${2}2" tos="$3")
	# In portions that a tap's queue holds.
	for ((at = 0; at < ${#made[@]}; at += 200)); do
		send "${1}1" 1 "${made[@]:at:200}"
	done
}

arrived()
{
	[ "$(fields wire.pcap "$flows" udp.dstport | grep -c .)" -ge 2900 ]
}

capture h2 wire.pcap
flows='udp.dstport == 9 && !icmp' # not what the receiver has to say about them
flows gre 10.1.0.1 0xb9 1000 # DSCP EF, ECT(1): both are seen outside
flows vx 10.2.0.2 0xb9 1000
flows vx6 10.3.0.3 0xb9 1000
wait_for 10 arrived || fail "$(fields wire.pcap "$flows" udp.dstport | grep -c .) of 3000 frames arrived: some may be lost on a busy machine, but not so many"
captured wire.pcap

# Inner: 60 bytes. NVGRE: 8 and outer IP; VXLAN: 8 of its own, 8 of UDP.
mac1=$(on h1 weft get provider pa mac)
mac2=$(on h2 weft get provider pa mac)
common="ip.version=4 ip.hdr_len=20 ip.dsfield=0xb9 ip.id=0x0000 ip.flags=0x02 ip.frag_offset=0
	ip.ttl=64 ip.checksum.status=1 ip.src=192.0.2.1 ip.dst=192.0.2.2"
# shellcheck disable=SC2086 # words
expect_outer wire.pcap "gre && $flows" eth.dst="$mac2" eth.src="$mac1" eth.type=0x0800 \
	frame.len=102 ip.len=88 ip.proto=47 gre.flags_and_version=0x2000 gre.proto=0x6558 $common
# shellcheck disable=SC2086 # words
expect_outer wire.pcap "vxlan && !ipv6 && $flows" eth.dst="$mac2" eth.src="$mac1" \
	eth.type=0x0800 frame.len=110 ip.len=96 ip.proto=17 udp.dstport=4789 udp.length=76 \
	udp.checksum=0x0000 vxlan.flags=0x0800 vxlan.gbp=0 vxlan.reserved8=0 vxlan.vni=5002 $common
mac1=$(on h1 weft get provider pa6 mac)
mac2=$(on h2 weft get provider pa6 mac)
expect_outer wire.pcap "vxlan && ipv6 && $flows" eth.dst="$mac2" eth.src="$mac1" \
	eth.type=0x86dd frame.len=130 ipv6.version=6 ipv6.tclass=0x000000b9 ipv6.plen=76 \
	ipv6.nxt=17 ipv6.hlim=64 ipv6.src=2001:db8::1 ipv6.dst=2001:db8::2 udp.dstport=4789 \
	udp.length=76 udp.checksum=0x0000 vxlan.flags=0x0800 vxlan.vni=16777214
expect_eq "VSIDs" "$(fields wire.pcap "gre && $flows" gre.key | cut -c1-8 | sort -u)" 0x001389

n=$(distinct wire.pcap "gre && $flows" gre.key)
[ "$n" -ge 100 ] || fail "1000 flows have $n FlowIDs"
for filter in "vxlan && !ipv6 && $flows" "vxlan && ipv6 && $flows"; do
	n=$(distinct wire.pcap "$filter" udp.srcport)
	[ "$n" -ge 100 ] || fail "1000 flows have $n source ports ($filter)"
	fields wire.pcap "$filter" udp.srcport | awk '$1 < 49152 { bad = 1 } END { exit bad }' ||
		fail "a source port is below 49152"
done
n=$(distinct wire.pcap "vxlan && ipv6 && $flows" ipv6.flow)
[ "$n" -ge 100 ] || fail "1000 flows have $n flow labels"
fabric_stop h1 h2
