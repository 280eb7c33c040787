// SPDX-License-Identifier: Apache-2.0
// Between virtio_net_hdr, in which the kernel's tap speaks of offloads, and the offload contract
// (port.h). VIRTIO 1.2, "Packet Transmission" and "Processing of Incoming Packets"; a tap's header
// is the legacy one: 10 bytes, the host's byte order.
#pragma once

#include <assert.h>
#include <linux/virtio_net.h>
#include <rte_mbuf.h>

#include "base/types.h"

// UDP segmentation, in kernels from 6.2 on; Debian 12's headers do not name it yet.
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

// The kernel's struct virtio_net_hdr, in host order as a legacy one is.
struct vnet_header {
	uint8_t flags;        // VIRTIO_NET_HDR_F_*
	uint8_t gso_type;     // VIRTIO_NET_HDR_GSO_*
	uint16_t hdr_len;     // bytes of all headers, a hint only
	uint16_t gso_size;    // payload bytes of a segment
	uint16_t csum_start;  // from here to the end of the frame is to be summed
	uint16_t csum_offset; // of the checksum field, from csum_start
};
static_assert(sizeof(struct vnet_header) == sizeof(struct virtio_net_hdr));
static_assert(offsetof(struct vnet_header, csum_offset) == 8);

// Puts into a received frame what its header says. Every field is compared with the frame;
// hdr_len, which peers fill in as they like, is not looked at. A partial checksum that the
// contract cannot express (inside a tunnel, say) is completed here. Clears other ol_flags.
// Returns false if header and frame do not fit each other: drop it. worker, owner of m.
bool vnet_to_mbuf(const struct vnet_header *h, struct rte_mbuf *m);

// Makes the header for a frame that the transmit stage has finished, and writes the pseudo
// header's sum into its checksum field where the header asks for completion. worker, owner of m.
void vnet_from_mbuf(struct vnet_header *h, struct rte_mbuf *m);
