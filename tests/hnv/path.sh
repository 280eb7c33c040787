#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `weft test path` and `weft test jumbo`: what they say of a path that is well, and of each thing
# that may be wrong with one.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host h1
host h2
wire h1 h2 9160
for i in 1 2; do
	fabric_start "h$i"
	fabric_provider "h$i" "192.0.2.$i/24"
	on "h$i" expect_ok weft add network red
	on "h$i" expect_ok weft add subnet web network=red encap=nvgre vsid=5001 \
		prefix=10.1.0.0/24 gateway=10.1.0.254 prefix6=fd01::/64 gateway6=fd01::ff
	on "h$i" expect_ok weft add subnet db network=red encap=vxlan vsid=5002 \
		prefix=10.2.0.0/24 gateway=10.2.0.254
	for n in 1 2; do
		fabric_record "h$i" web "10.1.0.1$n" "192.0.2.$n"
		fabric_record "h$i" web "fd01::1$n" "192.0.2.$n" mac="$(tenant_mac "10.1.0.1$n")"
	done
	fabric_record "h$i" db 10.2.0.22 192.0.2.2
	fabric_tenant "h$i" "web$i" web "10.1.0.1$i/24"
	address_add "web$i" "fd01::1$i/64"
done
fabric_record h1 db 10.2.0.33 192.0.2.3 # a host that is not there
fabric_tenant h2 db2 db 10.2.0.22/24
ip -n "$(ns db2)" route add default via 10.2.0.254 dev eth0

# sick TEXT ARG...: the test fails and says so.
sick()
{
	on h1 expect_fail "$1" weft test "${@:2}"
}

for to in 10.1.0.12 fd01::12 10.2.0.22; do
	wait_for 10 on h1 weft test path from=web1 to="$to" >"$dir/output" 2>&1 ||
		fail "to $to: $(cat "$dir/output")"
done
on h1 weft --json test path from=web1 to=10.2.0.22 >"$dir/report"
expect_eq "the report" "$(json "not d['failed'] and [(c['name'], c['ok'],
	c.get('received'), c.get('bytes')) for c in d['checks']]" <"$dir/report")" "[('subnet', True, None, None), \
('record', True, None, None), ('underlay', True, None, None), ('provider', True, 3, 84), \
('customer', True, 3, 84), ('customer', True, 3, 1500)]"
# A guest that pings at the same time gets all its answers, and no other's.
expect_ok in_ns web1 ping -n -q -c 1 10.1.0.12
in_ns web1 ping -n -q -c 100 -i 0.01 10.1.0.12 >"$dir/ping" &
ping=$!
on h1 expect_ok weft test path from=web1 to=10.1.0.12
wait "$ping" || :
grep -q ' 0% packet loss' "$dir/ping" || fail "the guest's own: $(cat "$dir/ping")"
! grep -q DUP "$dir/ping" || fail "the guest's own: $(cat "$dir/ping")"

# What is not configured.
sick "there is no port 'web9'" path from=web9 to=10.1.0.12
sick "port 'uplink' is in no virtual subnet" path from=uplink to=10.1.0.12
sick "'x' is not an IP address" path from=web1 to=x
sick "from: must be given" path to=10.1.0.12
sick "no record of 10.1.0.77 in subnet web" path from=web1 to=10.1.0.77
sick "no subnet of the network has 203.0.113.1, and no route" path from=web1 to=203.0.113.1
sick "is on this host" path from=web1 to=10.1.0.11
sick "192.0.2.3 does not answer ARP" path from=web1 to=10.2.0.33
sick "192.0.2.3 does not answer ARP" jumbo to=192.0.2.3
sick "203.0.113.1 is on no link of ours" jumbo to=203.0.113.1
on h1 expect_fail "there is no method 'test_x'" weft test x

# A guest that is silent, a rule at its port, a host that knows no record of who asks.
ip -n "$(ns db2)" link set eth0 down
sick "the underlay is well, but 10.2.0.22 does not answer" path from=web1 to=10.2.0.22
ip -n "$(ns db2)" link set eth0 up
ip -n "$(ns db2)" route add default via 10.2.0.254 dev eth0
on h2 expect_ok weft add rule shut port=db2 direction=out action=deny protocol=icmp
sick "the underlay is well, but 10.2.0.22 does not answer" path from=web1 to=10.2.0.22
on h2 expect_ok weft delete rule shut
on h1 expect_ok weft test path from=web1 to=10.2.0.22

# Sizes: 9000 fit; then a wire in between that takes 1500.
on h1 weft test jumbo to=192.0.2.2 >"$dir/output" || fail "jumbo: $(cat "$dir/output")"
grep -q 'the path takes 9160 bytes: tenants. packets of 9000 fit' "$dir/output" ||
	fail "jumbo: $(cat "$dir/output")"
ip -n "$(ns h2)" link set eth0 mtu 1700
sick "tenants' packets of 1500 bytes fit, but not those of 9000" jumbo to=192.0.2.2
ip -n "$(ns h2)" link set eth0 mtu 1500
sick "the path takes 1500 bytes, but not the 160 more" jumbo to=192.0.2.2
sick "10.1.0.12 is reached, but not by packets of 1500 bytes" path from=web1 to=10.1.0.12
ip -n "$(ns h2)" link set eth0 mtu 1400
sick "not even packets of 1500 bytes get to 192.0.2.2" jumbo to=192.0.2.2
on h1 expect_ok weft set provider pa mtu=1500
sick "this host itself sends no packets of 1660 bytes" jumbo to=192.0.2.2
on h1 expect_ok weft set provider pa mtu=9160
fabric_signal STOP h2
sick "nothing comes back from host 192.0.2.2" path from=web1 to=10.1.0.12
sick "192.0.2.2 answers nothing at all" jumbo to=192.0.2.2
fabric_signal CONT h2
fabric_stop h1 h2
