// SPDX-License-Identifier: Apache-2.0
// For unit tests: mbuf pools on plain memory, without EAL; frames by description; and a slow,
// separate check of every length and checksum in a frame, byte by byte as the RFCs say.
#pragma once

#include <rte_mbuf.h>

#include "net/layers.h"

#define TEST_SMALL_ROOM 2048u // as the real pools
#define TEST_LARGE_ROOM 9728u

// A pool of n mbufs with `room` bytes behind the headroom, each in an allocation of its own so
// that AddressSanitizer sees every overrun. Any thread may take and give back.
struct rte_mempool *test_pool_create(uint32_t n, uint32_t room);

// Frees it. Fails the running test if mbufs are still out.
void test_pool_destroy(struct rte_mempool *pool);

// mbufs not in the pool now.
uint32_t test_pool_out(struct rte_mempool *pool);

// A TCP or UDP frame from 10.9.0.1, 02:00:00:00:00:01, port 40000 to 10.9.0.2, 02:00:00:00:00:02,
// port 5201. Zeroes give a plain IPv4 UDP frame without payload.
struct test_frame {
	uint16_t n_tags;      // VLAN tags, the outer of two as QINQ
	bool ipv6;
	uint16_t option_bytes; // IPv4 options, or IPv6 destination options (a multiple of 8)
	bool tcp;
	uint8_t tcp_flags;
	uint16_t tcp_options; // bytes, a multiple of 4
	uint32_t payload_bytes;
	uint32_t padding_bytes; // behind the IP packet
	uint32_t split;        // bytes a segment; 0: as much as the mbufs hold
	uint16_t mss;          // with `request`: ask for segmentation
	bool request;          // ask for the checksums (contract of dataplane/port.h)
};

#define TEST_IP_ID 0xfffe      // so that it wraps soon
#define TEST_SEQ 0xfffffff0u   // the same

// Builds it; payload byte i is (i * 7 + i / 251). Checksums are right, unless requested.
struct rte_mbuf *test_frame_build(struct rte_mempool *pool, const struct test_frame *f);

// The payload byte that test_frame_build puts at i.
uint8_t test_payload(uint32_t i);

// A flat copy of a frame, allocated with malloc.
uint8_t *test_flat(const struct rte_mbuf *m);

// Fails the running test unless all lengths and checksums of the frame are right, checked without
// any code of net/. Returns the offset of the payload; *payload_bytes is its size.
uint32_t test_frame_check(const struct rte_mbuf *m, uint32_t *payload_bytes);

// Puts the checksums right again after a test has changed an untagged frame of one mbuf: the IPv4
// header's, and TCP's, UDP's or ICMP's unless it is requested.
void test_frame_fix(struct rte_mbuf *m);

// Fails the running test unless lengths and checksums of this untagged ICMP or ICMPv6 message,
// without IP options, are right.
void test_icmp_check(const struct rte_mbuf *m);
