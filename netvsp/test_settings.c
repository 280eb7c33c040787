// SPDX-License-Identifier: Apache-2.0
// Offloads and receive side scaling: what is offered, and what guests make of it.
#include "netvsp/test_control_rig.h"

#define LE(v) cpu_to_le32(v)

static int set_up(void **state)
{
	rig_set_up(state);
	rig_handshake(NVSP_VERSION_6_1);
	return 0;
}

// --- offloads ----------------------------------------------------------------------------------

static struct ndis_offload get_offload(uint32_t oid)
{
	struct ndis_offload offload = {};

	assert_int_equal(rig_query(oid, NULL, 0), RNDIS_STATUS_SUCCESS);
	assert_true(rig_value_bytes() <= sizeof(offload));
	memcpy(&offload, rig_value(), rig_value_bytes());
	assert_int_equal(offload.object.type, 0xa7);
	assert_int_equal(le16_to_cpu(offload.object.bytes), rig_value_bytes());
	return offload;
}

// What Linux and DPDK look for before they use an offload.
static void offers_offloads(void **state)
{
	struct ndis_offload o = get_offload(NDIS_OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES);

	assert_int_equal(le32_to_cpu(o.ipv4.tx), 0x155);
	assert_int_equal(le32_to_cpu(o.ipv4.rx), 0x155);
	assert_int_equal(le32_to_cpu(o.ipv6.tx), 0x55);
	assert_int_equal(le32_to_cpu(o.ipv6.rx), 0x55);
	assert_int_equal(le32_to_cpu(o.ipv4.tx_encapsulation), 2);
	assert_int_equal(le32_to_cpu(o.ipv6.rx_encapsulation), 2);
	assert_int_equal(le32_to_cpu(o.lso_v4_encapsulation), 2);
	assert_int_equal(le32_to_cpu(o.lso_v4_max_bytes), 62780);
	assert_int_equal(le32_to_cpu(o.lso_v4_min_segments), 2);
	assert_int_equal(le32_to_cpu(o.lso_v6_encapsulation), 2);
	assert_int_equal(le32_to_cpu(o.lso_v6_max_bytes), 62780);
	assert_int_equal(le32_to_cpu(o.lso_v6_options), 5);
	assert_int_equal(le32_to_cpu(o.lso_v1[0]), 0);
	assert_int_equal(o.rsc_v4 | o.rsc_v6, 0);
	assert_int_equal(o.object.revision, 3);
	assert_int_equal(rig_value_bytes(), 156);
}

