// SPDX-License-Identifier: Apache-2.0
// RNDIS control messages, and every object that a guest may query or set.
#include "netvsp/test_control_rig.h"

#define LE(v) cpu_to_le32(v)

static int set_up(void **state)
{
	rig_set_up(state);
	rig_handshake(NVSP_VERSION_6_1);
	return 0;
}

// --- values ------------------------------------------------------------------------------------

static void answers_numbers(void **state)
{
	static const struct {
		uint32_t oid, value;
	} cases[] = {
		{ 0x00010102, 0 },	    { 0x00010103, 0 },	  { 0x00010104, 0 },
		{ 0x00010105, 1500 },	    { 0x00010106, 1500 }, { 0x00010107, 100000000 },
		{ 0x00010108, 262144 },	    { 0x00010109, 262144 }, { 0x0001010a, 1514 },
		{ 0x0001010b, 1514 },	    { 0x0001010c, 0x155d }, { 0x0001010e, 0x2d },
		{ 0x0001010f, 1500 },	    { 0x00010111, 1514 }, { 0x00010113, 0x24d },
		{ 0x00010114, 0 },	    { 0x00010115, 0xffffffff }, { 0x01010104, 0 },
		{ 0x01020101, 0 },	    { 0x01020102, 0 },	  { 0x01020103, 0 },
	};

	assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 0x2d }, 4), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(rig_query_u32(cases[i].oid), cases[i].value);
}

