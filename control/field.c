// SPDX-License-Identifier: Apache-2.0
#include "control/field.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRING_MAX 255 // bytes, where a table gives no limit

const char *const field_type_names[] = {
	[FIELD_BOOL] = "bool",
	[FIELD_UINT] = "unsigned",
	[FIELD_ENUM] = "enum",
	[FIELD_STRING] = "string",
	[FIELD_MAC] = "mac",
	[FIELD_GUID] = "guid",
	[FIELD_REF] = "reference",
	[FIELD_VLAN_SET] = "vlan-set",
	[FIELD_PORT_RANGE] = "port-range",
	[FIELD_PREFIX] = "prefix",
	[FIELD_ADDRESS] = "address",
};

// What a text of each type must look like, for the sentence when it does not.
static const char *const expected[] = {
	[FIELD_BOOL] = "true or false",
	[FIELD_STRING] = "a text",
	[FIELD_MAC] = "a MAC address such as 00:15:5d:00:00:01",
	[FIELD_GUID] = "a GUID such as 9fd5bb6e-2f3c-4a6b-8f0e-0123456789ab",
	[FIELD_REF] = "the name of an object",
	[FIELD_VLAN_SET] = "a set of VLAN IDs from 1 to 4094 such as 1-10,20",
	[FIELD_PORT_RANGE] = "a port from 1 to 65535 or a range such as 1000-2000",
	[FIELD_PREFIX] = "an address prefix such as 10.0.0.0/8 or fd00::/8 with no bit set behind "
			 "its length",
	[FIELD_ADDRESS] = "an IP address such as 10.0.0.1 or fd00::1",
};

// Any member but a string's text, while its value is being made.
union value {
	bool yes;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	char *text;
	struct mac mac;
	struct guid guid;
	struct vlan_set vlans;
	struct port_range ports;
	struct ip_prefix prefix;
	struct ip_address address;
};

static bool owns_text(const struct field *f)
{
	return f->type == FIELD_STRING || f->type == FIELD_REF;
}

static uint64_t uint_load(const struct field *f, const void *at)
{
	uint64_t v = 0;

	memcpy(&v, at, f->size); // little endian: the low bytes come first
	return v;
}

static uint64_t uint_max(const struct field *f)
{
	// JSON integers are signed 64 bits wide here.
	return f->max ? f->max : f->size == 8 ? INT64_MAX : (1ULL << f->size * 8) - 1;
}

// "vlan: 5000 is not …", with the value as JSON, cut when long.
static int wrong(const struct field *f, const json_t *v, int error, const char *what,
		 struct refusal *r)
{
	char *given = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
	bool is_long = given && strlen(given) > 80;

	refuse(r, error, f->name, "%s: %.80s%s is not %s", f->name, given ? given : "value",
	       is_long ? "…" : "", what);
	free(given);
	return -error;
}

static int decode_bool(const struct field *f, const json_t *v, union value *out, struct refusal *r)
{
	if (!json_is_boolean(v))
		return wrong(f, v, EINVAL, expected[f->type], r);
	out->yes = json_is_true(v);
	return 0;
}

static int decode_uint(const struct field *f, const json_t *v, union value *out, struct refusal *r)
{
	json_int_t given = json_integer_value(v);
	char range[96];

	snprintf(range, sizeof(range), "a whole number from %" PRIu64 " to %" PRIu64 "%s%s", f->min,
		 uint_max(f), f->unit ? " " : "", f->unit ? f->unit : "");
	if (!json_is_integer(v))
		return wrong(f, v, EINVAL, range, r);
	if (given < 0 || (uint64_t)given < f->min || (uint64_t)given > uint_max(f))
		return wrong(f, v, ERANGE, range, r);
	out->u64 = (uint64_t)given;
	return 0;
}

static int decode_enum(const struct field *f, const json_t *v, union value *out, struct refusal *r)
{
	char words[256] = "one of:";
	const char *given = json_string_value(v);
	unsigned int n = 0;

	for (; f->words[n]; n++) {
		if (given && strcmp(given, f->words[n]) == 0) {
			out->u64 = n;
			return 0;
		}
		strncat(words, " ", sizeof(words) - strlen(words) - 1);
		strncat(words, f->words[n], sizeof(words) - strlen(words) - 1);
	}
	wrong(f, v, EINVAL, words, r);
	return given ? refuse_suggest(r, -EINVAL, given, f->words, n) : -EINVAL;
}

