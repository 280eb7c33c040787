// SPDX-License-Identifier: Apache-2.0
// What the files of the VMBus server share: server.c (connection), channel.c (channels),
// channel_gpadl.c (their GPADLs), device.c (the devices' calls), server_save.c, server_restore.c.
// Nobody else includes it.
//
// Ops of devices and of the host may call back into the server. So state is changed before an op
// is called, loops look for what is left to do in place of keeping a position, and nothing is freed
// or finished but by the outermost call (vmbus_server_enter, _leave).
#pragma once

#include "vmbus/channel.h"
#include "vmbus/outbox.h"

// As the guest sees a channel.
enum vmbus_channel_state {
	VMBUS_CHANNEL_HIDDEN, // not offered, or given up by the guest
	VMBUS_CHANNEL_CLOSED,
	VMBUS_CHANNEL_OPENING,
	VMBUS_CHANNEL_OPEN,
	VMBUS_CHANNEL_CLOSING,
	VMBUS_CHANNEL_CLOSING_REOPEN,  // `reopen` waits: CLOSE has no answer the guest could await
	VMBUS_CHANNEL_CLOSING_RELEASE, // the guest has given it up meanwhile
	VMBUS_CHANNEL_REVOKING,        // the device lets go of everything; RESCIND follows
	VMBUS_CHANNEL_REVOKED,         // RESCIND was sent, RELID_RELEASED is awaited
};
#define VMBUS_CHANNEL_N_STATES (VMBUS_CHANNEL_REVOKED + 1)

// As the device sees it.
enum vmbus_channel_side {
	VMBUS_SIDE_IDLE,
	VMBUS_SIDE_OPENING,
	VMBUS_SIDE_OPEN,
	VMBUS_SIDE_CLOSING
};

// A complete GPADL: who waits for what. In all but DETACHED the device knows it.
enum vmbus_gpadl_state {
	VMBUS_GPADL_OFFERED,   // guest waits for GPADL_CREATED
	VMBUS_GPADL_ACCEPTED,
	VMBUS_GPADL_DEFERRED,  // guest waits for GPADL_TORNDOWN, rings are not closed yet
	VMBUS_GPADL_TEARING,   // device was asked, guest waits for GPADL_TORNDOWN
	VMBUS_GPADL_REFUSING,  // device was asked, guest waits for GPADL_CREATED, will be a failure
	VMBUS_GPADL_DROPPING,  // device was asked, guest waits for nothing
	VMBUS_GPADL_DETACHING, // device was asked, guest still has it
	VMBUS_GPADL_DETACHED,  // device is rid of it, or never had it; guest still has it
};
#define VMBUS_GPADL_N_STATES (VMBUS_GPADL_DETACHED + 1)

struct vmbus_channel_gpadl {
	struct vmbus_channel_gpadl *next;
	struct vmbus_gpadl *gpadl;
	enum vmbus_gpadl_state state;
	bool is_told; // the device knows of it
};

// OPEN_CHANNEL as it was posted.
struct vmbus_open_request {
	uint32_t open_id, gpadl, target_vp, downstream_page;
	uint8_t user_data[120];
};

struct vmbus_channel {
	struct vmbus_device *device;
	uint32_t index; // 0: the primary
	uint32_t relid; // 0: none
	uint32_t monitor_id;
	enum vmbus_channel_state state;
	enum vmbus_channel_side side;
	struct vmbus_open_request open;   // OPENING, OPEN, CLOSING…; target_vp as last modified
	struct vmbus_open_request reopen; // CLOSING_REOPEN
	bool is_modifying;                // the device was asked for modify_vp
	bool modify_again;                // before 5.3: next_vp is to follow
	uint32_t modify_vp, next_vp;
	bool offer_again;  // REVOKING, REVOKED: as soon as the guest has released it
	bool fail_open;    // REVOKING: OPEN_RESULT for open_id is owed
	uint32_t open_id;
	struct vmbus_channel_gpadl *gpadls;
};

struct vmbus_device {
	struct vmbus_device *next; // ordered by type and instance
	struct vmbus_server *server;
	struct vmbus_device_cfg cfg;
	bool is_dirty;     // something was asked of it since the last reset
	bool reset_due;    // to be asked for one
	bool is_resetting; // was asked
	bool is_leaving;   // vmbus_device_remove
	bool is_known;     // the image had it
	struct vmbus_channel channels[VMBUS_DEVICE_MAX_CHANNELS];
};

enum vmbus_server_state { VMBUS_DISCONNECTED, VMBUS_CONNECTED, VMBUS_DISCONNECTING };

// What follows when all devices are reset.
enum vmbus_server_next { VMBUS_NEXT_NOTHING, VMBUS_NEXT_CONTACT, VMBUS_NEXT_UNLOADED };

struct vmbus_server {
	struct vmbus_server_cfg cfg;
	enum vmbus_server_state state;
	struct vmbus_contact contact; // CONNECTED
	bool offers_sent;
	enum vmbus_server_next next;
	struct vmbus_initiate_contact next_contact;
	uint32_t depth; // calls into the server
	uint32_t n_devices;
	struct vmbus_device *devices;
	struct vmbus_gpadls *gpadls;
	struct vmbus_outbox outbox;
	struct vmbus_channel *by_relid[VMBUS_MAX_RELID + 1];
	uint32_t last_relid; // taken last
	uint64_t monitors[2]; // bit: the id is taken
	struct vmbus_server_counters counters;
};

// --- server.c ----------------------------------------------------------------------------------

