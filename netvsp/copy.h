// SPDX-License-Identifier: Apache-2.0
// Copies of frames. Their lengths differ from one to the next, and a call of memcpy that looks at
// them costs more than a small frame itself.
#pragma once

#include <immintrin.h>

#include "base/types.h"

#define COPY_INLINE_MAX 2048u // bytes; above, the C library's way is as good

static ALWAYS_INLINE void copy_32(uint8_t *to, const uint8_t *from)
{
	_mm256_storeu_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)from));
}

// Copies less than 32 bytes. The two ends overlap: every byte is copied at least once.
static ALWAYS_INLINE void copy_tiny(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
	if (bytes >= 16) {
		__m128i a = _mm_loadu_si128((const __m128i *)from);
		__m128i b = _mm_loadu_si128((const __m128i *)(from + bytes - 16));

		_mm_storeu_si128((__m128i *)to, a);
		_mm_storeu_si128((__m128i *)(to + bytes - 16), b);
	} else if (bytes >= 8) {
		uint64_t a = load_u64(from), b = load_u64(from + bytes - 8);

		memcpy(to, &a, 8);
		memcpy(to + bytes - 8, &b, 8);
	} else {
		for (uint32_t i = 0; i < bytes; i++)
			to[i] = from[i];
	}
}

// Copies bytes that do not overlap; reads and writes nothing outside of them. Where `from` is a
// guest's, it may read some bytes twice: use none before all are copied.
static ALWAYS_INLINE void copy_frame(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
	if (unlikely(bytes < 32)) {
		copy_tiny(to, from, bytes);
	} else if (likely(bytes <= COPY_INLINE_MAX)) {
		uint32_t i = 0;

		for (; i + 64 <= bytes; i += 64) {
			copy_32(to + i, from + i);
			copy_32(to + i + 32, from + i + 32);
		}
		if (bytes - i > 32)
			copy_32(to + i, from + i);
		copy_32(to + bytes - 32, from + bytes - 32);
	} else {
		memcpy(to, from, bytes);
	}
	__asm__ volatile("" : : "r"(to) : "memory"); // the copy is used, not the guest's bytes
}
