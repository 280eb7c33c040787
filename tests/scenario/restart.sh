#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What outlives weftd and what does not: configuration does, by a kill too; hugepages and
# interfaces do not.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

free_pages()
{
	cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages 2>/dev/null || echo 0
}

weftd_kill()
{
	kill -9 "$weftd_pid"
	wait "$weftd_pid" 2>/dev/null || :
	weftd_pid=
}

# addresses: the namespaces' ends of a and b, which are new after each start.
addresses()
{
	expect_up a b
	for name in a b; do
		ip -n "$(ns $name)" link set eth0 up
	done
	address_add a 10.77.0.1/24
	address_add b 10.77.0.2/24
}

free=$(free_pages)
weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24
peer b 10.77.0.2/24 mtu=1400
expect_ok weft add rule r1 port=a action=deny protocol=udp destination_ports=53
expect_ping a 10.77.0.2
before=$(weft dump)

weftd_kill
[ "$(free_pages)" -ge "$free" ] || fail "$(free_pages) of $free hugepages are free after kill -9"
in_ns a ip link show eth0 >/dev/null 2>&1 && fail "the tap of a is there after kill -9"
weftd_start
expect_eq "configuration after kill -9" "$(weft dump)" "$before"
addresses
expect_ping a 10.77.0.2
conservation
weftd_stop
weftd_start
expect_eq "configuration after a stop" "$(weft dump)" "$before"

# The journal loses its last bytes: the last whole group counts.
expect_ok weft set port b mtu=1300
weftd_kill
journal=$(ls "$dir"/state/*journal*)
truncate -s -3 "$journal"
weftd_start
expect_eq "configuration with a cut journal" "$(weft dump)" "$before"
expect_ok weft set port b mtu=1200
weftd_kill
weftd_start
expect_eq "mtu after the cut" "$(weft get port b mtu)" 1200

# Killed at any moment while it writes, it starts again.
for pause in 0.02 0.05 0.1; do
	for mtu in {1201..1300}; do
		weft set port b mtu="$mtu" || break
	done >/dev/null 2>&1 &
	sleep $pause
	weftd_kill
	wait $! || :
	weftd_start
	mtu=$(weft get port b mtu)
	((mtu >= 1200 && mtu <= 1300)) || fail "mtu is $mtu"
done
addresses
expect_ping a 10.77.0.2 -s 1000
conservation
weftd_stop