static void answers_link(void **state)
{
	struct ndis_link_state link;

	netvsp_control_set_link(&rig.control, false, 100000000000000ull);
	assert_int_equal(rig_query_u32(NDIS_OID_GEN_MEDIA_CONNECT_STATUS), 1);
	assert_int_equal(rig_query_u32(NDIS_OID_GEN_LINK_SPEED), 0xffffffff); // 42 bits
	assert_int_equal(rig_query(NDIS_OID_GEN_LINK_STATE, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 40);
	memcpy(&link, rig_value(), sizeof(link));
	assert_int_equal(link.object.type, 0x80);
	assert_int_equal(link.object.revision, 1);
	assert_int_equal(le16_to_cpu(link.object.bytes), 40);
	assert_int_equal(le32_to_cpu(link.connect), NDIS_LINK_DOWN);
	assert_int_equal(le64_to_cpu(link.tx_speed), 100000000000000ull);
	assert_int_equal(rig_query(NDIS_OID_GEN_MAX_LINK_SPEED, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 16);
	assert_int_equal(load_u64(rig_value() + 8), 100000000000000ull);
}

static void answers_with_text_and_addresses(void **state)
{
	static const struct {
		const char *name;
		const uint16_t units[6];
	} names[] = { { "a", { 'a' } },
		      { "é€", { 0xe9, 0x20ac } },
		      { "\xf0\x9f\x98\x80", { 0xd83d, 0xde00 } },
		      { "\xff\xc3(\xe2\x82", { '?', '?', '(', '?', '?' } } };
	char endless[2000];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		rig.config.name = names[i].name;
		rig_open();
		rig_handshake(NVSP_VERSION_6_1);
		assert_int_equal(rig_query(NDIS_OID_GEN_FRIENDLY_NAME, NULL, 0), 0);
		assert_int_equal(rig_value_bytes(), 512);
		assert_memory_equal(rig_value(), names[i].units, sizeof(names[i].units));
	}
	memset(endless, 'x', sizeof(endless));
	endless[sizeof(endless) - 1] = '\0';
	rig.config.name = endless;
	rig_open();
	rig_handshake(NVSP_VERSION_6_1);
	assert_int_equal(rig_query(NDIS_OID_GEN_FRIENDLY_NAME, NULL, 0), 0);
	assert_int_equal(load_u16(rig_value() + 510), 0); // it ends
	assert_int_equal(rig_query(NDIS_OID_GEN_VENDOR_DESCRIPTION, NULL, 0), 0);
	assert_int_equal(rig_value()[rig_value_bytes() - 1], 0);
	assert_int_equal(rig_query(NDIS_OID_GEN_DRIVER_VERSION, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 2);
	assert_int_equal(load_u16(rig_value()), 0x0100);
	assert_int_equal(rig_query(NDIS_OID_802_3_CURRENT_ADDRESS, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), 6);
	assert_memory_equal(rig_value(), &rig.config.mac, 6);
}

static const struct netvsp_totals some_totals = {
	.in = { 1, 2, 3, 1ull << 40, 20, 30, 7, 8 },
	.out = { 4, 5, 6, 400, 500, 600, 9, 10 },
};

static void answers_statistics(void **state)
{
	static const struct {
		uint32_t oid;
		uint64_t value;
	} cases[] = {
		{ 0x00020101, 15 },   { 0x00020102, 6 },  { 0x00020103, 9 },
		{ 0x00020104, 7 },    { 0x00020105, 8 },  { 0x00020201, 400 },
		{ 0x00020202, 4 },    { 0x00020203, 500 }, { 0x00020204, 5 },
		{ 0x00020205, 600 },  { 0x00020206, 6 },  { 0x00020207, 1ull << 40 },
		{ 0x00020208, 1 },    { 0x00020209, 20 }, { 0x0002020a, 2 },
		{ 0x0002020b, 30 },   { 0x0002020c, 3 },  { 0x00020219, (1ull << 40) + 50 },
		{ 0x0002021a, 1500 }, { 0x0002021b, 8 },  { 0x0002021c, 10 },
	};
	struct ndis_statistics all;

	rig.totals = some_totals;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(rig_query(cases[i].oid, NULL, 0), 0);
		assert_int_equal(rig_value_bytes(), 8);
		assert_int_equal(load_u64(rig_value()), cases[i].value);
		// Room for a short number: the low half.
		assert_int_equal(rig_query(cases[i].oid, &(uint32_t){ 0 }, 4), 0);
		assert_int_equal(rig_value_bytes(), 4);
		assert_int_equal(load_u32(rig_value()), (uint32_t)cases[i].value);
	}
	assert_int_equal(rig_query(NDIS_OID_GEN_STATISTICS, NULL, 0), 0);
	assert_int_equal(rig_value_bytes(), sizeof(all));
	memcpy(&all, rig_value(), sizeof(all));
	assert_int_equal(le16_to_cpu(all.object.bytes), 152);
	assert_int_equal(le32_to_cpu(all.supported), NDIS_STATISTIC_ALL);
	assert_int_equal(le64_to_cpu(all.in_discards), 8);
	assert_int_equal(le64_to_cpu(all.in_bytes), (1ull << 40) + 50);
	assert_int_equal(le64_to_cpu(all.in_broadcast), 3);
	assert_int_equal(le64_to_cpu(all.out_multicast), 5);
	assert_int_equal(le64_to_cpu(all.out_errors), 9);
	assert_int_equal(le64_to_cpu(all.out_broadcast_bytes), 600);
}

// Everything in the list has a value of sensible size, and nothing else is in the list.
static void lists_what_it_answers(void **state)
{
	static const struct {
		const char *name;
		uint32_t number;
		enum ndis_access access;
		uint32_t version;
	} oids[] = {
#define ROW(name, number, access, version) { #name, number, NDIS_##access, version },
		NDIS_OIDS(ROW)
#undef ROW
	};
	static const uint32_t versions[] = { NDIS_VERSION(5, 1), NDIS_VERSION_6_1,
					     NDIS_VERSION_6_30 };

	for (size_t v = 0; v < ARRAY_SIZE(versions); v++) {
		uint32_t n = 0;

		rig.control.agreed.ndis_version = versions[v];
		for (size_t i = 0; i < ARRAY_SIZE(oids); i++) {
			bool has = versions[v] >= oids[i].version;
			uint32_t status = rig_query(oids[i].number, NULL, 0);

			if (!(oids[i].access & NDIS_QUERY))
				assert_int_equal(status, RNDIS_STATUS_NOT_SUPPORTED);
			else
				assert_int_equal(status, has ? RNDIS_STATUS_SUCCESS :
							       RNDIS_STATUS_BAD_VERSION);
			assert_true(status || (rig_value_bytes() && rig_value_bytes() <= 512));
			if (!(oids[i].access & NDIS_SET))
				assert_int_equal(rig_set(oids[i].number, "", 1),
						 RNDIS_STATUS_NOT_SUPPORTED);
			n += has;
		}
		assert_int_equal(rig_query(NDIS_OID_GEN_SUPPORTED_LIST, NULL, 0), 0);
		assert_int_equal(rig_value_bytes(), 4 * n);
		for (size_t i = 0, at = 0; i < ARRAY_SIZE(oids); i++)
			if (versions[v] >= oids[i].version)
				assert_int_equal(load_u32(rig_value() + 4 * at++), oids[i].number);
	}
	assert_int_equal(rig_query(0x00010117, NULL, 0), RNDIS_STATUS_NOT_SUPPORTED);
	assert_int_equal(rig_set(0xffffffff, NULL, 0), RNDIS_STATUS_NOT_SUPPORTED);
	assert_true(rig.control.counters.n_unknown > 0);
}

static void reports_vlan_support(void **state)
{
	uint32_t options = rig_query_u32(NDIS_OID_GEN_MAC_OPTIONS);

	assert_true(options & NDIS_MAC_8021P && options & NDIS_MAC_8021Q);
}

static void sets_what_changes_nothing(void **state)
{
	assert_int_equal(rig_set(NDIS_OID_GEN_NETWORK_LAYER_ADDRESSES, "abc", 3), 0);
	assert_int_equal(rig_set(NDIS_OID_802_3_MULTICAST_LIST, NULL, 0), 0);
	assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_LOOKAHEAD, &(uint32_t){ 128 }, 4), 0);
	assert_int_equal(rig_set(NDIS_OID_GEN_PROTOCOL_OPTIONS, &(uint32_t){ 1 }, 4), 0);
	assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, "abc", 3),
			 RNDIS_STATUS_INVALID_LENGTH);
	assert_int_equal(rig.control.agreed.packet_filter, 0);
}

