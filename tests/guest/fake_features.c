// SPDX-License-Identifier: Apache-2.0
// The fake driver's questions about the NIC, and what it turns on: offloads, sub-channels, RSS, the
// data path.
#include "tests/guest/fake_driver.h"

#include <errno.h>

#include "netvsp/ndis.h"
#include "netvsp/nvsp.h"

// Asks for a value of that size exactly.
static int query(struct fake_driver *driver, uint32_t oid, void *value, uint32_t bytes)
{
	uint32_t n = bytes, status;
	int ret = fake_driver_query(driver, oid, value, &n, &status);

	if (ret || n == bytes)
		return ret;
	fake_guest_complain(driver->guest, "OID %#x has %u bytes, not %u", oid, n, bytes);
	return -EREMOTEIO;
}

static int turn_offloads_on(struct fake_driver *driver)
{
	struct ndis_offload offload = { 0 };
	uint32_t bytes = sizeof(offload), status;
	struct ndis_offload_parameters parameters = {
		.object = { NDIS_OBJECT_DEFAULT, 3, cpu_to_le16(sizeof(parameters)) },
	};
	int ret = fake_driver_query(driver, NDIS_OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, &offload,
				    &bytes, &status);

	if (ret)
		return ret;
	if (offload.object.type != NDIS_OBJECT_OFFLOAD || offload.object.revision < 1 ||
	    bytes < NDIS_OFFLOAD_BYTES_1 || bytes > sizeof(offload) ||
	    le16_to_cpu(offload.object.bytes) != bytes) {
		fake_guest_complain(driver->guest, "offload capabilities of %u bytes", bytes);
		return -EREMOTEIO;
	}
	if (le32_to_cpu(offload.ipv4.tx) & NDIS_CHECKSUM_TCP)
		parameters.ipv4_csum = parameters.tcpv4_csum = NDIS_SET_CHECKSUM_BOTH;
	if (le32_to_cpu(offload.ipv4.tx) & NDIS_CHECKSUM_UDP)
		parameters.udpv4_csum = NDIS_SET_CHECKSUM_BOTH;
	if (le32_to_cpu(offload.ipv6.tx) & NDIS_CHECKSUM_TCP)
		parameters.tcpv6_csum = NDIS_SET_CHECKSUM_BOTH;
	if (le32_to_cpu(offload.ipv6.tx) & NDIS_CHECKSUM_UDP)
		parameters.udpv6_csum = NDIS_SET_CHECKSUM_BOTH;
	if (le32_to_cpu(offload.lso_v4_encapsulation) & NDIS_ENCAPSULATION_8023)
		parameters.lso_v4 = NDIS_SET_ON;
	if (le32_to_cpu(offload.lso_v6_encapsulation) & NDIS_ENCAPSULATION_8023)
		parameters.lso_v6 = NDIS_SET_ON;
	if (driver->cfg.capabilities & NVSP_CAPABILITY_RSC && offload.rsc_v4 && offload.rsc_v6)
		parameters.rsc_v4 = parameters.rsc_v6 = NDIS_SET_ON;
	return fake_driver_set(driver, NDIS_OID_TCP_OFFLOAD_PARAMETERS, &parameters,
			       sizeof(parameters), &status);
}

static int query_rss(struct fake_driver *driver)
{
	struct ndis_rss_capabilities caps;
	uint32_t bytes = sizeof(caps), status;
	int ret = fake_driver_query(driver, NDIS_OID_GEN_RECEIVE_SCALE_CAPABILITIES, &caps, &bytes,
				    &status);

	// DPDK's rules; Linux asks for less.
	if (!ret && (bytes < 16 || bytes > sizeof(caps) || !caps.n_queues ||
		     caps.object.type != NDIS_OBJECT_RSS_CAPABILITIES ||
		     caps.object.revision < 1 || le16_to_cpu(caps.n_entries) > 128)) {
		fake_guest_complain(driver->guest, "RSS capabilities of %u bytes", bytes);
		ret = -EREMOTEIO;
	}
	return ret;
}

