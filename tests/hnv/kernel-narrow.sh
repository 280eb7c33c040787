#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An underlay of 1500 bytes, too narrow for tenants' packets of 1500. What the kernel fragments
# outside we put together; we ourselves tell the tenant, or fragment inside.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host w
host k
wire w k 1500
fabric_start w
fabric_provider w 192.0.2.1/24
on w expect_ok weft add network red
on w expect_ok weft add subnet red network=red vsid=5001 prefix=10.1.0.0/24 gateway=10.1.0.254
fabric_record w red 10.1.0.1 192.0.2.1
fabric_record w red 10.1.0.2 192.0.2.2
fabric_tenant w a red 10.1.0.1/24
provider k 192.0.2.2/24
kernel_vxlan k b 5001 192.0.2.2 10.1.0.2/24
kernel_record b 10.1.0.1 192.0.2.1
# The kernel lowers the tenant's own route when it meets the narrow wire; this stops it.
ip -n "$(ns b)" route replace 10.1.0.0/24 dev eth0 mtu lock 1500

capture k all.pcap
expect_ping b 10.1.0.1 -s 1472
captured all.pcap
[ "$(fields all.pcap 'ip.src == 192.0.2.2 && ip.flags.mf == 1' ip.id | grep -c .)" -ge 3 ] ||
	fail "the kernel has sent no outer fragments"
# Ours are fragments of the inner packet, each whole outside.
expect_outer all.pcap 'ip.src == 192.0.2.1 && udp' ip.flags=0x02 ip.frag_offset=0 \
	ip.checksum.status=1
[ "$(on w counter uplink consumed)" -ge 3 ] || fail "no outer fragment was put together"

# 1450 bytes fit; more, with DF, does not, and the tenant is told the size that does.
expect_size a 10.1.0.2 1450
in_ns a ping -n -c 1 -W 1 -M "do" -s 1472 10.1.0.2 >"$dir/output" 2>&1 || :
grep -q 'mtu = 1450' "$dir/output" || fail "a was not told: $(cat "$dir/output")"
on w expect_drops a MtuMismatch 1
expect_ping a 10.1.0.2 -s 20000
iperf a b 10.1.0.2
fabric_stop w
