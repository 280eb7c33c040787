#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who has a queue of its own, who shares the default queue and why, on which CPUs: as configured, and
# as it changes. What cannot be is refused by name.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../scenario/lib.sh"

[ "$(nproc)" -ge 2 ] || skip "two workers want two CPUs"
weftd_start --worker-cpus 0,1
expect_ok weft add switch s0
expect_ok weft add port up switch=s0 kind=null role=uplink queues=1
for port in web0 web1; do
	expect_ok weft add port $port switch=s0 kind=null queues=1 mac=02:00:00:00:00:0${port#web}
done
expect_up up web0 web1

# vmq_is QUEUE FIELD TEXT: what weft show vmq says.
vmq_is()
{
	# shellcheck disable=SC2053 # TEXT is a pattern
	[[ $(weft get vmq "$1" "$2" 2>/dev/null) = $3 ]]
}
expect_vmq()
{
	wait_for 10 vmq_is "$@" || fail "$1: $2 is '$(weft get vmq "$1" "$2")', not '$3'"
}
expect_vmq web0.0 queue own
expect_vmq web0.0 mac 02:00:00:00:00:00
expect_vmq up.0 queue default
expect_vmq up.0 why "an uplink*"

# Without weight it goes to the default queue, and to that queue's worker.
expect_ok weft set port web0 vmq_weight=0
expect_vmq web0.0 queue default
expect_vmq web0.0 why "vmq_weight=0"
expect_vmq web0.0 worker "$(weft get vmq up.0 worker)"
expect_vmq web1.0 queue own
expect_ok weft set port web0 vmq_weight=
expect_vmq web0.0 queue own

expect_ok weft set switch s0 vmq=off
expect_vmq web1.0 queue default
expect_vmq web1.0 why "*vmq=off"
expect_ok weft set switch s0 vmq=static
expect_vmq web1.0 queue fixed
expect_ok weft set switch s0 vmq=

# Only workers on allowed CPUs: 1 and up; then the lowest alone, which is 0 only if asked for.
expect_ok weft set switch s0 vmq_base_processor=1
for queue in up.0 web0.0 web1.0; do
	expect_vmq $queue cpu 1
done
expect_ok weft set switch s0 vmq_base_processor= vmq_max_processors=1
expect_vmq web0.0 cpu 1
[[ $(weft get vmq web1.0 moves) -ge 0 ]] || fail "no count of moves"

expect_fail "vmq_weight" weft set port web0 vmq_weight=101
expect_fail "vmmq_queue_pairs" weft set port web0 vmmq_queue_pairs=0
expect_fail "vmmq_queue_pairs" weft set port web0 vmmq_queue_pairs=65
expect_fail "vmq_max_processors" weft set switch s0 vmq_max_processors=0
expect_fail "vmq_max_processors" weft set switch s0 vmq_max_processors=33
expect_fail "vmq" weft set switch s0 vmq=sometimes
expect_fail "test_nothing" weft test nothing
expect_ok weft test vmq
conservation
weftd_stop
