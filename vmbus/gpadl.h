// SPDX-License-Identifier: Apache-2.0
// GPADLs: what a guest posts in GPADL_HEADER and GPADL_BODY becomes runs of memory. No I/O: the
// caller has the messages, sends GPADL_CREATED and keeps what comes out. Control of whoever owns
// the VMBus control plane (a VMM), one thread; vmbus_runs_add also serves the switch's end.
// Numbers are the guest's; nothing is allocated beyond the limits here, nothing asserted.
#pragma once

#include "base/guest_memory.h"
#include "vmbus/run.h"
#include "vmbus/wire.h"

enum {
	VMBUS_GPADL_MAX_RANGES = 64, // of one GPADL; rings have one
	VMBUS_GPADL_MAX_PAGES = 8192,
	VMBUS_GPADL_MAX_PENDING = 32,   // GPADLs of which bodies are missing, of a connection
	VMBUS_GPADL_MAX_LIVE = 1024,    // GPADLs of a connection
	VMBUS_GPADL_MAX_CHANNEL = 192,  // of a channel
};
#define VMBUS_GPADL_MAX_ALL_PAGES (1u << 18) // of a connection: 1 GiB

// A GPADL that is complete. One block: free() it, after vmbus_gpadls_forget.
struct vmbus_gpadl {
	uint32_t relid, id;
	uint32_t n_ranges;
	uint32_t first_offset; // byte_offset of the first range
	uint32_t n_pages;      // as charged to the connection
	bool repeats;          // some page is in it twice: not fit for rings
	struct vmbus_runs runs;
	struct vmbus_run storage[]; // n_pages at most
};

// The rules for rings, beyond those for buffers: one range from the start of a page, whole pages,
// none twice.
static inline bool vmbus_gpadl_fits_ring(const struct vmbus_gpadl *gpadl)
{
	return gpadl->n_ranges == 1 && gpadl->first_offset == 0 && !gpadl->repeats &&
	       gpadl->runs.bytes % VMBUS_PAGE_BYTES == 0;
}

// The GPADLs of one VMBus connection, complete ones (by key only) and those in the making.
struct vmbus_gpadls;

// `memory`: the guest's, borrowed, may be replaced by vmbus_gpadls_set_memory. NULL: no memory
// for it. control.
struct vmbus_gpadls *vmbus_gpadls_create(const struct guest_memory *memory);
void vmbus_gpadls_destroy(struct vmbus_gpadls *gpadls); // NULL is fine; complete ones stay theirs
void vmbus_gpadls_set_memory(struct vmbus_gpadls *gpadls, const struct guest_memory *memory);

// What a message has led to.
enum vmbus_gpadl_result {
	VMBUS_GPADL_MORE,    // bodies are missing
	VMBUS_GPADL_DONE,    // complete: it is the caller's, who answers GPADL_CREATED
	VMBUS_GPADL_REFUSED, // answer GPADL_CREATED with VMBUS_STATUS_FAILURE
	VMBUS_GPADL_IGNORED, // nothing can be answered
};

// What to answer, and about which.
struct vmbus_gpadl_outcome {
	enum vmbus_gpadl_result result;
	uint32_t relid, id;        // DONE, REFUSED
	struct vmbus_gpadl *gpadl; // DONE: owned by the caller from now on
	const char *why;           // REFUSED, IGNORED: a sentence's worth, static
};

// Takes the message[bytes] of type GPADL_HEADER or GPADL_BODY, 8 … 240 bytes; it is private memory
// (a copy). Longer than needed is fine: firmware pads. control.
void vmbus_gpadls_header(struct vmbus_gpadls *gpadls, const void *message, uint32_t bytes,
			 struct vmbus_gpadl_outcome *out);
void vmbus_gpadls_body(struct vmbus_gpadls *gpadls, const void *message, uint32_t bytes,
		       struct vmbus_gpadl_outcome *out);

// The guest has torn a complete GPADL down, or its channel is gone: key and pages are free again.
// Call it before free(). control.
void vmbus_gpadls_forget(struct vmbus_gpadls *gpadls, const struct vmbus_gpadl *gpadl);

// Drops every GPADL in the making of this channel (it was released). control.
void vmbus_gpadls_drop_pending(struct vmbus_gpadls *gpadls, uint32_t relid);

// The connection has ended: drops those in the making, forgets the complete ones. control.
void vmbus_gpadls_clear(struct vmbus_gpadls *gpadls);

// A GPADL in the making, to be looked at or saved.
struct vmbus_gpadl_pending {
	uint32_t relid, id;
	uint32_t n_ranges;
	uint32_t n_words, n_filled; // le64 of the stream, and how many of them have come
	const le64 *words;          // [n_filled]; valid until the next message
};

// The i-th one, 0 … ; false: there are fewer. control.
bool vmbus_gpadls_pending(const struct vmbus_gpadls *gpadls, uint32_t i,
			  struct vmbus_gpadl_pending *out);

// Puts a saved one back. Returns 0, -EINVAL (no guest could have made it so) or -ENOMEM. control.
int vmbus_gpadls_restore_pending(struct vmbus_gpadls *gpadls,
				 const struct vmbus_gpadl_pending *pending);

// Makes a complete one again from what was saved: all of *like but its runs' host addresses,
// which are looked up. Returns 0 and *out, which is the caller's; -EINVAL, -EFAULT (a run is not in
// memory any more), -ENOMEM. control.
int vmbus_gpadls_restore(struct vmbus_gpadls *gpadls, const struct vmbus_gpadl *like,
			 struct vmbus_gpadl **out);

// Runs being put together in runs[max]. All zeros but for runs and max: none yet.
struct vmbus_run_list {
	struct vmbus_run *runs;
	uint32_t n, max;
	uint32_t bytes; // of all of them
};

// Appends guest memory [gpa, gpa + bytes), which must lie in one region, merged with what it
// continues. Returns 0, -EFAULT (not all of it is writable memory), -ENOSPC (no run left) or
// -EINVAL (bytes 0, or over 2^32 - 1 in sum). After a failure the list is as it was. control.
int vmbus_runs_add(struct vmbus_run_list *list, const struct guest_memory *memory, uint64_t gpa,
		   uint32_t bytes);
