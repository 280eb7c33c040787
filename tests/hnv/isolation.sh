#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a wire may say that must not be believed: each such frame dies by its own reason, shown by
# `weft show drop`, and nobody gets it.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host w
host x
wire w x
fabric_start w
fabric_provider w 192.0.2.1/24
on w expect_ok weft add network red
on w expect_ok weft add network blue
on w expect_ok weft add subnet red network=red encap=nvgre vsid=5001 prefix=10.1.0.0/24 \
	gateway=10.1.0.254
on w expect_ok weft add subnet blue network=blue encap=vxlan vsid=5002 prefix=10.1.0.0/24 \
	gateway=10.1.0.254
for name in red blue; do
	on w expect_ok weft add record "$name-2" subnet="$name" address=10.1.0.2 \
		mac="$(tenant_mac 10.1.0.2)" provider=192.0.2.2
	on w expect_ok weft add record "$name-3" subnet="$name" address=10.1.0.3 \
		mac="$(tenant_mac 10.1.0.3)" provider=192.0.2.3
done
fabric_record w red 10.1.0.1 192.0.2.1
fabric_record w blue 10.1.0.4 192.0.2.1
# They have no address: nothing is heard of them but what we send.
on w peer red-a - subnet=red mac="$(tenant_mac 10.1.0.1)"
on w peer blue-a - subnet=blue mac="$(tenant_mac 10.1.0.4)"
provider x 192.0.2.2/24
address_add x 192.0.2.3/24
pa_mac=$(on w weft get provider pa mac)

craft()
{
	"$hnv/craft" "$@" odmac="$pa_mac"
}

# expect_dead REASON WHAT [KEY=VALUE]...: the frame dies for it, at the uplink.
expect_dead()
{
	local reason=$1 before
	before=$(on w drops uplink "$reason")
	send x 1 "$(craft "${@:2}")"
	on w expect_drops uplink "$reason" $((before + 1))
}

received()
{
	on w counter "$1" tx_packets
}

# What is right gets through.
n=$(received red-a)
send x 1 "$(craft nvgre)"
on w expect_counter red-a tx_packets $((n + 1))
send x 1 "$(craft nvgre flow=255)"
on w expect_counter red-a tx_packets $((n + 2))
m=$(received blue-a)
send x 1 "$(craft vxlan vsid=5002 dmac="$(tenant_mac 10.1.0.4)")"
on w expect_counter blue-a tx_packets $((m + 1))

expect_dead SourceMismatch nvgre osrc=192.0.2.3            # 10.1.0.2's MAC, from another's host
expect_dead SourceMismatch nvgre smac=02:00:00:00:00:77    # a MAC that nobody has
expect_dead SourceMismatch nvgre smac="$(tenant_mac 10.1.0.1)" # one that is here
expect_dead ProviderUnknown nvgre osrc=192.0.2.66
expect_dead VirtualSubnetId nvgre vsid=5003
expect_dead VirtualSubnetId nvgre vsid=5002                # blue's, by the wrong encapsulation
expect_dead VirtualSubnetId vxlan vsid=5001
expect_dead VirtualSubnetId nvgre vsid=4095                # RFC 7637: reserved
expect_dead VirtualSubnetId nvgre vsid=16777215
expect_dead VirtualSubnetId vxlan vsid=0
expect_dead TunnelNoKey nvgre flags=0x0000
expect_dead TunnelFlags nvgre flags=0xa000                 # a checksum
expect_dead TunnelFlags nvgre flags=0x3000                 # a sequence number
expect_dead TunnelFlags vxlan vsid=5002 flags=0
expect_dead NotForUs nvgre type=0x0800                    # no NVGRE: nothing of ours
expect_dead InnerVlan nvgre vlan=100
expect_dead InnerVlan vxlan vsid=5002 vlan=100
expect_dead TunnelToTunnel nvgre dmac="$(tenant_mac 10.1.0.3)"  # for another host
expect_dead NoDestination nvgre dmac=02:00:00:00:00:78
# Its inner frame is for the provider's MAC, which no tenant has.
expect_dead SourceMismatch nvgre nest=1
expect_dead SourceMismatch nvgre nest=20
on w weft show drop >"$dir/drops"
for reason in SourceMismatch ProviderUnknown VirtualSubnetId TunnelNoKey TunnelFlags InnerVlan \
	TunnelToTunnel; do
	grep -q "$reason" "$dir/drops" || fail "weft show drop does not tell of $reason"
done
expect_eq "what red-a got" "$(received red-a)" $((n + 2))
expect_eq "what blue-a got" "$(received blue-a)" $((m + 1))

# tenants_sent: what went to the wire, less questions of the switch's own for its neighbours.
tenants_sent()
{
	echo $(($(on w counter uplink tx_packets) - $(on w counter uplink created)))
}

# A tenant's own tricks.
red_mac=$(tenant_mac 10.1.0.1)
before=$(tenants_sent)
send red-a 1 "$("$hnv/craft" flows 1 smac="$red_mac" dmac="$(tenant_mac 10.1.0.2)" vlan=100)"
on w expect_drops red-a UnauthorizedVlan 1
send red-a 1 "$("$hnv/craft" flows 1 smac=02:15:5d:00:00:fe dmac="$(tenant_mac 10.1.0.2)")"
on w expect_drops red-a InvalidSourceMac 1
send red-a 1 "$("$hnv/craft" flows 1 smac="$red_mac" dmac="$(tenant_mac 10.1.0.4)")" # blue's
on w expect_drops red-a NoDestination 1
send red-a 1 "$("$hnv/craft" flows 1 smac="$red_mac" dmac="$pa_mac")" # the underlay's
on w expect_drops red-a NoDestination 2
expect_eq "what went to the wire" "$(tenants_sent)" "$before"
fabric_stop w
