# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # dir, top and others are of tests/scenario/lib.sh
# A VXLAN peer made of the Linux kernel: the device's underlay is the host, its other side a
# tenant's namespace. Nothing is learnt: records are static, as a controller would write them.
#
#   kernel_vxlan HOST TENANT VNI LOCAL-PA ADDRESS [WORD...]   words for `ip link add type vxlan`
#                                                             instead of those for no checksums
#   kernel_record TENANT ADDRESS PA                           where that customer address is

# Over IPv6 the kernel takes and sends datagrams without checksum only when told (RFC 6935).
kernel_vxlan()
{
	local host=$1 tenant=$2 vni=$3 pa=$4 address=$5
	local words=noudpcsum
	[[ $pa != *:* ]] || words="udp6zerocsumtx udp6zerocsumrx"
	[ $# -lt 6 ] || words=${*:6}
	ns_add "$tenant"
	# shellcheck disable=SC2086 # words
	ip -n "$(ns "$host")" link add name "vx$vni" mtu "${VXLAN_MTU:-1500}" address \
		"$(tenant_mac "$address")" type vxlan id "$vni" local "$pa" dstport 4789 \
		nolearning ttl 64 $words
	ip -n "$(ns "$host")" link set "vx$vni" netns "$(ns "$tenant")" name eth0
	ip -n "$(ns "$tenant")" link set eth0 up
	address_add "$tenant" "$address"
}

kernel_record()
{
	local mac
	mac=$(tenant_mac "$2")
	bridge -n "$(ns "$1")" fdb append "$mac" dev eth0 dst "$3"
	ip -n "$(ns "$1")" neighbour replace "${2%%/*}" lladdr "$mac" dev eth0 nud permanent
}
