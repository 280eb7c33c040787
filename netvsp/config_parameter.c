// SPDX-License-Identifier: Apache-2.0
// OID_GEN_RNDIS_CONFIG_PARAMETER: a name and a value as a driver finds them in its registry. Both
// are text, UTF-16. control thread.
#include "netvsp/control_parts.h"

#define MAX_TEXT 64 // characters of a name or value that may matter

// Offloads that Windows' names switch. Bit 0 of the digit: to be sent; bit 1: received.
static const struct {
	const char *name;
	uint32_t bit0, bit1;
} offload_names[] = {
	{ "*IPChecksumOffloadIPv4", NETVSP_TX_IPV4, NETVSP_RX_IPV4 },
	{ "*TCPChecksumOffloadIPv4", NETVSP_TX_TCPV4, NETVSP_RX_TCPV4 },
	{ "*TCPChecksumOffloadIPv6", NETVSP_TX_TCPV6, NETVSP_RX_TCPV6 },
	{ "*UDPChecksumOffloadIPv4", NETVSP_TX_UDPV4, NETVSP_RX_UDPV4 },
	{ "*UDPChecksumOffloadIPv6", NETVSP_TX_UDPV6, NETVSP_RX_UDPV6 },
	{ "*LsoV2IPv4", NETVSP_LSO_V4, 0 },
	{ "*LsoV2IPv6", NETVSP_LSO_V6, 0 },
};

// UTF-16 as ASCII: what is neither becomes '?', a NUL ends it, the rest is cut. Returns false if
// the text does not lie in the value.
static bool get_text(const struct netvsp_info *info, le32 offset, le32 size,
		     char text[MAX_TEXT + 1])
{
	uint64_t begin = le32_to_cpu(offset);
	uint32_t bytes = le32_to_cpu(size), n = 0;

	if (begin + bytes > info->bytes)
		return false;
	for (uint32_t i = 0; i + 2 <= bytes && n < MAX_TEXT; i += 2) {
		uint16_t unit = load_u16(info->data + begin + i);

		if (!unit)
			break;
		text[n++] = unit < 0x80 ? (char)unit : '?';
	}
	text[n] = '\0';
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint32_t set_address(const struct netvsp_control *control, const char *text)
{
	uint64_t address = 0;
	struct mac mac;

	for (int i = 0; i < 12; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			return RNDIS_STATUS_INVALID_DATA;
		address = address << 4 | (uint64_t)digit;
	}
	mac = mac_from_u64(address);
	if (text[12] || mac_is_group(mac) || mac_is_zero(mac))
		return RNDIS_STATUS_INVALID_DATA;
	if (!control->config.any_mac && address != mac_to_u64(control->config.mac))
		return RNDIS_STATUS_FAILURE;
	return RNDIS_STATUS_SUCCESS;
}

// The value's digit, as text or as a number. Returns -1 if there is none.
static int get_digit(const struct netvsp_info *info, const struct rndis_config_parameter *in)
{
	uint64_t begin = le32_to_cpu(in->value_offset);
	char text[MAX_TEXT + 1];
	uint32_t n;

	if (le32_to_cpu(in->type) == RNDIS_CONFIG_INTEGER) {
		if (le32_to_cpu(in->value_bytes) != sizeof(n) || begin + sizeof(n) > info->bytes)
			return -1;
		n = load_u32(info->data + begin);
		return n <= 3 ? (int)n : -1;
	}
	if (!get_text(info, in->value_offset, in->value_bytes, text) || text[0] < '0' ||
	    text[0] > '3' || text[1])
		return -1;
	return text[0] - '0';
}

uint32_t netvsp_config_parameter_set(struct netvsp_control *control,
				     const struct netvsp_info *info, uint32_t *effects)
{
	struct rndis_config_parameter in;
	char name[MAX_TEXT + 1], value[MAX_TEXT + 1];
	int digit;

	if (info->bytes < sizeof(in))
		return RNDIS_STATUS_INVALID_LENGTH;
	memcpy(&in, info->data, sizeof(in));
	if (!get_text(info, in.name_offset, in.name_bytes, name) ||
	    !get_text(info, in.value_offset, in.value_bytes, value))
		return RNDIS_STATUS_INVALID_LENGTH;
	if (strcmp(name, "NetworkAddress") == 0)
		return set_address(control, value);
	for (size_t i = 0; i < ARRAY_SIZE(offload_names); i++) {
		uint32_t *offloads = &control->agreed.offloads;

		if (strcmp(name, offload_names[i].name) != 0)
			continue;
		digit = get_digit(info, &in);
		if (digit < 0)
			return RNDIS_STATUS_INVALID_DATA;
		*offloads &= ~(offload_names[i].bit0 | offload_names[i].bit1);
		*offloads |= (digit & 1 ? offload_names[i].bit0 : 0) |
			     (digit & 2 ? offload_names[i].bit1 : 0);
		*effects = NETVSP_SET_PATH;
	}
	return RNDIS_STATUS_SUCCESS;
}