static void offers_the_revision_asked_for(void **state)
{
	static const struct {
		uint32_t ndis_version;
		uint8_t type, asked;
		uint8_t revision;
		uint32_t bytes;
	} cases[] = {
		{ NDIS_VERSION(6, 0), 0xa7, 3, 1, 112 }, { NDIS_VERSION_6_1, 0xa7, 3, 2, 144 },
		{ NDIS_VERSION_6_30, 0xa7, 3, 3, 156 },	 { NDIS_VERSION_6_30, 0xa7, 2, 2, 144 },
		{ NDIS_VERSION_6_30, 0xa7, 1, 1, 112 },	 { NDIS_VERSION_6_30, 0xa7, 0, 3, 156 },
		{ NDIS_VERSION_6_30, 0xa7, 9, 3, 156 },	 { NDIS_VERSION_6_30, 0x80, 1, 3, 156 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ndis_object asked = { cases[i].type, cases[i].asked, cpu_to_le16(156) };

		rig.control.agreed.ndis_version = cases[i].ndis_version;
		assert_int_equal(rig_query(NDIS_OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, &asked,
					   sizeof(asked)),
				 0);
		assert_int_equal(rig_value_bytes(), cases[i].bytes);
		assert_int_equal(rig_value()[1], cases[i].revision);
		assert_int_equal(load_u16(rig_value() + 2), cases[i].bytes);
	}
}

#define DEFAULTS \
	(NETVSP_TX_IPV4 | NETVSP_TX_TCPV4 | NETVSP_TX_UDPV4 | NETVSP_TX_TCPV6 | NETVSP_TX_UDPV6 | \
	 NETVSP_LSO_V4 | NETVSP_LSO_V6)
#define RX \
	(NETVSP_RX_IPV4 | NETVSP_RX_TCPV4 | NETVSP_RX_UDPV4 | NETVSP_RX_TCPV6 | NETVSP_RX_UDPV6)
#define BAD_DATA RNDIS_STATUS_INVALID_DATA
#define BAD_LENGTH RNDIS_STATUS_INVALID_LENGTH

static void sets_offloads(void **state)
{
	static const struct {
		const char *name;
		uint32_t bytes, says; // of the value, and what its header says
		uint8_t type, revision;
		uint8_t set[20]; // from ipv4_csum on
		uint32_t status, offloads;
	} cases[] = {
		{ "nothing", 28, 28, 0x80, 3, {}, 0, DEFAULTS },
		{ "Linux, all on", 28, 28, 0x80, 3, { 4, 4, 4, 4, 4, 0, 0, 2, 2 }, 0,
		  DEFAULTS | RX },
		{ "22 bytes", 22, 22, 0x80, 3, { 4, 4, 0, 4, 0, 0, 0, 2, 2 }, 0,
		  DEFAULTS | NETVSP_RX_IPV4 | NETVSP_RX_TCPV4 | NETVSP_RX_TCPV6 },
		{ "20 bytes", 20, 20, 0x80, 1, { [7] = 1 }, 0, DEFAULTS & ~NETVSP_LSO_V4 },
		{ "24 bytes", 24, 24, 0x80, 2, { [8] = 1 }, 0, DEFAULTS & ~NETVSP_LSO_V6 },
		{ "all off", 28, 28, 0x80, 3, { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, 0, 0 },
		{ "received only", 28, 28, 0x80, 3, { 3, 3, 3, 3, 3, 0, 0, 1, 1 }, 0, RX },
		{ "sent only", 28, 28, 0x80, 3, { 2, 2, 2, 2, 2 }, 0, DEFAULTS },
		{ "what there is not", 28, 28, 0x80, 3, { [5] = 2, [6] = 2, [18] = 2, [19] = 2 }, 0,
		  DEFAULTS },
		{ "longer than known", 40, 40, 0x80, 5, { [7] = 1 }, 0, DEFAULTS & ~NETVSP_LSO_V4 },
		{ "beyond its own end", 28, 20, 0x80, 3, { [7] = 1, [18] = 9 }, 0,
		  DEFAULTS & ~NETVSP_LSO_V4 },
		{ "checksum 5", 28, 28, 0x80, 3, { [1] = 5 }, BAD_DATA, DEFAULTS },
		{ "LSO 3", 28, 28, 0x80, 3, { 1, [8] = 3 }, BAD_DATA, DEFAULTS },
		{ "RSC 3", 28, 28, 0x80, 3, { 1, [18] = 3 }, BAD_DATA, DEFAULTS },
		{ "other object", 28, 28, 0xa7, 3, { 1 }, BAD_DATA, DEFAULTS },
		{ "revision 0", 28, 28, 0x80, 0, { 1 }, BAD_DATA, DEFAULTS },
		{ "too short", 19, 19, 0x80, 3, { 1 }, BAD_LENGTH, DEFAULTS },
		{ "says too little", 28, 19, 0x80, 3, { 1 }, BAD_LENGTH, DEFAULTS },
		{ "says too much", 28, 29, 0x80, 3, { 1 }, BAD_LENGTH, DEFAULTS },
		{ "empty", 0, 0, 0x80, 3, {}, BAD_LENGTH, DEFAULTS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t value[64] = { cases[i].type, cases[i].revision, (uint8_t)cases[i].says };

		print_message("%s\n", cases[i].name);
		memcpy(value + 4, cases[i].set, sizeof(cases[i].set));
		rig_initialize(); // defaults
		assert_int_equal(rig.control.agreed.offloads, DEFAULTS);
		assert_int_equal(rig_set(NDIS_OID_TCP_OFFLOAD_PARAMETERS, value, cases[i].bytes),
				 cases[i].status);
		assert_int_equal(rig.control.agreed.offloads, cases[i].offloads);
		// It is what the guest is told then: at once, by a notice, and when it asks.
		assert_int_equal(rig_notice(1), cases[i].status == 0);
		if (cases[i].status == 0) {
			assert_int_equal(load_u32(rig.notice.data + 8),
					 RNDIS_INDICATE_OFFLOAD_CONFIG);
			assert_int_equal(load_u32(rig.notice.data + 12), 156);
			assert_int_equal(load_u32(rig.notice.data + 16), 12);
			netvsp_control_told(&rig.control);
			get_offload(NDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG);
			assert_memory_equal(rig_value(), rig.notice.data + 20, 156);
		}
	}
}

static void tells_current_offloads(void **state)
{
	uint8_t off[28] = { 0x80, 3, 28, 0, 1, 4, 1, 1, 3, 0, 0, 1, 2 };
	struct ndis_offload o;

	assert_int_equal(rig_set(NDIS_OID_TCP_OFFLOAD_PARAMETERS, off, sizeof(off)), 0);
	o = get_offload(NDIS_OID_TCP_OFFLOAD_CURRENT_CONFIG);
	assert_int_equal(le32_to_cpu(o.ipv4.tx), 0x15);
	assert_int_equal(le32_to_cpu(o.ipv4.rx), 0x15);
	assert_int_equal(le32_to_cpu(o.ipv6.tx), 0);
	assert_int_equal(le32_to_cpu(o.ipv6.tx_encapsulation), 0);
	assert_int_equal(le32_to_cpu(o.ipv6.rx), 0x41);
	assert_int_equal(le32_to_cpu(o.lso_v4_encapsulation), 0);
	assert_int_equal(le32_to_cpu(o.lso_v6_encapsulation), 2);
}

// Only with the host's leave, protocol 6.1 and the guest's capability.
static void offers_rsc(void **state)
{
	uint8_t on[28] = { 0x80, 3, 28, 0, [22] = 2, [23] = 2 };

	for (int i = 0; i < 4; i++) {
		bool has = i == 0;
		struct ndis_offload o;

		rig.config.rsc = i != 1;
		rig_open();
		rig_handshake(i == 2 ? NVSP_VERSION_6 : NVSP_VERSION_6_1);
		if (i == 3)
			rig.control.agreed.capabilities &= ~(uint64_t)NVSP_CAPABILITY_RSC;
		o = get_offload(NDIS_OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES);
		assert_int_equal(o.rsc_v4, has);
		assert_int_equal(o.rsc_v6, has);
		assert_int_equal(rig_set(NDIS_OID_TCP_OFFLOAD_PARAMETERS, on, sizeof(on)), 0);
		assert_int_equal(rig.control.agreed.offloads,
				 DEFAULTS | (has ? NETVSP_RSC_V4 | NETVSP_RSC_V6 : 0));
	}
}

static void takes_encapsulation(void **state)
{
	struct ndis_offload_encapsulation e;

	assert_int_equal(rig_query(NDIS_OID_OFFLOAD_ENCAPSULATION, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 28);
	memcpy(&e, rig_value(), sizeof(e));
	assert_int_equal(e.object.type, 0xa8);
	assert_int_equal(le32_to_cpu(e.v4_encapsulation), 2);
	assert_int_equal(le32_to_cpu(e.v6_header_bytes), 14);
	assert_int_equal(rig_set(NDIS_OID_OFFLOAD_ENCAPSULATION, &e, sizeof(e)), 0);
	assert_int_equal(rig_set(NDIS_OID_OFFLOAD_ENCAPSULATION, &e, sizeof(e) - 1), BAD_LENGTH);
	e.object.type = 0x80;
	assert_int_equal(rig_set(NDIS_OID_OFFLOAD_ENCAPSULATION, &e, sizeof(e)), BAD_DATA);
}

// --- RSS ---------------------------------------------------------------------------------------

static void offers_rss(void **state)
{
	struct ndis_rss_capabilities caps;

	assert_int_equal(rig_query(NDIS_OID_GEN_RECEIVE_SCALE_CAPABILITIES, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 18); // DPDK takes no more
	memcpy(&caps, rig_value(), sizeof(caps));
	assert_int_equal(caps.object.type, 0x88);
	assert_int_equal(caps.object.revision, 2);
	assert_int_equal(le16_to_cpu(caps.object.bytes), 18);
	assert_int_equal(le32_to_cpu(caps.flags), 0x301);
	assert_int_equal(le32_to_cpu(caps.n_messages), 1);
	assert_int_equal(le32_to_cpu(caps.n_queues), 4);
	assert_int_equal(le16_to_cpu(caps.n_entries), 128);
	rig.control.agreed.ndis_version = NDIS_VERSION(6, 20);
	assert_int_equal(rig_query(NDIS_OID_GEN_RECEIVE_SCALE_CAPABILITIES, NULL, 0),
			 RNDIS_STATUS_BAD_VERSION);
}

static void sets_rss(void **state)
{
	uint32_t table[256];

	rig_subchannels(3);
	for (uint32_t i = 0; i < 256; i++)
		table[i] = 3 - i % 4;
	for (uint32_t n = 1; n <= 256; n *= 2) {
		assert_int_equal(rig_set_rss(0, 0x1701, table, n), RNDIS_STATUS_SUCCESS);
		assert_int_equal(rig.control.agreed.rss.hash, 0x1701);
		assert_int_equal(rig.control.agreed.rss.n_entries, n);
		assert_int_equal(rig.control.agreed.rss.key[39], 0x6d + 39);
		for (uint32_t i = 0; i < 256; i++)
			assert_int_equal(rig.control.agreed.rss.table[i], i < n ? table[i] : 0);
	}
	// Channel 0 may have no share.
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 1, 2 }, 2), RNDIS_STATUS_SUCCESS);
	for (uint32_t i = 2; i < 256; i++)
		assert_int_equal(rig.control.agreed.rss.table[i], 0);
	// Parts may be kept.
	assert_int_equal(rig_set_rss(NDIS_RSS_KEEP_TABLE | NDIS_RSS_KEEP_KEY, 0x301, NULL, 0), 0);
	assert_int_equal(rig.control.agreed.rss.hash, 0x301);
	assert_int_equal(rig.control.agreed.rss.n_entries, 2);
	assert_int_equal(rig_set_rss(NDIS_RSS_KEEP_HASH, 0x7777, table, 4), 0);
	assert_int_equal(rig.control.agreed.rss.hash, 0x301);
	assert_int_equal(rig.control.agreed.rss.n_entries, 4);
}

static void refuses_rss(void **state)
{
	static const struct {
		const char *name;
		uint16_t flags;
		uint32_t hash, n;
		uint32_t table[4]; // the rest is 0
	} cases[] = {
		{ "empty table", 0, 0x1701, 0, {} },
		{ "not a power of two", 0, 0x1701, 3, {} },
		{ "too many", 0, 0x1701, 512, {} },
		{ "no such channel", 0, 0x1701, 4, { 0, 1, 2, 3 } },
		{ "no channel at all", 0, 0x1701, 2, { 64, 64 } },
		{ "beyond a byte", 0, 0x1701, 2, { 0, 256 } },
		{ "negative", 0, 0x1701, 2, { 0, 0xffffffff } },
		{ "no function", 0, 0x1700, 2, {} },
		{ "other function", 0, 0x1702, 2, {} },
		{ "no type", 0, 0x0001, 2, {} },
		{ "unknown type", 0, 0x80001701, 2, {} },
		{ "keeps a table", NDIS_RSS_KEEP_TABLE, 0x1701, 2, {} },
		{ "keeps a key", NDIS_RSS_KEEP_KEY, 0x1701, 2, {} },
		{ "keeps a hash", NDIS_RSS_KEEP_HASH, 0x1701, 2, {} },
	};

	rig_subchannels(2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t table[512] = {};

		print_message("%s\n", cases[i].name);
		memcpy(table, cases[i].table, sizeof(cases[i].table));
		assert_int_equal(rig_set_rss(cases[i].flags, cases[i].hash, table, cases[i].n),
				 BAD_DATA);
		assert_int_equal(rig.control.agreed.rss.hash, 0);
	}
}

// Not all that were granted are open: entries name open ones only.
static void names_open_channels_only(void **state)
{
	rig_subchannels(3);
	netvsp_control_set_open(&rig.control, 0xd);
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 2, 1 }, 2), BAD_DATA);
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 2, 3 }, 2), RNDIS_STATUS_SUCCESS);
}

