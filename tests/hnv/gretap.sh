#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# NVGRE with gretap of a stock Debian kernel: with `key`, which knows one FlowID, and with
# `external`, which takes any.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host w
host g
wire w g
guest_start g
fabric_start w
fabric_provider w 192.0.2.1/24
on w expect_ok weft add network red
on w expect_ok weft add subnet red network=red encap=nvgre vsid=5001 flow=fixed flow_id=7 \
	prefix=10.1.0.0/24 gateway=10.1.0.254
fabric_record w red 10.1.0.1 192.0.2.1
fabric_record w red 10.1.0.2 192.0.2.2
fabric_tenant w a red 10.1.0.1/24

guest_nvgre g 5001 192.0.2.2/24 192.0.2.1 10.1.0.2/24 7
capture g key.pcap 'ip proto 47'
expect_ping a 10.1.0.2
expect_ok guest g ping -c 2 10.1.0.1
expect_size a 10.1.0.2 1500
expect_ping a 10.1.0.2 -s 4000
captured key.pcap
expect_outer key.pcap 'ip.src == 192.0.2.1' ip.dst=192.0.2.2 ip.flags=0x02 ip.checksum.status=1 \
	gre.proto=0x6558 gre.flags_and_version=0x2000 gre.key=0x00138907

# Each address pings under another FlowID: the hash is of addresses and protocol.
on w expect_ok weft set subnet red flow=hash flow_id=
guest g "ip link del nvgre; ip address flush dev eth0"
guest_nvgre g 5001 192.0.2.2/24 192.0.2.1 10.1.0.2/24 external
for n in 1 11 12 13; do
	[ "$n" = 1 ] || ip -n "$(ns a)" address add "10.1.0.$n/24" dev eth0
	guest g "ip neighbour replace 10.1.0.$n lladdr $(tenant_mac 10.1.0.1) dev nvgre nud permanent
		ip route replace 10.1.0.$n/32 encap ip id $((5001 << 8)) dst 192.0.2.1 key dev nvgre"
done
capture g any.pcap 'ip proto 47'
for n in 1 11 12 13; do
	expect_ping a 10.1.0.2 -I "10.1.0.$n"
done
captured any.pcap
[ "$(distinct any.pcap 'ip.src == 192.0.2.1' gre.key)" -ge 2 ] || fail "all flows have one FlowID"
expect_ok guest g ping -c 2 10.1.0.1
fabric_stop w
