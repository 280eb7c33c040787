// SPDX-License-Identifier: Apache-2.0
// The transmit stage: makes each frame fit for the device it leaves by. Offloads that the device
// has are prepared, the others are finished here: checksums computed, large sends segmented,
// chains flattened. See port.h, "Offload contract". Runs in a worker; also under plain unit tests.
#pragma once

#include <stdint.h>

#include "dataplane/drop.h"
#include "dataplane/port.h"
#include "net/segment.h"

// Frames that one frame can become; out[] of transmit_finish must hold as many.
#define TRANSMIT_MAX_SEGMENTS SEGMENT_MAX

// What happened to the frames that transmit_finish got, for the conservation law.
struct transmit_result {
	uint32_t created;             // frames made by segmentation beyond the one that came
	uint32_t drops[DROP_N_REASONS];
};

// Offload requests that the stage looks at; a frame with none of these and one segment passes
// untouched (after the size check).
extern const uint64_t transmit_offload_mask;

// True if dev takes pkts[n] as they are, the usual case: then transmit_finish would change nothing.
// *bytes is their length together. worker.
bool transmit_is_ready(const struct port_dev *dev, struct rte_mbuf *const *pkts, uint16_t n,
		       uint64_t *bytes);

// Makes pkts[n] fit for dev and writes the frames to send to out[max_out]. Order is kept. Frames
// that cannot be sent are freed and counted in *result, which the caller has zeroed. max_out is at
// least TRANSMIT_MAX_SEGMENTS, so that every frame finds room in an empty out[]; *n_done says how
// many of pkts[] were consumed when it filled up: send, then call again with the rest.
//
// A frame that still carries requests afterwards is the caller's alone and its headers may be
// written: what a device expects in a checksum field, its tx puts there.
// Returns the number of frames in out[]. pools: where segments and copies come from. worker.
uint16_t transmit_finish(const struct port_dev *dev, const struct port_pools *pools,
			 struct rte_mbuf **pkts, uint16_t n, uint16_t *n_done,
			 struct rte_mbuf **out, uint16_t max_out, struct transmit_result *result);
