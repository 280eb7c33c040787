#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weftd is killed at random moments while guests talk at full speed, and started again. Nothing is
# doubled; at most a batch a channel is lost each time; every transmit is answered, every section
# comes back; the drivers notice nothing but a pause.  WEFT_KILLS: how often, 200.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

kills=${WEFT_KILLS:-200}
queues=4
batch=$((64 * 8)) # frames: packets from the guest in a batch, and RNDIS messages in each

served()
{
	pmd pair report
	[ "$(pmd_get pair "min(x['attached'] for x in n)")" -gt "$1" ]
}

# kill_often N DRIVER: devargs of the driver.
kill_often()
{
	local i before
	# As many sections of the send buffer as frames may be under way: one that leaks is missed.
	pmd_start pair --queues $queues --descriptors 512 --send-mib 12 --flows 256 --size 60-1514 \
		--driver "$2" pair g0 g1
	pmd pair resume
	for ((i = 1; i <= $1; i++)); do
		sleep "0.$(printf %03d $((RANDOM % 150)))"
		weftd_kill
		guest_weftd
		wait_for 20 served "$i" || fail "kill $i: not served again: $(cat "$dir/pair.json")"
		pmd_expect pair "frames are doubled" "d['duplicated'] == 0"
	done
	pmd_run pair 20000
	pmd_expect pair "frames are doubled or reordered" "d['duplicated'] == d['reordered'] == 0"
	pmd_expect pair "frames are damaged" "d['corrupt'] == 0"
	pmd_expect pair "the switch could not go on" \
		"all(x['lost'] == x['channels_failed'] == 0 for x in n)"
	pmd_expect pair "more was lost than a batch a channel and kill" \
		"d['sent'] - d['seen'] <= $1 * 2 * $queues * $batch"
	expect_held_nothing pair
	echo "$1 kills: $(pmd_get pair "d['sent'] - d['seen']") of $(pmd_get pair "d['sent']")" \
		"frames lost, longest pause $(pmd_get pair "max(x['longest_pause_ms'] for x in n)") ms"

	# Every queue can still send at full depth: while nobody reads, each takes what it can hold.
	before=$(pmd_get pair "d['sent']")
	weftd_kill
	pmd pair fill
	pmd_expect pair "a queue took less than it should" \
		"all(f == 0 for x in n for f in x['free_descriptors'])"
	echo "sent into a dead switch: $(pmd_get pair "d['sent'] - $before") frames"
	guest_weftd
	wait_for 20 served $(($1 + 1)) || fail "not served again: $(cat "$dir/pair.json")"
	pmd_quiet pair
	expect_held_nothing pair
	pmd_quit pair
}

guest_weftd
nic g0 queues=$queues
nic g1 queues=$queues
kill_often $((kills / 2)) tx_copybreak=5000 # all by sections
kill_often $((kills - kills / 2)) tx_copybreak=500 # by sections and from pages
conservation
weftd_stop
