// SPDX-License-Identifier: Apache-2.0
// The encapsulation seam: what a codec of network virtualisation (nvgre/, vxlan/) offers to whoever
// carries tenants' frames over an underlay. A codec knows bytes, nothing else: no tables, no
// ports, no memory of its own. net/outer.h holds what codecs share.
//
// build makes the outer header of one pair of providers, once (control). push puts it in front of
// a frame and fills in what differs from frame to frame; pop judges what a wire brought, and takes
// it off (workers). encap_find tells in a few cycles whether a frame is worth a pop.
//
// RFC 7637 (NVGRE), RFC 7348 (VXLAN), RFC 6040 (ECN), RFC 2983 (DSCP), RFC 6438 (flow label),
// RFC 6864 (IPv4 id), RFC 6935 and 6936 (UDP over IPv6 without checksum).
#pragma once

#include "net/headers.h"

struct rte_mbuf;

#define ENCAP_MAX_BYTES 74u  // longest outer header: tagged, IPv6, UDP, VXLAN
#define ENCAP_HEADROOM 80u   // what push may write in front of a frame, whatever it adds

// What pop finds wrong, in the form of dataplane/drop.h, which takes this list over as it is.
// X(SYMBOL, "Name", "what it means, and what to do where something can be done")
#define ENCAP_ERRORS(X)                                                                            \
	X(OUTER_INVALID, "OuterInvalid", "outer headers cut short or contradicting themselves")    \
	X(OUTER_CHECKSUM, "OuterChecksum", "the outer IPv4 or UDP checksum is wrong")              \
	X(OUTER_FRAGMENT, "OuterFragment", "an outer fragment that was not put together")          \
	X(OUTER_PROTOCOL, "OuterProtocol", "an outer header that is not of this encapsulation")    \
	X(OUTER_CONGESTION, "OuterCongestion", "marked as congested outside, where the inner "     \
					       "packet cannot carry the mark (RFC 6040)")          \
	X(TUNNEL_FLAGS, "TunnelFlags", "flags or version that NVGRE or VXLAN forbids")             \
	X(TUNNEL_NO_KEY, "TunnelNoKey", "GRE without a key: no virtual subnet is named")           \
	X(VIRTUAL_SUBNET_ID, "VirtualSubnetId", "VSID or VNI out of range, or not known here")     \
	X(INNER_INVALID, "InnerInvalid", "the inner frame is shorter than its headers say")        \
	X(INNER_VLAN, "InnerVlan", "the inner frame is tagged, which the encapsulation forbids")

enum encap_result {
	ENCAP_OK,
#define X(symbol, name, text) ENCAP_##symbol,
	ENCAP_ERRORS(X)
#undef X
	ENCAP_N_RESULTS,
};

// How the outer DSCP is made (RFC 2983). ECN is always copied (RFC 6040, 4.1, normal mode).
enum encap_dscp_mode {
	ENCAP_DSCP_UNIFORM, // as the inner packet has it
	ENCAP_DSCP_PIPE,    // encap_way.dscp, always
};

// The way from one provider to another: all that is the same for every frame between them.
struct encap_way {
	struct mac src, dst;        // outer Ethernet: our uplink's, the next hop's
	uint16_t vid;               // outer VLAN, 1…4094; 0: untagged
	uint8_t priority;           // of the outer tag, 0…7
	bool ipv6;                  // family of both provider addresses
	uint8_t source[16];         // provider addresses; IPv4 in the first 4 bytes
	uint8_t destination[16];
	uint8_t ttl;                // TTL or hop limit, 1…255
	enum encap_dscp_mode dscp_mode;
	uint8_t dscp;               // 0…63, for ENCAP_DSCP_PIPE
	bool is_flow_fixed;         // NVGRE: FlowID is flow_id; else from entropy. VXLAN: ignored
	uint8_t flow_id;
	uint16_t udp_port;          // VXLAN: destination port, host order, ≠ 0. NVGRE: ignored
};

// A finished outer header. Read-only once built; a copy of it is as good. Only codecs look inside.
struct encap_header {
	uint8_t bytes[ENCAP_HEADROOM]; // the header ends where this ends; zeros before it
	uint8_t n_bytes;               // of header: what push adds to a frame
	bool ipv6;
	uint8_t tos_copied, tos_fixed; // outer TOS = inner & copied | fixed
	uint8_t flow_copied, flow_fixed; // NVGRE: FlowID = entropy & copied | fixed
	uint16_t csum;                 // IPv4: folded sum of the header less TOS and length
} __attribute__((aligned(64)));

// What encap_find saw.
enum encap_kind {
	ENCAP_KIND_NONE,     // an ordinary frame
	ENCAP_KIND_NVGRE,    // GRE with protocol 0x6558, with or without key
	ENCAP_KIND_VXLAN,    // UDP to the VXLAN port
	ENCAP_KIND_FRAGMENT, // an IP fragment of GRE or UDP, of whatever port: reassemble first
};

// Where in a frame, and what is expected there. encap_find fills it in; so may a reassembler.
struct encap_where {
	uint8_t l3;       // offset of the outer IP header: 14 or 18
	bool ipv6;
	uint16_t udp_port; // VXLAN port, host order
};

