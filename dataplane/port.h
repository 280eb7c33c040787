// SPDX-License-Identifier: Apache-2.0
// A port device: where frames enter and leave. `port_ops` is the seam that every kind implements
// (tap, ethdev, pcap, pair, null; netvsp later); nothing above it knows which kind it talks to.
//
// Life of a device: helper thread opens it (may block) → control hands its queues to workers →
// workers rx/tx → control takes the queues back and waits for a grace period → helper closes it.
//
// Offload contract. Frames cross the switch with these mbuf fields, whatever port they came from:
//   RTE_MBUF_F_TX_TCP_CKSUM / _UDP_CKSUM  the L4 checksum is still to be computed; the checksum
//                                 field's content is undefined. Needs _TX_IPV4 or _TX_IPV6.
//   RTE_MBUF_F_TX_IP_CKSUM        the IPv4 header checksum is still to be computed.
//   RTE_MBUF_F_TX_TCP_SEG / _UDP_SEG  larger than a frame: cut into tso_segsz bytes of payload.
//                                 Implies the checksums of its protocol.
//   l2_len, l3_len, l4_len        valid (and checked against the frame) whenever one of the above
//                                 is set; l2_len includes VLAN tags.
//   RTE_MBUF_F_RX_L4_CKSUM_GOOD   the L4 checksum is right: nobody need verify it.
// All other ol_flags are clear, except RX_RSS_HASH with hash.rss as a NIC gave it and
// RX_IP_CKSUM_GOOD, which rx may keep.
// What rx returns is the caller's alone: one reference, data free to be written.
// A frame's first min(pkt_len, PORT_HEADER_BYTES) bytes are in its first segment.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/types.h"

struct rte_mbuf;
struct rte_mempool;

#define PORT_BATCH 64          // frames in one rx or tx call, at most
#define PORT_MAX_QUEUES 64     // queues of one device, at most
#define PORT_HEADER_BYTES 192u // contiguous from the start of every frame that rx returns
#define PORT_MAX_FRAME 9216u   // largest frame without FCS, VLAN tags included, without LSO

// What transmit may leave to the device. Bits of port_dev.offloads.
enum port_offload {
	PORT_OFFLOAD_IP_CSUM = 1 << 0,   // IPv4 header checksum
	PORT_OFFLOAD_L4_CSUM = 1 << 1,   // TCP and UDP checksum, over IPv4 and IPv6
	PORT_OFFLOAD_TSO = 1 << 2,       // TCP segmentation, IPv4 and IPv6; goes with L4_CSUM
	PORT_OFFLOAD_USO = 1 << 3,       // UDP segmentation, IPv4 and IPv6; goes with L4_CSUM
	PORT_OFFLOAD_MULTI_SEG = 1 << 4, // frames of several mbufs
	PORT_OFFLOAD_INDIRECT = 1 << 5,  // mbufs that share or borrow data (refcnt > 1, clones)
};

// Where rx takes its mbufs from. Both are made at start; see dataplane/pools.h.
struct port_pools {
	struct rte_mempool *small; // 2 KiB rooms
	struct rte_mempool *large; // 9.5 KiB rooms, for PMDs that need a frame in one mbuf
};

// How to open a device. Strings belong to the caller and live for the call only; NULL or 0 means
// "not given". Only the members of its kind are read.
struct port_cfg {
	const char *name;     // the port's name, for messages
	struct mac mac;       // address of the peer behind the port; zero: not given
	uint16_t mtu;         // largest L3 size, bytes, 576…9216-14
	uint16_t overhead;    // tap, ethdev: bytes beyond mtu for outer headers, if it can
	uint16_t n_queues;    // queue pairs wanted; the device may have fewer
	const char *ifname;   // tap: interface name, default: `name`
	const char *netns;    // tap: name under /run/netns to move the interface to
	const char *devargs;  // ethdev: "net_null0,copy=1", "0000:01:00.0", …
	const char *rx_file;  // pcap: frames to receive
	const char *tx_file;  // pcap: where sent frames are written
	const char *filter;   // pcap: libpcap filter expression on rx_file
	uint32_t loops;       // pcap: how often rx_file is played; 0 means once
	const char *peer;     // pair: name that both ends share
	const char *token_file; // netvsp: file with 32 bytes that a VMM must know as well
	uint32_t vm_uid;      // netvsp: user whose VMM may attach; 0: the one we run as
	bool disconnected;    // netvsp: the guest is told that its cable is out, and has no traffic
	bool rsc;             // netvsp: offer to give it TCP segments in one
	bool any_mac;         // netvsp: its driver may choose another address
	uint32_t link_mbps;   // netvsp: speed that it is told; 0: 10000
	const struct port_pools *pools;
};

