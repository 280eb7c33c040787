#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VXLAN with the Linux kernel: over IPv4 and IPv6, 1500 and 9000 bytes, with and without UDP
# checksum; large and fragmented packets both ways.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

# pair NAME OURS THEIRS MTU UNDERLAY-MTU [WORD...]: tenant NAME-a behind weftd, NAME-b behind the
# kernel.
pair()
{
	local name=$1 ours=$2 theirs=$3 mtu=$4 underlay=$5 bits=24
	shift 5
	[[ $ours != *:* ]] || bits=64
	host "$name-w"
	host "$name-k"
	wire "$name-w" "$name-k" "$underlay"
	fabric_start "$name-w"
	fabric_provider "$name-w" "$ours/$bits"
	on "$name-w" expect_ok weft add network red
	on "$name-w" expect_ok weft add subnet red network=red vsid=5001 prefix=10.1.0.0/24 \
		gateway=10.1.0.254
	fabric_record "$name-w" red 10.1.0.1 "$ours"
	fabric_record "$name-w" red 10.1.0.2 "$theirs"
	fabric_tenant "$name-w" "$name-a" red 10.1.0.1/24 mtu="$mtu"
	provider "$name-k" "$theirs/$bits"
	VXLAN_MTU=$mtu kernel_vxlan "$name-k" "$name-b" 5001 "$theirs" 10.1.0.2/24 "$@"
	kernel_record "$name-b" 10.1.0.1 "$ours"
	expect_ping "$name-a" 10.1.0.2
	expect_ping "$name-b" 10.1.0.1
}

# exercise NAME MTU: whole packets of the tenant's MTU, fragments of larger ones, and TCP.
exercise()
{
	expect_size "$1-a" 10.1.0.2 "$2"
	expect_size "$1-b" 10.1.0.1 "$2"
	expect_ping "$1-a" 10.1.0.2 -s 20000
	expect_ping "$1-b" 10.1.0.1 -s 20000
	iperf "$1-a" "$1-b" 10.1.0.2
	iperf "$1-b" "$1-a" 10.1.0.1
	fabric_stop "$1-w"
}

pair v4 192.0.2.1 192.0.2.2 1500 1660
exercise v4 1500
pair v6 2001:db8::1 2001:db8::2 1500 1660
exercise v6 1500
pair jumbo4 192.0.2.1 192.0.2.2 9000 9160
exercise jumbo4 9000
pair jumbo6 2001:db8::1 2001:db8::2 9000 9160
exercise jumbo6 9000
pair sums4 192.0.2.1 192.0.2.2 1500 1660 udpcsum
exercise sums4 1500
pair sums6 2001:db8::1 2001:db8::2 1500 1660 noudp6zerocsumtx udp6zerocsumrx
exercise sums6 1500
