// SPDX-License-Identifier: Apache-2.0
// Between the verdict and the egress queue, for the frames that are not simply passed on: the VLAN
// tag takes the form that the egress port wants, and flooded frames are copied. worker.
#pragma once

#include "dataplane/worker.h"
#include "vswitch/cache.h"

// Makes m, which arrived in `form`, leave with `tag` (0: untagged, else TAG_PRESENT | VID).
// Returns the frame, perhaps a copy where the original may not be edited; NULL: no buffer for
// one, and the frame is freed but not counted.
struct rte_mbuf *egress_retag(struct worker_out *out, struct rte_mbuf *m, enum tag_form form,
			      uint16_t tag);

// Sends f->m to every member of domain f->p->fid but the port it came from, within that port's
// storm limit and by each member's own out layers. To other hosts goes what did not come from one.
void egress_flood(const struct frame *f);

// Sends f->m to whom the FDB says in that domain, now; floods it if nobody knows, or to a group.
void egress_by_mac(const struct frame *f);
