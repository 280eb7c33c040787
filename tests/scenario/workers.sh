#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two workers: frames that leave by the other one's queue cross over, none is lost on the way, and
# a flow keeps its order.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(nproc)" -ge 2 ] || skip "two workers want two CPUs"
weftd_start --workers 2
expect_ok weft add switch s0
peer a 10.77.0.1/24 queues=1
peer b 10.77.0.2/24 queues=1
expect_eq "worker of a" "$(weft get port a workers)" 0
expect_eq "worker of b" "$(weft get port b workers)" 1

expect_ping a 10.77.0.2
expect_ping b 10.77.0.1
iperf a b 10.77.0.2
iperf b a 10.77.0.1
iperf a b 10.77.0.2 -u -b 200M -l 64

# Numbered datagrams: some may be lost, none may overtake another.
in_ns b python3 -c "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('10.77.0.2', 7))
s.settimeout(10)
last = n = 0
while last < 50000:
    number = int(s.recv(64))
    assert number > last, f'{number} came after {last}'
    last, n = number, n + 1
print(n, 'in order')" >"$dir/order" 2>&1 &
receiver=$!
bound() { in_ns b ss -Hlun "sport = :7" | grep -q .; }
wait_for 5 bound
in_ns a python3 -c "import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('10.77.0.2', 7))
for i in range(1, 50001):
    s.send(b'%d' % i)
for _ in range(20):
    time.sleep(0.05)
    try: s.send(b'50000')
    except ConnectionRefusedError: pass"
wait "$receiver" || fail "$(tail -n 1 "$dir/order")"

# Several queues a port, and everybody with everybody.
peer c 10.77.0.3/24 queues=2
peer d 10.77.0.4/24 queues=2
expect_eq "workers of c" "$(weft get port c workers)" 0,1
expect_ping c 10.77.0.4
iperf c d 10.77.0.4 -P 4
iperf d a 10.77.0.1 -P 4
conservation
weftd_stop
