#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One guest, and then its VMM, try everything that fake_attacks*.c knows, while two good guests
# talk at 60 % of what they could beside a busy third: not one of their frames is lost, and the
# worker gives the offender no more than its share.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
nic g0
nic g1
nic g2
peer a 10.77.0.1/24
peer b 10.77.0.2/24
g1=$(weft get port g1 mac)
g2=$(weft get port g2 mac)

# Guests have cores of their own; here they share two with all others.
fake_command=(nice -n -10)

fake_start g2 receive
fake_start g0 --seconds 2 send "$g1"
fake_start g1 --seconds 2 send "$g2"
fake_wait g1
fake_wait g0
fake_stop g2
rate=$(($(fake_get g1 completed) * 60 / 200))
echo "60 % of the capacity: $rate frames a second"
# The receive buffer has 9039 sections: at this rate it bridges 150 ms in which the guest, which has
# no core of its own here, does not run.
[ "$rate" -le 60000 ] || rate=60000

cycles()
{
	local nic=$1 stage sum=0
	for stage in ring rndis copy signal; do
		sum=$((sum + $(weft get nic "$nic" ${stage}_cycles)))
	done
	echo "$sum"
}

busy()
{
	weft --json show worker | json "sum(x['busy_cycles'] for x in d)"
}

sleepers() { echo $(($(drops g2 GuestRingFull) + $(drops g2 GuestNoRxBuffer))); }

# Leaves the frames that were lost in $lost, and in $late those that found their guest asleep: on a
# machine with too much to do it may not get to its ring for a while. That is not the offender's
# doing, and the switch says so.
neighbours_beside_attacks()
{
	local cycles_before busy_before share

	fake_command=(nice -n -10)
	fake_start g2 receive
	fake_start g1 --rate "$rate" send "$g2"
	late=$(sleepers)
	cycles_before=$(cycles g0)
	busy_before=$(busy)
	fake_command=()
	fake_start g0 attack all
	fake_wait g0
	"$build/tests/weft-fake-guest" --socket "$dir/vmbus.sock" --nic g0 vmm all >"$dir/vmm" ||
		fail "vmm: $(grep -v ' ok$' "$dir/vmm")"
	share=$((($(cycles g0) - cycles_before) * 100 / ($(busy) - busy_before)))
	echo "the offender's share of the worker: $share %"
	[ "$share" -le 50 ] || fail "the offender took $share % of the worker"
	fake_stop g1
	fake_stop g2
	lost=$(($(fake_get g1 completed) - $(fake_get g2 numbered)))
	late=$(($(sleepers) - late))
}

for _ in 1 2 3; do
	neighbours_beside_attacks
	[ "$lost" -le "$late" ] || weft counters port
	[ "$lost" -le "$late" ] || fail "the switch lost $((lost - late)) frames"
	[ "$((late * 100))" -gt "$(fake_get g1 sent)" ] || break
	echo "once more: $late of $(fake_get g1 sent) frames found their guest asleep"
done
[ "$((late * 100))" -le "$(fake_get g1 sent)" ] || fail "$late frames found their guest asleep"
expect_eq "frames twice" "$(fake_get g2 twice)" 0
echo "$(fake_get g2 numbered) frames of the neighbours; $late found their guest asleep"
expect_ping a 10.77.0.2
conservation
weftd_stop
