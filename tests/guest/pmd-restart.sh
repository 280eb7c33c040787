#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weftd is restarted as planned while guests talk: nothing is lost, doubled or reordered between
# them, and their drivers notice nothing but a pause.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
nic g0 queues=4
nic g1 queues=4
pmd_start pair --queues 4 --flows 256 --rate 20000 --size 60-1514 pair g0 g1
pmd pair resume
for times in 2 3 4 5 6; do
	sleep 0.5
	weftd_stop
	sleep 0.2
	guest_weftd
	attached() { pmd pair report; [ "$(pmd_get pair "min(x['attached'] for x in n)")" = "$times" ]; }
	wait_for 20 attached || fail "the guests are not served again: $(cat "$dir/pair.json")"
done
pmd_run pair 20000
expect_clean pair
pmd_expect pair "the switch could not go on" "all(x['lost'] == 0 for x in n)"
echo "longest pause: $(pmd_get pair "max(x['longest_pause_ms'] for x in n)") ms"
pmd_quit pair
conservation
weftd_stop
