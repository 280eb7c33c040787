#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weftd is restarted as planned, and killed, while guests of our own talk, whose drivers check
# every id and section that comes: none is answered twice, none is given twice, no frame is
# doubled, and what they do not acknowledge is theirs also after it.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
nic g0 queues=2
nic g1 queues=2
nic g2 queues=2
peer a 10.77.0.1/24
g1=$(weft get port g1 mac)
restarts=0

# No frame has come to NAME for a while.
is_idle()
{
	local before
	before=$(weft get nic "$1" tx_frames)
	sleep 0.3
	[ "$(weft get nic "$1" tx_frames)" = "$before" ]
}

is_ready() { [ "$(weft get nic "$1" state 2>&1)" = ready ]; }

# All guests are served again.
served_again()
{
	local name
	restarts=$((restarts + 1))
	guest_weftd
	for name in g0 g1 g2; do
		wait_for 30 is_ready "$name" || fail "$name is $(weft get nic "$name" state)"
	done
}

fake_start g1 --channels 2 receive
fake_start g0 --channels 2 --rate 20000 send "$g1"
fake_start g2 --channels 2 --slow 32 --address 10.77.0.9 driver
expect_ping a 10.77.0.9
for _ in 1 2 3 4 5; do
	sleep 0.3
	weftd_stop
	served_again
	for name in g0 g1 g2; do
		expect_eq "frames that $name has lost" "$(weft get nic $name lost_frames)" 0
	done
done
fake_stop g0
wait_for 10 is_idle g1
fake_stop g1
expect_eq "frames that g1 has" "$(fake_get g1 numbered)" "$(fake_get g0 sent)"
expect_eq "frames twice" "$(fake_get g1 twice)" 0

fake_start g1 --channels 2 receive
fake_start g0 --channels 2 --rate 20000 send "$g1"
for _ in 1 2 3 4 5; do
	sleep 0.3
	weftd_kill
	served_again
done

# A VM that ended while the switch was away is not waited for.
nic g3
fake_start g3 receive
wait_for 10 is_ready g3
weftd_stop
kill -9 "${fake_pids[g3]}"
wait "${fake_pids[g3]}" 2>/dev/null || :
unset "fake_pids[g3]"
served_again
sleep 3.5 # it would have waited for 3
grep "have not come back" "$dir/weftd.log" && fail "weftd waits for a VM that has ended"
ip -n "$(ns a)" link set eth0 up # it is a new one
address_add a 10.77.0.1/24
expect_ping a 10.77.0.9
held=$(weft get nic g2 held)
fake_stop g2
expect_eq "sections that g2 holds" "$held" "$(fake_get g2 held)${held#"${held%%/*}"}"
fake_stop g0
fake_stop g1
expect_eq "frames twice" "$(fake_get g1 twice)" 0
expect_eq "frames damaged" "$(fake_get g1 bad)" 0
echo "$restarts restarts; $(fake_get g0 sent) frames sent, $(fake_get g1 numbered) received"
expect_eq "packets without answer" "$(($(fake_get g0 sent) - $(fake_get g0 completed)))" 0
conservation
weftd_stop
