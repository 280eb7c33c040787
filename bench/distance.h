// SPDX-License-Identifier: Apache-2.0
// How far two cores are from each other, for the memory that they share.
#pragma once

#include <stdint.h>

#include "base/err.h"

// TSC cycles that a cache line which one CPU wrote takes to the other: the median of many. Takes
// some 20 ms of both CPUs. Returns 0, or -EINVAL if they are the same or a thread cannot run there.
// Any thread.
int bench_distance(int cpu, int other_cpu, double *cycles, struct err *err);
