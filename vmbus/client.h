// SPDX-License-Identifier: Apache-2.0
// A VMM's end of vmbus-user (docs/vmbus-user.md): one object attaches one NIC to the switch.
//
// It keeps what the VMM wants: regions, GPADLs, open channels, monitor pages, dirty log, pause, and
// the state memory. When the switch goes away it reconnects and loads all of that again (sections
// 2.4, 8.5); requests that depend on the switch wait meanwhile, those that end something are done.
//
// No thread, nothing blocks: wait for vmbus_client_fd to be readable (epoll), then call
// vmbus_client_run. Ops are called from vmbus_client_run only; they may call anything here but
// vmbus_client_destroy. One thread. What comes from the switch is checked; a lie ends the
// connection, and a new one is tried.
#pragma once

#include "vmbus/run.h"
#include "vmbus/user.h"

struct vmbus_client;

// The switch as it was found.
struct vmbus_client_peer {
	uint64_t instance; // of this life of the switch
	uint64_t features; // agreed on
	uint32_t max_channels, max_regions;
	uint8_t guid[16];  // of the NIC, as in OFFER_CHANNEL
	// START's reply: batches finished by recovery, frames lost at most
	uint64_t n_batches, n_lost;
	bool resumed;      // not the first time
};

struct vmbus_client_ops {
	// The NIC is known by the switch: HELLO was answered. Called once, the first time. May be
	// NULL.
	void (*found)(void *vmm, const struct vmbus_client_peer *peer);
	// START was answered, the first time or again: the NIC is served.
	void (*attached)(void *vmm, const struct vmbus_client_peer *peer);
	// The switch is away, or has refused (`why`, a sentence). It is tried again, unless
	// `final`: the first HELLO was refused, for another reason than that another VMM has the
	// NIC, or the switch said that it will not come back. Requests that wait go on waiting,
	// also then.
	void (*detached)(void *vmm, const char *why, bool final);
	// A request with this cookie has ended. status: 0 or -errno; text: what the switch said, or
	// "". -ECANCELED: a later request of the VMM has made it void.
	void (*done)(void *vmm, uint64_t cookie, int status, const char *text);
	// The guest wants sub-channels 1 … n_wanted. Answer with vmbus_client_grant, now or later.
	void (*subchannels)(void *vmm, uint32_t n_wanted);
	// The switch has given a channel up; it waits to be closed.
	void (*channel_failed)(void *vmm, uint32_t channel, uint32_t reason, const char *text);
	// The switch cannot go on where the last one stopped: all channels and GPADLs are
	// forgotten. The VMM rescinds the channels.
	void (*lost)(void *vmm, const char *why);
	// The switch announces that it will hang up. May be NULL.
	void (*leaving)(void *vmm, uint32_t reason, uint32_t back_in_ms, const char *text);
};

struct vmbus_client_cfg {
	const char *path;     // of the switch's socket; "@name": abstract
	const char *name;     // of the NIC, 1 … 64 bytes
	const uint8_t *token; // [32], or NULL
	uint64_t features;    // enum vmbus_user_feature, offered
	const struct vmbus_client_ops *ops;
	void *vmm; // first argument of the ops
};

// Returns 0, -EINVAL (name, path) or another -errno. `cfg` is copied, the strings too. The first
// connection is tried by the next vmbus_client_run.
int vmbus_client_create(const struct vmbus_client_cfg *cfg, struct vmbus_client **out);

// Hangs up. No op is called any more. NULL is fine.
void vmbus_client_destroy(struct vmbus_client *client);

// An epoll descriptor: readable when vmbus_client_run has something to do. Stays the client's.
int vmbus_client_fd(const struct vmbus_client *client);

// Does what there is to do, a bounded amount of it.
void vmbus_client_run(struct vmbus_client *client);

// --- requests ----------------------------------------------------------------------------------
// Each returns 0, and is ended by `done` with its cookie; or -errno, and nothing has happened:
// -EINVAL (argument out of range), -ENOMEM, -EMFILE. They are carried out in this order, whatever
// happens to the switch. Those that end something (close, teardown, region_del, reset) are done at
// the latest when the switch goes away, and at once while it is; so are targets of open channels,
// since nobody rings then, and a pause. Others wait for the switch to come back.
// Descriptors stay the caller's: they are duplicated.

