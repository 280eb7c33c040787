// SPDX-License-Identifier: Apache-2.0
// What a NIC is made of; shared by nic*.c, port_netvsp.c and service.c alone. Everything belongs to
// control, unless a member says otherwise.
#pragma once

#include "base/counter.h"
#include "netvsp/nic.h"
#include "vmbus/peer.h"

struct netvsp_connection;

// One queue: where a worker meets a channel.
struct netvsp_queue {
	struct port_queue q;
	struct netvsp_nic *nic;
	// The channel while it is its worker's, else NULL. control: w, worker: r
	RCU_POINTER(struct netvsp_channel) channel CACHE_ALIGNED;
	int epoll_fd;        // the doorbell: the next three, edge-triggered, none is ever read
	int kick_fd;         // eventfd: control wakes the worker
	int timer_fd;        // wakes it for a look at the monitor page
	uint32_t monitor_id; // or VMBUS_USER_NO_MONITOR; atomic. control: w, worker: r
	bool timed;          // the timer was set; worker
	unsigned int told;   // failure that control was told of; worker
	struct netvsp_counters counters; // worker: w, control: r
} CACHE_ALIGNED;

// The guest → host monitor page. Immutable.
struct nic_monitor {
	struct vmbus_monitor_page *page;
	uint64_t gpa;
};

// A channel as control knows it.
struct nic_channel {
	bool open, failed;
	bool ring;   // ring the guest when it is given to its worker
	bool resume; // opened with RESUME: made and recovered by START
	struct vmbus_peer_open opened; // as it was opened; bell: see `bell`
	struct netvsp_channel *channel; // NULL until START, if it is resumed
	const struct vmbus_bell *bell;  // the present one; on the heap, with its descriptor
};

// What has to wait until workers have let go of channels. Ordered by urgency.
// Mail before requests: what was begun for the guest ends before a pause. None is begun while a
// request waits (nic_mail_look), so that neither starves.
enum nic_job_kind { NIC_JOB_LEAVE, NIC_JOB_MAIL, NIC_JOB_REQUEST, NIC_JOB_FAILED, NIC_N_JOBS };

#define NETVSP_GUEST_BELL 1 // data of the guest's eventfd in a queue's epoll

struct nic_job {
	void (*fn)(struct netvsp_nic *nic); // NULL: nothing to do
	uint64_t channels;                  // bit n: channel n is taken back
};

struct netvsp_nic {
	struct port_dev dev;
	struct netvsp_queue *queues; // [dev.n_queues]

	// Constant from its making.
	char name[65];
	struct mac mac;
	uint8_t guid[16];
	uint32_t vm_uid;
	bool has_token;
	uint8_t token[32];
	uint32_t mtu; // largest frame without FCS
	bool connected, rsc, any_mac; // see port_cfg
	uint32_t link_mbps;

	// Under the registry's lock; any thread.
	struct netvsp_nic *next;
	unsigned int n_refs; // its port, its connection
	bool closed;         // its port is gone
	bool attached;       // a connection has it; control: w
	pid_t vmm_pid;       // of that; control

	// While a guest is attached.
	struct netvsp_connection *connection;
	struct vmbus_peer *peer;
	struct rcu *rcu;
	struct netvsp_guest guest;     // see guest.h
	struct netvsp_mailbox mailbox; // see mailbox.h
	RCU_POINTER(const struct nic_monitor) monitor; // on the heap, or NULL
	struct nic_channel channels[VMBUS_USER_MAX_CHANNELS];
	uint64_t live;       // bit n: channel n is its worker's
	bool serving;        // START came, and no PAUSE since
	bool started;        // START came
	bool leaving;        // the guest is being taken leave of
	bool draining;       // no ring is read any more; atomic. control: w, worker: r
	bool held;           // none is read yet; likewise
	bool announce;       // queue 0 is to send an announcement. control: sets, worker: clears
	struct vmbus_state *state;    // the VMM's state memory, or private; NULL: none yet
	struct vmbus_state *private_state; // ours
	enum vmbus_user_origin origin;
	struct vmbus_state_record record; // as last written, or as found
	uint64_t record_serial;

	// A call of the peer under way.
	bool in_call, call_done;
	int call_ret;
	struct err call_err;
	uint64_t call_channels; // what the call is about

	struct nic_job jobs[NIC_N_JOBS];
	bool job_running; // waits for a grace period

	struct netvsp_control control;
	struct netvsp_answer working, last; // being made; the last one made
	bool has_last;
	bool mail_busy;    // a request is being worked on
	bool asking;       // … and the VMM is asked for sub-channels
	bool was_granted;  // … and has answered, during a pause
	uint32_t n_granted;
	bool telling;      // a notice is with the worker
	uint32_t effects;  // of the request that is worked on
	uint64_t notice_at; // when a notice is due, CLOCK_MONOTONIC ns; 0: none
	unsigned int n_announce; // times that the network is still to be told where the NIC is …
	uint64_t announce_at;    // … when next, likewise

	uint64_t n_attached, n_recovered, n_lost;
	char why_not[96]; // why nobody is attached any more; empty: nobody was
};

// --- nic.c: life and registry. Any thread, unless noted ----------------------------------------

// Makes a NIC without a guest and puts it into the registry. helper.
int netvsp_nic_create(const struct port_cfg *cfg, struct netvsp_nic **out, struct err *err);

