#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A port is taken away and comes back while frames are on their way to and from it: the guest goes
# on, or after a while finds a new device; others notice nothing.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

plugged()
{
	pmd pair report
	[ "$(pmd_get pair "n[1]['plugged']")" = "$1" ]
}

guest_weftd
g1="queues=2 mac=00:15:5d:00:00:11"
for name in g0 h0 h1; do
	nic $name queues=2
done
# shellcheck disable=SC2086 # several words
nic g1 $g1
pmd_start others --queues 2 --rate 5000 --sender 100 pair h0 h1
pmd_start pair --queues 2 --rate 5000 pair g0 g1
pmd others resume
pmd pair resume
came() { pmd pair report; [ "$(pmd_get pair "n[1]['received']")" -gt $((before + 1000)) ]; }

# gone_for SECONDS TIMES: g1 goes and comes back; its guest has found TIMES devices by then.
gone_for()
{
	expect_ok weft delete port g1
	sleep "$1"
	# shellcheck disable=SC2086 # as above
	nic g1 $g1
	wait_for 20 plugged "$2" || fail "g1 did not come back: $(cat "$dir/pair.json")"
	before=$(pmd_get pair "n[1]['received']")
	wait_for 20 came || fail "nothing reaches g1: $(cat "$dir/pair.json")"
	expect_eq "MAC of g1" "$(pmd_get pair "n[1]['mac']")" "$(weft get port g1 mac)"
}

gone_for 0.3 1 # so short that its guest goes on as after a restart
gone_for 4 2
gone_for 4 3
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
