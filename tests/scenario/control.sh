#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Documents that are wrong name the field and change nothing; clients that misbehave disturb
# neither traffic nor each other.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

weftd_start
expect_ok weft add switch s0
peer a 10.77.0.1/24
peer b 10.77.0.2/24
before=$(weft dump)
mac_b=$(weft get port b mac)

# refused TEXT DOCUMENT: the message holds TEXT, the configuration is as before.
refused()
{
	echo "$2" >"$dir/document.json"
	expect_fail "$1" weft apply "$dir/document.json"
	expect_eq "configuration after $2" "$(weft dump)" "$before"
}

ok='{"name": "fine", "switch": "s0", "kind": "null"}'
refused colour '{"port": ['"$ok"', {"name": "x", "switch": "s0", "colour": "red"}]}'
refused mtu '{"port": ['"$ok"', {"name": "x", "switch": "s0", "mtu": "large"}]}'
refused mtu '{"port": ['"$ok"', {"name": "x", "switch": "s0", "mtu": 99999}]}'
refused 9202 '{"port": ['"$ok"', {"name": "x", "switch": "s0", "mtu": 99999}]}'
refused blocked '{"port": ['"$ok"', {"name": "x", "switch": "s0", "blocked": 1}]}'
refused nowhere '{"port": ['"$ok"', {"name": "x", "switch": "nowhere"}]}'
refused switch '{"port": ['"$ok"', {"name": "x"}]}'
refused fine '{"port": ['"$ok"', '"$ok"']}'
refused mac '{"port": ['"$ok"', {"name": "x", "switch": "s0", "mac": "'"$mac_b"'"}]}'
refused mac '{"port": ['"$ok"', {"name": "x", "switch": "s0", "mac": "01:00:00:00:00:01"}]}'
refused allowed_vlans '{"port": ['"$ok"', {"name": "x", "switch": "s0", "vlan_mode": "trunk",
	"allowed_vlans": "1-5000"}]}'
refused source '{"rule": [{"name": "x", "port": "a", "action": "deny", "source": "10.0.0.0/99"}]}'
refused gadget '{"gadget": [{"name": "x"}]}'
refused line '{"port": ['
refused port '{"port": {"name": "x"}}'
expect_fail a weft delete switch s0
expect_eq "configuration after a refused delete" "$(weft dump)" "$before"
# The same once more changes nothing.
echo "$before" | expect_ok weft apply -
expect_eq "configuration applied again" "$(weft dump)" "$before"

# Whoever sends garbage, half a line, or 100 MiB of one, or never reads, is on his own.
in_ns_background a ping -n -i 0.02 10.77.0.2 >"$dir/ping"
ping=$background
timeout 60 python3 - "$dir/weft.sock" <<'END' || fail "a bad client was not cut off alone"
import socket, sys

def client():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.settimeout(20)
    return s

def push(s, data):
    """Sends as much as is taken; True when the daemon cut us off."""
    try:
        s.sendall(data)
        while s.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True

garbage, half, mute = client(), client(), client()
garbage.sendall(bytes(range(256)) * 16 + b"\n[[[\n{}\n")
half.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "du')
assert push(client(), b"x" * (100 << 20)), "100 MiB in a line were taken"
mute.setblocking(False)
try:
    for _ in range(100000):
        mute.send(b'{"jsonrpc": "2.0", "id": 1, "method": "dump"}\n')
except OSError:
    pass
good = client()
good.sendall(b'{"jsonrpc": "2.0", "id": 7, "method": "dump"}\n')
assert b'"id"' in good.recv(65536)
half.sendall(b'mp"}\n')
assert b'"result"' in half.recv(65536)
END

# Two clients at once: every change of either is made.
clients=()
for name in x y; do
	for i in {1..20}; do
		weft add port $name"$i" switch=s0 kind=null
	done >"$dir/output-$name" 2>&1 &
	clients+=($!)
done
wait "${clients[@]}" || fail "$(tail -n 1 "$dir"/output-[xy])"
expect_eq "ports" "$(weft --json show port | json "len(d)")" 42
kill $ping
wait $ping || :
grep -q "bytes from" "$dir/ping" || fail "ping had no answers meanwhile"
expect_ping a 10.77.0.2
conservation
weftd_stop
