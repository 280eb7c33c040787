#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Guests of our own, of several tempers, and the kernel talk through the switch: ping both ways,
# large frames, tags; numbered frames between two guests.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

guest_weftd
nic g0 queues=4
nic g1 queues=4
peer a 10.77.0.1/24

for temper in "" "--scattered" "--polls" "--dpdk --form pages" "--channels 4"; do
	# shellcheck disable=SC2086 # options are words
	fake_start g0 $temper --address 10.77.0.9 driver
	expect_ping a 10.77.0.9
	expect_ping a 10.77.0.9 -s 1472
	fake_stop g0
	# shellcheck disable=SC2086
	fake_start g0 $temper --address 10.77.0.9 --count 5 ping 10.77.0.1
	fake_wait g0
done

# What a user sets of the adapter, with the guest there.
is_state() { [ "$(weft get nic "$1" state)" = "$2" ]; }
fake_start g0 --address 10.77.0.9 driver
expect_ping a 10.77.0.9
expect_ok weft set port g0 connected=false
wait_for 10 is_state g0 "not connected"
expect_ok weft set port g0 connected=true link_speed=2500 rsc=true mac_spoofing=true
wait_for 10 is_state g0 ready
expect_ping a 10.77.0.9
fake_stop g0
expect_ok weft set port g0 link_speed=10000 rsc=false mac_spoofing=false
expect_fail "ports of kind netvsp" weft set port a connected=false

# Tags: the guest has them in its descriptors, the kernel in its frames.
nic v vlan_mode=trunk allowed_vlans=5
peer t - vlan_mode=trunk allowed_vlans=5
tagged t 5 10.78.0.1/24
fake_start v --vlan 5 --address 10.78.0.9 driver
expect_ping t 10.78.0.9
fake_stop v

nic jumbo mtu=9000
peer b 10.79.0.2/24 mtu=9000
fake_start jumbo --mtu 9000 --address 10.79.0.9 driver
expect_ping b 10.79.0.9 -s 8000 -M "do"
fake_stop jumbo

for size in 60 1514; do
	fake_start g1 --channels 4 receive
	fake_start g0 --channels 4 --size $size --rate 20000 --count 20000 \
		send "$(weft get port g1 mac)"
	fake_wait g0
	fake_stop g1
	expect_eq "frames received" "$(fake_get g1 numbered)" 20000
	expect_eq "frames twice" "$(fake_get g1 twice)" 0
done
conservation
weftd_stop
