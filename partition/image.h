// SPDX-License-Identifier: Apache-2.0
// The state of a partition as bytes: one function names the fields of a machine, and serves for
// saving and for loading. Control.
#pragma once

#include "vmbus/image.h"

struct partition_image {
	bool is_loading;
	bool failed; // loading: a value that cannot be, or KVM refused it
	struct vmbus_image_writer writer;
	struct vmbus_image_reader reader;
};

// Saves or loads one field of `bytes` bytes. What is not there any more loads as zeros.
void partition_image_bytes(struct partition_image *image, void *field, size_t bytes);

#define PARTITION_IMAGE(image, field) partition_image_bytes(image, &(field), sizeof(field))

// A block of bytes with its length: *block when saving; when loading, a new *block, which is the
// caller's, or NULL.
void partition_image_block(struct partition_image *image, void **block, size_t *bytes);

// A mark between parts: loading fails where it does not stand.
void partition_image_mark(struct partition_image *image, uint32_t mark);

// Has anything failed up to here?
bool partition_image_is_bad(const struct partition_image *image);
