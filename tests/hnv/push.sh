#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Policy that changes under traffic: thousands of records come, change and go; nothing of a flow
# that is under way dies for it.
# shellcheck source=tests/hnv/lib.sh
. "$(dirname "$0")/lib.sh"

host h1
host h2
wire h1 h2
for i in 1 2; do
	fabric_start "h$i"
	fabric_provider "h$i" "192.0.2.$i/24"
	on "h$i" expect_ok weft add network red
	on "h$i" expect_ok weft add subnet red network=red encap=nvgre vsid=5001 prefix=10.1.0.0/16 \
		gateway=10.1.255.254
	on "h$i" expect_ok weft add subnet db network=red encap=vxlan vsid=5002 prefix=10.2.0.0/16 \
		gateway=10.2.255.254
	fabric_record "h$i" red 10.1.0.1 192.0.2.1
	fabric_record "h$i" db 10.2.0.2 192.0.2.2
done
fabric_tenant h1 a red 10.1.0.1/16
fabric_tenant h2 b db 10.2.0.2/16
ip -n "$(ns a)" route add default via 10.1.255.254
ip -n "$(ns b)" route add default via 10.2.255.254
expect_ping a 10.2.0.2

# records PROVIDER: 2000 of them in subnet red, as a document.
records()
{
	python3 - "$1" <<-'END'
	import json, sys
	print(json.dumps({"record": [{"name": f"many-{i}", "subnet": "red",
		"address": f"10.1.{1 + i // 250}.{1 + i % 250}", "mac": f"02:00:00:01:{i >> 8:02x}:{i & 255:02x}",
		"provider": sys.argv[1]} for i in range(2000)]}))
	END
}

# What the ports on the flow's way have dropped so far, by reason.
dropped()
{
	local at
	for at in "h1 a" "h1 uplink" "h2 uplink" "h2 b"; do
		# shellcheck disable=SC2086 # host and port
		set -- $at
		on "$1" weft --json counters port "$2" |
			json "'$1 $2', d[0]['counters']['rx_drops'], d[0]['counters']['tx_drops']"
	done
}

before=$(dropped)
in_ns b timeout 60 iperf3 -s -1 >/dev/null &
wait_for 5 listens b 5201 || fail "iperf3 does not listen"
in_ns_background a iperf3 -t 60 -c 10.2.0.2 -u -b 20M -l 1000 >"$dir/iperf" 2>&1
client=$background
wait_for 5 grep -q . <(on h1 counter a rx_packets)
records 192.0.2.1 >"$dir/first"
records 192.0.2.2 >"$dir/second"
for h in h1 h2; do
	on "$h" expect_ok weft apply "$dir/first"
	on "$h" expect_ok weft apply "$dir/second"
	on "$h" expect_ok weft set subnet red flow=fixed flow_id=9
	on "$h" expect_ok weft add route r network=red prefix=198.51.100.0/24 next_hop=10.2.0.2
	on "$h" expect_ok weft delete route r
done
kill "$client" || fail "the flow ended before the changes did"
wait "$client" || :
expect_eq "what the switch has dropped" "$(dropped)" "$before"
for h in h1 h2; do
	expect_eq "records of $h" "$(on "$h" weft --json show record | json 'len(d)')" 2002
done
fabric_stop h1 h2
