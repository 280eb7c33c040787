#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two provider addresses on one uplink, one in a VLAN, and an IPv6 one: each subnet's records name
# providers of one link, and its frames leave from our address there. Records that lead nowhere and
# neighbours that do not answer are told apart.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

way()
{
	on "$1" weft --json show way "$2" 2>/dev/null | json "d.get('$3', '')" 2>/dev/null
}

way_is() { [ "$(way "$1" "$2" "$3")" = "$4" ]; }

host h1
host h2
wire h1 h2
for i in 1 2; do
	other=$((3 - i))
	fabric_start "h$i"
	fabric_uplink "h$i" role=uplink
	on "h$i" expect_ok weft add provider a port=uplink address="192.0.2.$i" prefix_length=24
	on "h$i" expect_ok weft add provider b port=uplink address="198.51.100.$i" prefix_length=24 vlan=7
	on "h$i" expect_ok weft add provider c port=uplink address="fd00:9::$i" prefix_length=64
	on "h$i" expect_ok weft add network net
	n=0
	for peer in "192.0.2.$other" "198.51.100.$other" "fd00:9::$other"; do
		n=$((n + 1))
		on "h$i" expect_ok weft add subnet "s$n" network=net encap=vxlan vsid="$n" prefix="10.$n.0.0/24"
		on "h$i" expect_ok weft add record "far$n" subnet="s$n" address="10.$n.0.$other" \
			mac="02:00:00:00:0$n:0$other" provider="$peer"
		on "h$i" peer "s$n-$i" "10.$n.0.$i/24" subnet="s$n" mac="02:00:00:00:0$n:0$i"
	done
done
capture h2 outer.pcap
for n in 1 2 3; do
	expect_ping "s$n-1" "10.$n.0.2"
done
captured outer.pcap
expect_outer outer.pcap 'vxlan.vni == 1 && ip.src == 192.0.2.1' ip.dst=192.0.2.2 vlan.id=
expect_outer outer.pcap 'vxlan.vni == 2 && ip.src == 198.51.100.1' ip.dst=198.51.100.2 vlan.id=7
expect_outer outer.pcap 'vxlan.vni == 3 && ipv6.src == fd00:9::1' ipv6.dst=fd00:9::2
expect_eq "source to the link of b" "$(way h1 vxlan-198.51.100.2 source)" 198.51.100.1
expect_eq "source to the IPv6 link" "$(way h1 vxlan-fd00:9::2 source)" fd00:9::1
expect_eq "MTU" "$(way h1 vxlan-fd00:9::2 mtu)" "$(($(way h1 vxlan-192.0.2.2 mtu) - 20))"

on h1 expect_fail "provider: no provider address" weft add record lost subnet=s1 \
	mac=02:00:00:00:00:99 provider=203.0.113.1
on h1 expect_ok weft add record silent subnet=s1 address=10.1.0.99 mac=02:00:00:00:00:99 \
	provider=192.0.2.99
wait_for 5 way_is h1 vxlan-192.0.2.99 state unresolved || fail "a silent host is not unresolved"
expect_no_ping s1-1 10.1.0.99
on h1 drops s1-1 NeighborUnresolved | grep -qv '^0$' || fail "no frame died as NeighborUnresolved"
fabric_stop h1 h2
