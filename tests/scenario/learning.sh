#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Addresses learnt from kernel peers: many behind one port, moves, limits, ageing, and what may
# not be learnt.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
peer b 10.77.0.1/24

# learnt [PORT]: the addresses learnt there, sorted.
learnt()
{
	weft --json show fdb | json "*sorted(e['name'] for e in d if e['state'] == 'learnt'
		and e['port'] == '$1')"
}
learnt_is() { [ "$(learnt "$1")" = "$2" ]; }
expect_learnt() { wait_for "${3:-5}" learnt_is "$1" "$2" || fail "$1 learnt '$(learnt "$1")', not '$2'"; }

# A bridge of the kernel with three hosts behind one port.
peer br - learning=on
ip -n "$(ns br)" link add br0 up type bridge
ip -n "$(ns br)" link set eth0 master br0
for host in 11 12 13; do
	ns_add h$host
	ip -n "$(ns br)" link add h$host up master br0 type veth peer eth0 \
		address 02:00:00:00:00:$host netns "$(ns h$host)"
	ip -n "$(ns h$host)" link set eth0 up
	address_add h$host 10.77.0.$host/24
	expect_ping h$host 10.77.0.1
done
expect_ping b 10.77.0.12
expect_learnt br "02:00:00:00:00:11 02:00:00:00:00:12 02:00:00:00:00:13"
iperf h11 b 10.77.0.1

# An address moves: what goes there follows.
peer p - learning=on
peer q - learning=on
rest="88b5 $(printf '%092d' 0)"
mac_b=$(weft get port b mac)
moving=02:00:00:00:00:77
for port in p q p; do
	send $port 1 "$mac_b $moving $rest"
	expect_learnt $port $moving
	packets=$(counter $port tx_packets)
	send b 3 "$moving $mac_b $rest"
	expect_counter $port tx_packets $((packets + 3))
done
expect_learnt q ""

# Nobody takes over the address of a port.
send q 1 "ff:ff:ff:ff:ff:ff $mac_b $rest"
packets=$(counter b tx_packets)
send p 2 "$mac_b $moving $rest"
expect_counter b tx_packets $((packets + 2))
expect_learnt q ""
expect_fail mac weft set port q mac="$mac_b"
expect_fail "$mac_b" weft add port r switch=s0 mac="$mac_b"
expect_fail "r" weft get port r # nothing of it was kept

expect_ok weft set port q max_macs=2
send q 1 "$mac_b 02:00:00:00:00:81 $rest" "$mac_b 02:00:00:00:00:82 $rest" \
	"$mac_b 02:00:00:00:00:83 $rest" "$mac_b 02:00:00:00:00:84 $rest"
expect_counter b tx_packets $((packets + 6)) # learnt or not, it passes
expect_learnt q "02:00:00:00:00:81 02:00:00:00:00:82"

# A guest port that names its address learns none, nor does learning=off.
send b 1 "ff:ff:ff:ff:ff:ff 02:00:00:00:00:99 $rest"
expect_learnt b ""

expect_ok weft set switch s0 ageing=10
expect_learnt q "" 30
expect_learnt p "" 30
expect_ping h12 10.77.0.1
conservation
weftd_stop
