# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What scenarios of network virtualisation are made of, beside tests/scenario/lib.sh: hosts, wires
# between them, tenants, and foreign peers that speak the same encapsulations. Source it first.
#
#   host NAME, wire A B [MTU]      namespaces that stand for hosts, and a cable: eth0 to eth0
#   provider HOST ADDRESS          a provider address on eth0
#   expect_size FROM ADDRESS BYTES a ping of so many bytes of IP packet, not to be fragmented
#   capture NAME FILE [FILTER], captured FILE    what passes a host's eth0
#   expect_outer FILE FILTER FIELD=VALUE...      tshark's view of every such packet
#   distinct FILE FILTER FIELD     how many values of a field there are
#   expect_matrix "NAME GROUP ADDRESS"...  each reaches its own group and nobody else
#
# rigs/kernel.sh: VXLAN of the Linux kernel. rigs/ovs.sh: Open vSwitch, userspace datapath.
# rigs/guest.sh: a stock Debian kernel in QEMU, for gretap. rigs/fabric.sh: several weftd.
#
# A tenant is a namespace whose eth0 has its address, and the MAC that tenant_mac makes of that.

hnv=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/scenario/lib.sh
. "$hnv/../scenario/lib.sh"
for rig in "$hnv"/rigs/*.sh; do
	# shellcheck disable=SC1090 # all of them
	. "$rig"
done

UNDERLAY_MTU=1660 # 1500 and EncapOverhead 160: a tenant's 1514 bytes are 1674 on the wire

host()
{
	ns_add "$1"
}

# Nobody behind a veth computes what was left to the hardware, and packet sockets pass it on.
plain_frames()
{
	in_ns "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
}

wire()
{
	local mtu=${3:-$UNDERLAY_MTU} name
	ip -n "$(ns "$1")" link add eth0 mtu "$mtu" type veth peer name eth0 mtu "$mtu" \
		netns "$(ns "$2")"
	for name in "$1" "$2"; do
		plain_frames "$name" eth0
		ip -n "$(ns "$name")" link set eth0 up
	done
}

provider()
{
	address_add "$1" "$2"
}

# tenant_mac ADDRESS: 02:00:00:00:00:NN of the last number of an address, as 10.1.0.NN/24.
tenant_mac()
{
	local plain=${1%%/*}
	printf '02:00:00:00:00:%02x\n' "$((10#${plain##*[.:]}))"
}

# expect_size FROM ADDRESS BYTES: whole IP packets of that size get there and back.
expect_size()
{
	local headers=28
	[[ $2 != *:* ]] || headers=48
	expect_ping "$1" "$2" -M "do" -s $(($3 - headers))
}

# capture NAME FILE [FILTER]: writes what passes eth0 of a namespace to $dir/FILE until captured.
declare -A capture_of
capture()
{
	local log=$dir/$2.log
	in_ns_background "$1" tcpdump -q -U --immediate-mode -n -i eth0 -s 256 -w "$dir/$2" "${@:3}" 2>"$log"
	capture_of[$2]=$background
	wait_for 10 grep -q 'listening on' "$log" || fail "tcpdump in $1: $(cat "$log")"
}

captured()
{
	kill "${capture_of[$1]}"
	wait "${capture_of[$1]}" || :
	unset "capture_of[$1]"
}

# fields FILE FILTER FIELD...: the outermost value of each, tab-separated, a line a packet.
fields()
{
	local file=$1 filter=$2 words=() field
	shift 2
	for field in "$@"; do
		words+=(-e "$field")
	done
	tshark -n -r "$dir/$file" -Y "$filter" -T fields -E occurrence=f -o ip.check_checksum:TRUE \
		"${words[@]}" 2>/dev/null
}

# Every packet that the filter takes, at least one, has these values in its outermost headers.
expect_outer()
{
	local file=$1 filter=$2 names=() values=() pair
	shift 2
	for pair in "$@"; do
		names+=("${pair%%=*}")
		values+=("${pair#*=}")
	done
	expect_eq "${names[*]} of $filter" \
		"$(fields "$file" "$filter" "${names[@]}" | sort -u | tr '\t' ' ')" "${values[*]}"
}

distinct()
{
	fields "$1" "$2" "$3" | sort -u | grep -c .
}

# answering NAME...: from now on each tells its name to who asks.
answering()
{
	local name
	for name in "$@"; do
		! answers_itself "$name" || continue
		in_ns_background "$name" "$hnv/who" serve "$name"
		disown "$background" # it is killed with its namespace, without a word
		wait_for 10 answers_itself "$name" || fail "$name does not answer"
	done
}

answers_itself()
{
	in_ns "$1" ss -Hlun 'sport = :5300' | grep -q .
}

# expect_matrix "NAME GROUP ADDRESS"...: everybody asks at every address but its own. The member of
# its own group that has it must answer, and nobody must if there is none.
expect_matrix()
{
	local line name names addresses asking=()
	mapfile -t names < <(printf '%s\n' "$@" | cut -d' ' -f1)
	mapfile -t addresses < <(printf '%s\n' "$@" | cut -d' ' -f3 | sort -u)
	answering "${names[@]}"
	for line in "$@"; do
		name=${line%% *}
		in_ns "$name" "$hnv/who" ask "${addresses[@]}" |
			sed "s/^/$name /" >"$dir/asked-$name" &
		asking+=($!)
	done
	wait "${asking[@]}"
	cat "$dir"/asked-* >"$dir/matrix"
	printf '%s\n' "$@" | awk '
		NR == FNR { group[$1] = $2; address[$1] = $3; who[$2, $3] = $1; next }
		$2 == address[$1] { next }
		{ n++; want = (group[$1], $2) in who ? who[group[$1], $2] : "-" }
		$3 != want { print "at " $2 " " $1 " is answered by " $3 ", not " want; bad = 1 }
		END { exit bad || !n }' - "$dir/matrix" >"$dir/wrong" ||
		fail "$(tr '\n' ';' <"$dir/wrong")"
}
