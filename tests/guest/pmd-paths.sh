#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The ways by which a frame can leave a guest: alone or with others in a section of the send buffer,
# from pages of the guest's memory, from many pieces of them; and into which the driver may take a
# received one.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# way WHAT ARG...
way()
{
	echo "$1"
	pmd_start pair "${@:2}" pair g0 g1
	pmd_run pair 30000
	expect_clean pair
	pmd_quit pair
}

# packed MIN MAX: frames by packet of what g0 sent, in all so far.
packed()
{
	local frames packets
	frames=$(weft get nic g0 rx_frames)
	packets=$(weft get nic g0 rx_packets)
	python3 -c "assert $1 <= $frames / $packets <= $2, '$frames frames in $packets packets'" ||
		fail "$frames frames in $packets packets"
}

guest_weftd
nic g0
nic g1
way "sections, 8 frames in one" --size 60-500
packed 2 8
way "sections, one frame" --size 600-1514 --driver tx_copybreak=5000 --rate 30000
way "pages" --size 60-1514 --driver tx_copybreak=0
way "both, in turn" --size 60-1514
way "pages, in pieces" --size 200-1514 --chain 7 --driver tx_copybreak=0
way "pieces copied into sections" --size 200-1514 --chain 7 --driver tx_copybreak=5000 --rate 30000
way "taken without a copy" --size 60-1514 --driver rx_extmbuf_enable=1,rx_copybreak=0
way "rings of 16 KiB" --size 60-1514 --ring-pages 5 --descriptors 64

echo "a receive buffer of 1 MiB: what does not fit is dropped, with its reason"
pmd_start pair --size 60-1514 --receive-mib 1 pair g0 g1
pmd_run pair 30000
dropped=$(($(drops g0 GuestNoRxBuffer) + $(drops g1 GuestNoRxBuffer)))
pmd_expect pair "frames are missing that nobody dropped" "d['sent'] - d['seen'] == $dropped"
pmd_expect pair "frames are damaged" "d['corrupt'] + d['duplicated'] + d['reordered'] == 0"
expect_held_nothing pair
pmd_quit pair
conservation
weftd_stop
