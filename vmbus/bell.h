// SPDX-License-Identifier: Apache-2.0
// Ringing a guest: its event flag and the descriptor behind it (docs/vmbus-user.md, section 5.2).
// Control makes a bell and publishes it by pointer, workers ring it; a changed target is a new one.
#pragma once

#include "base/types.h"
#include "vmbus/dirty.h"
#include "vmbus/user.h"

struct vmbus_bell {
	enum vmbus_user_mode mode;
	uint64_t *word; // DIRECT: where the flag is, in memory shared with the guest
	uint64_t flag;  // DIRECT: its bit in *word
	uint64_t gpa;   // DIRECT: of *word
	int fd;         // CALL, DIRECT: eventfd
};

// Once, before vmbus_bell_signal; again does nothing. Returns 0, or -errno if this kernel has no
// asynchronous I/O for us: then a VMM can make whoever rings wait. control.
int vmbus_bell_init(void);

// Adds 1 to an eventfd that somebody else shares, and never waits for anybody. Any thread.
void vmbus_bell_signal(int fd);

// Rings it; `dirty` (may be NULL) is told of what was written. Returns true if that took a system
// call. worker.
static inline bool vmbus_bell_ring(const struct vmbus_bell *bell, const struct vmbus_dirty *dirty)
{
	if (bell->mode == VMBUS_USER_MODE_NONE)
		return false;
	// Release: the guest that sees the flag sees the ring's content. Acquire: a flag found set
	// means that an interrupt is on its way which was not taken yet.
	if (bell->mode == VMBUS_USER_MODE_DIRECT &&
	    (__atomic_fetch_or(bell->word, bell->flag, __ATOMIC_ACQ_REL) & bell->flag))
		return false;
	if (unlikely(dirty) && bell->mode == VMBUS_USER_MODE_DIRECT)
		vmbus_dirty_mark(dirty, bell->gpa, sizeof(*bell->word));
	vmbus_bell_signal(bell->fd);
	return true;
}
