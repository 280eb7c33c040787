#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A driver stops and starts, closes the device and opens it again, ends and comes back as another
# process: port, MAC and counters stay.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
nic g0 queues=4
nic g1 queues=4
mac=$(weft get port g0 mac)
sent=0
for life in 1 2 3; do
	pmd_start pair --queues 4 --rate 20000 pair g0 g1
	expect_eq "MAC in life $life" "$(pmd_get pair "n[0]['mac']")" "$mac"
	pmd_run pair 5000
	expect_clean pair

	pmd pair restart
	pmd_run pair 5000
	expect_clean pair

	pmd pair reopen
	expect_eq "MAC after opening again" "$(pmd_get pair "n[0]['mac']")" "$mac"
	pmd_run pair 5000
	expect_clean pair
	sent=$((sent + $(pmd_get pair "n[0]['sent']")))
	expect_counter g0 rx_packets "$sent"
	pmd_quit pair
done

# Killed without a word: the port has no link, and is there for the next.
pmd_start pair --queues 4 --rate 20000 pair g0 g1
pmd pair resume
kill -9 "${pmd_pids[pair]}"
is_down() { link_is g0 down; }
wait_for 10 is_down || fail "the link of g0 is $(weft get port g0 link)"
pmd_start pair --queues 4 --rate 20000 pair g0 g1
pmd_run pair 5000
expect_clean pair
pmd_quit pair
conservation
weftd_stop
