// SPDX-License-Identifier: Apache-2.0
// Where a test may kill the switch: after each store of a batch or of a recovery that somebody
// else can see. Compiled in for the kill tests only (test_recover.c); nothing otherwise.
#pragma once

#ifdef NETVSP_STEPS
void netvsp_step(void);
#else
static inline void netvsp_step(void) {}
#endif
