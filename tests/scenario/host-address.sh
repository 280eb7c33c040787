#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An external switch on the NIC that carries the host's address: refused with the command that
# mends it; with move_address the host stays reachable through the switch; afterwards addresses
# and routes are where they were. The "host" is a namespace, weftd runs in it.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

ns_add host
ns_add away
host=$(ns host)
for name in host away; do
	in_ns $name sysctl -q net.ipv6.conf.default.disable_ipv6=0
done
ip -n "$host" link add eth1 type veth peer name eth0 netns "$(ns away)"
ip -n "$host" link set eth1 up
ip -n "$(ns away)" link set eth0 up
ip -n "$host" address add 10.9.0.1/24 brd + dev eth1
ip -n "$host" address add fd09::1/64 dev eth1 nodad
ip -n "$host" address add 10.9.0.5/24 dev eth1
ip -n "$host" address add 10.8.0.1 peer 10.8.0.2/32 dev eth1
ip -n "$host" address add fd09::5/64 dev eth1 nodad noprefixroute valid_lft 3000 preferred_lft 2000
ip -n "$host" route add default via 10.9.0.2 metric 50
ip -n "$host" route add default via fe80::99 dev eth1 proto ra metric 1024
ip -n "$host" route add 10.98.0.0/16 via 10.9.0.2 src 10.9.0.5
ip -n "$host" route add 10.99.0.0/16 via 10.9.0.2 mtu 1400 table 77
ip -n "$(ns away)" address add 10.9.0.2/24 dev eth0
ip -n "$(ns away)" address add fd09::2/64 dev eth0 nodad
# net_af_packet leaves checksums to the hardware, and a veth has none.
in_ns host ethtool -K eth1 tx off tso off gso off >/dev/null
in_ns away ethtool -K eth0 tx off tso off gso off >/dev/null

addresses()
{
	ip -n "$host" -o address show dev "$1" scope global | awk '{print $4}' | sort | xargs
}

routes()
{
	ip -n "$host" route show table all dev "$1" | grep -v '^\(local\|broadcast\) ' | sort
}

mac_of()
{
	ip -n "$host" -o link show "$1" | sed 's/.*ether \([^ ]*\).*/\1/'
}

port_says()
{
	weft get port "$1" link | grep -qF -- "$2"
}

# The port is up, and nothing of the host is left on the NIC.
is_moved()
{
	port_says up0 up && [ -z "$(addresses eth1)" ]
}

is_back()
{
	[ "$(addresses eth1)" = "$before_addresses" ]
}

has_no()
{
	! ip -n "$host" link show "$1" >/dev/null 2>&1
}

reachable()
{
	expect_ping away 10.9.0.1
	expect_ping away fd09::1
	if in_ns away ping -n -c 3 -i 0.05 10.9.0.1 | grep -q DUP; then
		fail "the host answers twice"
	fi
}

before_addresses=$(addresses eth1)
before_routes=$(routes eth1)
mac=$(mac_of eth1)
reachable

weftd_inside=(ip netns exec "$host")
weftd_start
weft add switch s0

# Refused, and the host keeps what it has.
weft add port up0 switch=s0 kind=ethdev role=uplink devargs=net_af_packet0,iface=eth1
wait_for 5 port_says up0 "10.9.0.1/24" || fail "up0 is $(weft get port up0 link)"
port_says up0 "weft add port host0 switch=s0 role=internal kind=tap" || fail "no command to help"
port_says up0 "weft set port up0 move_address=true" || fail "no command to help"
expect_eq "addresses of eth1" "$(addresses eth1)" "$before_addresses"
reachable

# The first of the two commands that it named, and a move that fails half way: all is put back.
weft add port host0 switch=s0 role=internal kind=tap
wait_for 5 port_says host0 up
in_ns host sysctl -qw net.ipv6.conf.host0.disable_ipv6=1
weft set port up0 move_address=true
wait_for 5 port_says up0 "does not let fd09::" || fail "up0 is $(weft get port up0 link)"
expect_eq "addresses of eth1" "$(addresses eth1)" "$before_addresses"
expect_eq "routes of eth1" "$(routes eth1)" "$before_routes"
expect_eq "addresses of host0" "$(addresses host0)" ""
reachable
in_ns host sysctl -qw net.ipv6.conf.host0.disable_ipv6=0
weft set port up0 move_address=false

# Both commands.
weft set port up0 move_address=true
wait_for 5 is_moved || fail "up0 is $(weft get port up0 link)"
expect_eq "addresses of host0" "$(addresses host0)" "$before_addresses"
expect_eq "routes of host0" "$(routes host0)" "$before_routes"
expect_eq "MAC of host0" "$(mac_of host0)" "$mac"
reachable
expect_ping host 10.9.0.2
conservation

# Killed: the tap is gone, and the host cut off. The next daemon finds a way back.
kill -9 "$weftd_pid"
wait "$weftd_pid" 2>/dev/null || true
weftd_pid=
wait_for 5 has_no host0 || fail "host0 is still there"
expect_eq "addresses of eth1" "$(addresses eth1)" ""
weftd_start
wait_for 5 is_moved || fail "up0 is $(weft get port up0 link)"
expect_eq "addresses of host0" "$(addresses host0)" "$before_addresses"
expect_eq "routes of host0" "$(routes host0)" "$before_routes"
reachable

# The uplink goes, the internal port stays.
weft delete port up0
wait_for 5 is_back || fail "addresses of eth1 are '$(addresses eth1)'"
expect_eq "routes of eth1" "$(routes eth1)" "$before_routes"
expect_eq "addresses of host0" "$(addresses host0)" ""
reachable

# Both at once, and a clean stop. A lease that changed meanwhile is kept.
weft add port up0 switch=s0 kind=ethdev role=uplink move_address=true \
	devargs=net_af_packet0,iface=eth1
wait_for 5 is_moved || fail "up0 is $(weft get port up0 link)"
ip -n "$host" address add 10.9.0.7/24 dev host0
weftd_stop
expect_eq "addresses of eth1" "$(addresses eth1)" \
	"$(echo "$before_addresses 10.9.0.7/24" | tr ' ' '\n' | sort | xargs)"
expect_eq "routes of eth1" "$(routes eth1)" "$before_routes"
reachable
