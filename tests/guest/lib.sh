# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What tests with netvsc guests are made of, beside tests/scenario/lib.sh. Source it first.
#
#   guest_weftd [ARG...]      weftd with a vmbus-user socket of its own and a switch s0
#   weftd_kill                kill -9
#   nic NAME [FIELD=VALUE...] a netvsp port at s0
#   pmd_start NAME ARG...     weft-pmd, paused; its commands:  pmd NAME COMMAND...
#   pmd_get NAME EXPRESSION   of d, its last report, and n, the NICs in it
#   pmd_run NAME FRAMES       runs until so many more were received, and is then quiet
#   pmd_quiet NAME            pauses and waits until nothing is under way
#   expect_clean NAME         nothing lost, doubled, reordered or damaged; nothing is held
#   pmd_quit NAME             ends it well
#   fake_start NAME ARG...    weft-fake-guest at NIC NAME, until its driver is up (or it has ended)
#   fake_wait NAME [STATUS]   until it ends by itself, with that exit code (0)
#   fake_stop NAME            ends it; it must have nothing to complain of
#   fake_get NAME FIELD       of the numbers it has printed at its end
set -eu

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scenario/lib.sh"

declare -A pmd_pids=() pmd_in=() pmd_out=() fake_pids=()
fake_command=() # what to start weft-fake-guest by, such as: nice -n -10

# They see the end of their input when we are gone; a driver that waits for an answer does not.
kill_guests()
{
	[ ${#pmd_pids[@]} -eq 0 ] || kill -9 "${pmd_pids[@]}" 2>/dev/null || :
	[ ${#fake_pids[@]} -eq 0 ] || kill -9 "${fake_pids[@]}" 2>/dev/null || :
}
on_exit+=(kill_guests)

guest_weftd()
{
	weftd_start --vmbus-socket "$dir/vmbus.sock" "$@"
	weft get switch s0 name >/dev/null 2>&1 || expect_ok weft add switch s0
}

weftd_kill()
{
	kill -9 "$weftd_pid"
	wait "$weftd_pid" 2>/dev/null || :
	weftd_pid=
}

nic()
{
	expect_ok weft add port "$1" switch=s0 kind=netvsp "${@:2}"
}

# Reads an answer into $dir/NAME.json.
pmd_answer()
{
	local line
	IFS= read -r -t 100 -u "${pmd_out[$1]}" line ||
		fail "weft-pmd $1 says nothing: $(tail -n 3 "$dir/$1.log")"
	[[ $line != '{"error"'* ]] || fail "weft-pmd $1: $line"
	echo "$line" >"$dir/$1.json"
}

pmd_start()
{
	local name=$1 in out
	shift
	rm -f "$dir/$name".{in,out}
	mkfifo "$dir/$name.in" "$dir/$name.out"
	"$build/tests/pmd/weft-pmd" --control --socket "$dir/vmbus.sock" "$@" \
		<"$dir/$name.in" >"$dir/$name.out" 2>"$dir/$name.log" &
	pmd_pids[$name]=$!
	exec {in}>"$dir/$name.in" {out}<"$dir/$name.out"
	pmd_in[$name]=$in
	pmd_out[$name]=$out
	pmd_answer "$name"
}

pmd()
{
	echo "${*:2}" >&"${pmd_in[$1]}"
	pmd_answer "$1"
}

pmd_get()
{
	python3 -c "import json; d = json.load(open('$dir/$1.json')); n = d['nics']; print($2)"
}

# pmd_expect NAME WHAT EXPRESSION: the expression is true of its last report.
pmd_expect()
{
	[ "$(pmd_get "$1" "bool($3)")" = True ] || fail "$1: $2: $(cat "$dir/$1.json")"
}

pmd_has_received()
{
	pmd "$1" report
	[ "$(pmd_get "$1" "d['received']")" -ge "$2" ]
}

# The switch has answered all that was sent, and nothing comes any more.
pmd_is_quiet()
{
	local before
	before=$(pmd_get "$1" "[x['received'] for x in n]")
	sleep 0.2
	pmd "$1" report
	[ "$(pmd_get "$1" "[x['received'] for x in n]")" = "$before" ] &&
		[ "$(pmd_get "$1" "all(f == x['descriptors'] for x in n for f in x['free_descriptors'])")" = True ]
}

pmd_quiet()
{
	pmd "$1" pause
	wait_for 20 pmd_is_quiet "$1" || fail "$1 is not quiet"
}

pmd_run()
{
	local name=$1 goal
	pmd "$name" resume
	goal=$(($(pmd_get "$name" "d['received']") + $2))
	wait_for 60 pmd_has_received "$name" "$goal" ||
		fail "$name has not received $2 frames: $(cat "$dir/$name.json")"
	pmd_quiet "$name"
}

# No transmit is unanswered, no receive section is with the guest.
expect_held_nothing()
{
	local nic
	pmd_expect "$1" "transmits without an answer" \
		"all(f == x['descriptors'] for x in n for f in x['free_descriptors'])"
	for nic in $(pmd_get "$1" "*[x['nic'] for x in n]"); do
		[[ $(weft get nic "$nic" held) = 0/* ]] ||
			fail "$nic holds sections: $(weft get nic "$nic" held)"
	done
}

expect_silent_driver()
{
	[ ! -s "$dir/$1.log" ] || fail "the driver of $1 says: $(head -n 3 "$dir/$1.log")"
}

expect_clean()
{
	pmd_expect "$1" "frames are missing" "d['sent'] == d['seen'] and d['missing'] == 0"
	pmd_expect "$1" "frames are doubled or reordered" "d['duplicated'] == d['reordered'] == 0"
	pmd_expect "$1" "frames are damaged" "d['corrupt'] == 0"
	expect_held_nothing "$1"
	expect_silent_driver "$1"
}

pmd_quit()
{
	pmd "$1" quit
	wait "${pmd_pids[$1]}" || fail "weft-pmd $1 ended with $?: $(tail -n 3 "$dir/$1.log")"
	unset "pmd_pids[$1]"
	expect_silent_driver "$1"
}

# --- guests of our own: weft-fake-guest ---

fake_is_up()
{
	grep -qs '^ready' "$dir/$1.fake" || ! kill -0 "${fake_pids[$1]}" 2>/dev/null
}

# The NIC is NAME up to a dot, so that several may follow each other there: g0.slow.
fake_start()
{
	local name=$1
	shift
	rm -f "$dir/$name.fake"
	"${fake_command[@]}" "$build/tests/weft-fake-guest" --socket "$dir/vmbus.sock" \
		--nic "${name%%.*}" "$@" >"$dir/$name.fake" 2>"$dir/$name.log" &
	fake_pids[$name]=$!
	wait_for 30 fake_is_up "$name" || fail "fake guest $name does not come up"
}

fake_said()
{
	cat "$dir/$1.log" "$dir/$1.fake"
}

fake_wait()
{
	local status=0
	wait "${fake_pids[$1]}" 2>/dev/null || status=$?
	unset "fake_pids[$1]"
	[ "$status" = "${2:-0}" ] || fail "fake guest $1 ended with $status: $(fake_said "$1")"
}

fake_stop()
{
	kill "${fake_pids[$1]}" 2>/dev/null || :
	fake_wait "$1"
}

fake_get()
{
	tail -n 1 "$dir/$1.fake" | json "d['$2']"
}
