#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two guests with DPDK's driver send to each other while their queues go from one worker to the other
# and back, again and again: no frame is lost, none is doubled, none overtakes another of its flow.
# So few a second that the rings hold them when a worker does not get its CPU for a while.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/../guest/lib.sh"

[ "$(nproc)" -ge 2 ] || skip "two workers want two CPUs"
guest_weftd --worker-cpus 0,1
nic g0 queues=4
nic g1 queues=4
pmd_start pair --queues 4 --flows 256 --rate 2000 --size 60-1514 pair g0 g1
pmd pair resume
end=$((SECONDS + 4))
while [ "$SECONDS" -lt "$end" ]; do
	weft test vmq >"$dir/moved" 2>&1 || fail "$(grep "^not ok" "$dir/moved")"
done
[ "$(grep -c "^ok .*and back" "$dir/moved")" -eq 2 ] || fail "not both were moved: $(cat "$dir/moved")"
pmd_quiet pair
expect_clean pair
[ "$(pmd_get pair "d['received']")" -gt 1000 ] || fail "there was no load"
expect_eq "frames for which a ring had no room" "$(drops g0 HandoverFull)" 0
expect_eq "frames for which a ring had no room" "$(drops g1 HandoverFull)" 0
pmd_quit pair
conservation
weftd_stop
