#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Namespaces behind tap ports: IPv4 and IPv6, TCP and UDP, jumbo frames, offloads that cross the
# switch unfinished, and the first frame after a sleep.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24
peer b 10.77.0.2/24
address_add a fd77::1/64
address_add b fd77::2/64

expect_ping a 10.77.0.2
expect_ping b 10.77.0.1
expect_ping a fd77::2
expect_ping b fd77::1 -s 1452 -M "do"
expect_ping a 10.77.0.2 -s 60000 # in fragments

iperf a b 10.77.0.2
iperf b a fd77::1
iperf a b 10.77.0.2 -u -b 200M -l 1400
iperf b a fd77::1 -u -b 200M -l 1400

# TCP leaves its sender in pieces of up to 64 KiB and arrives so: nothing segmented them here.
packets=$(counter b tx_packets) bytes=$(counter b tx_bytes)
iperf a b 10.77.0.2
packets=$(($(counter b tx_packets) - packets)) bytes=$(($(counter b tx_bytes) - bytes))
[ $((bytes / packets)) -gt 9014 ] || fail "$bytes bytes went to b in $packets packets"

peer e 10.77.0.3/24 mtu=9000
peer f 10.77.0.4/24 mtu=9000
expect_ping e 10.77.0.4 -M "do" -s 8972
expect_ping f 10.77.0.3 -M "do" -s 8972
iperf e f 10.77.0.4
iperf f e 10.77.0.3 -u -b 200M -l 8900
iperf e a 10.77.0.1 # large segments to a port of MTU 1500: the MSS they agreed on counts

# What is too large for its destination is dropped there, and that is told.
expect_drops a MtuMismatch 0
in_ns e ping -n -c 3 -i 0.02 -W 0.1 -M "do" -s 4000 10.77.0.1 >/dev/null &&
	fail "a frame of 4 KB reached a port of MTU 1500"
expect_drops a MtuMismatch 3

for _ in 1 2 3; do
	sleep 0.5
	expect_ok in_ns a ping -n -c 1 -W 5 10.77.0.2
done
conservation
weftd_stop