void vmbus_server_enter(struct vmbus_server *server);
void vmbus_server_leave(struct vmbus_server *server);

// Does this server take guests of that version?
bool vmbus_server_has_version(const struct vmbus_server *server, uint32_t version);

// Can such a connection be: VP, SINT and monitor pages exist?
bool vmbus_server_is_contact_fine(const struct vmbus_server *server,
				  const struct vmbus_contact *contact);

// Begins the end of the connection; `next` follows.
void vmbus_server_disconnect(struct vmbus_server *server, enum vmbus_server_next next);

// The channel a guest names, unless it has given it up; else NULL, and counted.
struct vmbus_channel *vmbus_server_channel(struct vmbus_server *server, uint32_t relid);

// May the guest be offered channels?
static inline bool vmbus_server_offers(const struct vmbus_server *server)
{
	return server->state == VMBUS_CONNECTED && server->offers_sent;
}

#define VMBUS_SERVER_SEND(server, message)                                                         \
	vmbus_outbox_send(&(server)->outbox, &(message), sizeof(message))

// --- channel.c ---------------------------------------------------------------------------------

// Offers a hidden channel. False: no relid is left.
bool vmbus_channel_offer(struct vmbus_channel *channel);

// Messages of the guest; bytes are enough for their type.
void vmbus_channel_handle_open(struct vmbus_server *server, const void *message, uint32_t bytes);
void vmbus_channel_handle_close(struct vmbus_server *server, const void *message, uint32_t bytes);
void vmbus_channel_handle_released(struct vmbus_server *server, const void *message,
				   uint32_t bytes);
void vmbus_channel_handle_modify(struct vmbus_server *server, const void *message,
				 uint32_t bytes);

// Takes the channel from the guest; `offer_again` as in the struct.
void vmbus_channel_revoke(struct vmbus_channel *channel, bool offer_again);

// Is this GPADL (or NULL) fit for two rings, the second from that page on?
bool vmbus_channel_rings_fit(const struct vmbus_channel_gpadl *entry, uint32_t downstream_page);

// Goes on with revoking, if the device has let go of everything.
void vmbus_channel_settle(struct vmbus_channel *channel);

// The connection ends: as though it had never been offered. Its GPADLs stay until
// vmbus_channel_free_gpadls.
void vmbus_channel_hide(struct vmbus_channel *channel);

// How a channel was opened, for the device.
void vmbus_channel_describe(const struct vmbus_channel *channel, struct vmbus_open *open);

// Asks the device.
void vmbus_channel_ask_open(struct vmbus_channel *channel, bool resume);
void vmbus_channel_ask_modify(struct vmbus_channel *channel);
void vmbus_channel_send_modified(struct vmbus_server *server, uint32_t relid, bool ok);
void vmbus_channel_send_open_result(struct vmbus_channel *channel, uint32_t open_id, bool ok);

// The device has closed; what waited for it goes on.
void vmbus_channel_closed(struct vmbus_channel *channel);

// --- channel_gpadl.c ---------------------------------------------------------------------------

void vmbus_channel_handle_gpadl_header(struct vmbus_server *server, const void *message,
				       uint32_t bytes);
void vmbus_channel_handle_gpadl_body(struct vmbus_server *server, const void *message,
				     uint32_t bytes);
void vmbus_channel_handle_gpadl_teardown(struct vmbus_server *server, const void *message,
					 uint32_t bytes);

// The GPADL with this id that is ACCEPTED, or NULL.
struct vmbus_channel_gpadl *vmbus_channel_find_gpadl(const struct vmbus_channel *channel,
						     uint32_t id);

// That with the rings with which the channel was opened, or NULL.
struct vmbus_channel_gpadl *vmbus_channel_find_rings(const struct vmbus_channel *channel);

// Adds one to the channel. NULL: out of memory.
struct vmbus_channel_gpadl *vmbus_channel_add_gpadl(struct vmbus_channel *channel,
						    struct vmbus_gpadl *gpadl,
						    enum vmbus_gpadl_state state);

void vmbus_channel_ask_gpadl(struct vmbus_channel *channel, struct vmbus_channel_gpadl *entry,
			     bool resume);

// The rings are closed: teardowns that waited go to the device.
void vmbus_channel_undefer_gpadls(struct vmbus_channel *channel);

// Has the device tear all of them down; the guest keeps those that it has (`detach`), or is done
// with them.
void vmbus_channel_stop_gpadls(struct vmbus_channel *channel, bool detach);

// Does the device still know one?
bool vmbus_channel_has_gpadls(const struct vmbus_channel *channel);

// Before RESCIND: GPADLs in the making are answered with a failure.
void vmbus_channel_fail_pending(struct vmbus_channel *channel);

// The guest is done with the channel: those that the device does not know are freed.
void vmbus_channel_forget_gpadls(struct vmbus_channel *channel);

// The device is reset: all are freed. The server has forgotten their keys.
void vmbus_channel_free_gpadls(struct vmbus_channel *channel);

// The device has torn one down.
void vmbus_channel_gpadl_gone(struct vmbus_channel *channel, uint32_t id);

// After a restore: tells the device of those that it had (`resume`), or asks it for the others.
void vmbus_channel_tell_gpadls(struct vmbus_channel *channel, bool resume);

// After a restore: what the device was asked to tear down is torn down.
void vmbus_channel_end_gpadls(struct vmbus_channel *channel);

// The device has answered for one.
void vmbus_channel_gpadl_made(struct vmbus_channel *channel, uint32_t id, bool ok);
