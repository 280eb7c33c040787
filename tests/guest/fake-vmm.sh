#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VMMs that go wrong while their guest sends as fast as it can: killed, memory truncated, wrong
# names and descriptors, attached twice. Only that guest is gone; a good VMM can come back.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
nic g0
nic g1
nic g2
peer a 10.77.0.1/24
g2=$(weft get port g2 mac)
a=$(in_ns a cat /sys/class/net/eth0/address)

fake_start g2 receive
fake_start g1 --rate 20000 send "$g2"

# Its socket ends in the midst of a batch.
for _ in 1 2 3 4 5; do
	fake_start g0 send "$a"
	sleep 0.3
	kill -9 "${fake_pids[g0]}"
	fake_wait g0 137
done

# Its memory is cut off under traffic: all of it, or but for some pages of the rings, so that the
# hole is met when a broadcast comes.
in_ns_background a ping -q -n -i 0.02 10.77.0.99 >/dev/null
truncated=0
for pages in 0 1 100; do
	fake_start g0 --truncate "$pages" send "$a"
	fake_wait g0 1
	truncated=$((truncated + 1))
	expect_eq "leaves taken" "$(grep -c "port g0: .*memory was truncated" "$dir/weftd.log")" \
		"$truncated"
done

kill "$background"

expect_ok "$build/tests/weft-fake-guest" --socket "$dir/vmbus.sock" --nic g0 vmm all
fake_start g0 --address 10.77.0.9 driver
expect_ping a 10.77.0.9

# A second VMM, a wrong name, a wrong user's.
expect_fail "attached" "$build/tests/weft-fake-guest" --socket "$dir/vmbus.sock" --nic g0 driver
expect_fail "NIC" "$build/tests/weft-fake-guest" --socket "$dir/vmbus.sock" --nic nobody driver
expect_ping a 10.77.0.9
fake_stop g0

fake_stop g1
fake_stop g2
lost=$(($(fake_get g1 completed) - $(fake_get g2 numbered)))
late=$(($(drops g2 GuestRingFull) + $(drops g2 GuestNoRxBuffer)))
[ "$lost" -le "$late" ] || fail "the switch lost $((lost - late)) frames"
[ "$((late * 100))" -le "$(fake_get g1 sent)" ] || fail "$late frames found their guest asleep"
expect_eq "frames twice" "$(fake_get g2 twice)" 0
conservation
weftd_stop
