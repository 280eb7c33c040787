// SPDX-License-Identifier: Apache-2.0
#include "vmq/stall.h"

bool vmq_stall_check(struct vmq_stall *s, uint64_t steered, uint64_t delivered)
{
	uint64_t arrived = steered - s->steered;
	bool silent = delivered == s->delivered;

	s->steered = steered;
	s->delivered = delivered;
	if (!silent)
		s->n_silent = 0;
	else if (arrived >= VMQ_STALL_FRAMES)
		s->n_silent++;
	if (s->n_silent < VMQ_STALL_INTERVALS)
		return false;
	s->n_silent = 0;
	return true;
}
