#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What cannot be started is refused with a sentence, and what cannot run on is cut off with one.
# shellcheck source=tests/partition/lib.sh
. "$(dirname "$0")/lib.sh"

# refused STATUS TEXT OPTION...: weft-vm ends with that status and says so.
refused()
{
	local status=0 wanted=$1 text=$2
	shift 2
	timeout 60 "$build/weft-vm" --console none "$@" >"$dir/output" 2>&1 </dev/null || status=$?
	expect_eq "exit status of weft-vm $*" "$status" "$wanted"
	grep -q "$text" "$dir/output" || fail "weft-vm $*: $(tail -n 1 "$dir/output")"
}

kernel=$parts/vmlinuz
[ -e "$kernel" ] || "$top/tests/partition/fetch-kernel.sh" "$parts"

refused 2 "kernel: it is missing"
refused 2 "no such option" --kernel "$kernel" --color
refused 2 "cpus: '0' is not a number from 1" --kernel "$kernel" --cpus 0
refused 2 "memory: '9' is not a number from 32" --kernel "$kernel" --memory 9
refused 1 "not a multiple of 2 MiB" --kernel "$kernel" --memory 33
refused 1 "No such file" --kernel "$dir/nothing"
refused 1 "neither a bzImage nor an ELF image" --kernel "$0"
refused 1 "not a file with content" --kernel /dev/null
head -c 100000 "$kernel" >"$dir/cut"
refused 1 "the bzImage is cut off" --kernel "$dir/cut"
refused 1 "which is not all memory" --kernel "$kernel" --memory 32
head -c 1000000 "$parts/vmlinux" >"$dir/cut"
refused 1 "outside the file or the memory" --kernel "$dir/cut"
refused 1 "do not fit beside the kernel" --kernel "$kernel" --initrd "$parts/vmlinux" --memory 96
refused 1 "not a checkpoint" --load "$kernel"
refused 1 "nic: there is a 'a' already" --kernel "$kernel" --nic a --nic a

# A checkpoint that is cut off.
if [ -e "$parts/ready.checkpoint" ]; then
	for bytes in 20 1000 20000 1000000; do
		head -c $bytes "$parts/ready.checkpoint" >"$dir/cut"
		refused 1 "broken or cut off\|not a checkpoint" --load "$dir/cut"
	done
fi

# A kernel of one instruction that cannot be: no IDT, so a triple fault.
python3 - "$dir/fault" <<'PY'
import struct, sys
code = b"\x0f\x0b"
head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x1000000, 64, 0,
                                                     0, 64, 56, 1, 0, 0, 0)
segment = struct.pack("<IIQQQQQQ", 1, 5, 120, 0x1000000, 0x1000000, len(code), 4096, 4096)
open(sys.argv[1], "wb").write(head + segment + code)
PY
refused 5 "triple fault" --kernel "$dir/fault"
# The same by port: a guest that turns itself off, and one that resets itself.
for what in "00 ba0006b034ee 0" "00 baf90cb006ee 3"; do
	read -r _ bytes status <<<"$what"
	python3 - "$dir/fault" "$dir/port" "$bytes" <<'PY'
import sys
image = bytearray(open(sys.argv[1], "rb").read()[:120])
code = bytes.fromhex("66" + sys.argv[3]) + b"\xeb\xfe"
image[96:104] = len(code).to_bytes(8, "little")
open(sys.argv[2], "wb").write(bytes(image) + code)
PY
	refused "$status" "ended" --kernel "$dir/port" --no-reboot
done
