// SPDX-License-Identifier: Apache-2.0
// A synthetic NIC of a VM: a device of the VMBus server (channel.h) whose channels are served by
// the switch (client.h). It passes the guest's wishes on and answers the guest when the switch has
// answered: docs/vmbus-user.md, section 6.
//
// One thread: that of server and client. The NIC is offered to the guest when the switch first
// knows it, or at once when it was restored.
#pragma once

#include "vmbus/channel.h"
#include "vmbus/client.h"

struct vmbus_nic;

// What the partition manager does for its NICs.
struct vmbus_nic_ops {
	// An eventfd that rings when the guest signals connection_id (KVM_HYPERV_EVENTFD). Returns
	// it or -errno. It must live until `closed`.
	int (*doorbell)(void *vmm, uint32_t channel, uint32_t connection_id);
	// Where an event for (vp, sint) with this flag goes: fills fd, and gpa for mode DIRECT. The
	// rest is filled in, mode with the best that the switch takes; the VMM may lower it: to
	// CALL, or to NONE if there is no such place now (then vmbus_nic_retarget when there is).
	// fd is duplicated at once.
	void (*target)(void *vmm, uint32_t channel, struct vmbus_client_target *target);
	// The switch has let go of the channel's doorbell and target.
	void (*closed)(void *vmm, uint32_t channel);
	// The NIC is served, for the first time or again. May be NULL.
	void (*attached)(void *vmm, const struct vmbus_client_peer *peer);
	// The switch is away. `final`: it does not want the NIC or does not come back; the NIC is
	// taken from the guest. May be NULL.
	void (*detached)(void *vmm, const char *why, bool final);
	// For a log: a sentence. May be NULL.
	void (*says)(void *vmm, const char *sentence);
	// What was asked for with this cookie has ended. status: 0 or -errno.
	void (*done)(void *vmm, uint64_t cookie, int status);
	// The NIC is gone and was freed, after vmbus_nic_remove or `final`. The last call.
	void (*gone)(void *vmm);
};

struct vmbus_nic_cfg {
	struct vmbus_server *server;
	struct vmbus_client_cfg client; // without ops and vmm
	uint64_t guest_os_id;           // see vmbus_nic_set_guest_os
	// a failed channel is left as it is: no rescind, no new offer
	bool keep_failed;
	const struct vmbus_nic_ops *ops;
	void *vmm; // first argument of the ops
};

// Returns 0 or -errno. The NIC attaches when vmbus_nic_start was called.
int vmbus_nic_create(const struct vmbus_nic_cfg *cfg, struct vmbus_nic **out);

// At once: hangs up, and frees it. The server must be destroyed before, or never have known it;
// else use vmbus_nic_remove.
void vmbus_nic_destroy(struct vmbus_nic *nic);

// Takes the NIC from the guest, then frees it; ends with `gone`, perhaps before this returns.
void vmbus_nic_remove(struct vmbus_nic *nic);

// Readable when vmbus_nic_run has something to do. Run may end with `gone`.
int vmbus_nic_fd(const struct vmbus_nic *nic);
void vmbus_nic_run(struct vmbus_nic *nic);

// The guest's RAM. Regions may come and go later, too. As vmbus_client_region_add and _del.
int vmbus_nic_region_add(struct vmbus_nic *nic, const struct vmbus_client_region *region,
			 uint64_t cookie);
int vmbus_nic_region_del(struct vmbus_nic *nic, uint32_t region, uint64_t cookie);

// Regions are complete, and the server was restored if it is to be.
int vmbus_nic_start(struct vmbus_nic *nic);

// HV_X64_MSR_GUEST_OS_ID was written.
void vmbus_nic_set_guest_os(struct vmbus_nic *nic, uint64_t guest_os_id);

// SIEFP or a SINT of this VP has changed: all channels that ring there ask `target` again. Ends
// with `done` (never before this returns) when no event goes to the old place any more: then the
// MSR write may complete. Returns how many channels that takes; 0: there is no `done`; or -errno.
int vmbus_nic_retarget(struct vmbus_nic *nic, uint32_t vp, uint64_t cookie);

// As the client's; `done` follows.
int vmbus_nic_pause(struct vmbus_nic *nic, uint64_t cookie);
int vmbus_nic_resume(struct vmbus_nic *nic, uint64_t cookie);
int vmbus_nic_save(struct vmbus_nic *nic, uint64_t cookie);
int vmbus_nic_image(const struct vmbus_nic *nic, void **image, size_t *bytes);
int vmbus_nic_dirty_log(struct vmbus_nic *nic, int fd, uint64_t bytes, uint64_t cookie);

// Begins with an image: before vmbus_server_restore, then vmbus_nic_start.
int vmbus_nic_restore(struct vmbus_nic *nic, const void *image, size_t bytes);
