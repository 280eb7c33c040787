#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The rig of kernel VXLAN peers, with itself: over IPv4 and IPv6, 1500 and 9000 bytes, with and
# without UDP checksum, and outer fragments when the wire is too narrow.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

# pair NAME A B MTU UNDERLAY-MTU [WORD...]: two hosts and a tenant on each.
pair()
{
	local name=$1 a=$2 b=$3 mtu=$4 underlay=$5 bits=24
	shift 5
	[[ $a != *:* ]] || bits=64
	host "$name-1"
	host "$name-2"
	wire "$name-1" "$name-2" "$underlay"
	provider "$name-1" "$a/$bits"
	provider "$name-2" "$b/$bits"
	VXLAN_MTU=$mtu kernel_vxlan "$name-1" "$name-a" 5001 "$a" 10.1.0.1/24 "$@"
	VXLAN_MTU=$mtu kernel_vxlan "$name-2" "$name-b" 5001 "$b" 10.1.0.2/24 "$@"
	kernel_record "$name-a" 10.1.0.2 "$b"
	kernel_record "$name-b" 10.1.0.1 "$a"
	expect_ping "$name-a" 10.1.0.2
	[ "$underlay" -gt "$mtu" ] || return 0
	expect_size "$name-a" 10.1.0.2 "$mtu"
	expect_ping "$name-a" 10.1.0.2 -s 20000 # inner fragments
	iperf "$name-a" "$name-b" 10.1.0.2
}

pair v4 192.0.2.1 192.0.2.2 1500 1660
pair v6 2001:db8::1 2001:db8::2 1500 1660
pair jumbo 192.0.2.1 192.0.2.2 9000 9160
pair sums 192.0.2.1 192.0.2.2 1500 1660 udpcsum
pair sums6 2001:db8::1 2001:db8::2 1500 1660 noudp6zerocsumtx noudp6zerocsumrx
iperf v4-a v4-b 10.1.0.2 -R

capture v4-2 checks.pcap udp
expect_ping v4-a 10.1.0.2
captured checks.pcap
expect_outer checks.pcap 'ip.src == 192.0.2.1' ip.dst=192.0.2.2 udp.dstport=4789 vxlan.vni=5001 \
	ip.checksum.status=1 vxlan.flags=0x0800 udp.checksum=0x0000

# A wire too narrow for tenants' packets: the kernel fragments outside, unless the tenant's own
# stack has learnt of it.
pair narrow 192.0.2.1 192.0.2.2 1500 1500
for name in narrow-a narrow-b; do
	ip -n "$(ns $name)" route replace 10.1.0.0/24 dev eth0 mtu lock 1500
done
capture narrow-2 fragments.pcap 'ip[6:2] & 0x3fff != 0'
expect_ping narrow-a 10.1.0.2 -s 1472
captured fragments.pcap
[ "$(distinct fragments.pcap ip ip.frag_offset)" -ge 2 ] || fail "no outer fragments were seen"

# Tenants with the same addresses on another VNI.
kernel_vxlan v4-1 other-a 5002 192.0.2.1 10.1.0.1/24
kernel_vxlan v4-2 other-b 5002 192.0.2.2 10.1.0.2/24
kernel_record other-a 10.1.0.2 192.0.2.2
kernel_record other-b 10.1.0.1 192.0.2.1
expect_matrix "v4-a red 10.1.0.1" "v4-b red 10.1.0.2" "other-a blue 10.1.0.1" "other-b blue 10.1.0.2"
