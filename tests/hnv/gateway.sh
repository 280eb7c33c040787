#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The gateway that is on every host: routing between subnets here and there, in and out of
# encapsulations; pings, traceroute, unreachable; addresses answered from policy; what is too large.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

# via NAME GATEWAY...: the namespace's default routes.
via()
{
	local gateway
	for gateway in "${@:2}"; do
		ip -n "$(ns "$1")" route add default via "$gateway" dev eth0
	done
}

host h1
host h2
wire h1 h2
for i in 1 2; do
	fabric_start "h$i"
	fabric_provider "h$i" "192.0.2.$i/24"
	on "h$i" expect_ok weft add network red
	on "h$i" expect_ok weft add subnet web network=red encap=nvgre vsid=5001 \
		prefix=10.1.0.0/24 gateway=10.1.0.254 prefix6=fd01::/64 gateway6=fd01::ff
	on "h$i" expect_ok weft add subnet db network=red encap=vxlan vsid=5002 \
		prefix=10.2.0.0/24 gateway=10.2.0.254 prefix6=fd02::/64 gateway6=fd02::ff
	on "h$i" expect_ok weft add route beyond network=red prefix=198.51.100.0/24 next_hop=10.2.0.22
	for n in 1 2; do
		fabric_record "h$i" web "10.1.0.1$n" "192.0.2.$n"
		fabric_record "h$i" web "fd01::1$n" "192.0.2.$n" mac="$(tenant_mac "10.1.0.1$n")"
		fabric_record "h$i" db "10.2.0.2$n" "192.0.2.$n"
		fabric_record "h$i" db "fd02::2$n" "192.0.2.$n" mac="$(tenant_mac "10.2.0.2$n")"
	done
	fabric_record "h$i" web 10.1.0.99 192.0.2.2 # nobody has it
	fabric_tenant "h$i" "web$i" web "10.1.0.1$i/24"
	address_add "web$i" "fd01::1$i/64"
	via "web$i" 10.1.0.254 fd01::ff
	fabric_tenant "h$i" "db$i" db "10.2.0.2$i/24"
	address_add "db$i" "fd02::2$i/64"
	via "db$i" 10.2.0.254 fd02::ff
done
# The router behind db2 to the network beyond.
ip -n "$(ns db2)" address add 198.51.100.1/32 dev lo

# Nothing but unicast of the tenants' and the underlay's own questions is on the wire.
expect_ping web1 10.1.0.12
capture h2 wire.pcap
for gateway in 10.1.0.254 10.2.0.254 fd01::ff fd02::ff; do
	expect_ping web1 "$gateway"
done
for to in 10.1.0.12 fd01::12 10.2.0.21 10.2.0.22 fd02::21 fd02::22 198.51.100.1; do
	expect_ping web1 "$to"
done
expect_ping db2 10.1.0.11
expect_ping db2 fd01::11
# One who is not known is not asked for on the wire.
expect_no_ping web1 10.1.0.77
on h1 expect_drops web1 NoNeighbor 3 || :
captured wire.pcap
expect_eq "broadcasts on the wire" \
	"$(fields wire.pcap '(gre || vxlan) && (arp || icmpv6.type == 135)' frame.len)" ""

# TTL: one less by each route; traceroute sees the gateway, then the end.
in_ns web1 ping -n -c 1 -W 2 10.2.0.22 >"$dir/output" || fail "no answer: $(cat "$dir/output")"
grep -q 'ttl=63' "$dir/output" || fail "the TTL is not 63: $(cat "$dir/output")"
in_ns web1 ping -n -c 1 -t 1 -W 2 10.2.0.22 >"$dir/output" 2>&1 || :
grep -q 'From 10.1.0.254 .*Time to live exceeded' "$dir/output" ||
	fail "TTL 1: $(cat "$dir/output")"
in_ns web1 ping -n -c 1 -t 1 -W 2 fd02::22 >"$dir/output" 2>&1 || :
grep -q 'From fd01::ff .*Hop limit' "$dir/output" || fail "hop limit 1: $(cat "$dir/output")"
on h1 expect_drops web1 TtlExpired 2

# No route, no record: told at once.
in_ns web1 ping -n -c 1 -W 2 203.0.113.1 >"$dir/output" 2>&1 || :
grep -q 'From 10.1.0.254 .*Net Unreachable' "$dir/output" || fail "no route: $(cat "$dir/output")"
in_ns web1 ping -n -c 1 -W 2 10.2.0.77 >"$dir/output" 2>&1 || :
grep -q 'From 10.1.0.254 .*Host Unreachable' "$dir/output" || fail "no record: $(cat "$dir/output")"
in_ns web1 ping -n -c 1 -W 2 fd09::1 >"$dir/output" 2>&1 || :
grep -qi 'From fd01::ff .*unreachable' "$dir/output" || fail "no route: $(cat "$dir/output")"
on h1 expect_drops web1 NoRoute 2

# TCP across subnets and hosts, IPv4 and IPv6.
iperf web1 db2 10.2.0.22
iperf web1 db2 fd02::22
iperf db1 db2 10.2.0.22

# Too large for the way from h1 now: told with DF, else fragmented inside. A routed packet likewise.
on h1 expect_ok weft set provider pa mtu=1400
for to in 10.1.0.12 10.2.0.22; do
	ip -n "$(ns web1)" route flush cache
	in_ns web1 ping -n -c 1 -W 2 -M "do" -s 1400 "$to" >"$dir/output" 2>&1 || :
	grep -Eq 'mtu ?= ?13(58|50)' "$dir/output" || fail "$to, DF: $(cat "$dir/output")"
	ip -n "$(ns web1)" route flush cache
	expect_ping web1 "$to" -M dont -s 1400
done
in_ns web1 ping -n -c 1 -W 2 -M "do" -s 1400 fd01::12 >"$dir/output" 2>&1 || :
grep -Eqi 'mtu ?= ?1358' "$dir/output" || fail "IPv6, too big: $(cat "$dir/output")"
fabric_stop h1 h2
