// SPDX-License-Identifier: Apache-2.0
// A guest: a NIC, its driver, and what it sends and receives. Main thread, which is the one lcore.
#pragma once

#include "tests/pmd/frame.h"
#include "tests/pmd/ledger.h"
#include "tests/pmd/nic.h"
#include "tests/pmd/port.h"

#define GUEST_BURST 32
#define GUEST_MAX_SENDERS 256

// Frames that the driver had no room for, and that wait to be sent first.
struct guest_backlog {
	uint32_t first, n;
	struct rte_mbuf *frames[GUEST_BURST];
};

struct guest_queue {
	struct guest_backlog backlog;
	uint32_t turn; // place in the order of its flows
	uint64_t n_sent, n_received;
};

struct guest_counters {
	uint64_t sent, sent_bytes, received, received_bytes;
	uint64_t foreign, corrupt, bad_csum, bad_vlan;
	uint64_t ip_good, l4_good; // said the NIC
	uint64_t no_mbuf;          // times that none was free
};

struct guest_cfg {
	const char *name; // of the port, or vhost:PATH
	uint32_t n_queues;
	struct nic_cfg nic;
	struct port_cfg port;
	bool sends, echoes;
	bool lean; // sends frames made in advance, counts what comes
	struct frame_cfg frames; // src is filled in
	uint32_t n_flows, chain, min_bytes, max_bytes;
	uint16_t mss, vlan;
	uint64_t rate, count; // frames a second, frames; 0: no limit
};

struct guest {
	struct guest_cfg cfg;
	bool is_vhost;
	bool away; // its port was taken from the switch
	struct nic nic;
	struct port port;
	struct guest_queue queues[NIC_MAX_QUEUES];
	struct rte_mempool *ready; // lean: mbufs with a frame in them
	uint32_t *numbers; // [n_flows]: of each flow's next frame
	uint32_t order_step;
	uint32_t random;
	uint64_t rate_from_tsc, rate_sent; // since then, so many
	struct ledger ledgers[GUEST_MAX_SENDERS]; // n_flows 0: nothing came from it
	struct guest_counters counters;
	uint64_t last_received_tsc, longest_pause_tsc; // while it was sent to
	uint32_t n_plugged; // times
};

// Attaches and starts it. number: among the process's NICs. Returns 0 or -errno.
int guest_open(struct guest *guest, const struct guest_cfg *cfg, uint32_t number, struct err *err);
void guest_close(struct guest *guest);

// Lean: makes the frames, once it is known to whom. Returns 0 or -errno.
int guest_prepare(struct guest *guest, struct err *err);

// Takes the driver away and gives the device to a new one, through the same connection.
int guest_reopen(struct guest *guest, struct err *err);

// The switch has lost the port: forgets the driver, which cannot know. Then guest_return tries to
// have it back: 0, or -errno as long as there is none.
void guest_leave(struct guest *guest);
int guest_return(struct guest *guest, struct err *err);

// The turn of a queue; both return the frames. `busy`: pauses count.
uint32_t guest_receive(struct guest *guest, uint32_t queue, bool busy);
uint32_t guest_send(struct guest *guest, uint32_t queue);

// Frames that wait in backlogs.
uint32_t guest_flush(struct guest *guest, uint32_t queue);
bool guest_is_done(const struct guest *guest); // has sent all that it should
