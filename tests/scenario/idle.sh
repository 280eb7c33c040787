#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An idle switch gives its cores back, and the first frame wakes it.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24
peer b 10.77.0.2/24
expect_ping a 10.77.0.2

# Ticks of CPU time that all threads of weftd have used.
ticks()
{
	cat "/proc/$weftd_pid"/task/*/stat | awk '{ sum += $14 + $15 } END { print sum }'
}

# Below 3 % of a core over 4 s; what happens to be neighbours' noise gets a second chance.
for attempt in 1 2 3 4 5; do
	sleep 0.5
	before=$(ticks)
	sleep 4
	used=$(($(ticks) - before))
	[ $((used * 100)) -ge $((3 * 4 * $(getconf CLK_TCK))) ] || break
	[ "$attempt" -lt 5 ] || fail "idle weftd used $used ticks of CPU in 4 s"
done

for _ in 1 2 3 4 5; do
	sleep 0.3
	expect_ok in_ns a ping -n -c 1 -W 5 10.77.0.2
done
conservation
weftd_stop
