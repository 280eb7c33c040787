#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two hosts, four tenants with the same addresses: two travel by NVGRE, two by VXLAN, and one of
# each has the same number. Everybody reaches their own and nobody else, also through a gateway,
# and the outer headers are what the RFCs say.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

tenants=(red blue green amber)
declare -A encap=([red]=nvgre [blue]=vxlan [green]=nvgre [amber]=vxlan)
declare -A vsid=([red]=5001 [blue]=5001 [green]=5002 [amber]=7)

# customer_mac TENANT SUBNET NUMBER
customer_mac()
{
	local at
	for at in "${!tenants[@]}"; do
		[ "${tenants[at]}" != "$1" ] || printf '02:00:00:%02x:%02x:%02x\n' "$at" "$2" "$3"
	done
}

# One host's part of the policy: everything but its provider address is the same on both.
policy()
{
	local own=$1 tenant n net
	{
		echo "provider pa port=uplink address=$own prefix_length=24"
		for tenant in "${tenants[@]}"; do
			echo "network $tenant"
			for net in 1 2; do
				echo "subnet $tenant-$net network=$tenant encap=${encap[$tenant]}" \
					"vsid=$((vsid[$tenant] + 100 * net))" \
					"prefix=10.$net.0.0/24 gateway=10.$net.0.254"
			done
			for n in 1 2; do
				echo "record $tenant-$n subnet=$tenant-1 address=10.1.0.$n" \
					"mac=$(customer_mac "$tenant" 1 "$n") provider=192.0.2.$n"
			done
			echo "record $tenant-far subnet=$tenant-2 address=10.2.0.3" \
				"mac=$(customer_mac "$tenant" 2 3) provider=192.0.2.2"
		done
	} >"$dir/policy"
	while read -r -a words; do
		expect_ok weft add "${words[@]}"
	done <"$dir/policy"
}

# member HOST TENANT SUBNET NUMBER
member()
{
	local name=$2$4
	on "$1" peer "$name" "10.$3.0.$4/24" subnet="$2-$3" mac="$(customer_mac "$2" "$3" "$4")"
	ip -n "$(ns "$name")" route add default via "10.$3.0.254"
}

host h1
host h2
wire h1 h2
for i in 1 2; do
	fabric_start "h$i"
	fabric_uplink "h$i" role=uplink
	on "h$i" policy "192.0.2.$i"
done
matrix=()
for tenant in "${tenants[@]}"; do
	member h1 "$tenant" 1 1
	member h2 "$tenant" 1 2
	matrix+=("${tenant}1 $tenant 10.1.0.1" "${tenant}2 $tenant 10.1.0.2")
done
member h2 red 2 3
member h2 amber 2 3
matrix+=("red3 red 10.2.0.3" "amber3 amber 10.2.0.3")

capture h2 outer.pcap
expect_ping red1 10.1.0.2
expect_ping blue1 10.1.0.2
expect_ping red2 10.1.0.1
captured outer.pcap
expect_ping red1 10.1.0.254 # the gateway
expect_ping amber1 10.2.0.3 # behind it
expect_outer outer.pcap 'gre && ip.src == 192.0.2.1' ip.dst=192.0.2.2 ip.proto=47 ip.flags.df=1 \
	ip.ttl=64 ip.checksum.status=1 gre.proto=0x6558 gre.flags_and_version=0x2000
expect_outer outer.pcap 'vxlan && ip.src == 192.0.2.1' ip.dst=192.0.2.2 udp.dstport=4789 \
	ip.flags.df=1 ip.checksum.status=1 vxlan.vni=5101 vxlan.flags=0x0800 udp.checksum=0x0000
expect_matrix "${matrix[@]}"
expect_size red1 10.1.0.2 1500
expect_size blue1 10.1.0.2 1500
fabric_stop h1 h2
