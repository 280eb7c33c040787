// SPDX-License-Identifier: Apache-2.0
// What subnets with `learning` got to know from traffic: hosts that take part in them, and customer
// addresses. Where MACs are is in the FDB, as everywhere. What is learnt ends when nobody was seen
// behind it for a while, and never contradicts a record. Used by vswitch.c. control.
#pragma once

#include "vswitch/fdb.h"
#include "vswitch/hnv.h"

#define HNV_PEERS_MAX 512u        // hosts learnt, over all subnets: each gets copies of floods
#define HNV_CUSTOMERS_MAX 65536u  // customer addresses learnt
#define HNV_PEER_IDLE_S 300u      // a host with nobody behind it is forgotten after so long

struct hnv_image;
struct hnv_shared;

// A host that takes part in a subnet, though no record says so.
struct hnv_peer {
	uint16_t subnet; // id
	uint16_t way;
	uint8_t encap;
	struct ip_address provider;
	uint32_t idle_s; // seconds since somebody was behind it
};

struct hnv_customer {
	uint16_t fid;
	struct ip_address address; // its MAC is in the table of neighbours
};

struct hnv_learnt {
	struct hnv_peer *peers;         // [HNV_PEERS_MAX]
	struct hnv_customer *customers; // [HNV_CUSTOMERS_MAX]
	uint32_t n_peers, n_customers;
	uint32_t next_customer; // where ageing goes on
};

// Does the peer still count: is there its subnet, does that learn, and is it not ourselves?
bool hnv_learnt_stays(const struct hnv_image *image, const struct hnv_peer *p);

// Takes the peer in, unless it is known. Returns whether that is news; the image must then be made
// to follow (hnv_image_relearn), or the peer dropped (hnv_learnt_drop).
bool hnv_learn_peer(struct hnv_shared *s, const struct hnv_image *image, const struct hnv_peer *p);
void hnv_learnt_drop(struct hnv_shared *s); // the last one

// A second has passed: looks who has somebody behind him.
void hnv_age_peers(struct hnv_shared *s, const struct fdb *fdb);

// Forgets a peer that had nobody behind it for too long: its subnet's id, or -1 if there is none.
int hnv_forget_peer(struct hnv_shared *s);

// Somebody with this MAC, which the FDB knows, has a customer address in subnet `id`.
void hnv_learn_customer(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *image,
			const struct hnv_record_cfg *customer);

// Forgets customers whose MAC has gone from the FDB, looking at a part of them at a time.
void hnv_age_customers(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *image);

// After a change: forgets what is of subnets that are no more, or no longer learn. to: NULL: none.
void hnv_learnt_follow(struct hnv_shared *s, struct fdb *fdb, const struct hnv_image *to);
