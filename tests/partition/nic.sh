#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two guests whose own hv_netvsc is served by weftd: addresses, traffic, link, MTU, a NIC that comes
# and goes, the driver loaded anew.
# shellcheck source=tests/partition/lib.sh
. "$(dirname "$0")/lib.sh"

[ -e "$parts/loaded.checkpoint" ] || skip "no checkpoint: tests/partition/boot.sh makes it"

weftd_start
expect_ok weft add switch s0
expect_ok weft add port web0 switch=s0 kind=netvsp mac=02:00:00:00:00:10 mtu=9000
expect_ok weft add port web1 switch=s0 kind=netvsp mac=02:00:00:00:00:11
peer b 10.0.0.1/24 mtu=9000

guest_restore g0 "$parts/loaded.checkpoint" "$(nic web0)"
guest_has_eth0 g0
guest_restore g1 "$parts/loaded.checkpoint" "$(nic web1)"
guest_has_eth0 g1

# What the switch says of the NIC is what the guest finds.
expect_eq "MAC of web0" "$(guest g0 'cat /sys/class/net/eth0/address')" 02:00:00:00:00:10
expect_eq "MAC of web1" "$(guest g1 'cat /sys/class/net/eth0/address')" 02:00:00:00:00:11
guest g0 "ip address add 10.0.0.10/24 dev eth0; ip link set eth0 up"
guest g1 "ip address add 10.0.0.11/24 dev eth0; ip link set eth0 up"
expect_eq "carrier of web0" "$(guest g0 'cat /sys/class/net/eth0/carrier')" 1

# To a namespace, from there, and between guests.
guest g0 "ping -c 2 -W 10 10.0.0.1" || fail "no answer from the namespace"
expect_ok in_ns b ping -c 2 -W 10 10.0.0.11
guest g0 "ping -c 2 -W 10 10.0.0.11" || fail "no answer from the other guest"

# TCP, both ways.
guest_say g1 "nc -l -p 5001 | wc -c"
guest g0 "sleep 1; dd if=/dev/zero bs=1000 count=100 2>/dev/null | nc 10.0.0.11 5001"
expect_eq "bytes from guest to guest" "$(guest_hear g1)" 100000
guest_say g0 "nc -l -p 5002 | wc -c"
sleep 1
head -c 100000 /dev/zero | in_ns b timeout 120 "$parts/busybox" nc 10.0.0.10 5002 ||
	fail "TCP from the namespace"
expect_eq "bytes from the namespace" "$(guest_hear g0)" 100000

# Link.
expect_ok weft set port web1 admin=down
guest_until g1 30 'grep -q 0 /sys/class/net/eth0/carrier'
expect_ok weft set port web1 admin=up
guest_until g1 30 'grep -q 1 /sys/class/net/eth0/carrier'

# A NIC goes and comes back; so does its driver.
guest_call g1 nic-remove nic=web1 >/dev/null
guest_until g1 60 '! [ -e /sys/class/net/eth0 ]'
guest_call g1 nic-add nic="web1,socket=$dir/vmbus.sock" >/dev/null
guest_until g1 60 '[ -e /sys/class/net/eth0 ]'
guest g1 "rmmod hv_netvsc && insmod /lib/hv_netvsc.ko" || fail "the driver does not load anew"
guest_has_eth0 g1
guest g1 "ip address add 10.0.0.11/24 dev eth0; ip link set eth0 up"

# Jumbo frames: the driver opens its channel anew for them.
guest g0 "ip link set eth0 mtu 9000" || fail "the guest does not change its MTU"
guest g0 "ping -c 2 -W 10 -s 8900 10.0.0.1" || fail "no long frames"
guest g1 "ping -c 2 -W 10 10.0.0.10" || fail "no answer after all that"

# Tools of the guest: hv_utils answers the host.
guest_call g1 shutdown >/dev/null
guest_end g1 0
guest_say g0 "poweroff -f"
guest_end g0 0
conservation