static void checks_rss_lengths(void **state)
{
	static const struct {
		uint32_t bytes;
		uint16_t table_bytes;
		uint32_t table_at;
		uint16_t key_bytes;
		uint32_t key_at, status;
	} cases[] = {
		{ 84, 4, 40, 40, 44, RNDIS_STATUS_SUCCESS },
		{ 84, 4, 80, 40, 40, RNDIS_STATUS_SUCCESS },
		{ 27, 4, 40, 40, 44, BAD_LENGTH },
		{ 83, 4, 40, 40, 44, BAD_LENGTH },
		{ 84, 4, 81, 40, 40, BAD_LENGTH },
		{ 84, 4, 0xfffffffc, 40, 44, BAD_LENGTH },
		{ 84, 4, 40, 40, 0xffffffff, BAD_LENGTH },
		{ 84, 0xffff, 40, 40, 44, BAD_LENGTH },
		{ 84, 5, 40, 40, 44, BAD_DATA },
		{ 84, 4, 40, 39, 44, BAD_DATA },
		{ 85, 4, 40, 41, 44, BAD_DATA },
		{ 84, 4, 40, 0, 44, BAD_DATA },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t value[96] = {};
		struct ndis_rss_parameters head = {
			.object = { 0x89, 2, cpu_to_le16(40) },
			.hash = LE(0x1701),
			.table_bytes = cpu_to_le16(cases[i].table_bytes),
			.table_offset = LE(cases[i].table_at),
			.key_bytes = cpu_to_le16(cases[i].key_bytes),
			.key_offset = LE(cases[i].key_at),
		};

		memcpy(value, &head, sizeof(head));
		assert_int_equal(rig_set(NDIS_OID_GEN_RECEIVE_SCALE_PARAMETERS, value,
					 cases[i].bytes),
				 cases[i].status);
	}
}

