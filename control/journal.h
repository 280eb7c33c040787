// SPDX-License-Identifier: Apache-2.0
// The bytes of the store: checksummed groups, one after the other. A group is either there whole
// or it is not there. Pure functions on memory, any thread; store.c has the files.
//
// A group: "WEFT", length of the body (le32), sequence number (le64), CRC-32C over length,
// sequence and body (le32), body, '\n'. The body is a JSON text (see store.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#define JOURNAL_HEADER_BYTES 20
#define JOURNAL_MAX_BODY (256u << 20) // bytes

// Makes the bytes of one group from body[len]. Returns malloc'ed memory and its *size, or NULL.
void *journal_build(uint64_t seq, const char *body, size_t len, size_t *size);

struct journal_group {
	uint64_t seq;
	const char *body; // inside the buffer, not NUL-ended
	size_t len;       // of the body
	size_t end;       // offset behind the group
};

// Reads the group that starts at `offset` of buf[size]. Returns 1 and *group, 0 at the exact end
// of the buffer, -EBADMSG if what is there is cut short or damaged.
int journal_read(const void *buf, size_t size, size_t offset, struct journal_group *group);

// CRC-32C (Castagnoli) of data[len], continued from `crc` (0 to start).
uint32_t journal_crc32c(uint32_t crc, const void *data, size_t len);
