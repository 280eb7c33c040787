// SPDX-License-Identifier: Apache-2.0
// Text ↔ value for the field types whose JSON form is a string. See field.h.
#include "control/field.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Two digits at *text; moves on behind them.
static bool hex_byte(const char **text, uint8_t *out)
{
	int high = hex_digit((*text)[0]);
	int low = high < 0 ? -1 : hex_digit((*text)[1]);

	if (low < 0)
		return false;
	*out = (uint8_t)(high << 4 | low);
	*text += 2;
	return true;
}

// A decimal number min…max at *text, without sign or space; moves on behind it.
static bool number(const char **text, unsigned int min, unsigned int max, unsigned int *out)
{
	unsigned int v = 0;
	const char *p = *text;

	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (unsigned int)(*p - '0');
		if (v > max)
			return false;
	}
	if (p == *text || v < min)
		return false;
	*text = p;
	*out = v;
	return true;
}

// "7" or "7-9" at *text; first ≤ last.
static bool range(const char **text, unsigned int max, unsigned int *first, unsigned int *last)
{
	if (!number(text, 1, max, first))
		return false;
	*last = *first;
	if (**text != '-')
		return true;
	(*text)++;
	return number(text, *first, max, last);
}

// snprintf at offset `len` of buf[size], which may lie behind its end; returns the new length.
#define APPEND(buf, size, len, ...)                                                                \
	((len) + (size_t)snprintf((len) < (size) ? (buf) + (len) : NULL,                           \
				  (len) < (size) ? (size) - (len) : 0, __VA_ARGS__))

bool mac_parse(const char *text, struct mac *out)
{
	struct mac mac;

	for (int i = 0; i < 6; i++) {
		if (i > 0 && *text != ':' && *text != '-')
			return false;
		text += i > 0;
		if (!hex_byte(&text, &mac.b[i]))
			return false;
	}
	if (*text)
		return false;
	*out = mac;
	return true;
}

size_t mac_print(struct mac mac, char *buf, size_t size)
{
	return (size_t)snprintf(buf, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac.b[0], mac.b[1],
				mac.b[2], mac.b[3], mac.b[4], mac.b[5]);
}

// A dash stands before these bytes of a GUID.
static bool guid_dash(int i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

bool guid_parse(const char *text, struct guid *out)
{
	bool braces = *text == '{';
	struct guid guid;

	text += braces;
	for (int i = 0; i < 16; i++) {
		if (guid_dash(i) && *text++ != '-')
			return false;
		if (!hex_byte(&text, &guid.b[i]))
			return false;
	}
	if (strcmp(text, braces ? "}" : "") != 0)
		return false;
	*out = guid;
	return true;
}

size_t guid_print(const struct guid *guid, char *buf, size_t size)
{
	size_t len = 0;

	for (int i = 0; i < 16; i++)
		len = APPEND(buf, size, len, "%s%02x", guid_dash(i) ? "-" : "", guid->b[i]);
	return len;
}

bool vlan_set_parse(const char *text, struct vlan_set *out)
{
	struct vlan_set set = {};
	unsigned int first, last;

	for (;; text++) {
		if (!range(&text, 4094, &first, &last))
			return false;
		for (unsigned int vid = first; vid <= last; vid++)
			vlan_set_add(&set, (uint16_t)vid);
		if (*text != ',')
			break;
	}
	if (*text)
		return false;
	*out = set;
	return true;
}

size_t vlan_set_print(const struct vlan_set *set, char *buf, size_t size)
{
	size_t len = 0;
	uint16_t last;

	if (size)
		buf[0] = '\0';
	for (uint16_t vid = 1; vid < 4095; vid = last + 1) {
		last = vid;
		if (!vlan_set_has(set, vid))
			continue;
		while (last < 4094 && vlan_set_has(set, last + 1))
			last++;
		len = APPEND(buf, size, len, "%s%u", len ? "," : "", vid);
		if (last > vid)
			len = APPEND(buf, size, len, "-%u", last);
	}
	return len;
}

bool port_range_parse(const char *text, struct port_range *out)
{
	unsigned int first, last;

	if (!range(&text, 65535, &first, &last) || *text)
		return false;
	*out = (struct port_range){ (uint16_t)first, (uint16_t)last };
	return true;
}

size_t port_range_print(struct port_range r, char *buf, size_t size)
{
	if (r.first == r.last)
		return (size_t)snprintf(buf, size, "%u", r.first);
	return (size_t)snprintf(buf, size, "%u-%u", r.first, r.last);
}

static bool host_bits_zero(const struct ip_prefix *p)
{
	for (unsigned int bit = p->len; bit < sizeof(p->addr) * 8; bit++)
		if (p->addr[bit / 8] >> (7 - bit % 8) & 1)
			return false;
	return true;
}

bool ip_prefix_parse(const char *text, struct ip_prefix *out)
{
	struct ip_prefix p = { .family = strchr(text, ':') ? 6 : 4 };
	unsigned int bits = p.family == 6 ? 128 : 32, len = bits;
	char addr[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "/");

	if (n >= sizeof(addr))
		return false;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (inet_pton(p.family == 6 ? AF_INET6 : AF_INET, addr, p.addr) != 1)
		return false;
	text += n;
	if (*text && (text++, !number(&text, 0, bits, &len) || *text))
		return false;
	p.len = (uint8_t)len;
	if (!host_bits_zero(&p))
		return false;
	*out = p;
	return true;
}

size_t ip_prefix_print(const struct ip_prefix *p, char *buf, size_t size)
{
	char addr[INET6_ADDRSTRLEN];

	inet_ntop(p->family == 6 ? AF_INET6 : AF_INET, p->addr, addr, sizeof(addr));
	return (size_t)snprintf(buf, size, "%s/%u", addr, p->len);
}

bool ip_address_parse(const char *text, struct ip_address *out)
{
	struct ip_address a = { .family = strchr(text, ':') ? 6 : 4 };

	if (inet_pton(a.family == 6 ? AF_INET6 : AF_INET, text, a.b) != 1)
		return false;
	*out = a;
	return true;
}

size_t ip_address_print(const struct ip_address *a, char *buf, size_t size)
{
	char addr[INET6_ADDRSTRLEN];

	inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->b, addr, sizeof(addr));
	return (size_t)snprintf(buf, size, "%s", addr);
}
