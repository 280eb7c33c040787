#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rules of a port: what they name is dropped, counted, and nothing else; a change holds at once for
# flows that are under way.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24
peer b 10.77.0.2/24
address_add a fd77::1/64
address_add b fd77::2/64
expect_ping a 10.77.0.2
expect_ping a fd77::2

# udp ADDRESS PORT [SIZE]: five datagrams from a.
udp()
{
	in_ns a python3 -c "import socket
s = socket.socket(socket.AF_INET6 if ':' in '$1' else socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(5): s.sendto(bytes(${3:-8}), ('$1', $2))"
}
rule_dropped() { [ "$(weft --json counters rule "$1" | json "d[0]['counters']['drops']")" = "$2" ]; }
expect_rule() { wait_for 3 rule_dropped "$1" "$2" || fail "rule $1: $(weft counters rule "$1")"; }

# One UDP port, and only that.
expect_ok weft add rule no53 port=a action=deny protocol=udp destination_ports=53
udp 10.77.0.2 53
udp fd77::2 53
expect_drops a Filtered 10
expect_rule no53 10
udp 10.77.0.2 54
expect_ping a 10.77.0.2
iperf a b 10.77.0.2
expect_rule no53 10

# The lowest number that matches decides.
expect_ok weft add rule yes53 port=a action=allow protocol=udp destination_ports=50-60 \
	destination=10.77.0.0/24 priority=50
udp 10.77.0.2 53
udp fd77::2 53
expect_rule no53 15
expect_ok weft set rule yes53 priority=200
udp 10.77.0.2 53
expect_rule no53 20
expect_ok weft delete rule yes53

# The other direction; the first fragment has the ports, the later ones follow it.
expect_ok weft add rule out99 port=b direction=out action=deny protocol=udp destination_ports=99
udp 10.77.0.2 99
expect_drops b Filtered 5
expect_rule out99 5
expect_ok weft add rule big port=b direction=out action=deny destination=10.77.0.2 protocol=udp
udp 10.77.0.2 7 4000
expect_rule big 15
udp fd77::2 7 4000
expect_rule big 15
expect_ping a 10.77.0.2 -s 4000
expect_ok weft delete rule big

# A flow under way, stopped and let go.
packets=$(counter b tx_packets)
in_ns_background a ping -n -i 0.02 10.77.0.2 >"$dir/ping"
more() { [ "$(counter b tx_packets)" -gt $((packets + 5)) ]; }
wait_for 5 more || fail "ping does not run"
expect_ok weft add rule stop port=a action=deny protocol=icmp
filtered=$(drops a Filtered)
packets=$(counter b tx_packets)
more_drops() { [ "$(drops a Filtered)" -gt $((filtered + 5)) ]; }
wait_for 5 more_drops || fail "the rule drops nothing"
expect_counter b tx_packets "$packets"
expect_ok weft set rule stop action=allow
wait_for 5 more || fail "the flow does not go on"
kill "$background"

# A port whose policy is not complete passes nothing, in either direction.
expect_ok weft set port b blocked=true
expect_no_ping a 10.77.0.2
expect_no_ping b 10.77.0.1
[ "$(drops b NotReady)" -gt 0 ] || fail "no frame of b was dropped as NotReady"
expect_ok weft set port b blocked=false
expect_ping a 10.77.0.2
conservation
weftd_stop
