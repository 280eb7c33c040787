// SPDX-License-Identifier: Apache-2.0
// A device of the VMBus server (server.h): one primary channel, number 0, and sub-channels 1 … 63.
//
// The server asks a device through its ops; each question is answered once, by the `_done` call of
// its name, from inside the op or at any time later. All calls on the server's thread. An answer
// that nobody waits for is ignored and counted: a question can become void (see `close`, `reset`).
#pragma once

#include "vmbus/gpadl.h"
#include "vmbus/server.h"

#define VMBUS_DEVICE_MAX_CHANNELS 64 // sub-channels and the primary

// OPEN_CHANNEL, checked: the GPADL is fit for two rings and both have at least 2 pages.
struct vmbus_open {
	const struct vmbus_gpadl *gpadl; // both rings; lives until its teardown
	uint32_t downstream_page;        // where the ring from host to guest begins
	uint32_t target_vp;              // or VMBUS_NO_INTERRUPT
	uint32_t relid;                  // also the event flag
	uint32_t connection_id;          // of the guest's SignalEvent
	uint32_t monitor_id;             // or VMBUS_OFFER_NO_MONITOR
	uint8_t user_data[120];
	bool resume; // after a restore: the rings are in use. No answer is awaited
};

struct vmbus_device_ops {
	// The guest has made a GPADL, which is the device's to look at until it has answered the
	// teardown (or reset). With `resume` no answer is awaited: it exists after a restore.
	void (*gpadl)(void *device, uint32_t channel, const struct vmbus_gpadl *gpadl, bool resume);
	// Nothing may touch the GPADL once this was answered. May come while `gpadl` is unanswered,
	// which then needs no answer. If it has the channel's rings, `close` was asked before.
	void (*gpadl_teardown)(void *device, uint32_t channel, uint32_t gpadl);
	void (*open)(void *device, uint32_t channel, const struct vmbus_open *open);
	// Nothing may touch the rings once this was answered. May come while `open` or `modify` is
	// unanswered: they then need no answer. Sub-channels are closed before the primary.
	void (*close)(void *device, uint32_t channel);
	// Events go to another VP. No event goes to the old one once this was answered.
	void (*modify)(void *device, uint32_t channel, uint32_t target_vp);
	// Everything is closed and torn down; all open questions are void. Called only if there was
	// anything since the last one.
	void (*reset)(void *device);
	// The device was taken out and the guest is rid of it: it has been freed, this is the last
	// call. May be NULL.
	void (*gone)(void *device);
};

struct vmbus_device_cfg {
	uint8_t type[16], instance[16]; // GUIDs, in Microsoft's mixed order
	uint16_t flags;                 // enum vmbus_offer_flag
	bool wants_monitor;             // a monitor id for each channel, if the guest has pages
	uint8_t user_data[120];         // of the offer
	const struct vmbus_device_ops *ops;
	void *device; // first argument of the ops
};

// Adds a device; a connected guest that has asked for offers gets one. Returns 0, -EEXIST (same
// type and instance), -ENOSPC (2047 channels exist) or -ENOMEM. `cfg` is copied.
int vmbus_device_add(struct vmbus_server *server, const struct vmbus_device_cfg *cfg,
		     struct vmbus_device **out);

// Takes the device from the guest: everything of it is closed and torn down, then its channels are
// rescinded, sub-channels first. It ends with `gone`, when the guest has released it or leaves. A
// second call does nothing.
void vmbus_device_remove(struct vmbus_device *device);

// Like vmbus_device_remove, but the guest gets the device anew as soon as it has released the old
// one. Most guests start their driver again.
void vmbus_device_reoffer(struct vmbus_device *device);

// Offers sub-channels 1 … n, as far as they are not yet. Returns how many there are then: fewer if
// relids have run out, 0 if the primary is not open. They go when the guest closes the primary.
uint32_t vmbus_device_offer_subchannels(struct vmbus_device *device, uint32_t n);

// --- answers -----------------------------------------------------------------------------------

void vmbus_device_gpadl_done(struct vmbus_device *device, uint32_t channel, uint32_t gpadl,
			     bool ok);
void vmbus_device_gpadl_teardown_done(struct vmbus_device *device, uint32_t channel,
				      uint32_t gpadl);
void vmbus_device_open_done(struct vmbus_device *device, uint32_t channel, bool ok);
void vmbus_device_close_done(struct vmbus_device *device, uint32_t channel);
void vmbus_device_modify_done(struct vmbus_device *device, uint32_t channel, bool ok);
void vmbus_device_reset_done(struct vmbus_device *device);

// --- looking -----------------------------------------------------------------------------------

// Fills *open with how a channel was opened and where its events go now (resume is false). False:
// it is not open. Valid until the next call into the server.
bool vmbus_device_is_open(const struct vmbus_device *device, uint32_t channel,
			  struct vmbus_open *open);

// The relid under which the guest knows the channel, or 0.
uint32_t vmbus_device_relid(const struct vmbus_device *device, uint32_t channel);
