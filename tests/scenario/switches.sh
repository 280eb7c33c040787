#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several switches in one daemon do not meet; which roles a switch takes.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
expect_ok weft add switch s1
expect_ok weft add switch hidden type=private
expect_ok weft add switch local type=internal
peer a 10.77.0.1/24
peer b 10.77.0.2/24
peer c 10.77.0.1/24 switch=s1
peer d 10.77.0.3/24 switch=s1
send a 5 "$(weft get port d mac) 02:00:00:00:00:01 88b5 $(printf '%092d' 0)"
expect_counter b tx_packets 5
expect_counter d tx_packets 0
expect_ping a 10.77.0.2
expect_ping c 10.77.0.3
expect_no_ping a 10.77.0.3
expect_no_ping c 10.77.0.2

# From one switch to the other, with all that is open.
expect_ok weft set port b switch=s1
expect_ping c 10.77.0.2
expect_no_ping a 10.77.0.2

expect_fail "role=uplink" weft add port nic switch=hidden role=uplink
expect_fail "role=internal" weft add port host switch=hidden role=internal
expect_fail "role=uplink" weft add port nic switch=local role=uplink
expect_ok weft add port host switch=local role=internal netns="$(ns a)" ifname=host
expect_fail "host" weft set switch local type=private
expect_fail "a" weft delete switch s0
conservation
weftd_stop
