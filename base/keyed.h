// SPDX-License-Identifier: Apache-2.0
// Sorting a million things: by a 64-bit key first, which takes a few passes over memory whatever
// the order, and by a comparison only where keys are equal. Used where control compiles large
// policies. Any thread.
#pragma once

#include <stdint.h>

// What is sorted: a key, and which of the caller's things it is the key of.
struct keyed {
	uint64_t key;
	uint32_t at;
};

// Sorts list[n] by key, and runs of equal keys by compare(arg, at, at) (NULL: they stay in order).
// Returns 0 or -ENOMEM.
int keyed_sort(struct keyed *list, uint32_t n, int (*compare)(const void *arg, uint32_t, uint32_t),
	       const void *arg);
