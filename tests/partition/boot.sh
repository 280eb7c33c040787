#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's cloud kernel boots on two processors, finds a Hyper-V it knows, loads its own VMBus
# modules, and turns itself off. On the way the checkpoints are made that other tests begin with.
# shellcheck source=tests/partition/lib.sh
. "$(dirname "$0")/lib.sh"

"$top/tests/partition/fetch-kernel.sh" "$parts"
"$top/tests/partition/prepare" "$parts"
rm -f "$parts"/*.checkpoint

guest_boot g 2
log=$(guest g "dmesg")
for text in "Hypervisor detected: Microsoft Hyper-V" "Hyper-V: Host Build 10.0.20348" \
	"clocksource: hyperv_clocksource_tsc_page" "Booting paravirtualized kernel on Hyper-V" \
	"Hyper-V: LAPIC Timer Frequency" "smp: Brought up 1 node, 2 CPUs"; do
	grep -q "$text" <<<"$log" || fail "dmesg does not say '$text'"
done
expect_eq "processors of the guest" "$(guest g nproc)" 2
# The guest's clock events come from synthetic timers, on both processors.
read -r _ first second _ < <(guest g "grep HVS: /proc/interrupts")
if [ "$first" -eq 0 ] || [ "$second" -eq 0 ]; then
	fail "synthetic timers fired $first and $second times"
fi

guest_call g save path="$parts/ready.checkpoint" >/dev/null

load="insmod /lib/hv_vmbus.ko && insmod /lib/hv_utils.ko && insmod /lib/hv_netvsc.ko"
log=$(guest g "$load && dmesg | tail -n 20")
grep -q "Vmbus version:5.3" <<<"$log" || fail "VMBus: $(tail -n 3 <<<"$log")"
guest_call g save path="$parts/loaded.checkpoint" >/dev/null

guest_say g "poweroff -f"
guest_end g 0
