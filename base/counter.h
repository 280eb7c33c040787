// SPDX-License-Identifier: Apache-2.0
// Counters with one writer and any number of readers: plain memory, no lock prefix, never torn.
#pragma once

#include <stdint.h>

#include "base/types.h"

// Its only writer adds to it.
static ALWAYS_INLINE void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

// Anybody reads it; perhaps a moment old.
static ALWAYS_INLINE uint64_t counter_get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}
