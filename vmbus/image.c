// SPDX-License-Identifier: Apache-2.0
#include "vmbus/image.h"

#include <errno.h>
#include <stdlib.h>

#define FNV_BASIS 0xcbf29ce484222325ull // FNV-1a, 64 bits
#define FNV_PRIME 0x100000001b3ull

struct header {
	le64 kind;
	le32 version;
	le32 reserved;
	le64 bytes;    // of the whole image
	le64 checksum; // of all bytes, this field being 0
};
static_assert(sizeof(struct header) == 32);

static uint64_t checksum(const struct header *header, const uint8_t *rest, size_t bytes)
{
	struct header h = *header;
	uint64_t sum = FNV_BASIS;

	h.checksum = cpu_to_le64(0);
	for (size_t i = 0; i < sizeof(h); i++)
		sum = (sum ^ ((const uint8_t *)&h)[i]) * FNV_PRIME;
	for (size_t i = 0; i < bytes; i++)
		sum = (sum ^ rest[i]) * FNV_PRIME;
	return sum;
}

void vmbus_image_put(struct vmbus_image_writer *writer, const void *from, size_t bytes)
{
	size_t size = writer->size ? writer->size : 4096;
	uint8_t *grown;

	if (writer->failed || bytes == 0)
		return;
	while (size - writer->used < bytes)
		size *= 2;
	if (size != writer->size) {
		grown = realloc(writer->bytes, size);
		if (!grown) {
			writer->failed = true;
			return;
		}
		writer->bytes = grown;
		writer->size = size;
	}
	memcpy(writer->bytes + writer->used, from, bytes);
	writer->used += bytes;
}

void vmbus_image_put_u32(struct vmbus_image_writer *writer, uint32_t value)
{
	le32 v = cpu_to_le32(value);

	vmbus_image_put(writer, &v, sizeof(v));
}

void vmbus_image_put_u64(struct vmbus_image_writer *writer, uint64_t value)
{
	le64 v = cpu_to_le64(value);

	vmbus_image_put(writer, &v, sizeof(v));
}

void vmbus_image_begin(struct vmbus_image_writer *writer, uint64_t kind, uint32_t version)
{
	struct header header = { .kind = cpu_to_le64(kind), .version = cpu_to_le32(version) };

	*writer = (struct vmbus_image_writer){};
	vmbus_image_put(writer, &header, sizeof(header));
}

int vmbus_image_end(struct vmbus_image_writer *writer, void **image, size_t *bytes)
{
	struct header header;

	if (writer->failed) {
		free(writer->bytes);
		return -ENOMEM;
	}
	memcpy(&header, writer->bytes, sizeof(header));
	header.bytes = cpu_to_le64(writer->used);
	header.checksum = cpu_to_le64(checksum(&header, writer->bytes + sizeof(header),
					       writer->used - sizeof(header)));
	memcpy(writer->bytes, &header, sizeof(header));
	*image = writer->bytes;
	*bytes = writer->used;
	return 0;
}

// --- reading -----------------------------------------------------------------------------------

int vmbus_image_open(struct vmbus_image_reader *reader, const void *image, size_t bytes,
		     uint64_t kind, uint32_t version)
{
	const uint8_t *rest = (const uint8_t *)image + sizeof(struct header);
	struct header header;

	if (bytes < sizeof(header))
		return -EINVAL;
	memcpy(&header, image, sizeof(header));
	if (le64_to_cpu(header.kind) != kind || le32_to_cpu(header.version) != version ||
	    le32_to_cpu(header.reserved) || le64_to_cpu(header.bytes) != bytes ||
	    le64_to_cpu(header.checksum) != checksum(&header, rest, bytes - sizeof(header)))
		return -EINVAL;
	*reader = (struct vmbus_image_reader){ rest, 0, bytes - sizeof(header), false };
	return 0;
}

const void *vmbus_image_skip(struct vmbus_image_reader *reader, size_t bytes)
{
	const void *at = reader->bytes + reader->used;

	if (reader->failed || reader->size - reader->used < bytes) {
		reader->failed = true;
		return NULL;
	}
	reader->used += bytes;
	return at;
}

void vmbus_image_get(struct vmbus_image_reader *reader, void *to, size_t bytes)
{
	const void *from = vmbus_image_skip(reader, bytes);

	if (from)
		memcpy(to, from, bytes);
	else
		memset(to, 0, bytes);
}

uint32_t vmbus_image_get_u32(struct vmbus_image_reader *reader)
{
	le32 v;

	vmbus_image_get(reader, &v, sizeof(v));
	return le32_to_cpu(v);
}

uint64_t vmbus_image_get_u64(struct vmbus_image_reader *reader)
{
	le64 v;

	vmbus_image_get(reader, &v, sizeof(v));
	return le64_to_cpu(v);
}

bool vmbus_image_is_done(const struct vmbus_image_reader *reader)
{
	return !reader->failed && reader->used == reader->size;
}
