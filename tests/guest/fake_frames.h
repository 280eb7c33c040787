// SPDX-License-Identifier: Apache-2.0
// Frames that say what they are: a number, a length, and bytes that follow from both. No behaviour
// beyond that; no libraries.
#pragma once

#include "base/types.h"

#define FAKE_FRAME_MIN 60u
#define FAKE_FRAME_NONE UINT32_MAX // not one of ours
#define FAKE_FRAME_BAD (UINT32_MAX - 1)

// Fills frame[bytes ≥ 60].
static inline void fake_frame_build(uint8_t *frame, uint32_t bytes, struct mac to, struct mac from,
				    uint32_t number)
{
	static const uint8_t ours[6] = { 0x88, 0xb5, 'w', 'e', 'f', 't' }; // for experiments

	memcpy(frame, to.b, 6);
	memcpy(frame + 6, from.b, 6);
	memcpy(frame + 12, ours, 6);
	store_u32(frame + 18, number);
	store_u32(frame + 22, bytes);
	for (uint32_t i = 26; i < bytes; i++)
		frame[i] = (uint8_t)(number + i * 7);
}

// Its number; FAKE_FRAME_NONE; or FAKE_FRAME_BAD if a byte is wrong.
static inline uint32_t fake_frame_number(const uint8_t *frame, uint32_t bytes)
{
	uint32_t number;

	if (bytes < FAKE_FRAME_MIN || memcmp(frame + 12, "\x88\xb5weft", 6))
		return FAKE_FRAME_NONE;
	number = load_u32(frame + 18);
	if (load_u32(frame + 22) != bytes)
		return FAKE_FRAME_BAD;
	for (uint32_t i = 26; i < bytes; i++)
		if (frame[i] != (uint8_t)(number + i * 7))
			return FAKE_FRAME_BAD;
	return number;
}