// One rx/tx queue pair of a device. Owned by exactly one worker between the hand-over and the
// grace period; kinds embed it as first member of their own queue.
struct port_queue {
	struct port_dev *dev;
	uint16_t index;  // 0 … dev->n_queues-1
	uint8_t refusal; // enum drop: why tx last took fewer than given; 0: it was full. worker: w
};

// An open device. Kinds embed it as first member. Filled by open, constant afterwards.
struct port_dev {
	const struct port_ops *ops;
	uint32_t offloads;   // enum port_offload bits; netvsp: TSO comes and goes, atomic
	uint32_t max_frame;  // largest frame it takes, bytes without FCS, without LSO
	uint16_t n_queues;
	struct mac mac;      // its own address, or zero
	char what[128];      // for people: "tap web0 in namespace a", "net_null0"
	struct port_queue *queues[PORT_MAX_QUEUES];
};

struct port_link {
	bool up;
	uint32_t speed_mbps; // 0: unknown
	char reason[96];     // why it is down, or a remark while it is up; may be empty
};

// What the device itself counted beside what rx returned and tx took.
struct port_dev_stats {
	uint64_t missed;    // received by the device, never handed to us (no room, truncated)
	uint64_t tx_errors; // taken by tx, then lost by the device
	uint64_t no_mbuf;   // rx could not get a buffer
};

struct port_ops {
	const char *kind; // "tap": the word in configuration

	// Opens the device and all its queues; traffic may wait in it but none is lost silently.
	// helper. Returns 0 and *out, or -errno with a sentence that says how to mend it.
	int (*open)(const struct port_cfg *cfg, struct port_dev **out, struct err *err);

	// Closes and frees it. No worker has its queues any more. helper.
	void (*close)(struct port_dev *dev);

	// Receives up to n frames (n ≤ PORT_BATCH) into pkts[]; never blocks. The caller owns
	// them. Malformed frames are the device's to drop and to count as missed. worker (owner).
	uint16_t (*rx)(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n);

	// Sends up to n frames that the transmit stage has finished for dev->offloads: one with
	// requests is the device's alone, its headers may be written. Returns how many it took;
	// the rest stay with the caller; q->refusal may say why. worker (owner).
	uint16_t (*tx)(struct port_queue *q, struct rte_mbuf **pkts, uint16_t n);

	// Which queue (< dev->n_queues) each of pkts[n], n ≤ PORT_BATCH, must leave by, into
	// queues[n]; NULL: any will do. worker (any).
	void (*select)(const struct port_dev *dev, struct rte_mbuf **pkts, uint16_t n,
		       uint16_t *queues);

	// A descriptor that polls readable while rx has something to give, or -1: the queue
	// cannot ring, its worker looks at least every millisecond. control, at hand-over.
	int (*doorbell)(struct port_queue *q);

	// Called before its worker sleeps (armed) and after (not); NULL: nothing to do. Returns
	// true if there is work already and the worker must not sleep. worker (owner).
	bool (*arm)(struct port_queue *q, bool armed);

	// Link state now. control.
	void (*link)(struct port_dev *dev, struct port_link *link);

	// Totals since open. control; may be NULL.
	void (*stats)(struct port_dev *dev, struct port_dev_stats *stats);
};

// The kinds, ended by NULL. A new kind is one file, its name here, and one line in port.c.
extern const struct port_ops *const port_kinds[];
extern const struct port_ops port_tap, port_ethdev, port_pcap, port_pair, port_null;

// The kind of that name, or NULL. Any thread.
const struct port_ops *port_kind_find(const char *kind);