// Its port is closed: nobody finds it any more; it is freed when its guest is gone. helper.
void netvsp_nic_close(struct netvsp_nic *nic);

// Is there a port of that name?
bool netvsp_nic_exists(const char *name);

// Finds the NIC by name, checks who may attach, and takes it. Returns 0, -ENOENT, -EACCES, -EBUSY
// with a sentence. control.
int netvsp_nic_take(const struct vmbus_peer_hello *hello, uint32_t uid, struct netvsp_nic **out,
		    struct err *err);

// Gives it back: no guest is attached. It may be freed by this. control.
void netvsp_nic_release(struct netvsp_nic *nic);

// The port of a NIC that is attached has been closed.
bool netvsp_nic_is_closed(const struct netvsp_nic *nic);

// A descriptor that is written when a port of the kind comes or goes; -1: nobody listens. control.
void netvsp_nic_set_watcher(int fd);

// All NICs, those that come later included, stop reading rings of guests. control.
void netvsp_nic_drain_all(void);
void netvsp_nic_hold_all(bool hold);

void netvsp_nic_describe(struct netvsp_nic *nic, struct netvsp_nic_info *info); // control
void netvsp_nic_kick(struct netvsp_queue *queue); // wakes the worker; control

// --- port_netvsp.c: what the port looks like, before the NIC can be found. helper --------------

void netvsp_port_init(struct netvsp_nic *nic);

// --- nic_live.c: control -----------------------------------------------------------------------

// Takes channels (bit n: channel n) from their workers; when none has them any more calls fn, then
// gives those back that are still to be served. A job of the same kind replaces none: one at a
// time, but for NIC_JOB_FAILED, whose channels add up.
void nic_quiesce(struct netvsp_nic *nic, enum nic_job_kind kind, uint64_t channels,
		 void (*fn)(struct netvsp_nic *nic));

// Gives workers what is to be served and is not.
void nic_publish(struct netvsp_nic *nic);

// Begins and ends the connection's time: nic_attach after netvsp_nic_take; nic_leave calls
// netvsp_connection_left when no worker has anything of the guest's.
void nic_attach(struct netvsp_nic *nic, struct netvsp_connection *connection, struct rcu *rcu,
		struct vmbus_peer *peer);
void nic_leave(struct netvsp_nic *nic);

// The mailbox's descriptor was written: looks for what workers have to say.
void nic_call(struct netvsp_nic *nic);

// Frees a channel that no worker has, with its descriptors. keep: see netvsp_channel_destroy.
void nic_channel_close(struct netvsp_nic *nic, unsigned int index, bool keep);

// A channel makes no sense before any worker has it: it counts as failed.
void nic_channel_gone_wrong(struct netvsp_nic *nic, unsigned int index,
			    enum vmbus_user_failure why);

// Workers look at another monitor page from now on, or at none (NULL); the old one is freed when
// none looks at it any more.
void nic_set_monitor(struct netvsp_nic *nic, const struct nic_monitor *monitor);

// Bits of the channels that are open.
uint64_t nic_open_channels(const struct netvsp_nic *nic);

// --- nic_ops.c: the device behind a peer. control ----------------------------------------------

extern const struct vmbus_peer_ops netvsp_nic_ops;

// --- nic_mail.c: the control machine. control --------------------------------------------------

void nic_control_init(struct netvsp_nic *nic);

// Nothing is agreed on any more; no channel is live.
void nic_control_reset(struct netvsp_nic *nic);

// Takes over what the state memory says, which nic->record holds, and ends the batches of all
// channels that were opened with RESUME. GPADLs are known, no channel was made yet. Returns 0, or
// -errno with a sentence.
int nic_restore(struct netvsp_nic *nic, struct vmbus_peer_recovery *out, struct err *err);

// An answer that a predecessor made and did not publish is published. Channels were made.
void nic_restore_answer(struct netvsp_nic *nic);

// Makes buffers, path and spread as they were agreed on; no channel is live. Returns 0 or -errno.
int nic_sync(struct netvsp_nic *nic);

// The serial of the current record in the state memory: le64, stored and loaded as a whole.
static inline uint64_t *nic_record_word(struct vmbus_state *state)
{
	return (uint64_t *)((uint8_t *)state + offsetof(struct vmbus_state, header.record));
}

// Writes the control record into the state memory.
void nic_record_write(struct netvsp_nic *nic);

void nic_mail_look(struct netvsp_nic *nic);            // is there a request? Begins it
void nic_mail_granted(struct netvsp_nic *nic, uint32_t n);
void nic_notice_look(struct netvsp_nic *nic);          // is there something to be said?

// The guest was restored, perhaps from elsewhere: its network is told, now and a few times more.
void nic_announce(struct netvsp_nic *nic);
void nic_announce_look(struct netvsp_nic *nic); // announce_at has come

// --- service.c: control ------------------------------------------------------------------------

// A call of the peer that was to be finished later has ended.
void netvsp_connection_request_done(struct netvsp_connection *connection, int ret,
				    const struct err *err);

// The guest's memory went away: hang up.
void netvsp_connection_fault(struct netvsp_connection *connection);

// A channel has failed; the VMM was told.
void netvsp_connection_channel_failed(struct netvsp_connection *connection, const char *text);

// nic_leave has come to its end.
void netvsp_connection_left(struct netvsp_connection *connection);
