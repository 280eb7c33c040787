// SPDX-License-Identifier: Apache-2.0
// Receive side scaling as the guest configures it. control thread.
#include "netvsp/control_parts.h"

#define TABLE_ENTRIES 128 // DPDK takes no more; Linux takes its table's size from here
#define HASH_TYPES \
	(NDIS_HASH_IPV4 | NDIS_HASH_TCP_V4 | NDIS_HASH_IPV6 | NDIS_HASH_IPV6_EX | \
	 NDIS_HASH_TCP_V6 | NDIS_HASH_TCP_V6_EX | NDIS_HASH_UDP_V4 | NDIS_HASH_UDP_V6)

void netvsp_rss_capabilities(uint32_t n_channels, struct ndis_rss_capabilities *out)
{
	*out = (struct ndis_rss_capabilities){
		.object = { NDIS_OBJECT_RSS_CAPABILITIES, 2, cpu_to_le16(sizeof(*out)) },
		.flags = cpu_to_le32(NDIS_RSS_TOEPLITZ | NDIS_RSS_TCP_V4 | NDIS_RSS_TCP_V6),
		.n_messages = cpu_to_le32(1),
		.n_queues = cpu_to_le32(n_channels),
		.n_entries = cpu_to_le16(TABLE_ENTRIES),
	};
}

static bool is_hash_valid(uint32_t hash)
{
	return (hash & NDIS_HASH_FUNCTION_MASK) == NDIS_HASH_TOEPLITZ && hash & HASH_TYPES &&
	       !(hash & ~(HASH_TYPES | NDIS_HASH_FUNCTION_MASK));
}

bool netvsp_rss_is_valid(const struct netvsp_rss *rss, uint64_t channels)
{
	if (!is_hash_valid(rss->hash) || !rss->n_entries ||
	    rss->n_entries > NDIS_RSS_MAX_ENTRIES || rss->n_entries & (rss->n_entries - 1))
		return false;
	for (uint32_t i = 0; i < rss->n_entries; i++)
		if (rss->table[i] >= 64 || !(channels >> rss->table[i] & 1))
			return false;
	return true;
}

// The part of the value that `bytes` at `offset` name. Returns NULL if it is not all there.
static const uint8_t *find_part(const struct netvsp_info *info, le32 offset, uint32_t bytes)
{
	uint64_t begin = le32_to_cpu(offset);

	if (begin + bytes > info->bytes)
		return NULL;
	return info->data + begin;
}

// Entries beyond the table stay 0, so that equal tables are equal in memory.
static uint32_t parse_table(const struct netvsp_info *info, const struct ndis_rss_parameters *in,
			    struct netvsp_rss *rss)
{
	uint32_t bytes = le16_to_cpu(in->table_bytes);
	const uint8_t *table = find_part(info, in->table_offset, bytes);

	if (!table)
		return RNDIS_STATUS_INVALID_LENGTH;
	if (!bytes || bytes % 4 || bytes / 4 > NDIS_RSS_MAX_ENTRIES)
		return RNDIS_STATUS_INVALID_DATA;
	memset(rss->table, 0, sizeof(rss->table));
	rss->n_entries = bytes / 4;
	for (uint32_t i = 0; i < rss->n_entries; i++) {
		uint32_t channel = load_u32(table + 4 * (size_t)i);

		if (channel > UINT8_MAX)
			return RNDIS_STATUS_INVALID_DATA;
		rss->table[i] = (uint8_t)channel;
	}
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t parse_key(const struct netvsp_info *info, const struct ndis_rss_parameters *in,
			  struct netvsp_rss *rss)
{
	uint32_t bytes = le16_to_cpu(in->key_bytes);
	const uint8_t *key = find_part(info, in->key_offset, bytes);

	if (!key)
		return RNDIS_STATUS_INVALID_LENGTH;
	if (bytes != sizeof(rss->key))
		return RNDIS_STATUS_INVALID_DATA;
	memcpy(rss->key, key, sizeof(rss->key));
	return RNDIS_STATUS_SUCCESS;
}

uint32_t netvsp_rss_parse(const struct netvsp_info *info, uint64_t channels,
			  struct netvsp_rss *rss)
{
	struct ndis_rss_parameters in = {};
	struct netvsp_rss next = *rss;
	uint32_t flags, status = RNDIS_STATUS_SUCCESS;

	if (info->bytes < NDIS_RSS_PARAMETERS_MIN)
		return RNDIS_STATUS_INVALID_LENGTH;
	memcpy(&in, info->data, info->bytes < sizeof(in) ? info->bytes : sizeof(in));
	if (in.object.type != NDIS_OBJECT_RSS_PARAMETERS || !in.object.revision)
		return RNDIS_STATUS_INVALID_DATA;
	flags = le16_to_cpu(in.flags);
	if (!(flags & NDIS_RSS_KEEP_HASH))
		next.hash = le32_to_cpu(in.hash);
	if (flags & NDIS_RSS_DISABLE || (!(flags & NDIS_RSS_KEEP_HASH) && !next.hash)) {
		*rss = (struct netvsp_rss){};
		return RNDIS_STATUS_SUCCESS;
	}
	if (flags & (NDIS_RSS_KEEP_TABLE | NDIS_RSS_KEEP_KEY | NDIS_RSS_KEEP_HASH) && !rss->hash)
		return RNDIS_STATUS_INVALID_DATA; // there is nothing to keep
	if (!(flags & NDIS_RSS_KEEP_TABLE))
		status = parse_table(info, &in, &next);
	if (status == RNDIS_STATUS_SUCCESS && !(flags & NDIS_RSS_KEEP_KEY))
		status = parse_key(info, &in, &next);
	if (status == RNDIS_STATUS_SUCCESS && !netvsp_rss_is_valid(&next, channels))
		status = RNDIS_STATUS_INVALID_DATA;
	if (status == RNDIS_STATUS_SUCCESS)
		*rss = next;
	return status;
}