// One line of text: a control character would wreck tables and logs.
static bool is_line(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static int decode_string(const struct field *f, const json_t *v, union value *out,
			 struct refusal *r)
{
	const char *given = json_string_value(v);
	uint64_t max = f->max ? f->max : STRING_MAX;
	char what[64];

	if (!given)
		return wrong(f, v, EINVAL, expected[f->type], r);
	snprintf(what, sizeof(what), "one line of 1 to %" PRIu64 " bytes", max);
	if (!*given || strlen(given) > max)
		return wrong(f, v, ERANGE, what, r);
	if (!is_line(given))
		return wrong(f, v, EINVAL, what, r);
	out->text = strdup(given);
	return out->text ? 0 : refuse(r, ENOMEM, f->name, "out of memory");
}

static bool parse_text(enum field_type type, const char *text, union value *out)
{
	switch (type) {
	case FIELD_MAC:
		return mac_parse(text, &out->mac);
	case FIELD_GUID:
		return guid_parse(text, &out->guid);
	case FIELD_VLAN_SET:
		return vlan_set_parse(text, &out->vlans);
	case FIELD_PORT_RANGE:
		return port_range_parse(text, &out->ports);
	case FIELD_PREFIX:
		return ip_prefix_parse(text, &out->prefix);
	case FIELD_ADDRESS:
		return ip_address_parse(text, &out->address);
	default:
		return false;
	}
}

static int decode(const struct field *f, const json_t *v, union value *out, struct refusal *r)
{
	switch (f->type) {
	case FIELD_BOOL:
		return decode_bool(f, v, out, r);
	case FIELD_UINT:
		return decode_uint(f, v, out, r);
	case FIELD_ENUM:
		return decode_enum(f, v, out, r);
	case FIELD_STRING:
	case FIELD_REF:
		return decode_string(f, v, out, r);
	default:
		if (json_is_string(v) && parse_text(f->type, json_string_value(v), out))
			return 0;
		return wrong(f, v, EINVAL, expected[f->type], r);
	}
}

int field_decode(const struct field *f, const json_t *v, void *at, struct refusal *r)
{
	union value value = {};
	int ret;

	assert(f->size <= sizeof(value) && !(f->flags & FIELD_READ_ONLY));
	ret = json_is_null(v) ? field_default(f, &value) : decode(f, v, &value, r);
	if (ret < 0)
		return ret;
	field_free(f, at);
	memcpy(at, &value, f->size);
	return 0;
}

// A default as the table has it, in the JSON form of its type.
static json_t *default_json(const struct field *f)
{
	if (f->type == FIELD_BOOL)
		return json_boolean(strcmp(f->def, "true") == 0);
	if (f->type == FIELD_UINT)
		return json_integer(strtoll(f->def, NULL, 0));
	return json_string(f->def);
}

int field_default(const struct field *f, void *at)
{
	json_t *v;
	int ret;

	memset(at, 0, f->size);
	if (!f->def)
		return 0;
	v = default_json(f);
	ret = v ? field_decode(f, v, at, NULL) : -ENOMEM;
	json_decref(v);
	assert(ret == 0 || ret == -ENOMEM);
	return ret;
}

static json_t *encode_text(const struct field *f, const void *at)
{
	char text[FIELD_TEXT_MAX];

	switch (f->type) {
	case FIELD_MAC:
		mac_print(*(const struct mac *)at, text, sizeof(text));
		break;
	case FIELD_GUID:
		guid_print(at, text, sizeof(text));
		break;
	case FIELD_VLAN_SET:
		vlan_set_print(at, text, sizeof(text));
		break;
	case FIELD_PORT_RANGE:
		port_range_print(*(const struct port_range *)at, text, sizeof(text));
		break;
	case FIELD_ADDRESS:
		ip_address_print(at, text, sizeof(text));
		break;
	default:
		ip_prefix_print(at, text, sizeof(text));
	}
	return json_string(text);
}

json_t *field_encode(const struct field *f, const void *at)
{
	if (!field_given(f, at))
		return NULL;
	switch (f->type) {
	case FIELD_BOOL:
		return json_boolean(*(const bool *)at);
	case FIELD_UINT:
		return json_integer((json_int_t)uint_load(f, at));
	case FIELD_ENUM:
		return json_string(f->words[uint_load(f, at)]);
	case FIELD_STRING:
	case FIELD_REF:
		return json_string(*(char *const *)at);
	default:
		return encode_text(f, at);
	}
}

bool field_given(const struct field *f, const void *at)
{
	static const union value zero;

	if (f->type == FIELD_BOOL || f->type == FIELD_ENUM)
		return true;
	if (f->type == FIELD_UINT)
		return f->min == 0 || uint_load(f, at) != 0;
	return memcmp(at, &zero, f->size) != 0;
}

int field_compare(const struct field *f, const void *a, const void *b)
{
	const char *left, *right;

	if (!owns_text(f))
		return memcmp(a, b, f->size);
	left = *(char *const *)a;
	right = *(char *const *)b;
	return left && right ? strcmp(left, right) : !!left - !!right;
}

int field_copy(const struct field *f, void *to, const void *from)
{
	const char *text;

	if (!owns_text(f)) {
		memcpy(to, from, f->size);
		return 0;
	}
	text = *(char *const *)from;
	*(char **)to = text ? strdup(text) : NULL;
	return text && !*(char **)to ? -ENOMEM : 0;
}

void field_free(const struct field *f, void *at)
{
	if (owns_text(f))
		free(*(char **)at);
}