// --- messages ----------------------------------------------------------------------------------

static void answers_messages(void **state)
{
	struct rndis_request request = { { LE(RNDIS_KEEPALIVE), LE(12) }, LE(0x77) };

	rig_rndis(&request, sizeof(request));
	assert_int_equal(rig.answer.message_bytes, 16);
	assert_int_equal(rig_message(0), 0x80000008);
	assert_int_equal(rig_message(8), 0x77);
	assert_int_equal(rig_message(12), RNDIS_STATUS_SUCCESS);
	request.header.type = LE(RNDIS_RESET);
	rig_rndis(&request, sizeof(request));
	assert_int_equal(rig.answer.message_bytes, 16);
	assert_int_equal(rig_message(0), 0x80000006);
	assert_int_equal(rig_message(8), RNDIS_STATUS_SUCCESS);
	assert_int_equal(rig_message(12), 0);
	request.header.type = LE(RNDIS_HALT);
	assert_int_equal(rig_rndis(&request, sizeof(request)), NETVSP_SET_PATH);
	assert_int_equal(rig.answer.message_bytes, 0);
}

// What has no business here is refused, and the machine goes on.
static void drops_messages(void **state)
{
	static const struct {
		const char *name;
		uint32_t type, length, bytes; // what it says and what it is
		bool malformed;
	} cases[] = {
		{ "frame", RNDIS_PACKET, 44, 44, false },
		{ "indication", RNDIS_INDICATE_STATUS, 20, 20, false },
		{ "SET_EX", RNDIS_SET_EX, 44, 44, false },
		{ "an answer", RNDIS_ANSWER | RNDIS_QUERY, 24, 24, false },
		{ "nothing known", 0x1234, 12, 12, false },
		{ "cut short", RNDIS_KEEPALIVE, 12, 11, true },
		{ "header alone", RNDIS_KEEPALIVE, 8, 8, true },
		{ "empty", RNDIS_KEEPALIVE, 0, 0, true },
		{ "length lies", RNDIS_KEEPALIVE, 13, 12, true },
		{ "length is huge", RNDIS_KEEPALIVE, 0xffffffff, 12, true },
		{ "query too short", RNDIS_QUERY, 27, 44, true },
		{ "set too short", RNDIS_SET, 27, 44, true },
		{ "initialise too short", RNDIS_INITIALIZE, 23, 44, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netvsp_agreed before = rig.control.agreed;
		uint64_t n_malformed = rig.control.counters.n_malformed;
		uint8_t message[64] = {};

		print_message("%s\n", cases[i].name);
		store_u32(message, cases[i].type);
		store_u32(message + 4, cases[i].length);
		assert_int_equal(rig_rndis_any(message, cases[i].bytes), 0);
		assert_true(rig_was_refused());
		assert_int_equal(rig.control.counters.n_malformed - n_malformed,
				 cases[i].malformed);
		assert_memory_equal(&rig.control.agreed, &before, sizeof(before));
	}
	assert_int_equal(rig_query_u32(NDIS_OID_GEN_VENDOR_ID), 0x155d);
}

// A message whose value does not lie in it is answered, so that the guest need not wait.
static void checks_where_values_lie(void **state)
{
	static const struct {
		uint32_t offset, bytes, status;
	} cases[] = {
		{ 20, 4, RNDIS_STATUS_SUCCESS },
		{ 24, 4, RNDIS_STATUS_SUCCESS },
		{ 25, 4, RNDIS_STATUS_INVALID_LENGTH },
		{ 20, 9, RNDIS_STATUS_INVALID_LENGTH },
		{ 20, 8, RNDIS_STATUS_SUCCESS },
		{ 19, 4, RNDIS_STATUS_INVALID_DATA },
		{ 0, 4, RNDIS_STATUS_INVALID_DATA },
		{ 0xfffffff8, 4, RNDIS_STATUS_INVALID_LENGTH },
		{ 0xffffffff, 0xffffffff, RNDIS_STATUS_INVALID_LENGTH },
		{ 20, 0xfffffffc, RNDIS_STATUS_INVALID_LENGTH },
		{ 0xfffffffc, 0, RNDIS_STATUS_INVALID_LENGTH }, // no value: the filter needs one
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct {
			struct rndis_oid_request head;
			le32 info[2];
		} message = {
			.head = { .request = { { LE(RNDIS_SET), LE(sizeof(message)) }, LE(1) },
				  .oid = LE(NDIS_OID_GEN_CURRENT_PACKET_FILTER),
				  .info_bytes = LE(cases[i].bytes),
				  .info_offset = LE(cases[i].offset) },
		};

		rig_rndis(&message, sizeof(message));
		assert_int_equal(rig_message(12), cases[i].status);
	}
}

// Before RNDIS is initialised and after it was halted.
static void answers_when_not_operational(void **state)
{
	struct rndis_request request = { { LE(RNDIS_HALT), LE(12) }, LE(1) };

	rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 0x0d }, 4);
	rig_set_rss(0, 0x1701, (uint32_t[]){ 0 }, 1);
	assert_int_equal(rig_rndis(&request, 12), NETVSP_SET_PATH | NETVSP_SET_RSS);
	assert_int_equal(rig.control.agreed.packet_filter, 0);
	assert_int_equal(rig.control.agreed.rss.hash, 0);
	for (int life = 0; life < 2; life++) {
		if (life == 1) {
			rig_open();
			rig_init(NVSP_VERSION_6_1);
			rig_ndis(NDIS_VERSION_6_30);
			rig_buffers();
		}
		assert_int_equal(rig_query(NDIS_OID_GEN_VENDOR_ID, NULL, 0), RNDIS_STATUS_FAILURE);
		assert_int_equal(rig_set(NDIS_OID_GEN_CURRENT_PACKET_FILTER, &(uint32_t){ 1 }, 4),
				 RNDIS_STATUS_FAILURE);
		assert_int_equal(rig.control.agreed.packet_filter, 0);
		request.header.type = LE(RNDIS_KEEPALIVE);
		rig_rndis(&request, 12);
		assert_int_equal(rig_message(12), RNDIS_STATUS_FAILURE);
		rig_initialize();
		assert_int_equal(rig_query_u32(NDIS_OID_GEN_VENDOR_ID), 0x155d);
	}
}

