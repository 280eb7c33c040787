// SPDX-License-Identifier: Apache-2.0
// NVGRE: tenants' frames in GRE, a 24-bit virtual subnet (VSID) and an 8-bit FlowID in its key.
// RFC 7637; RFC 2784 and RFC 2890 for GRE itself. Behind the seam of net/encap.h.
#pragma once

#include "net/encap.h"

#define NVGRE_MIN_VSID 4096u     // RFC 7637, 3.2: 0 … 0xfff are reserved
#define NVGRE_MAX_VSID 0xfffffeu // 0xffffff is for vendors' own use between endpoints

#define NVGRE_KEY 0x2000u // the key is present: must be
// Must be clear: C and S (RFC 7637, 3.2); routing, strict route, recursion, version (RFC 2784,
// 2.1). The remaining bits are ignored on receipt.
#define NVGRE_FORBIDDEN 0xdc07u

struct nvgre_header {
	be16 flags;    // NVGRE_KEY
	be16 protocol; // GRE_PROTO_ETHERNET
	be32 key;      // VSID in the high 24 bits, FlowID in the low 8
} PACKED;
static_assert(sizeof(struct nvgre_header) == 8);
static_assert(offsetof(struct nvgre_header, key) == 4);

// Identifiers: NVGRE_MIN_VSID … NVGRE_MAX_VSID. FlowID: from entropy or fixed, any on receipt.
extern const struct encap_ops nvgre_ops;
