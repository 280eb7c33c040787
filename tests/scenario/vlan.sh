#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VLANs with kernel peers that tag themselves: access, trunk, native; what is refused; tags in
# tags; two switches joined by a trunk.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24 vlan_mode=access vlan=10
peer b 10.77.0.2/24 vlan_mode=access vlan=10
peer c 10.77.0.3/24 vlan_mode=access vlan=20
peer u 10.77.0.4/24
peer t - vlan_mode=trunk allowed_vlans=10,30-40
peer n 10.77.0.6/24 vlan_mode=trunk native_vlan=10 allowed_vlans=20

expect_ping a 10.77.0.2
expect_no_ping a 10.77.0.3
expect_no_ping a 10.77.0.4
expect_ping n 10.77.0.1
expect_no_ping n 10.77.0.3
tagged t 10 10.77.0.5/24
expect_ping t 10.77.0.1
expect_ping b 10.77.0.5
expect_no_ping t 10.77.0.3
iperf t a 10.77.0.1
iperf a t 10.77.0.5 -u -b 200M -l 1400

# frame TAG...: a broadcast of our own EtherType behind these tags.
frame()
{
	echo "ff:ff:ff:ff:ff:ff 02:00:00:00:00:01 $* 88b5 $(printf '%092d' 0)"
}

# A trunk port with everything keeps what it is given.
expect_ok weft add port record switch=s0 kind=pcap vlan_mode=trunk tx_file="$dir/record.pcap"
expect_up record

# arrives FRAME: the last frame recorded.
arrives()
{
	[ "$(frames read "$dir/record.pcap" | tail -n 1)" = "${*//[: ]/}" ]
}
expect_arrival()
{
	wait_for 3 arrives "$@" || fail "$(frames read "$dir/record.pcap" | tail -n 1) came, not $*"
}

send a 1 "$(frame)"
expect_arrival "$(frame 8100 000a)"
send u 1 "$(frame)"
expect_arrival "$(frame)"
send n 1 "$(frame 8100 0014)"
expect_arrival "$(frame 8100 0014)"
send n 1 "$(frame 8100 4014)" # the priority stays
expect_arrival "$(frame 8100 4014)"
# QinQ: a service tag is no VLAN of ours, an inner tag is payload.
send u 1 "$(frame 88a8 0064)"
expect_arrival "$(frame 88a8 0064)"
send a 1 "$(frame 88a8 0064 8100 0014)"
expect_arrival "$(frame 8100 000a 88a8 0064 8100 0014)"
send n 1 "$(frame 8100 0014 8100 0063)"
expect_arrival "$(frame 8100 0014 8100 0063)"

send b 2 "$(frame 8100 0014)"
expect_drops b UnauthorizedVlan 2
send n 1 "$(frame 8100 001e)"
expect_drops n UnauthorizedVlan 1
send n 1 "$(frame 8100 0fff)"
expect_drops n InvalidVlanFormat 1
send n 1 "ff:ff:ff:ff:ff:ff 02:00:00:00:00:01 8100 00"
expect_drops n InvalidVlanFormat 2
expect_ok weft set port n native_vlan= accept_untagged=false
send n 1 "$(frame)"
expect_drops n FilteredIsoUntagged 1

# The same VLAN behind another switch, over a pair of trunk ports.
expect_ok weft add switch s1
expect_ok weft add port up switch=s0 kind=pair peer=cable vlan_mode=trunk
expect_ok weft add port down switch=s1 kind=pair peer=cable vlan_mode=trunk
expect_up up down
peer z 10.77.0.9/24 switch=s1 vlan_mode=access vlan=10
peer y 10.77.0.3/24 switch=s1 vlan_mode=access vlan=11
expect_ping a 10.77.0.9
expect_no_ping y 10.77.0.9
iperf a z 10.77.0.9
iperf z a 10.77.0.1 -u -b 200M -l 1400
conservation
weftd_stop
