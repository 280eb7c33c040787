#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ports that go away: deleted under traffic, their interface or namespace deleted under them.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24
mac_b=02:00:00:00:00:0b # whoever comes back under another address is not found for a while
peer b 10.77.0.2/24 mac=$mac_b
peer c 10.77.0.3/24 mac=02:00:00:00:00:0c

more_than() { [ "$(counter "$2" "$3")" -gt "$1" ]; }

# flood FROM ADDRESS: as many datagrams as go, until it is killed.
flood()
{
	in_ns_background "$1" timeout 60 python3 -c "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try: s.sendto(bytes(1000), ('$2', 9))
    except OSError: pass"
}

for _ in 1 2 3; do
	flood a 10.77.0.2
	wait_for 10 more_than 100 b tx_packets || fail "nothing goes to b"
	expect_ok weft delete port b
	expect_ping a 10.77.0.3
	kill $background
	wait $background 2>/dev/null || :
	ip netns del "$(ns b)"
	peer b 10.77.0.2/24 mac=$mac_b
	expect_ping a 10.77.0.2
done

# The sender goes, with what it had under way.
flood a 10.77.0.2
wait_for 10 more_than 1000 a rx_packets || fail "nothing comes from a"
expect_ok weft delete port a
kill $background
wait $background 2>/dev/null || :
conservation

# The interface goes.
ip -n "$(ns c)" link del eth0
in_ns b ping -n -c 2 -i 0.05 -W 0.2 10.77.0.3 >/dev/null && fail "c answers from nowhere"
gone() { ! link_is c up; }
wait_for 10 gone || fail "the interface of c is gone and its port $(weft get port c link)"
peer d 10.77.0.4/24
expect_ping b 10.77.0.4
expect_ok weft delete port c
ip netns del "$(ns c)"
peer c 10.77.0.3/24 mac=02:00:00:00:00:0c
expect_ping b 10.77.0.3

# Nobody can name its namespace any more; the port keeps it and both ends work on.
ip netns del "$(ns c)"
expect_ping b 10.77.0.3
expect_ok weft delete port c
peer c 10.77.0.3/24 mac=02:00:00:00:00:0c

# More devices than are opened and closed at a time.
weft dump >"$dir/before"
python3 -c "import json
print(json.dumps({'port': [{'name': f'n{i}', 'switch': 's0', 'kind': 'null'} for i in range(800)]}))" \
	>"$dir/many"
expect_ok weft apply "$dir/many"
all_up() { [ "$(weft --json show port | json "sum(p['link'] == 'up' for p in d)")" = 803 ]; }
wait_for 60 all_up || fail "not all of 800 ports are up"
expect_ok weft apply "$dir/before" --prune
expect_ping b 10.77.0.3

# An interface renamed and readdressed stays the port's.
ip -n "$(ns c)" link set eth0 down
ip -n "$(ns c)" link set eth0 name other up
expect_ping b 10.77.0.3
conservation
weftd_stop