// Turning off what is off is nobody's business; the rest is.
static void says_when_rss_changed(void **state)
{
	struct {
		struct rndis_oid_request head;
		struct ndis_rss_parameters rss;
	} disable = {
		.head = { .request = { { LE(RNDIS_SET), LE(sizeof(disable)) }, LE(1) },
			  .oid = LE(NDIS_OID_GEN_RECEIVE_SCALE_PARAMETERS),
			  .info_bytes = LE(sizeof(disable.rss)),
			  .info_offset = LE(20) },
		.rss = { .object = { 0x89, 2, cpu_to_le16(40) },
			 .flags = cpu_to_le16(NDIS_RSS_DISABLE) },
	};

	assert_int_equal(rig_rndis(&disable, sizeof(disable)), 0);
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 0 }, 1), RNDIS_STATUS_SUCCESS);
	assert_int_equal(rig_rndis(&disable, sizeof(disable)), NETVSP_SET_RSS);
	assert_int_equal(rig.control.agreed.rss.hash, 0);
	assert_int_equal(rig.control.agreed.rss.n_entries, 0);
	assert_int_equal(rig_rndis(&disable, sizeof(disable)), 0);
	// No hash is off as well.
	assert_int_equal(rig_set_rss(0, 0x1701, (uint32_t[]){ 0 }, 1), RNDIS_STATUS_SUCCESS);
	disable.rss.flags = cpu_to_le16(0);
	assert_int_equal(rig_rndis(&disable, sizeof(disable)), NETVSP_SET_RSS);
	assert_int_equal(rig.control.agreed.rss.hash, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(offers_offloads, set_up),
		cmocka_unit_test_setup(offers_the_revision_asked_for, set_up),
		cmocka_unit_test_setup(sets_offloads, set_up),
		cmocka_unit_test_setup(tells_current_offloads, set_up),
		cmocka_unit_test_setup(offers_rsc, set_up),
		cmocka_unit_test_setup(takes_encapsulation, set_up),
		cmocka_unit_test_setup(offers_rss, set_up),
		cmocka_unit_test_setup(sets_rss, set_up),
		cmocka_unit_test_setup(refuses_rss, set_up),
		cmocka_unit_test_setup(names_open_channels_only, set_up),
		cmocka_unit_test_setup(checks_rss_lengths, set_up),
		cmocka_unit_test_setup(says_when_rss_changed, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
