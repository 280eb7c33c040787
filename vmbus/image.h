// SPDX-License-Identifier: Apache-2.0
// Saved states as bytes: a header with kind, version, length and checksum, then numbers, little
// endian. Writers grow their memory; readers cannot leave it. A failure sticks: check once, at the
// end. Any thread.
#pragma once

#include "base/types.h"

struct vmbus_image_writer {
	uint8_t *bytes; // of malloc
	size_t used, size;
	bool failed; // out of memory
};

// Starts an image. kind: a magic number; version: of what follows.
void vmbus_image_begin(struct vmbus_image_writer *writer, uint64_t kind, uint32_t version);
void vmbus_image_put_u32(struct vmbus_image_writer *writer, uint32_t value);
void vmbus_image_put_u64(struct vmbus_image_writer *writer, uint64_t value);
void vmbus_image_put(struct vmbus_image_writer *writer, const void *from, size_t bytes);

// Completes header and checksum: the image is *image, the caller's. Returns 0 or -ENOMEM.
int vmbus_image_end(struct vmbus_image_writer *writer, void **image, size_t *bytes);

struct vmbus_image_reader {
	const uint8_t *bytes; // borrowed
	size_t used, size;
	bool failed; // it ended too early; zeros are read from there on
};

// Returns 0, or -EINVAL: not an image of this kind and version, cut, or changed.
int vmbus_image_open(struct vmbus_image_reader *reader, const void *image, size_t bytes,
		     uint64_t kind, uint32_t version);
uint32_t vmbus_image_get_u32(struct vmbus_image_reader *reader);
uint64_t vmbus_image_get_u64(struct vmbus_image_reader *reader);
void vmbus_image_get(struct vmbus_image_reader *reader, void *to, size_t bytes);

// Bytes that follow and are not copied, or NULL.
const void *vmbus_image_skip(struct vmbus_image_reader *reader, size_t bytes);

// Is all read, and nothing was missing?
bool vmbus_image_is_done(const struct vmbus_image_reader *reader);
