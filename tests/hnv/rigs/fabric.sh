# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # dir, top and others are of tests/scenario/lib.sh
# Several hosts that run weftd, each in its namespace with a socket of its own.
#
#   fabric_start HOST [ARG...]     weftd inside the host, with an empty switch s0
#   on HOST COMMAND ARG...         any function of tests/scenario/lib.sh, asked of that weftd:
#                                  on h1 weft get port, on h1 peer a 10.1.0.1/24, on h2 counter …
#   fabric_uplink HOST [FIELD=VALUE...]  a port `uplink` on eth0 of the host
#   fabric_provider HOST ADDRESS/BITS [FIELD=VALUE...]   `uplink`, and a provider address there
#   fabric_record HOST SUBNET ADDRESS PROVIDER [FIELD=VALUE...]   where that customer address is
#   fabric_tenant HOST NAME SUBNET ADDRESS [FIELD=VALUE...]       a namespace in a subnet
#   fabric_signal SIGNAL HOST      to its weftd
#   fabric_stop HOST...            frames accounted for, a clean end, exit code 0
#
# A customer's MAC is what tenant_mac makes of its address, unless mac= says else.

declare -A fabric_pid

on()
{
	# shellcheck disable=SC2034 # weft reads it
	local weft_socket=$dir/$1/weft.sock
	shift
	"$@"
}

fabric_start()
{
	local host=$1 folder=$dir/$1 state
	shift
	mkdir -p "$folder"
	[ -p "$folder/ready" ] || mkfifo "$folder/ready"
	in_ns_background "$host" "$top/tests/scenario/start-notified" "$folder/ready" \
		"$build/weftd" --socket "$folder/weft.sock" --state "$folder/state" "$@" \
		</dev/null >>"$folder/weftd.log" 2>&1
	fabric_pid[$host]=$background
	read -r state <"$folder/ready"
	[ "$state" = ready ] || fail "weftd in $host did not start: $(tail -n 1 "$folder/weftd.log")"
	on "$host" expect_ok weft add switch s0
}

# A tap of the daemon's, and a kernel bridge from there to the wire: net_af_packet takes no more
# than 1514 bytes in DPDK 22.11.
fabric_uplink()
{
	local host=$1 mtu namespace
	shift
	namespace=$(ns "$host")
	mtu=$(ip -n "$namespace" -o link show eth0 | sed 's/.* mtu \([0-9]*\).*/\1/')
	on "$host" expect_ok weft add port uplink switch=s0 kind=tap netns="$namespace" ifname=up0 \
		mtu="$mtu" "$@"
	on "$host" expect_up uplink
	ip -n "$namespace" link add wire type bridge mcast_snooping 0
	ip -n "$namespace" link set eth0 master wire
	ip -n "$namespace" link set up0 up mtu "$mtu" master wire
	ip -n "$namespace" link set wire up
}

fabric_provider()
{
	local host=$1 address=${2%/*} bits=${2#*/} mtu
	shift 2
	mtu=$(ip -n "$(ns "$host")" -o link show eth0 | sed 's/.* mtu \([0-9]*\).*/\1/')
	fabric_uplink "$host" role=uplink
	on "$host" expect_ok weft add provider pa port=uplink address="$address" \
		prefix_length="$bits" mtu="$mtu" "$@"
}

fabric_record()
{
	local host=$1 subnet=$2 address=$3 pa=$4
	shift 4
	on "$host" expect_ok weft add record "$subnet-$address" subnet="$subnet" \
		address="$address" mac="$(tenant_mac "$address")" provider="$pa" "$@"
}

fabric_tenant()
{
	local host=$1 name=$2 subnet=$3 address=$4
	shift 4
	on "$host" peer "$name" "$address" subnet="$subnet" mac="$(tenant_mac "$address")" "$@"
}

fabric_signal()
{
	kill -"$1" "${fabric_pid[$2]}"
}

fabric_stop()
{
	local host status
	for host in "$@"; do
		on "$host" conservation
		kill "${fabric_pid[$host]}"
		timeout 10 tail --pid="${fabric_pid[$host]}" -s 0.05 -f /dev/null ||
			fail "weftd in $host did not stop"
		status=0
		wait "${fabric_pid[$host]}" || status=$?
		expect_eq "exit code of weftd in $host" "$status" 0
		unset "fabric_pid[$host]"
	done
}
