// SPDX-License-Identifier: Apache-2.0
// Memory of another process mapped here: a guest's regions, the state memory, dirty bitmaps.
//
// Its owner may shorten the file under us; the next touch of the hole raises SIGBUS. A handler then
// puts zero pages in its place, marks that guest dead and lets the thread go on: nobody else
// suffers (docs/vmbus-user.md, section 4). Only memory that never waits for a disk or for a
// process is taken: memfd, tmpfs, hugetlbfs.
// Control maps and unmaps; any thread may touch what is mapped.
#pragma once

#include "base/err.h"
#include "base/types.h"

// What is to be mapped.
struct vmbus_mapping_cfg {
	int fd;               // stays the caller's; may be closed afterwards
	uint64_t offset, bytes;
	bool read_only;
	bool sealed; // the file must have exactly offset + bytes and be sealed against both changes
	bool *dead;  // set to true by the signal handler, atomically; outlives the mapping
};

// All zeros: nothing is mapped.
struct vmbus_mapping {
	uint8_t *at;
	uint64_t bytes; // as asked for
	uint64_t room;  // as mapped: a whole number of the file's pages
	struct vmbus_mapping_entry *entry;
};

// Installs the handler, for the life of the process, or puts it back where somebody else's stands.
// Returns 0 or -errno. control, before the first mapping.
int vmbus_mapping_install(void);

// Maps it, shared. Returns 0 and *mapping, or with a sentence -EINVAL (not a file, alignment, too
// short), -EPERM (not sealed, or not of that size), -EACCES (its rights), -ENODEV (memory of a kind
// that may wait), -ENOMEM. control.
int vmbus_mapping_init(struct vmbus_mapping *mapping, const struct vmbus_mapping_cfg *cfg,
		       struct err *err);

// Unmaps it; nobody looks at it any more. All zeros are fine, and stand there afterwards. control.
void vmbus_mapping_fini(struct vmbus_mapping *mapping);
