// SPDX-License-Identifier: Apache-2.0
#include "partition/image.h"

#include <stdlib.h>

void partition_image_bytes(struct partition_image *image, void *field, size_t bytes)
{
	if (image->is_loading)
		vmbus_image_get(&image->reader, field, bytes);
	else
		vmbus_image_put(&image->writer, field, bytes);
}

void partition_image_block(struct partition_image *image, void **block, size_t *bytes)
{
	uint64_t n = *bytes;
	const void *there;

	PARTITION_IMAGE(image, n);
	if (!image->is_loading) {
		partition_image_bytes(image, *block, n);
		return;
	}
	there = vmbus_image_skip(&image->reader, n);
	*block = there ? malloc(n ? n : 1) : NULL;
	*bytes = *block ? n : 0;
	if (*block)
		memcpy(*block, there, n);
	else
		image->failed = true;
}

void partition_image_mark(struct partition_image *image, uint32_t mark)
{
	uint32_t stands = mark;

	PARTITION_IMAGE(image, stands);
	image->failed |= stands != mark;
}

bool partition_image_is_bad(const struct partition_image *image)
{
	return image->failed || (image->is_loading ? image->reader.failed : image->writer.failed);
}
