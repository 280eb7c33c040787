#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real captures through pcap ports: every frame of every file is accounted for, and comes out as
# it went in. Then the filter and the loops of a pcap port.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

captures=$top/build/captures
"$top/tools/fetch-captures" "$captures" >"$dir/output" 2>&1 || skip "$(tail -n 1 "$dir/output")"

weftd_start
replay()
{
	"$top/tests/scenario/replay" "$build/weft" "$dir/weft.sock" "$captures" "$dir/replayed" "$@"
}
replay
replay learning=on
conservation

source=02:00:00:00:00:01
payload=$(printf '%092d' 0)
frames write "$dir/in.pcap" "ff:ff:ff:ff:ff:ff $source 88b5 $payload" \
	"ff:ff:ff:ff:ff:ff $source 88b6 $payload" "ff:ff:ff:ff:ff:ff $source 88b7 $payload"
expect_ok weft add switch s0
expect_ok weft add port out switch=s0 kind=pcap tx_file="$dir/out.pcap"
expect_up out
expect_ok weft add port in switch=s0 kind=pcap rx_file="$dir/in.pcap" loops=1000 \
	filter="ether proto 0x88b5 or ether proto 0x88b7"
expect_counter in rx_packets 2000
expect_counter out tx_packets 2000
expect_eq "frames out" "$(frames read "$dir/out.pcap" | grep -c "88b[57]0")" 2000

# Files that cannot be played: the port is down and says why.
frames write "$dir/cooked.pcap" 00
printf '\161' | dd of="$dir/cooked.pcap" bs=1 seek=20 conv=notrunc status=none # DLT_LINUX_SLL
head -c 30 "$dir/in.pcap" >"$dir/cut.pcap"
for file in cooked cut none; do
	expect_ok weft add port $file switch=s0 kind=pcap rx_file="$dir/$file.pcap"
	wait_for 5 link_is $file "down: rx_file" || fail "$file is $(weft get port $file link)"
done
conservation
weftd_stop
