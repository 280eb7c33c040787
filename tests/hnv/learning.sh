#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A subnet that learns: one host has a single record, the other none at all. Hosts, customer
# addresses and MACs become known from traffic, and are shown; a strict subnet learns nothing.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

# shown HOST TYPE NAME FIELD: a field of one row of a live view, nothing if there is no such row.
shown()
{
	on "$1" weft --json show "$2" "$3" 2>/dev/null | json "d.get('$4', '')" 2>/dev/null
}

shows() { [ "$(shown "$1" "$2" "$3" "$4")" = "$5" ]; }

expect_shown()
{
	wait_for 5 shows "$@" || fail "on $1 $4 of $2 $3 is '$(shown "$1" "$2" "$3" "$4")', not '$5'"
}

host h1
host h2
wire h1 h2
for i in 1 2; do
	fabric_start "h$i"
	fabric_uplink "h$i" role=uplink
	on "h$i" expect_ok weft add provider pa port=uplink address="192.0.2.$i" prefix_length=24
	on "h$i" expect_ok weft add network net
	on "h$i" expect_ok weft add subnet open network=net encap=vxlan vsid=5001 learning=true \
		prefix=10.1.0.0/24 gateway=10.1.0.254
	on "h$i" expect_ok weft add subnet strict network=net encap=nvgre vsid=5002 prefix=10.2.0.0/24
	on "h$i" peer "open$i" "10.1.0.$i/24" subnet=open
	on "h$i" peer "strict$i" "10.2.0.$i/24" subnet=strict
done
# That there is a host h2 with somebody in each subnet is all that h1 is told.
for subnet in open strict; do
	on h1 expect_ok weft add record "far-$subnet" subnet="$subnet" mac=02:00:00:00:00:99 \
		provider=192.0.2.2
done

expect_shown h1 way vxlan-192.0.2.2 state ready
in_ns open1 ping -n -c 3 -i 0.5 -w 20 10.1.0.2 >/dev/null || fail "nobody was learnt"
expect_ping open2 10.1.0.1
expect_shown h2 way vxlan-192.0.2.1 state ready
expect_shown h2 way vxlan-192.0.2.1 learnt True
expect_shown h1 way vxlan-192.0.2.2 learnt False
expect_shown h2 neighbor 10.1.0.1 way vxlan-192.0.2.1
expect_shown h2 neighbor 10.1.0.1 state learnt
expect_shown h1 neighbor 10.1.0.2 way vxlan-192.0.2.2
expect_shown h2 neighbor 10.1.0.2 port open2
on h2 weft show flow | grep -q 'vsid 5001 from vxlan-192.0.2.1' || fail "no flow from the tunnel"
on h2 weft show flow | grep -q 'to vxlan-192.0.2.1' || fail "no flow into the tunnel"

ip -n "$(ns strict1)" neighbor add 10.2.0.2 lladdr 02:00:00:00:00:99 dev eth0
expect_no_ping strict1 10.2.0.2 # h2 knows the host by now, but not this customer of it
on h2 expect_drops uplink SourceMismatch 2
# What was learnt goes with the subnet's will to learn.
on h2 expect_ok weft set subnet open learning=false
expect_shown h2 neighbor 10.1.0.1 state ""
expect_shown h2 way vxlan-192.0.2.1 state ""
expect_no_ping open1 10.1.0.2
fabric_stop h1 h2