struct vmbus_client_region {
	uint32_t region; // a number of the VMM's
	uint32_t flags;  // VMBUS_USER_REGION_READ_ONLY
	uint64_t gpa, bytes, offset;
	int fd;
};

int vmbus_client_region_add(struct vmbus_client *client, const struct vmbus_client_region *region,
			    uint64_t cookie);
int vmbus_client_region_del(struct vmbus_client *client, uint32_t region, uint64_t cookie);

// A GPADL of a channel. Its runs are copied; their host addresses are not looked at.
int vmbus_client_gpadl_add(struct vmbus_client *client, uint32_t channel, uint32_t gpadl,
			   const struct vmbus_runs *runs, uint64_t cookie);
int vmbus_client_gpadl_teardown(struct vmbus_client *client, uint32_t channel, uint32_t gpadl,
				uint64_t cookie);

// Where the guest's bell hangs: section 5.2.
struct vmbus_client_target {
	enum vmbus_user_mode mode;
	uint32_t flag, vp, sint;
	uint64_t gpa;
	int fd; // what the switch writes; not looked at with VMBUS_USER_MODE_NONE
};

struct vmbus_client_open {
	uint32_t channel, relid, gpadl, h2g_page;
	uint32_t vmbus_version;
	uint32_t monitor_id; // or VMBUS_USER_NO_MONITOR
	uint64_t guest_os_id;
	int kick_fd; // eventfd: rings when the guest signals
	struct vmbus_client_target target;
	// The rings are in use: the channel was open in the image that vmbus_client_restore was
	// given. Before vmbus_client_start only.
	bool resume;
};

int vmbus_client_open(struct vmbus_client *client, const struct vmbus_client_open *open,
		      uint64_t cookie);
int vmbus_client_close(struct vmbus_client *client, uint32_t channel, uint64_t cookie);
int vmbus_client_set_target(struct vmbus_client *client, uint32_t channel,
			    const struct vmbus_client_target *target, uint64_t cookie);

// GPAs of the monitor pages; to_host_gpa 0: none any more.
int vmbus_client_set_monitor(struct vmbus_client *client, uint64_t to_host_gpa,
			     uint64_t to_guest_gpa, uint64_t cookie);

// What was there from the beginning has been asked for: the NIC may be served. Once.
int vmbus_client_start(struct vmbus_client *client, uint64_t cookie);

int vmbus_client_pause(struct vmbus_client *client, uint64_t cookie);
int vmbus_client_resume(struct vmbus_client *client, uint64_t cookie);

// A bitmap of `bytes` in a sealed memfd; fd -1: none any more.
int vmbus_client_dirty_log(struct vmbus_client *client, int fd, uint64_t bytes, uint64_t cookie);

// Everything of the guest's is forgotten: GPADLs, channels, monitor pages. Earlier requests for
// them that have not been sent end with -ECANCELED.
int vmbus_client_reset(struct vmbus_client *client, uint64_t cookie);

// The answer to `subchannels`.
void vmbus_client_grant(struct vmbus_client *client, uint32_t n_granted);

// --- images ------------------------------------------------------------------------------------

// Asks the paused switch to complete the state memory. After `done` with 0, and until
// vmbus_client_resume, vmbus_client_image gives what is to be kept with the guest's RAM. Ends with
// -EAGAIN if the NIC is not paused, or the switch came back during the pause: resume, pause again.
int vmbus_client_save(struct vmbus_client *client, uint64_t cookie);

// The caller frees *image. Returns 0, -EAGAIN (not saved) or -errno.
int vmbus_client_image(const struct vmbus_client *client, void **image, size_t *bytes);

// Begins with an image, before the first vmbus_client_run: then add regions and GPADLs, open
// channels with `resume`, start. Returns 0, -EINVAL (not an image, or of another NIC), -EBUSY or
// another -errno.
int vmbus_client_restore(struct vmbus_client *client, const void *image, size_t bytes);

// The GUID of the NIC: from the switch or from the image. False: not known yet.
bool vmbus_client_guid(const struct vmbus_client *client, uint8_t guid[16]);
