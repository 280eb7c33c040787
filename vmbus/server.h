// SPDX-License-Identifier: Apache-2.0
// The host's side of VMBus for one VM: connection, offers, channels and their GPADLs, as state
// machines without I/O. A partition manager feeds in what the guest posts and sends out what comes
// back; devices (channel.h) say when they have done what the guest asked for.
//
// All calls on one thread, that of whoever owns the VM's devices; every op is called from inside
// one of these functions, and may call back into them.
// The guest is hostile: a message that is short, unknown, or illegal in its state is dropped and
// counted. Nothing is allocated without a limit. Facts: Linux's drivers/hv, OpenVMM's vmbus_server.
#pragma once

#include "base/err.h"
#include "base/guest_memory.h"
#include "vmbus/wire.h"

// What the guest agreed on with INITIATE_CONTACT.
struct vmbus_contact {
	uint32_t version;         // enum vmbus_version
	uint32_t target_vp, sint; // where messages go; sint also for events
	uint64_t to_guest_monitor_gpa, to_host_monitor_gpa; // both 0: no monitor pages
};

// What the partition manager does for the server.
struct vmbus_host_ops {
	// Puts message[bytes] (8 … 240) into the message slot of (vp, sint). Returns 0, or -EAGAIN
	// if the slot is full: the message is kept and tried again by vmbus_server_flush. Any other
	// -errno: it cannot be delivered (no such slot); it is dropped and counted.
	int (*send)(void *vmm, const struct vmbus_contact *to, const void *message,
		    uint32_t bytes);
	// A guest connects; all devices are reset. Not 0: refused, and the guest is told so. May be
	// NULL.
	int (*connected)(void *vmm, const struct vmbus_contact *contact);
	// The connection has ended and all devices are reset: the end of vmbus_server_reset, too.
	// If it ended for UNLOAD or a new contact, those are answered after it. May be NULL.
	void (*disconnected)(void *vmm);
};

struct vmbus_server_cfg {
	const struct guest_memory *memory; // borrowed; see vmbus_server_set_memory
	uint32_t n_vps;                    // VPs that exist: 0 … n_vps - 1
	uint32_t max_version;              // 0: VMBUS_VERSION_COPPER
	const struct vmbus_host_ops *ops;
	void *vmm; // first argument of the ops
};

struct vmbus_server;
struct vmbus_device;

// Returns 0 or -ENOMEM. `cfg` is copied.
int vmbus_server_create(const struct vmbus_server_cfg *cfg, struct vmbus_server **out);

// NULL is fine. Devices go with it, without any op being called.
void vmbus_server_destroy(struct vmbus_server *server);

// The guest's memory map was replaced. GPADLs that are complete keep their runs.
void vmbus_server_set_memory(struct vmbus_server *server, const struct guest_memory *memory);

// The guest has posted message[bytes] (a private copy) to a connection id: HvCallPostMessage with
// message type 1. Returns what to answer the hypercall with: 0; -ENOENT (INVALID_CONNECTION_ID);
// -EINVAL (INVALID_PARAMETER: over 240 bytes); -EAGAIN (INSUFFICIENT_BUFFERS: the guest does not
// take its own messages; nothing has happened, it may try again).
int vmbus_server_post(struct vmbus_server *server, uint32_t connection_id, const void *message,
		      uint32_t bytes);

// A message slot may be free (EOM), or a timer says try again: sends what waits, in order.
void vmbus_server_flush(struct vmbus_server *server);

// Messages that wait for a free slot. While there are some, try vmbus_server_flush now and then,
// EOM or not.
uint32_t vmbus_server_n_waiting(const struct vmbus_server *server);

// The VM was reset: all that UNLOAD does, without an answer. `disconnected` says when it is done,
// perhaps before this returns; it is called even if no guest was connected.
void vmbus_server_reset(struct vmbus_server *server);

// The connection there is, or NULL.
const struct vmbus_contact *vmbus_server_contact(const struct vmbus_server *server);

// Whose is the connection id of a SignalEvent hypercall? Returns its device and *channel, or NULL.
struct vmbus_device *vmbus_server_find(const struct vmbus_server *server, uint32_t connection_id,
				       uint32_t *channel);

// --- save and restore --------------------------------------------------------------------------

// The whole state, messages that wait included, as an image. The caller frees *image. Returns 0 or
// -ENOMEM. What devices have not answered yet is in it as a request: teardowns and closings count
// as done after a restore, all else is asked again.
int vmbus_server_save(const struct vmbus_server *server, void **image, size_t *bytes);

// Takes a saved state over, before any guest message. The same devices (type and instance) must
// have been offered; further ones are new to the guest. Devices are told of their GPADLs and open
// channels with `resume` set, after all was checked. Returns 0, or with a sentence -EINVAL (not an
// image, a broken or impossible one), -ENOENT (a device or memory is missing), -EBUSY (not a new
// server) or -ENOMEM: nothing has happened then.
int vmbus_server_restore(struct vmbus_server *server, const void *image, size_t bytes,
			 struct err *err);

// --- counters ----------------------------------------------------------------------------------

// Why a guest's message was dropped, and what else went wrong: X(name, what it means).
#define VMBUS_SERVER_COUNTERS(X)                                                                   \
	X(short, "message shorter than its type needs")                                            \
	X(unknown, "message of unknown type")                                                      \
	X(not_connected, "no connection, or one that is ending")                                   \
	X(version, "message that the agreed version does not have")                                \
	X(offers_twice, "offers requested a second time")                                          \
	X(relid, "relid that was not offered")                                                     \
	X(state, "not legal in the channel's state")                                               \
	X(revoked, "for a channel that was rescinded (a race, harmless)")                          \
	X(gpadl, "GPADL refused")                                                                  \
	X(gpadl_unknown, "GPADL that does not exist or is not complete")                           \
	X(open, "OPEN_CHANNEL refused")                                                            \
	X(vp, "VP that does not exist")                                                            \
	X(contact, "INITIATE_CONTACT refused")                                                     \
	X(busy, "message put off: the guest does not take its own")                                \
	X(undelivered, "message to the guest lost: no slot, or out of memory")                     \
	X(stale, "device's answer that nobody waits for")

struct vmbus_server_counters {
#define X(name, text) uint64_t n_##name;
	VMBUS_SERVER_COUNTERS(X)
#undef X
	uint64_t n_messages; // taken
};

const struct vmbus_server_counters *vmbus_server_counters(const struct vmbus_server *server);