static void refuses_other_rndis(void **state)
{
	struct rndis_initialize initialize = {
		.request = { { LE(RNDIS_INITIALIZE), LE(sizeof(initialize)) }, LE(1) },
		.major = LE(2),
	};
	struct rndis_request halt = { { LE(RNDIS_HALT), LE(12) }, LE(1) };

	rig_rndis(&halt, sizeof(halt));
	rig_rndis(&initialize, sizeof(initialize));
	assert_int_equal(rig.answer.message_bytes, 52);
	assert_int_equal(rig_message(12), RNDIS_STATUS_BAD_VERSION);
	assert_int_equal(rig.control.agreed.phase, VMBUS_STATE_HALTED);
}

// --- parameters as text ------------------------------------------------------------------------

// Makes both texts UTF-16 and sets them.
static uint32_t set_parameter(const char *name, uint32_t type, const char *value)
{
	uint8_t info[512] = {};
	uint32_t n_name = (uint32_t)strlen(name), n_value = (uint32_t)strlen(value);
	struct rndis_config_parameter head = { LE(20), LE(2 * n_name), LE(type),
					       LE(20 + 2 * n_name), LE(2 * n_value) };

	memcpy(info, &head, sizeof(head));
	for (uint32_t i = 0; i < n_name; i++)
		info[20 + 2 * i] = (uint8_t)name[i];
	for (uint32_t i = 0; i < n_value; i++)
		info[20 + 2 * n_name + 2 * i] = (uint8_t)value[i];
	return rig_set(NDIS_OID_GEN_RNDIS_CONFIG_PARAMETER, info, 20 + 2 * n_name + 2 * n_value);
}

