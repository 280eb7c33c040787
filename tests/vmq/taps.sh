#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Kernel peers behind taps number what they send, while the queues of both ports go from one worker
# to the other and back: all of it arrives, in order.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../scenario/lib.sh"

[ "$(nproc)" -ge 2 ] || skip "two workers want two CPUs"
datagrams=6000
weftd_start --worker-cpus 0,1
expect_ok weft add switch s0
peer a 10.77.0.1/24 queues=1
peer b 10.77.0.2/24 queues=1
expect_ping a 10.77.0.2

# receive PEER ADDRESS, send PEER ADDRESS: so slowly that no queue overflows when a worker, on a
# machine that others use too, does not get its CPU for a third of a second.
receive()
{
	in_ns "$1" python3 -c "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24) # SO_RCVBUFFORCE
s.bind(('$2', 7))
s.settimeout(60)
for wanted in range(1, $datagrams + 1):
    number = int(s.recv(64))
    assert number == wanted, f'{number} came instead of {wanted}'
print('all')"
}
send()
{
	in_ns "$1" python3 -c "import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('$2', 7))
for i in range(1, $datagrams + 1):
    s.send(b'%d' % i)
    if i % 3 == 0:
        time.sleep(0.002)"
}
bound() { in_ns "$1" ss -Hlun "sport = :7" | grep -q .; }
receive a 10.77.0.1 >"$dir/a" 2>&1 &
at_a=$!
receive b 10.77.0.2 >"$dir/b" 2>&1 &
at_b=$!
wait_for 10 bound a || fail "a: $(tail -n 1 "$dir/a")"
wait_for 10 bound b || fail "b: $(tail -n 1 "$dir/b")"
send a 10.77.0.2 &
from_a=$!
send b 10.77.0.1 &
from_b=$!
while kill -0 $from_a $from_b 2>/dev/null; do
	weft test vmq >"$dir/moved" 2>&1 || fail "$(grep "^not ok" "$dir/moved")"
done
wait $from_a $from_b
wait $at_a || fail "a: $(tail -n 1 "$dir/a")"
wait $at_b || fail "b: $(tail -n 1 "$dir/b")"
conservation
weftd_stop
