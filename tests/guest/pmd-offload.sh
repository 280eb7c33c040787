#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checksums left to the switch, segments cut by it, tags put in and taken out: guest to guest, where
# nobody needs the checksum, and to the kernel, which looks at each.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# try WHAT ARG...
try()
{
	echo "$1"
	pmd_start pair --rate 10000 "${@:2}" pair g0 g1
	pmd_run pair 10000
	pmd_expect pair "frames are missing" "d['missing'] == 0"
	pmd_expect pair "frames are doubled or reordered" "d['duplicated'] == d['reordered'] == 0"
	pmd_expect pair "frames are damaged" "d['corrupt'] == 0"
	expect_held_nothing pair
}

guest_weftd
nic g0
nic g1
for family in "" --ipv6; do
	# shellcheck disable=SC2086 # nothing, or a word
	{
		try "checksums $family" --csum --size 100-1514 $family
		pmd_expect pair "checksums are not known to be good" \
			"all(x['l4_good'] == x['received'] for x in n)"
		pmd_quit pair
		try "checksums of frames in pieces $family" --csum --size 400-1514 --chain 3 $family
		pmd_quit pair
		try "segments of 1448 $family" --tso 1440 --size 1000-60000 --rate 500 $family
		pmd_expect pair "nothing was cut" "d['received'] > 2 * d['sent']"
		pmd_quit pair
		try "segments of 500 $family" --tso 500 --size 600-30000 --rate 500 $family
		pmd_quit pair
	}
done
conservation

echo "tags"
expect_ok weft set port g0 vlan_mode=trunk allowed_vlans=100
expect_ok weft set port g1 vlan_mode=trunk allowed_vlans=100
try "tags of 100" --vlan 100 --size 60-1500
pmd_quit pair

echo "to the kernel"
expect_ok weft set port g0 vlan_mode=untagged allowed_vlans=
peer a 10.77.0.1/24
to=$(in_ns a cat /sys/class/net/eth0/address)
# udp_counter NAME: of the kernel of a.
udp_counter() { in_ns a nstat -asz "$1" | awk -v name="$1" '$1 == name { print $2 }'; }
in_ns a ip address add 10.255.0.0/16 dev lo
in_ns a sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
pmd_start send --csum --size 100-1514 --count 5000 --rate 10000 --to "$to" send g0
pmd send resume
seen_all() { [ "$(udp_counter UdpNoPorts)" -ge 5000 ]; }
wait_for 20 seen_all || fail "the kernel has seen $(udp_counter UdpNoPorts) of 5000 datagrams"
expect_eq "datagrams with a wrong checksum" "$(udp_counter UdpInCsumErrors)" 0
pmd_quit send
conservation
weftd_stop
