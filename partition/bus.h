// SPDX-License-Identifier: Apache-2.0
// The VMBus of a partition: the server (vmbus/server.h) on the SynIC, and NICs that the switch
// serves (vmbus/nic.h). Calls come from vcpu threads and control, all under the partition's lock;
// what the switch says is handled by partition_bus_run, on the control thread.
#pragma once

#include "base/err.h"
#include "partition/partition.h"

struct partition_bus;

// Returns 0 or -ENOMEM. Descriptors to wait for are added to epoll_fd, with `tag`.
int partition_bus_create(struct partition *partition, int epoll_fd, uint32_t tag,
			 struct partition_bus **out);
void partition_bus_destroy(struct partition_bus *bus); // NULL is fine

// Hypercalls; as the hypervisor's ops (hv.h).
int partition_bus_post(struct partition_bus *bus, uint32_t connection_id, const void *message,
		       uint32_t bytes);
int partition_bus_signal(struct partition_bus *bus, uint32_t connection_id, uint32_t flag);

// A message slot may be free.
void partition_bus_flush(struct partition_bus *bus);

// Messages wait for a slot: partition_bus_flush now and then, EOM or not.
bool partition_bus_is_waiting(const struct partition_bus *bus);

// SIEFP, SIMP or a SINT of a processor has changed. Returns when no event goes to the old place
// any more, or has given up; the lock is given up meanwhile.
void partition_bus_retarget(struct partition_bus *bus, uint32_t vp);

void partition_bus_set_guest_os(struct partition_bus *bus, uint64_t guest_os_id);

// Does what the switch asks for or has answered.
void partition_bus_run(struct partition_bus *bus);

// The VM is to be reset, no processor runs: devices let go of its memory. True as soon as all
// have.
void partition_bus_reset(struct partition_bus *bus);
bool partition_bus_is_reset(const struct partition_bus *bus);

// Integration services (services.h).
int partition_bus_shutdown(struct partition_bus *bus, bool reboot);
uint32_t partition_bus_silence(const struct partition_bus *bus);

// Adds a NIC of the switch's; it attaches at once, or with partition_bus_start. Returns 0, or
// -errno and a sentence.
int partition_bus_add_nic(struct partition_bus *bus, const struct partition_nic_cfg *cfg,
			  struct err *err);

// Takes a NIC from the guest. Returns 0, or -ENOENT and a sentence.
int partition_bus_remove_nic(struct partition_bus *bus, const char *name, struct err *err);

// The partition is complete: NICs attach.
void partition_bus_start(struct partition_bus *bus);

// How the i-th NIC is. False: there is none.
bool partition_bus_look(const struct partition_bus *bus, uint32_t i,
			struct partition_nic_state *state);

// No processor runs: has the switch keep still, and let it go on. partition_bus_still returns 0, or
// -errno and a sentence: it does not answer.
int partition_bus_still(struct partition_bus *bus, struct err *err);
void partition_bus_go_on(struct partition_bus *bus);

struct partition_image;

// Saves it, still; or loads it, before partition_bus_start, with NICs of the same names added.
void partition_bus_image(struct partition_bus *bus, struct partition_image *image);
