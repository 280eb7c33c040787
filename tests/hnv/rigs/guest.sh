# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # dir, top and others are of tests/scenario/lib.sh
# A stock Debian kernel in QEMU, for what this kernel may lack: gretap, which is how Linux speaks
# NVGRE. The guest's eth0 is on the wire of a host's eth0. Commands go by its serial line. It ends
# with the host's namespace.
#
#   guest_start HOST               boots it (some 5 s); its eth0 has the MTU of the host's
#   guest HOST COMMAND...          a line for its shell; the output and exit code are the guest's
#   guest_nvgre HOST VSID LOCAL-PA/BITS REMOTE-PA ADDRESS [FLOWID|external]
#                                  device nvgre: one FlowID both ways; external: takes any
#   guest_record HOST VSID ADDRESS PA   with `external`: where that customer address is

guest_start()
{
	local host=$1 folder=$dir/guest-$1 namespace mtu
	namespace=$(ns "$host")
	mkdir "$folder"
	"$top/tests/hnv/guest-image" "$top/build/guest" >"$folder/image.log" 2>&1 ||
		fail "no guest image: $(tail -n 1 "$folder/image.log")"
	mtu=$(ip -n "$namespace" -o link show eth0 | sed 's/.* mtu \([0-9]*\).*/\1/')
	ip -n "$namespace" tuntap add tap0 mode tap
	ip -n "$namespace" link add wire type bridge mcast_snooping 0
	ip -n "$namespace" link set eth0 master wire
	ip -n "$namespace" link set tap0 up mtu "$mtu" master wire
	ip -n "$namespace" link set wire up
	mkfifo "$folder/serial.in" "$folder/serial.out"
	in_ns_background "$host" qemu-system-x86_64 -M q35 -accel tcg -cpu max -m 192 -smp 1 \
		-nodefaults -display none -no-reboot -kernel "$top/build/guest/vmlinuz" \
		-initrd "$top/build/guest/initramfs.gz" \
		-append "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off random.trust_cpu=on" \
		-chardev "pipe,id=serial,path=$folder/serial" -serial chardev:serial \
		-netdev tap,id=n0,ifname=tap0,script=no,downscript=no \
		-device "virtio-net-pci,netdev=n0,mac=02:00:00:00:01:01,host_mtu=$mtu,romfile=" \
		</dev/null >"$folder/qemu.log" 2>&1
	disown "$background" # it is killed with its namespace, without a word
	# A few seconds, on a busy machine minutes.
	"$top/tests/hnv/guest-run" "$folder/serial" 170 ||
		silent_guest "$host" "$(tail -n 1 "$folder/qemu.log")"
	guest "$host" ip link set eth0 up
}

# An emulated machine that does not answer says nothing about Weft.
exec {rig_says}>&1 # wherever the output of a command goes
silent_guest()
{
	skip "the emulated guest at $1 does not answer${2:+: $2}" >&"$rig_says"
}

guest()
{
	local status=0
	"$top/tests/hnv/guest-run" "$dir/guest-$1/serial" 60 "${@:2}" || status=$?
	[ "$status" -ne 124 ] || silent_guest "$1"
	return "$status"
}

guest_nvgre()
{
	local host=$1 vsid=$2 pa=$3 remote=$4 address=$5 flow=${6:-0}
	local way="local ${pa%/*} remote $remote key $((vsid << 8 | ${flow/external/0}))"
	[ "$flow" != external ] || way=external
	guest "$host" "ip address add $pa dev eth0
		ip link add nvgre address $(tenant_mac "$address") type gretap $way &&
		ip link set nvgre up mtu 1500 &&
		ip address add $address dev nvgre" || fail "no NVGRE in the guest at $host"
}

guest_record()
{
	local plain=${3%/*}
	guest "$1" "ip neighbour replace $plain lladdr $(tenant_mac "$plain") dev nvgre nud permanent
		ip route replace $plain/32 encap ip id $(($2 << 8)) dst $4 key dev nvgre" ||
		fail "no record in the guest at $1"
}
