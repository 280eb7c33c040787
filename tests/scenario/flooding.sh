#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who gets what nobody in particular is meant to get, and what is never passed on.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
for name in a b c d; do
	peer $name -
done
mac_b=$(weft get port b mac)
source=02:00:00:00:00:01
rest="88b5 $(printf '%092d' 0)"

# expect_received B C D: what these ports were sent so far; a never gets its own back.
expect_received()
{
	expect_counter b tx_packets "$1"
	expect_counter c tx_packets "$2"
	expect_counter d tx_packets "$3"
	expect_counter a tx_packets 0
}

send a 5 "ff:ff:ff:ff:ff:ff $source $rest"
expect_received 5 5 5
send a 5 "33:33:00:00:00:99 $source $rest"
expect_received 10 10 10
send a 5 "02:00:00:00:00:99 $source $rest"
expect_received 15 15 15
send a 5 "$mac_b $source $rest"
expect_received 20 15 15

expect_ok weft set switch s0 flood_unknown=false
send a 5 "02:00:00:00:00:99 $source $rest"
expect_drops a NoDestination 5
send a 1 "ff:ff:ff:ff:ff:ff $source $rest"
expect_received 21 16 16

# IEEE 802.1Q, table 8-1: the sixteen addresses that stay on their link, and the next one.
for last in {0..9} a b c d e f; do
	send a 1 "01:80:c2:00:00:0$last $source $rest"
done
expect_drops a BridgeReserved 16
send a 1 "01:80:c2:00:00:10 $source $rest"
expect_received 22 17 17
send a 2 "$mac_b 03:00:00:00:00:01 $rest"
send a 1 "$mac_b 00:00:00:00:00:00 $rest"
expect_drops a InvalidSourceMac 3

# A storm: the limit is a second's worth, which the first hundred frames use up. Not more frames
# than the kernel's own queue takes.
expect_ok weft set port a storm_limit=100
send a 400 "ff:ff:ff:ff:ff:ff $source $rest"
expect_counter a rx_packets 446
storm=$(drops a StormLimit)
[ "$storm" -ge 100 ] || fail "of 400 broadcasts only $storm were over the limit"
send a 10 "$mac_b $source $rest"
expect_drops a StormLimit "$storm"
expect_ok weft set port a storm_limit=0

# Frames cut short, which only a capture can hold.
frames write "$dir/short.pcap" "" 00 ff:ff:ff:ff:ff:ff "ff:ff:ff:ff:ff:ff $source" \
	"ff:ff:ff:ff:ff:ff $source 88b5" "ff:ff:ff:ff:ff:ff $source 8100" \
	"ff:ff:ff:ff:ff:ff $source 0800 45" "ff:ff:ff:ff:ff:ff $source 86dd 60"
b=$(counter b tx_packets)
expect_ok weft add port short switch=s0 kind=pcap rx_file="$dir/short.pcap"
expect_drops short InvalidVlanFormat 1
expect_counter b tx_packets $((b + 3))
conservation
weftd_stop