int fake_driver_query_all(struct fake_driver *driver)
{
	uint8_t name[512];
	uint32_t frame, connected, speed, bytes = sizeof(name), status;
	int ret = query(driver, NDIS_OID_GEN_MAXIMUM_FRAME_SIZE, &frame, sizeof(frame));

	ret = ret ? ret : query(driver, NDIS_OID_802_3_PERMANENT_ADDRESS, driver->mac, 6);
	ret = ret ? ret : fake_driver_query(driver, NDIS_OID_GEN_FRIENDLY_NAME, name, &bytes,
					    &status);
	if (!ret && driver->nvsp_version >= NVSP_VERSION_2)
		ret = turn_offloads_on(driver);
	ret = ret ? ret : query(driver, NDIS_OID_GEN_MEDIA_CONNECT_STATUS, &connected, 4);
	ret = ret ? ret : query(driver, NDIS_OID_GEN_LINK_SPEED, &speed, sizeof(speed));
	if (!ret && driver->nvsp_version >= NVSP_VERSION_5)
		ret = query_rss(driver);
	return ret;
}

// --- sub-channels and RSS ----------------------------------------------------------------------

struct offer_wait {
	struct fake_driver *driver;
	uint16_t last;
};

static bool is_offered(void *arg)
{
	const struct offer_wait *wait = arg;

	return fake_guest_nic(wait->driver->guest, wait->driver->nic, wait->last) != NULL;
}

int fake_driver_add_subchannels(struct fake_driver *driver, uint32_t n)
{
	const struct nvsp_subchannel message = { cpu_to_le32(NVSP_SUBCHANNEL),
						 cpu_to_le32(NVSP_SUBCHANNEL_ALLOCATE),
						 cpu_to_le32(n) };
	struct offer_wait wait = { driver, 0 };
	uint32_t granted;
	int ret = fake_driver_nvsp(driver, &message, sizeof(message), true);

	if (ret)
		return ret;
	if (driver->completion_bytes < 12 || load_u32(driver->completion) != NVSP_SUBCHANNEL ||
	    load_u32(driver->completion + 4) != NVSP_STATUS_SUCCESS)
		return -EREMOTEIO;
	granted = load_u32(driver->completion + 8);
	if (granted > n || granted >= FAKE_MAX_CHANNELS) {
		fake_guest_complain(driver->guest, "%u sub-channels granted, not %u", granted, n);
		return -EREMOTEIO;
	}
	wait.last = (uint16_t)granted;
	if (granted)
		ret = fake_driver_wait(driver, is_offered, &wait);
	for (uint32_t i = 1; !ret && i <= granted; i++)
		ret = fake_driver_open_channel(driver, i);
	return ret ? ret : (int)granted;
}

int fake_driver_set_rss(struct fake_driver *driver, const uint32_t *table, uint32_t n)
{
	struct {
		struct ndis_rss_parameters head;
		uint32_t table[128];
		uint8_t key[NDIS_RSS_KEY_BYTES];
	} value = {
		.head = {
			.object = { NDIS_OBJECT_RSS_PARAMETERS, 2, cpu_to_le16(sizeof(value)) },
			.flags = cpu_to_le16(n ? 0 : NDIS_RSS_DISABLE),
			.hash = cpu_to_le32(NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_V4 |
					    NDIS_HASH_IPV6 | NDIS_HASH_TCP_V6),
			.table_bytes = cpu_to_le16(sizeof(value.table)),
			.table_offset = cpu_to_le32(sizeof(value.head)),
			.key_bytes = cpu_to_le16(sizeof(value.key)),
			.key_offset = cpu_to_le32(sizeof(value.head) + sizeof(value.table)),
		},
	};
	uint32_t status;

	for (uint32_t i = 0; n && i < ARRAY_SIZE(value.table); i++)
		value.table[i] = table[i % n];
	for (uint32_t i = 0; i < sizeof(value.key); i++)
		value.key[i] = (uint8_t)(0x6d + i * 0x35);
	return fake_driver_set(driver, NDIS_OID_GEN_RECEIVE_SCALE_PARAMETERS, &value, sizeof(value),
			       &status);
}

int fake_driver_switch_path(struct fake_driver *driver, bool vf)
{
	const struct nvsp_switch_data_path message = { cpu_to_le32(NVSP_SWITCH_DATA_PATH),
						       cpu_to_le32(vf ? NVSP_PATH_VF
								      : NVSP_PATH_SYNTHETIC) };

	return fake_driver_nvsp(driver, &message, sizeof(message), true);
}
