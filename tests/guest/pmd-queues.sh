#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Four queues on one worker and on two: traffic on each, flows in order, and the indirection table
# is what counts.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# received QUEUE...: what came by these queues of both NICs together.
received()
{
	pmd_get pair "sum(x['queues_received'][q] for x in n for q in ($1,))"
}

workers=1
[ "$(nproc)" -lt 2 ] || workers="1 2"
for count in $workers; do
	guest_weftd --workers "$count"
	weft get port g0 name >/dev/null 2>&1 || nic g0 queues=4
	weft get port g1 name >/dev/null 2>&1 || nic g1 queues=4
	pmd_start pair --queues 4 --flows 256 --rate 30000 --size 60-1514 pair g0 g1
	pmd_run pair 60000
	expect_clean pair
	pmd_expect pair "a queue sent nothing" "all(q for x in n for q in x['queues_sent'])"
	pmd_expect pair "a queue got nothing" "all(q for x in n for q in x['queues_received'])"

	pmd pair spread 2 2
	before=$(received 0,1)
	pmd_run pair 20000
	expect_eq "frames by queues that are not in the table" "$(received 0,1)" "$before"
	expect_clean pair
	pmd pair spread 0 4
	pmd_run pair 20000
	[ "$(received 0,1)" -gt "$before" ] || fail "nothing by queues that are in the table again"
	expect_clean pair
	pmd_quit pair
	conservation
	weftd_stop
done
