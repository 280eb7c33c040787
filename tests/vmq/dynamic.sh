#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Queues come together on one worker when there is little to do, and the other one sleeps; under a
# burst they spread again. Two guests that send a little lose nothing all the while.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/../guest/lib.sh"

[ "$(nproc)" -ge 2 ] || skip "two workers want two CPUs"
guest_weftd --worker-cpus 0,1
nic g0 queues=4
nic g1 queues=4
pmd_start pair --queues 4 --flows 256 --rate 500 --size 60 pair g0 g1
pmd pair resume

workers_used()
{
	weft --json show vmq | json "len({q['worker'] for q in d})"
}
used() { [ "$(workers_used)" = "$1" ]; }
wait_for 5 used 2 || fail "queues of new ports are on $(workers_used) worker"
wait_for 40 used 1 || fail "queues do not come together: $(weft show vmq)"

# Ticks of CPU time of the worker that has nothing.
left=$((1 - $(weft get vmq g0.0 worker)))
ticks()
{
	local task
	for task in /proc/"$weftd_pid"/task/*; do
		[ "$(cat "$task/comm")" != "weft-worker$left" ] ||
			awk '{ print $14 + $15 }' "$task/stat"
	done
}
before=$(ticks)
sleep 4
used=$(($(ticks) - before))
[ $((used * 100)) -le $((4 * $(getconf CLK_TCK))) ] ||
	fail "a worker without queues used $used ticks of CPU in 4 s"

# A burst: two sources that never end are too much for one worker.
expect_ok weft add switch s1
for i in 0 1; do
	expect_ok weft add port hog$i switch=s1 kind=ethdev devargs=net_null$i queues=1
done
worker_of() { weft get vmq "$1" worker 2>/dev/null; }
apart() { [ -n "$(worker_of hog1.0)" ] && [ "$(worker_of hog0.0)" != "$(worker_of hog1.0)" ]; }
wait_for 60 apart || fail "two busy queues are on one worker: $(weft show vmq)"
for i in 0 1; do
	expect_ok weft delete port hog$i
done
pmd_quiet pair
expect_clean pair
pmd_quit pair
conservation
weftd_stop
