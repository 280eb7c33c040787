#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# More ports and rules than any queue of the daemon holds: all come up, change, and go again.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

ports=1500
document()
{
	python3 -c "import json
print(json.dumps({
    'switch': [{'name': 's0'}],
    'port': [{'name': 'p%d' % i, 'switch': 's0', 'kind': 'null', 'mtu': $1,
              'vlan_mode': 'trunk' if i % 10 == 0 else 'auto'} for i in range($ports)],
    'rule': [{'name': 'r%d' % i, 'port': 'p%d' % (i % $ports), 'action': 'deny',
              'protocol': 'udp', 'destination_ports': str(i + 1)} for i in range(5000)]}))"
}
up() { weft --json show port | json "sum(p['link'].startswith('up') for p in d)"; }
all_up() { [ "$(up)" -eq "$ports" ]; }

weftd_start
document 1500 >"$dir/all.json"
expect_ok weft apply "$dir/all.json"
wait_for 30 all_up || fail "only $(up) of $ports ports came up"
document 1400 >"$dir/all.json" # every device is opened anew
expect_ok weft apply "$dir/all.json"
wait_for 30 all_up || fail "only $(up) of $ports ports came up again"
echo '{"rule": [], "port": []}' >"$dir/none.json"
expect_ok weft apply "$dir/none.json" --prune
expect_eq "the number of ports" "$(up)" 0
expect_ok weft apply "$dir/all.json"
conservation
weftd_stop
