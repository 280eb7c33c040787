// SPDX-License-Identifier: Apache-2.0
#include "control/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"

// Offsets in a group.
enum { AT_MAGIC = 0, AT_LENGTH = 4, AT_SEQ = 8, AT_CRC = 16, AT_BODY = JOURNAL_HEADER_BYTES };

static const char magic[4] = { 'W', 'E', 'F', 'T' };

uint32_t journal_crc32c(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; len >= 8; len -= 8, p += 8)
		crc = (uint32_t)__builtin_ia32_crc32di(crc, load_u64(p));
	for (; len; len--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return ~crc;
}

static uint32_t group_crc(const uint8_t *group, size_t body_len)
{
	uint32_t crc = journal_crc32c(0, group + AT_LENGTH, AT_CRC - AT_LENGTH);

	return journal_crc32c(crc, group + AT_BODY, body_len);
}

void *journal_build(uint64_t seq, const char *body, size_t len, size_t *size)
{
	uint8_t *group;
	uint32_t length = (uint32_t)len;

	if (len > JOURNAL_MAX_BODY)
		return NULL;
	group = malloc(AT_BODY + len + 1);
	if (!group)
		return NULL;
	memcpy(group, magic, sizeof(magic));
	store_u32(group + AT_LENGTH, length);
	memcpy(group + AT_SEQ, &seq, sizeof(seq));
	memcpy(group + AT_BODY, body, len);
	group[AT_BODY + len] = '\n';
	store_u32(group + AT_CRC, group_crc(group, len));
	*size = AT_BODY + len + 1;
	return group;
}

int journal_read(const void *buf, size_t size, size_t offset, struct journal_group *group)
{
	const uint8_t *p = (const uint8_t *)buf + offset;
	size_t left = size - offset, len;

	if (!left)
		return 0;
	if (left < AT_BODY + 1 || memcmp(p, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	len = load_u32(p + AT_LENGTH);
	if (len > JOURNAL_MAX_BODY || len > left - AT_BODY - 1)
		return -EBADMSG;
	if (p[AT_BODY + len] != '\n' || load_u32(p + AT_CRC) != group_crc(p, len))
		return -EBADMSG;
	*group = (struct journal_group){ .seq = load_u64(p + AT_SEQ),
					 .body = (const char *)p + AT_BODY,
					 .len = len,
					 .end = offset + AT_BODY + len + 1 };
	return 1;
}
