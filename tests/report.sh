# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What a group of tests needs to report: one line a test, `ok NAME`, `not ok NAME: reason` or
# `skip NAME: reason`. Sourced by tests/groups/* and tools/lint; ./run-tests adds up the lines.

: "${WEFT_LOGS:=build/test-logs}" # a log per test
SKIPPED=77                         # exit code of a test that says why it cannot run
mkdir -p "$WEFT_LOGS"

running=
# A test's own process group does not see the terminal's Ctrl-C: hand it on and wait for its end.
trap '[ -z "$running" ] || { kill "$running"; wait "$running"; } 2>/dev/null || :; exit 130' INT TERM

# The line of a log that says best what went wrong: a sanitizer's summary, else the last one.
reason_of()
{
	grep -a '^SUMMARY: ' "$1" || grep -av '^[[:space:]]*$' "$1" | tail -n 1
}

# run_test NAME SECONDS COMMAND...: runs one test with a time-out and reports it. The reason of a
# failure or a skip is taken from its log; after a failure the log's last lines follow, indented.
run_test()
{
	local name=$1 seconds=$2 status=0
	local log=$WEFT_LOGS/$1.log
	shift 2

	timeout -k 20 "$seconds" "$@" >"$log" 2>&1 </dev/null &
	running=$!
	wait "$running" || status=$?
	running=
	case $status in
	0) echo "ok $name" ;;
	"$SKIPPED") echo "skip $name: $(reason_of "$log")" ;;
	124 | 137) echo "not ok $name: no end after $seconds s (log: $log)" ;;
	*) echo "not ok $name: $(reason_of "$log") (log: $log)" ;;
	esac
	case $status in
	0 | "$SKIPPED") ;;
	*) tail -n 20 "$log" | sed 's/^/    /' ;;
	esac
}

# run_meson_test FOLDER ARGUMENT...: `meson test` in the background, so that signals get through;
# tests/meson-results says what came of it.
run_meson_test()
{
	local folder=$1
	shift
	rm -f "$folder/meson-logs/testlog.json"
	# TSan needs its shadow where address randomisation may have put something else.
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	TSAN_OPTIONS="halt_on_error=1:suppressions=$PWD/tests/tsan.supp" \
		setarch -R meson test -C "$folder" --no-rebuild -t 4 "$@" >"$WEFT_LOGS/$folder.log" 2>&1 &
	running=$!
	wait "$running" || :
	running=
}