static void sets_parameters(void **state)
{
	static const struct {
		const char *name, *value;
		uint32_t status;
		uint32_t on, off; // bits that are then
	} cases[] = {
		{ "*IPChecksumOffloadIPv4", "3", 0, NETVSP_TX_IPV4 | NETVSP_RX_IPV4, 0 },
		{ "*IPChecksumOffloadIPv4", "2", 0, NETVSP_RX_IPV4, NETVSP_TX_IPV4 },
		{ "*TCPChecksumOffloadIPv4", "1", 0, NETVSP_TX_TCPV4, NETVSP_RX_TCPV4 },
		{ "*TCPChecksumOffloadIPv6", "0", 0, 0, NETVSP_TX_TCPV6 | NETVSP_RX_TCPV6 },
		{ "*UDPChecksumOffloadIPv4", "3", 0, NETVSP_TX_UDPV4 | NETVSP_RX_UDPV4, 0 },
		{ "*UDPChecksumOffloadIPv6", "3", 0, NETVSP_TX_UDPV6 | NETVSP_RX_UDPV6, 0 },
		{ "*LsoV2IPv4", "0", 0, 0, NETVSP_LSO_V4 },
		{ "*LsoV2IPv6", "0", 0, 0, NETVSP_LSO_V6 },
		{ "*LsoV2IPv6", "1", 0, NETVSP_LSO_V6, 0 },
		{ "*LsoV2IPv4", "4", RNDIS_STATUS_INVALID_DATA, 0, NETVSP_LSO_V4 },
		{ "*LsoV2IPv4", "11", RNDIS_STATUS_INVALID_DATA, 0, NETVSP_LSO_V4 },
		{ "*LsoV2IPv4", "", RNDIS_STATUS_INVALID_DATA, 0, NETVSP_LSO_V4 },
		{ "*SomethingElse", "7", 0, 0, 0 },
		{ "", "", 0, 0, 0 },
		{ "NetworkAddress", "00155D010203", 0, 0, 0 },
		{ "NetworkAddress", "00155d010204", RNDIS_STATUS_FAILURE, 0, 0 },
		{ "NetworkAddress", "00155d01020", RNDIS_STATUS_INVALID_DATA, 0, 0 },
		{ "NetworkAddress", "00155d0102033", RNDIS_STATUS_INVALID_DATA, 0, 0 },
		{ "NetworkAddress", "00155d01020g", RNDIS_STATUS_INVALID_DATA, 0, 0 },
		{ "NetworkAddress", "01155d010203", RNDIS_STATUS_INVALID_DATA, 0, 0 },
		{ "NetworkAddress", "000000000000", RNDIS_STATUS_INVALID_DATA, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s=%s\n", cases[i].name, cases[i].value);
		assert_int_equal(set_parameter(cases[i].name, RNDIS_CONFIG_STRING, cases[i].value),
				 cases[i].status);
		assert_int_equal(rig.control.agreed.offloads & cases[i].on, cases[i].on);
		assert_int_equal(rig.control.agreed.offloads & cases[i].off, 0);
	}
	assert_int_equal(set_parameter("*LsoV2IPv4", RNDIS_CONFIG_INTEGER, "\1"),
			 RNDIS_STATUS_INVALID_DATA); // two bytes are no number
	rig.control.config.any_mac = true;
	assert_int_equal(set_parameter("NetworkAddress", RNDIS_CONFIG_STRING, "02155d010204"), 0);
}

static void checks_parameters(void **state)
{
	static const uint32_t cases[][5] = {
		{ 20, 5, 2, 20, 4 }, // name beyond the end
		{ 21, 4, 2, 20, 4 },
		{ 20, 4, 2, 0xffffffff, 4 },
		{ 20, 4, 2, 20, 0xffffffff },
		{ 0xfffffffe, 0xfffffffe, 2, 20, 4 },
	};
	uint8_t info[24] = {};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(info, cases[i], 20);
		assert_int_equal(rig_set(NDIS_OID_GEN_RNDIS_CONFIG_PARAMETER, info, sizeof(info)),
				 RNDIS_STATUS_INVALID_LENGTH);
	}
	assert_int_equal(rig_set(NDIS_OID_GEN_RNDIS_CONFIG_PARAMETER, info, 19),
			 RNDIS_STATUS_INVALID_LENGTH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(answers_numbers, set_up),
		cmocka_unit_test_setup(answers_link, set_up),
		cmocka_unit_test_setup(answers_with_text_and_addresses, set_up),
		cmocka_unit_test_setup(answers_statistics, set_up),
		cmocka_unit_test_setup(lists_what_it_answers, set_up),
		cmocka_unit_test_setup(reports_vlan_support, set_up),
		cmocka_unit_test_setup(sets_what_changes_nothing, set_up),
		cmocka_unit_test_setup(answers_messages, set_up),
		cmocka_unit_test_setup(drops_messages, set_up),
		cmocka_unit_test_setup(checks_where_values_lie, set_up),
		cmocka_unit_test_setup(answers_when_not_operational, set_up),
		cmocka_unit_test_setup(refuses_other_rndis, set_up),
		cmocka_unit_test_setup(sets_parameters, set_up),
		cmocka_unit_test_setup(checks_parameters, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
