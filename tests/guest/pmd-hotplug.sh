#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A port is taken away and comes back while frames are on their way to and from it: the guest finds
# a new device, and others notice nothing.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

plugged()
{
	pmd pair report
	[ "$(pmd_get pair "n[1]['plugged']")" = "$1" ]
}

guest_weftd
for name in g0 g1 h0 h1; do
	nic $name queues=2
done
pmd_start others --queues 2 --rate 5000 --sender 100 pair h0 h1
pmd_start pair --queues 2 --rate 5000 pair g0 g1
pmd others resume
pmd pair resume
for times in 2 3 4; do
	expect_ok weft del port g1
	sleep 0.3
	nic g1 queues=2
	wait_for 20 plugged $times || fail "g1 did not come back: $(cat "$dir/pair.json")"
	before=$(pmd_get pair "n[1]['received']")
	came() { pmd pair report; [ "$(pmd_get pair "n[1]['received']")" -gt $((before + 1000)) ]; }
	wait_for 20 came || fail "nothing reaches g1: $(cat "$dir/pair.json")"
done
pmd_quiet pair
pmd_expect pair "frames are doubled or reordered" "d['duplicated'] == d['reordered'] == 0"
pmd_expect pair "frames are damaged" "d['corrupt'] == 0"
expect_held_nothing pair
pmd_quiet others
expect_clean others
pmd_quit pair
pmd_quit others
conservation
weftd_stop
