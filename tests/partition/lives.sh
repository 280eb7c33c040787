#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest outlives its switch, goes on from a checkpoint with its NIC open, begins anew when it
# resets itself, and says so when it crashes.
# shellcheck source=tests/partition/lib.sh
. "$(dirname "$0")/lib.sh"

[ -e "$parts/loaded.checkpoint" ] || skip "no checkpoint: tests/partition/boot.sh makes it"

# The switch, always the same.
switch()
{
	weftd_start
	expect_ok weft add switch s0
	expect_ok weft add port web0 switch=s0 kind=netvsp mac=02:00:00:00:00:10
	expect_ok weft add port b switch=s0 kind=tap netns="$(ns b)" ifname=eth0
	expect_up b
	ip -n "$(ns b)" link set eth0 up
	address_add b 10.0.0.1/24
}

ns_add b
switch
guest_restore g "$parts/loaded.checkpoint" "$(nic web0)" --kernel "$parts/kernel" \
	--initrd "$parts/initrd" --append "$(cat "$parts/command-line") earlyprintk=serial,ttyS0,115200"
guest_has_eth0 g
guest g "ip address add 10.0.0.10/24 dev eth0; ip link set eth0 up; ping -c 2 -W 10 10.0.0.1"

# The switch is killed while the guest pings, and another takes its place.
guest_say g "ping -c 20 10.0.0.1"
sleep 2
kill -9 "$weftd_pid"
wait "$weftd_pid" 2>/dev/null || :
weftd_pid=
sleep 3
switch
log=$(guest_hear g) || fail "no ping came back: $(tail -n 2 <<<"$log")"
guest g "ping -c 3 -W 10 10.0.0.1" || fail "the guest has lost its NIC"
expect_eq "NIC web0 was adopted" "$(weft get nic web0 state)" ready

# A guest goes on from a checkpoint, its channels open.
guest_call g save path="$dir/open.checkpoint" >/dev/null
guest g "ping -c 2 -W 10 10.0.0.1" || fail "saving has cut the NIC off"
guest_kill g
guest_restore g "$dir/open.checkpoint" "$(nic web0)" --kernel "$parts/kernel" \
	--initrd "$parts/initrd" --append "$(cat "$parts/command-line") earlyprintk=serial,ttyS0,115200"
guest g "ping -c 3 -W 10 10.0.0.1" || fail "the restored guest has lost its NIC"
expect_ok in_ns b ping -c 2 -W 10 10.0.0.10

# A reset: the switch lets go, the kernel's banner comes a second time.
guest_say g "reboot -f"
guest_expect g "${BOOT_SECONDS:-800}" "Linux version"
grep -q "NIC web0" "$dir/g.log" || fail "the guest has lost its NIC"
guest_kill g

# A crash: the guest's last words, and the exit status.
guest_restore g "$parts/loaded.checkpoint"
guest_say g "echo c >/proc/sysrq-trigger"
guest_end g 4
grep -q "has crashed" "$dir/g.log" || fail "nobody says that the guest has crashed"
conservation
