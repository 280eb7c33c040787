// SPDX-License-Identifier: Apache-2.0
// Who is next on the way to each remote provider, and at which MAC: the neighbours of our provider
// addresses, asked for by ARP (RFC 826) and neighbour solicitation (RFC 4861, 7.2). Knows neither
// ports nor time: reports, seconds and the way out are given to it. Used by vswitch.c. control.
#pragma once

#include "vswitch/hnv.h"

#define UNDERLAY_FRAME_MAX 96u // bytes of a frame that asks

struct underlay_neighbor {
	uint16_t provider; // position of ours
	struct ip_address address;
	struct mac mac;    // zero: not known
	uint32_t asked_s, seen_s; // seconds of the caller's clock; 0: never
};

// A way, and the neighbour that it begins with.
struct underlay_hop {
	uint16_t way;
	uint32_t neighbor;
};

// Sorted by provider and address; sorted by neighbour.
struct underlay {
	const struct hnv_cfg *cfg; // borrowed
	uint32_t n_neighbors, n_hops;
	struct underlay_neighbor *neighbors;
	struct underlay_hop *hops;
};

// Where packets for the provider `to` leave, and the next hop. False: no link, route or gateway of
// ours leads there.
bool underlay_route(const struct hnv_cfg *cfg, const struct ip_address *to, uint16_t *provider,
		    struct ip_address *next_hop);

// Makes the neighbours of ways[numbers[n]] (ways by number less WAY_FIRST);
// what `old` (NULL: nothing) knows of them is kept. NULL: no memory. cfg must stay.
struct underlay *underlay_create(const struct hnv_cfg *cfg, const struct way *ways,
				 const uint16_t *numbers, uint32_t n, const struct underlay *old);

// What `from` knows of neighbours that `to` has too.
void underlay_inherit(struct underlay *to, const struct underlay *from);

// Position in hops of the first way that begins with a neighbour of u, or where it would be.
uint32_t underlay_first_hop(const struct underlay *u, const struct underlay_neighbor *n);

void underlay_destroy(struct underlay *u); // NULL is fine

// Somebody at `address` on uplink `port` has this MAC. Returns the neighbour if that is news, else
// NULL.
struct underlay_neighbor *underlay_seen(struct underlay *u, uint16_t port,
					const struct ip_address *address, struct mac mac,
					uint32_t now_s);

// What is to be done for a neighbour this second.
enum underlay_task { UNDERLAY_NOTHING, UNDERLAY_ASK, UNDERLAY_FORGET };
enum underlay_task underlay_second(struct underlay_neighbor *n, uint32_t now_s);

// Writes the frame that asks for `n` into frame[UNDERLAY_FRAME_MAX]; returns its bytes.
uint32_t underlay_question(const struct underlay *u, const struct underlay_neighbor *n,
			   uint8_t *frame);
