#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The rig of two hosts with weftd: one plain switch across the wire, up to jumbo frames.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host h1
host h2
wire h1 h2 9160
for name in h1 h2; do
	fabric_start $name
	fabric_uplink $name
done
on h1 peer a 10.1.0.1/24 mtu=9000
on h2 peer b 10.1.0.2/24 mtu=9000
expect_ping a 10.1.0.2
expect_size a 10.1.0.2 9000
iperf a b 10.1.0.2
iperf a b 10.1.0.2 -u -b 50M -l 1400
expect_matrix "a one 10.1.0.1" "b one 10.1.0.2"
[ "$(on h1 counter uplink tx_packets)" -gt 0 ] || fail "nothing went through the uplink"
fabric_stop h1 h2
