// SPDX-License-Identifier: Apache-2.0
// Between the per-packet information of RNDIS, in which a guest speaks of offloads, and the
// offload contract (dataplane/port.h). worker, owner of the frame.
#pragma once

#include <rte_mbuf.h>

#include "netvsp/guest.h"
#include "netvsp/rndis_data.h"

// Puts into a gathered frame, fresh but for its bytes, what the guest asked for. Every number is
// compared with the frame; lengths that guests leave to the segmenter are filled in. A checksum
// that the contract cannot express is completed here. Returns false if request and frame do not
// fit each other: drop it.
bool netvsp_offload_from_guest(const struct netvsp_frame *frame, struct rte_mbuf *m);

#define NETVSP_MAX_PPIS 5 // of a frame towards the guest, a packet id included

struct netvsp_frame_out {
	struct rndis_ppi_u32 *ppis; // where the next one goes; guest memory, written only
	uint32_t ppi_bytes;         // of those written
	bool tagged; // bytes 12 … 15 are a tag that is told in a PPI, and left out of the frame
};

// Writes what the guest is to be told of m, *out being set but for `tagged`. A header checksum of
// IPv4 that is asked for is computed; an L4 checksum if the guest wants no report. worker.
void netvsp_offload_to_guest(const struct netvsp_guest *guest, struct rte_mbuf *m,
			     struct netvsp_frame_out *out);
