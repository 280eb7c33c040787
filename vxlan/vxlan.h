// SPDX-License-Identifier: Apache-2.0
// VXLAN: tenants' frames in UDP, a 24-bit network identifier (VNI) in a header of its own.
// RFC 7348. Behind the seam of net/encap.h.
#pragma once

#include "net/encap.h"

#define VXLAN_PORT 4789         // RFC 7348, 5; configurable
#define VXLAN_FIRST_SOURCE 49152 // source port: this + 14 bits of entropy (RFC 7348, 5)
#define VXLAN_MIN_VNI 1u
#define VXLAN_MAX_VNI 0xffffffu

#define VXLAN_I 0x08 // the VNI is valid: must be set. All other flags are ignored on receipt

struct vxlan_header {
	uint8_t flags; // VXLAN_I
	uint8_t reserved[3];
	be32 vni; // in the high 24 bits; the low 8 are reserved
} PACKED;
static_assert(sizeof(struct vxlan_header) == 8);
static_assert(offsetof(struct vxlan_header, vni) == 4);

// Identifiers: VXLAN_MIN_VNI … VXLAN_MAX_VNI. UDP checksum: zero is sent; another is verified.
extern const struct encap_ops vxlan_ops;
