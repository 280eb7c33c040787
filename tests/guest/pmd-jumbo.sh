#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# MTU 9000 between guests and with the kernel; what a guest of 1500 cannot take is dropped with its
# reason.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
for name in g0 g1 g2; do
	nic $name mtu=9000
done
peer a 10.77.0.1/24 mtu=9000

for arguments in "--size 9014" "--size 60-9014" "--size 1000-9014 --chain 6" "--size 9014 --queues 1"; do
	# shellcheck disable=SC2086 # several words
	pmd_start pair --mtu 9000 --staged 2048 --rate 5000 $arguments pair g0 g1
	pmd_run pair 10000
	expect_clean pair
	pmd_quit pair
done

pmd_start echo --mtu 9000 --staged 1024 echo g2
ip -n "$(ns a)" neigh add 10.77.0.9 lladdr "$(pmd_get echo "n[0]['mac']")" dev eth0
expect_ping a 10.77.0.9 -M "do" -s 8972
pmd_quit echo
conservation
weftd_stop
