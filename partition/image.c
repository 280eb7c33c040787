// SPDX-License-Identifier: Apache-2.0
#include "partition/image.h"

#include <stdlib.h>

#define MAX_BLOCK (64u << 20) // what a device may keep

static bool make_room(struct partition_image *image, size_t bytes)
{
	size_t size = image->size ? image->size : 65536;
	uint8_t *grown;

	while (size - image->n < bytes)
		size *= 2;
	if (size == image->size)
		return true;
	grown = realloc(image->bytes, size);
	if (!grown)
		return false;
	image->bytes = grown;
	image->size = size;
	return true;
}

void partition_image_bytes(struct partition_image *image, void *field, size_t bytes)
{
	if (image->failed)
		return;
	if (image->is_loading) {
		image->failed = image->n - image->at < bytes;
		if (image->failed)
			return;
		memcpy(field, image->bytes + image->at, bytes);
		image->at += bytes;
		return;
	}
	image->failed = !make_room(image, bytes);
	if (image->failed)
		return;
	memcpy(image->bytes + image->n, field, bytes);
	image->n += bytes;
}

void partition_image_block(struct partition_image *image, void **block, size_t *bytes)
{
	uint64_t n = *bytes;

	PARTITION_IMAGE(image, n);
	if (image->is_loading && !image->failed) {
		*block = NULL;
		image->failed = n > MAX_BLOCK || n > image->n - image->at;
		if (!image->failed)
			*block = malloc(n ? n : 1);
		image->failed |= !*block;
		*bytes = n;
	}
	if (!image->failed)
		partition_image_bytes(image, *block, n);
}

void partition_image_mark(struct partition_image *image, uint32_t mark)
{
	uint32_t stands = mark;

	PARTITION_IMAGE(image, stands);
	image->failed |= stands != mark;
}
