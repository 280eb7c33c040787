// SPDX-License-Identifier: Apache-2.0
// The state of a partition as bytes: one function names the fields of each machine, and serves for
// saving and for loading. Control.
#pragma once

#include "base/types.h"

struct partition_image {
	bool is_loading;
	bool failed;    // out of memory; an image that is cut off or has values that cannot be
	uint8_t *bytes; // malloced when saving
	size_t n, at, size;
};

// Saves or loads one field of `bytes` bytes. Once an image has failed, nothing more happens.
void partition_image_bytes(struct partition_image *image, void *field, size_t bytes);

#define PARTITION_IMAGE(image, field) partition_image_bytes(image, &(field), sizeof(field))

// A block of bytes of a length that is saved with it: from *block when saving; into a new *block,
// which is the caller's, when loading.
void partition_image_block(struct partition_image *image, void **block, size_t *bytes);

// A mark between parts: loading fails where it does not stand.
void partition_image_mark(struct partition_image *image, uint32_t mark);
