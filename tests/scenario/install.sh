#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `meson install` puts in place: the unit holds, the pages render, completion loads, the
# examples apply, and the daemon can do its work with no more than the unit lets it have.
# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

root=$dir/root
DESTDIR=$root meson install -C "$build" --no-rebuild --quiet >/dev/null
file()
{
	find "$root" -path "*/$1" | grep . || fail "$1 is not installed"
}
service=$(file systemd/system/weftd.service)
file sysusers.d/weft.conf >/dev/null
for program in sbin/weftd bin/weft bin/weft-bench; do
	file "$program" >/dev/null
done

if command -v systemd-analyze >/dev/null; then
	# It looks for the program where the unit says.
	sed "s|^ExecStart=|&$root|" "$service" >"$dir/weftd.service"
	expect_ok systemd-analyze verify --man=no "$dir/weftd.service"
	expect_eq "systemd-analyze says" "$(cat "$dir/output")" ""
fi
if command -v man >/dev/null; then
	for page in man1/weft.1 man8/weftd.8; do
		expect_eq "warnings of $page" "$(man --warnings -l "$(file $page)" 2>&1 >/dev/null)" ""
	done
fi
completion=$(file bash-completion/completions/weft)
bash -c ". '$completion' && complete -p weft" | grep -q _weft || fail "no completion"

# The capabilities of the unit, in a namespace with an interface for the examples.
mapfile -t capabilities < <(sed -n 's/^CapabilityBoundingSet=//p' "$service" | tr ' ' '\n' |
	tr '[:upper:]' '[:lower:]' | sed 's/^cap_/+/')
bounding=-all$(printf ',%s' "${capabilities[@]}")
ns_add host
ip -n "$(ns host)" link add eth1 type veth peer name far
ip -n "$(ns host)" link set eth1 up
ip -n "$(ns host)" link set far up
ip -n "$(ns host)" address add 10.9.0.1/24 dev eth1
weftd_inside=(ip netns exec "$(ns host)" setpriv --no-new-privs --bounding-set "$bounding")
weftd_start --no-store

all_up()
{
	weft --json show port | json "all(p['link'].startswith('up') for p in d)" | grep -q True
}

for example in lan uplink; do
	expect_ok weft apply "$(file examples/$example.json)"
	wait_for 5 all_up || fail "$example.json: $(weft show port)"
	expect_ok weft apply "$(file examples/$example.json)"
	weft delete port host0
done
ns_add guest
weft add port guest switch=s0 netns="$(ns guest)" ifname=eth0
wait_for 5 all_up || fail "$(weft show port)"
conservation
weftd_stop
expect_eq "address of eth1" "$(ip -n "$(ns host)" -o -4 address show eth1 | awk '{print $4}')" \
	10.9.0.1/24
