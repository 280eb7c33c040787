# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What scenarios (and ./quickstart) are made of: a private daemon, namespaces with real kernel
# peers, and the questions to ask them. Source it first. Everything goes when the script ends.
#
#   weftd_start [ARG...]      starts weftd and waits until it is ready; weftd_stop ends it well
#   weft ARG...               the CLI at that daemon
#   peer NAME ADDRESS [FIELD=VALUE...]   a namespace behind a new tap port NAME, its eth0 up
#   ns NAME                   the full name of that namespace; in_ns NAME CMD... runs inside
#   expect_eq WHAT IS WANTED, expect_ok CMD..., expect_fail TEXT CMD..., expect_ping NAME ADDRESS
#   iperf FROM TO ADDRESS [OPTION...]    runs iperf3 for a second; iperf_result prints what it saw
#   tagged NAME VID ADDRESS   the namespace speaks that VLAN
#   frames send|write|read    see tests/scenario/frames; send NAME COUNT FRAME... from a namespace
#   counter PORT NAME, drops PORT REASON, expect_drops PORT REASON N
#   wait_for SECONDS CMD...   until it succeeds
#   json EXPRESSION           prints a Python expression of d, the JSON on standard input
#   conservation              every frame is accounted for: the end of each scenario
#   fail TEXT, skip TEXT      end the script
#
# $dir holds its files, $build the binaries (WEFT_BUILD, default: build).
set -eu

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$top/${WEFT_BUILD:-build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/weft.XXXXXX")
prefix=weft-$$ # of namespaces: several runs do not meet
weftd_pid=
weftd_inside=() # what to start weftd by, such as: ip netns exec NAME
on_exit=() # commands for the end, besides

fail()
{
	echo "failed: $*" >&2
	exit 1
}

skip()
{
	echo "$*"
	exit 77
}

# Ends what runs in our namespaces, the daemon and all files. After a failure the daemon's log is
# shown: it goes where the output of the script goes.
clean_up()
{
	local status=$? namespace command
	set +e
	trap - EXIT
	trap '' INT TERM
	if [ -n "$weftd_pid" ]; then
		kill "$weftd_pid"
		timeout 10 tail --pid="$weftd_pid" -s 0.05 -f /dev/null || kill -9 "$weftd_pid"
		wait "$weftd_pid"
	fi 2>/dev/null
	for namespace in $(ip netns list | sed -n "s/^\($prefix-[^ ]*\).*/\1/p"); do
		ip netns pids "$namespace" | xargs -r kill -9
		ip netns del "$namespace"
	done
	if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
		tail -q -n 100 "$dir/weftd.log" "$dir"/*/weftd.log 2>/dev/null | sed 's/^/weftd: /' >&2
	fi
	rm -rf "$dir"
	for command in "${on_exit[@]}"; do
		$command
	done
	exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The daemon keeps nothing and logs to $dir/weftd.log. A second start appends to it.
weftd_start()
{
	local state
	[ -z "$weftd_pid" ] || fail "weftd runs already"
	[ -p "$dir/ready" ] || mkfifo "$dir/ready"
	"${weftd_inside[@]}" "$top/tests/scenario/start-notified" "$dir/ready" "$build/weftd" \
		--socket "$dir/weft.sock" --state "$dir/state" "$@" </dev/null >>"$dir/weftd.log" 2>&1 &
	weftd_pid=$!
	read -r state <"$dir/ready"
	[ "$state" = ready ] || fail "weftd did not start: $(tail -n 1 "$dir/weftd.log")"
}

# SIGTERM, an end within 10 s, exit code 0.
weftd_stop()
{
	local status=0
	kill "$weftd_pid"
	timeout 10 tail --pid="$weftd_pid" -s 0.05 -f /dev/null || fail "weftd did not stop"
	wait "$weftd_pid" || status=$?
	weftd_pid=
	expect_eq "exit code of weftd" "$status" 0
}

# Changes are silent: expect_ok keeps what they print.
weft()
{
	"$build/weft" --socket "${weft_socket:-$dir/weft.sock}" "$@"
}

ns()
{
	echo "$prefix-$1"
}

in_ns()
{
	local namespace
	namespace=$(ns "$1")
	shift
	ip netns exec "$namespace" "$@"
}

# in_ns_background NAME COMMAND...: the same beside us; $background is the command itself to kill.
in_ns_background()
{
	local namespace
	namespace=$(ns "$1")
	shift
	ip netns exec "$namespace" "$@" &
	# shellcheck disable=SC2034 # for the caller
	background=$!
}

# IPv6 comes with an IPv6 address only (address_add): else a namespace sends what nobody asked for.
ns_add()
{
	ip netns add "$(ns "$1")"
	in_ns "$1" sysctl -q net.ipv6.conf.default.disable_ipv6=1
	ip -n "$(ns "$1")" link set lo up
}

link_is()
{
	[[ $(weft get port "$1" link) = "$2"* ]]
}

expect_up()
{
	local port
	for port in "$@"; do
		wait_for 10 link_is "$port" up || fail "port $port is $(weft get port "$port" link)"
	done
}

# ADDRESS - is none. mtu=N among the fields counts for the namespace too.
peer()
{
	local name=$1 address=$2 mtu=1500 field
	shift 2
	for field in "$@"; do
		[ "${field%%=*}" != mtu ] || mtu=${field#*=}
	done
	ns_add "$name"
	expect_ok weft add port "$name" switch=s0 kind=tap netns="$(ns "$name")" ifname=eth0 "$@"
	expect_up "$name"
	ip -n "$(ns "$name")" link set eth0 up mtu "$mtu"
	[ "$address" = - ] || address_add "$name" "$address"
}

# address_add NAME ADDRESS [INTERFACE]
address_add()
{
	local interface=${3:-eth0} nodad=
	if [[ $2 = *:* ]]; then
		in_ns "$1" sysctl -q "net.ipv6.conf.$interface.disable_ipv6=0"
		nodad=nodad
	fi
	ip -n "$(ns "$1")" address add "$2" dev "$interface" $nodad
}

tagged()
{
	address_add "$1" "$3" "$("$top/tests/scenario/vlan-tag" "$(ns "$1")" eth0 "$2")"
}

wait_for()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

json()
{
	python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"
}

expect_eq()
{
	[ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

expect_ok()
{
	"$@" >"$dir/output" 2>&1 || fail "$*: $(tail -n 3 "$dir/output")"
}

# Fails with a message that contains TEXT.
expect_fail()
{
	local text=$1
	shift
	if "$@" >"$dir/output" 2>&1; then
		fail "$* succeeded"
	fi
	grep -qF -- "$text" "$dir/output" || fail "$* says '$(tail -n 1 "$dir/output")', not '$text'"
}

# expect_ping NAME ADDRESS [PING OPTION...]: three answers.
expect_ping()
{
	local name=$1 address=$2
	shift 2
	expect_ok in_ns "$name" ping -n -c 3 -i 0.02 -w 10 "$@" "$address"
}

expect_no_ping()
{
	if in_ns "$1" ping -n -c 2 -i 0.02 -W 0.3 "$2" >/dev/null 2>&1; then
		fail "ping $2 from $1 was answered"
	fi
}

balanced()
{
	weft --json call conservation >"$dir/conservation" && grep -q '"balanced": *true' "$dir/conservation"
}

# received + created = sent + consumed + drops + held, as soon as nothing is under way.
conservation()
{
	wait_for 3 balanced || fail "frames are not accounted for: $(cat "$dir/conservation")"
}

# counter PORT NAME: one of a port's counters. drops PORT REASON: the same of both directions.
counter()
{
	weft --json counters port "$1" | json "d[0]['counters']['$2']"
}

drops()
{
	weft --json counters port "$1" |
		json "sum(d[0]['counters'][x].get('$2', 0) for x in ('rx_drops', 'tx_drops'))"
}

counter_is() { [ "$(counter "$1" "$2")" = "$3" ]; }
drops_are() { [ "$(drops "$1" "$2")" = "$3" ]; }

expect_drops()
{
	wait_for 3 drops_are "$@" || fail "port $1 dropped $(drops "$1" "$2") as $2, not $3"
}

expect_counter()
{
	wait_for 3 counter_is "$@" || fail "port $1 has $2 $(counter "$1" "$2"), not $3"
}

listens()
{
	in_ns "$1" ss -Hltn "sport = :$2" | grep -q .
}

# iperf FROM TO ADDRESS [OPTION...]: iperf3 for a second, its report in $dir/iperf. A client that
# cannot be served ends by itself; so does the server when clean_up takes its namespace.
iperf()
{
	local from=$1 to=$2 address=$3
	shift 3
	in_ns "$to" timeout 60 iperf3 -s -1 >/dev/null &
	wait_for 5 listens "$to" 5201 || fail "iperf3 does not listen in $to"
	in_ns "$from" timeout 60 iperf3 -J -t 1 -c "$address" "$@" >"$dir/iperf" ||
		fail "iperf3 from $from to $to: $(json "d['error']" <"$dir/iperf")"
	[ "$(json "d['end'].get('sum_received', d['end'].get('sum'))['bytes']" <"$dir/iperf")" -gt 0 ] ||
		fail "iperf3 from $from to $to: nothing arrived"
}

# The rate that arrived; for UDP, what share was lost.
iperf_result()
{
	python3 - "$dir/iperf" <<-'END'
	import json, sys
	end = json.load(open(sys.argv[1]))["end"]
	rate = end.get("sum_received", end.get("sum"))["bits_per_second"] / 1e9
	udp = end.get("sum", {}).get("lost_percent")
	print(f"{rate:6.2f} Gbit/s" + ("" if udp is None else f", {udp:.1f} % lost"))
	END
}

frames()
{
	"$top/tests/scenario/frames" "$@"
}

# send NAME COUNT FRAME...
send()
{
	in_ns "$1" "$top/tests/scenario/frames" send eth0 "${@:2}"
}