// What a popped header said.
struct encap_info {
	uint32_t id;             // VSID or VNI, in range
	uint16_t flow;           // FlowID, or UDP source port in host order
	uint8_t tos;             // outer DSCP and ECN
	uint8_t n_bytes;         // taken off the front of the frame
	bool ipv6;
	uint8_t source[16];      // provider addresses; IPv4 in the first 4, then zeros
	uint8_t destination[16];
};

struct encap_ops {
	const char *name;      // "nvgre", "vxlan": the word in configuration
	enum encap_kind kind;  // the frames that pop is for
	uint8_t outer_bytes_v4; // bytes that push adds over an untagged IPv4 underlay, Ethernet and
	uint8_t outer_bytes_v6; // all; over IPv6. A tag adds 4
	uint32_t min_id, max_id; // identifiers that push may be given and pop accepts
	uint8_t plain_mask[16]; // bits of the codec's own header that every plain frame has as
				// build makes them (net/encap_plain.h); none of the last word
	uint8_t length_at;      // offset in it of a be16 with its length and all behind it; 0: none

	// Makes the header of a way, whose members are in range (the caller's doing: asserted).
	// IPv4 headers have DF set and id 0 (RFC 6864, 4.1), UDP checksum is zero. control, or
	// any thread.
	void (*build)(const struct encap_way *way, struct encap_header *out);

	// Puts header h in front of m. The caller guarantees: m's first segment has
	// ENCAP_HEADROOM bytes of headroom, is direct and not shared; no offload request is open
	// (checksums and segments are finished); h->n_bytes + m->pkt_len ≤ 65535; id is in range.
	// entropy: a hash of the inner packet, equal for all packets of a flow; its low 8 bits
	// (NVGRE), 14 (VXLAN) or 20 (IPv6 flow label) are used. inner_tos: TOS or traffic class
	// of the inner packet, 0 if it is not IP. Cannot fail. RX flags of m are cleared: they
	// spoke of the inner packet. worker.
	void (*push)(const struct encap_header *h, struct rte_mbuf *m, uint32_t id,
		     uint32_t entropy, uint8_t inner_tos);

	// Judges the frame m, hostile in every byte, and if it is well-formed takes the outer
	// header off: m is then the inner frame, ECN merged into it (RFC 6040, 4.2), Ethernet
	// padding trimmed, no flags left. The caller guarantees that m is its alone (refcnt 1,
	// direct); the outer headers and the inner Ethernet and IP header must lie in the first
	// segment, or it ends as OUTER_INVALID or INNER_INVALID. Open checksum requests
	// for the outer packet (a kernel's, by tap) count as right. On any error m is unchanged
	// and still the caller's, *out undefined. worker.
	enum encap_result (*pop)(struct rte_mbuf *m, const struct encap_where *where,
				 struct encap_info *out);
};

#define GRE_PROTO_ETHERNET 0x6558 // transparent Ethernet bridging

// The IPv6 part of encap_find, out of line: p[len], header at `l3`.
enum encap_kind encap_find_ipv6(const uint8_t *p, uint32_t len, const struct encap_where *where);

// Is p[len], the first segment of a frame, worth a pop? Untagged or with one C-tag; IPv4 without
// options, IPv6 without extension headers (but a fragment header). Anything else, malformed
// headers too, is an ordinary frame. `udp_port`: VXLAN's, host order. *where is filled in if so.
// RFC 791 and RFC 8200 for offsets. worker.
static ALWAYS_INLINE enum encap_kind encap_find(const uint8_t *p, uint32_t len, uint16_t udp_port,
						struct encap_where *where)
{
	uint32_t l3 = sizeof(struct eth_header);
	be16 type, word;

	if (unlikely(len < 42)) // tagged or not, no IPv4 header and 4 bytes more in less
		return ENCAP_KIND_NONE;
	type = load_be16(p + 12);
	if (type == BE16(ETH_TYPE_VLAN)) {
		type = load_be16(p + 16);
		l3 += (uint32_t)sizeof(struct vlan_header);
	}
	*where = (struct encap_where){ (uint8_t)l3, type == BE16(ETH_TYPE_IPV6), udp_port };
	if (unlikely(where->ipv6))
		return encap_find_ipv6(p, len, where);
	p += l3;
	if (type != BE16(ETH_TYPE_IPV4) || p[0] != 0x45 ||
	    (p[9] != IP_PROTO_UDP && p[9] != IP_PROTO_GRE))
		return ENCAP_KIND_NONE;
	if (unlikely(load_be16(p + 6) & BE16(IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)))
		return ENCAP_KIND_FRAGMENT;
	word = load_be16(p + 22); // GRE's protocol, UDP's destination port
	if (p[9] == IP_PROTO_UDP)
		return word == cpu_to_be16(udp_port) ? ENCAP_KIND_VXLAN : ENCAP_KIND_NONE;
	return word == BE16(GRE_PROTO_ETHERNET) ? ENCAP_KIND_NVGRE : ENCAP_KIND_NONE;
}
