// SPDX-License-Identifier: Apache-2.0
// Every reason for which a frame can die here, once: the enum, the names in the CLI and in
// metrics, and the sentence for people are all made from this list.
//
// The names are Hyper-V's own where it has one, so that its operators feel at home.
#pragma once

#include <stdint.h>

#include "net/encap.h"

// X(SYMBOL, "Name", "what it means, and what to do where something can be done")
#define DROP_REASONS(X)                                                                            \
	X(INVALID_PACKET, "InvalidPacket", "the frame is shorter than its headers say")            \
	X(INVALID_SOURCE_MAC, "InvalidSourceMac", "the source MAC is zero or a group address")     \
	X(BRIDGE_RESERVED, "BridgeReserved", "to 01:80:C2:00:00:0X: never forwarded (802.1Q)") \
	X(INVALID_VLAN_FORMAT, "InvalidVlanFormat", "the VLAN tag is cut short or VID 4095")       \
	X(UNAUTHORIZED_VLAN, "UnauthorizedVlan", "the port is not a member of the frame's VLAN")   \
	X(FILTERED_ISO_UNTAGGED, "FilteredIsoUntagged", "untagged on a trunk without native VLAN") \
	X(SAME_PORT, "SamePort", "the destination is behind the port the frame came from")         \
	X(NO_DESTINATION, "NoDestination", "unknown destination and nobody to flood it to")        \
	X(FILTERED, "Filtered", "a rule of the port denies it")                                    \
	X(STORM_LIMIT, "StormLimit", "over the port's limit for broadcast and unknown frames")     \
	X(NOT_READY, "NotReady", "the port's policy is not complete yet")                          \
	X(DISCONNECTED, "Disconnected", "the destination port is gone or down")                    \
	X(MISS_BUDGET, "MissBudget", "too many new flows a second from this port")                 \
	X(TABLE_FULL, "TableFull", "no room for another flow; raise flow_entries")                 \
	X(MTU_MISMATCH, "MtuMismatch", "the frame is larger than the egress port takes")           \
	X(OFFLOAD_INVALID, "OffloadInvalid", "the sender's checksum or segmentation request "      \
					     "does not fit its frame")                             \
	X(RESOURCES, "Resources", "no packet buffer for a copy or a segment")                      \
	X(TX_FULL, "TxFull", "the egress queue stayed full")                                       \
	X(GUEST_NO_RXBUF, "GuestNoRxBuffer", "the guest holds all of its receive buffer")          \
	X(GUEST_RING_FULL, "GuestRingFull", "the guest does not read its ring")                    \
	ENCAP_ERRORS(X)                                                                            \
	X(PROVIDER_UNKNOWN, "ProviderUnknown", "encapsulated by a host that no record names")      \
	X(SOURCE_MISMATCH, "SourceMismatch", "the inner source address is not behind the host "    \
					     "that sent it")                                       \
	X(TUNNEL_TO_TUNNEL, "TunnelToTunnel", "came encapsulated, for a destination on another "   \
					      "host: never sent on")                               \
	X(NEIGHBOR_UNRESOLVED, "NeighborUnresolved", "the underlay's next hop has not answered "   \
						     "ARP or ND yet")                              \
	X(NO_NEIGHBOR, "NoNeighbor", "no record of this customer address")                         \
	X(NO_ROUTE, "NoRoute", "no subnet and no customer route for the destination")              \
	X(TTL_EXPIRED, "TtlExpired", "time to live ran out at the subnet's gateway")               \
	X(NOT_FOR_US, "NotForUs", "to a gateway or provider address, but nothing it answers")      \
	X(HANDOVER_FULL, "HandoverFull", "the ring to the worker that owns the queue is full")     \
	X(SHUTDOWN, "Shutdown", "under way when its port was closed")

enum drop {
#define X(symbol, name, text) DROP_##symbol,
	DROP_REASONS(X)
#undef X
	DROP_N_REASONS,
	DROP_NONE = DROP_N_REASONS, // not dropped
};

// The reason for what a codec found wrong with a frame; result ≠ ENCAP_OK.
static inline enum drop drop_of_encap(enum encap_result result)
{
	return (enum drop)(DROP_OUTER_INVALID + (result - ENCAP_OUTER_INVALID));
}
static_assert(DROP_INNER_VLAN - DROP_OUTER_INVALID == ENCAP_INNER_VLAN - ENCAP_OUTER_INVALID);

// Which side of the switch the frame died on: counted for the port it came from or went to.
enum drop_dir { DROP_RX, DROP_TX, DROP_N_DIRS };

extern const char *const drop_names[DROP_N_REASONS]; // "InvalidPacket", ...
extern const char *const drop_texts[DROP_N_REASONS]; // the sentence
