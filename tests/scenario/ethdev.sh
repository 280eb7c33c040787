#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A DPDK device: net_af_packet on a veth, which is not there at first, goes away and comes back.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

veth=weft$$
weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24
peer b 10.77.0.2/24
ns_add far

# Missing: that port is down and says why, the others go on.
expect_ok weft add port nic switch=s0 kind=ethdev devargs="net_af_packet0,iface=$veth"
wait_for 5 link_is nic down || fail "nic is $(weft get port nic link)"
weft get port nic link | grep -q "$veth" || fail "$(weft get port nic link) does not name $veth"
expect_ping a 10.77.0.2

# plug: the veth appears.
plug()
{
	ip link add "$veth" up type veth peer eth0 address 02:00:00:00:00:03 \
		netns "$(ns far)"
	ip -n "$(ns far)" link set eth0 up
	address_add far 10.77.0.3/24
	# The kernel must not leave checksums to a device that is none.
	in_ns far ethtool -K eth0 tx off tso off gso off >/dev/null
}
plug
wait_for 20 link_is nic up || fail "nic is $(weft get port nic link)"
expect_ping a 10.77.0.3
expect_ping far 10.77.0.2
iperf far a 10.77.0.1
iperf a far 10.77.0.3
iperf a far 10.77.0.3 -u -b 50M -l 1400

# Gone under the port, and back: the others do not notice.
ip link del "$veth"
expect_ping a 10.77.0.2
expect_ok weft delete port nic
plug
expect_ok weft add port nic switch=s0 kind=ethdev devargs="net_af_packet0,iface=$veth"
wait_for 20 link_is nic up || fail "nic is $(weft get port nic link)"
expect_ping a 10.77.0.3
expect_fail devargs weft add port bad switch=s0 kind=ethdev
conservation
weftd_stop
