#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A netvsc driver and the kernel, and two netvsc drivers, talk through the switch.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
nic g0
nic g1
nic g2
peer a 10.77.0.1/24

pmd_start echo echo g2
mac=$(pmd_get echo "n[0]['mac']")
expect_eq "MAC of g2" "$mac" "$(weft get port g2 mac)"
ip -n "$(ns a)" neigh add 10.77.0.9 lladdr "$mac" dev eth0
expect_ping a 10.77.0.9
expect_ping a 10.77.0.9 -s 1472
pmd_quit echo

for size in 60 512 1514 60-1514; do
	pmd_start pair --size $size --rate 20000 pair g0 g1
	pmd_run pair 20000
	expect_clean pair
	pmd_quit pair
done
conservation
weftd_stop
