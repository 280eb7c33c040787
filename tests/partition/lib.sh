# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What tests with guests are made of, beside tests/scenario/lib.sh, which it sources.
#
#   guest_boot NAME CPUS [OPTION...]        boots Debian's kernel; returns when its agent is ready
#   guest_restore NAME FILE [OPTION...]     goes on from a checkpoint
#   guest NAME COMMAND                      types a command and prints what it says; its status
#   guest_say NAME COMMAND, guest_hear NAME the two halves of it, for commands side by side
#   guest_call NAME METHOD [KEY=VALUE...]   the control socket of its weft-vm
#   guest_end NAME STATUS                   waits for weft-vm's end with that status
#   guest_kill NAME
#   nic NAME                                option for a NIC of our weftd
#
# Times are long: where KVM emulates kernel code, a guest is a hundred times slower than its host.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scenario/lib.sh"

[ -w /dev/kvm ] || skip "no /dev/kvm here"

parts=$top/build/guest # what fetch-kernel.sh and prepare.sh have made
declare -A guest_pid=()

# Does KVM have no VT-x or SVM to run guests on?
is_emulated()
{
	! grep -qwE 'vmx|svm' /proc/cpuinfo
}

# Guests go before their switch. After a failure: what they have said last.
guests_clean_up()
{
	local status=$? name
	set +e
	for name in "${!guest_pid[@]}"; do
		[ "$status" -eq 0 ] || tail -n 20 "$dir/$name.console" "$dir/$name.log" >&2
		guest_kill "$name"
	done
	(exit "$status")
	clean_up
}
trap guests_clean_up EXIT

# guest_run NAME OPTION...
guest_run()
{
	local name=$1
	shift
	: >"$dir/$name.console"
	"$build/weft-vm" --name "$name" --console "file:$dir/$name.console" \
		--control "$dir/$name.sock" "$@" </dev/null >>"$dir/$name.log" 2>&1 &
	guest_pid[$name]=$!
	echo 0 0 >"$dir/$name.said"
	wait_for 20 [ -S "$dir/$name.sock" ] || fail "$name: $(tail -n 1 "$dir/$name.log")"
}

guest_boot()
{
	local name=$1 cpus=$2
	shift 2
	guest_run "$name" --kernel "$parts/kernel" --initrd "$parts/initrd" --cpus "$cpus" \
		--memory 160 --append "$(cat "$parts/command-line")" "$@"
	guest_expect "$name" "${BOOT_SECONDS:-800}" '^agent is ready'
}

guest_restore()
{
	local name=$1 file=$2
	shift 2
	guest_run "$name" --load "$file" "$@"
	# The agent counts on from where it was saved.
	guest_call "$name" type text="n=0
" >/dev/null
	guest_expect "$name" "${GUEST_SECONDS:-150}" '^\[0\] 0'
}

guest_alive()
{
	kill -0 "${guest_pid[$1]}" 2>/dev/null
}

# guest_expect NAME SECONDS PATTERN: waits until a line of the console matches.
guest_expect()
{
	local end=$((SECONDS + $2))
	until tr -d '\r' <"$dir/$1.console" | grep -qaE "$3"; do
		guest_alive "$1" || fail "$1 has ended: $(tail -n 1 "$dir/$1.log")"
		[ "$SECONDS" -lt "$end" ] || fail "$1 does not say '$3' within $2 s; last: $(
			tail -n 5 "$dir/$1.console")"
		sleep 0.5
	done
}

guest_call()
{
	local name=$1
	shift
	"$build/weft" --socket "$dir/$name.sock" call "$@"
}

# In a file, since guest is often called in $( ): how many lines were typed, and how much the
# console had said before the last one.
guest_say()
{
	local lines _
	read -r lines _ <"$dir/$1.said"
	echo "$((lines + 1)) $(stat -c %s "$dir/$1.console")" >"$dir/$1.said"
	guest_call "$1" type text="$2
" >/dev/null
}

# Prints what was said since the command; its status.
guest_hear()
{
	local said status line seen end
	read -r line seen <"$dir/$1.said"
	end="\\[([0-9]+)\\] $line"
	guest_expect "$1" "${GUEST_SECONDS:-150}" "^$end\$"
	said=$(tail -c "+$((seen + 1))" "$dir/$1.console" | tr -d '\r')
	status=$(sed -nE "s/^$end\$/\\1/p" <<<"$said")
	sed -E "/^$end\$/,\$d" <<<"$said"
	return "$status"
}

guest()
{
	guest_say "$1" "$2"
	guest_hear "$1"
}

# guest_gone NAME
guest_gone()
{
	! guest_alive "$1"
}

guest_end()
{
	local status=0
	wait_for "${GUEST_SECONDS:-150}" guest_gone "$1" || fail "$1 does not end"
	wait "${guest_pid[$1]}" || status=$?
	unset "guest_pid[$1]"
	expect_eq "exit status of $1" "$status" "$2"
}

guest_kill()
{
	kill -9 "${guest_pid[$1]}" 2>/dev/null
	wait "${guest_pid[$1]}" 2>/dev/null
	unset "guest_pid[$1]"
}

nic()
{
	echo "--nic=$1,socket=$dir/vmbus.sock"
}

# guest_until NAME SECONDS COMMAND: the guest's command succeeds in time.
guest_until()
{
	local end=$((SECONDS + $2))
	until guest "$1" "$3" >/dev/null; do
		[ "$SECONDS" -lt "$end" ] || fail "$1: not within $2 s: $3"
	done
}

guest_has_eth0()
{
	guest_until "$1" 60 '[ -e /sys/class/net/eth0 ]'
}
