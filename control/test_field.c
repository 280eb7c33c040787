// SPDX-License-Identifier: Apache-2.0
// Every field type with good and bad input: what is stored, what is printed, what is said.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/field.h"

static const char *const words[] = { "internal", "external", "private", NULL };

static const struct field kinds[] = {
	{ "b", FIELD_BOOL, .size = sizeof(bool) },
	{ "u8", FIELD_UINT, .size = 1 },
	{ "vlan", FIELD_UINT, .size = 2, .min = 1, .max = 4094 },
	{ "u32", FIELD_UINT, .size = 4, .unit = "bytes" },
	{ "u64", FIELD_UINT, .size = 8 },
	{ "e", FIELD_ENUM, .size = 4, .words = words },
	{ "s", FIELD_STRING, .size = sizeof(char *), .max = 5 },
	{ "mac", FIELD_MAC, .size = sizeof(struct mac) },
	{ "guid", FIELD_GUID, .size = sizeof(struct guid) },
	{ "ref", FIELD_REF, .size = sizeof(char *), .ref = "switch" },
	{ "set", FIELD_VLAN_SET, .size = sizeof(struct vlan_set) },
	{ "range", FIELD_PORT_RANGE, .size = sizeof(struct port_range) },
	{ "net", FIELD_PREFIX, .size = sizeof(struct ip_prefix) },
	{ "address", FIELD_ADDRESS, .size = sizeof(struct ip_address) },
};

static const struct field *kind(const char *name)
{
	const struct field *f = kinds;

	while (strcmp(f->name, name) != 0)
		f++;
	return f;
}

// What goes in, and the JSON that comes out again (NULL: the same; "": nothing, not given).
static const struct {
	const char *field, *in, *out;
} good[] = {
	{ "b", "true", NULL },
	{ "b", "false", NULL },
	{ "b", "null", "false" },
	{ "u8", "0", NULL },
	{ "u8", "255", NULL },
	{ "vlan", "1", NULL },
	{ "vlan", "4094", NULL },
	{ "vlan", "null", "" },
	{ "u32", "4294967295", NULL },
	{ "u64", "9223372036854775807", NULL },
	{ "e", "\"internal\"", NULL },
	{ "e", "\"private\"", NULL },
	{ "s", "\"a b c\"", NULL },
	{ "s", "\"\\u00fc\\u00fc\"", "\"\xc3\xbc\xc3\xbc\"" },
	{ "s", "null", "" },
	{ "mac", "\"00:15:5d:00:00:01\"", NULL },
	{ "mac", "\"00-15-5D-AB-cd-01\"", "\"00:15:5d:ab:cd:01\"" },
	{ "mac", "\"00:00:00:00:00:00\"", "" },
	{ "guid", "\"9fd5bb6e-2f3c-4a6b-8f0e-0123456789ab\"", NULL },
	{ "guid", "\"{9FD5BB6E-2F3C-4A6B-8F0E-0123456789AB}\"",
	  "\"9fd5bb6e-2f3c-4a6b-8f0e-0123456789ab\"" },
	{ "ref", "\"lan\"", NULL },
	{ "set", "\"1-10,20\"", NULL },
	{ "set", "\"20,10-12,11-13,1\"", "\"1,10-13,20\"" },
	{ "set", "\"1-4094\"", NULL },
	{ "set", "\"4094\"", NULL },
	{ "range", "\"80\"", NULL },
	{ "range", "\"1000-2000\"", NULL },
	{ "range", "\"80-80\"", "\"80\"" },
	{ "range", "\"1-65535\"", NULL },
	{ "net", "\"10.0.0.0/8\"", NULL },
	{ "net", "\"0.0.0.0/0\"", NULL },
	{ "net", "\"192.0.2.1\"", "\"192.0.2.1/32\"" },
	{ "net", "\"fd00::/8\"", NULL },
	{ "net", "\"2001:db8::1/128\"", NULL },
	{ "net", "\"::/0\"", NULL },
	{ "address", "\"10.0.0.1\"", NULL },
	{ "address", "\"2001:DB8:0::1\"", "\"2001:db8::1\"" },
	{ "address", "null", "" },
};

static void good_values_come_back(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		const struct field *f = kind(good[i].field);
		const char *want = good[i].out ? good[i].out : good[i].in;
		json_t *in = json_loads(good[i].in, JSON_DECODE_ANY, NULL), *out;
		uint64_t at[64] = {}, copy[64] = {};
		struct refusal r = {};
		char *text;

		assert_int_equal(field_decode(f, in, at, &r), 0);
		out = field_encode(f, at);
		text = out ? json_dumps(out, JSON_ENCODE_ANY) : strdup("");
		assert_string_equal(text, want);
		assert_int_equal(field_given(f, at), *want != '\0');
		assert_int_equal(field_copy(f, copy, at), 0);
		assert_int_equal(field_compare(f, at, copy), 0);
		free(text);
		json_decref(in);
		json_decref(out);
		field_free(f, at);
		field_free(f, copy);
	}
}

// What goes in, the errno, and words of the sentence that comes back.
static const struct {
	const char *field, *in;
	int error;
	const char *says;
} bad[] = {
	{ "b", "1", EINVAL, "b: 1 is not true or false" },
	{ "b", "\"true\"", EINVAL, "\"true\" is not true or false" },
	{ "u8", "256", ERANGE, "u8: 256 is not a whole number from 0 to 255" },
	{ "u8", "-1", ERANGE, "-1 is not" },
	{ "u8", "1.0", EINVAL, "1.0 is not a whole number" },
	{ "u8", "\"7\"", EINVAL, "\"7\" is not a whole number" },
	{ "vlan", "0", ERANGE, "0 is not a whole number from 1 to 4094" },
	{ "vlan", "4095", ERANGE, "from 1 to 4094" },
	{ "u32", "4294967296", ERANGE, "from 0 to 4294967295 bytes" },
	{ "u64", "-9223372036854775808", ERANGE, "is not a whole number" },
	{ "e", "\"externl\"", EINVAL, "one of: internal external private" },
	{ "e", "1", EINVAL, "1 is not one of" },
	{ "s", "\"\"", ERANGE, "one line of 1 to 5 bytes" },
	{ "s", "\"123456\"", ERANGE, "one line of 1 to 5 bytes" },
	{ "s", "\"a\\nb\"", EINVAL, "one line" },
	{ "s", "\"\\u007f\"", EINVAL, "one line" },
	{ "s", "[\"a\"]", EINVAL, "[\"a\"] is not a text" },
	{ "mac", "\"00:15:5d:00:00\"", EINVAL, "a MAC address such as" },
	{ "mac", "\"00:15:5d:00:00:01:02\"", EINVAL, "a MAC address" },
	{ "mac", "\"00:15:5d:00:00:0g\"", EINVAL, "a MAC address" },
	{ "mac", "\"0:15:5d:00:00:01\"", EINVAL, "a MAC address" },
	{ "mac", "\"00155d000001\"", EINVAL, "a MAC address" },
	{ "mac", "5", EINVAL, "5 is not a MAC address" },
	{ "guid", "\"9fd5bb6e2f3c4a6b8f0e0123456789ab\"", EINVAL, "a GUID such as" },
	{ "guid", "\"{9fd5bb6e-2f3c-4a6b-8f0e-0123456789ab\"", EINVAL, "a GUID" },
	{ "guid", "\"9fd5bb6e-2f3c-4a6b-8f0e-0123456789abc\"", EINVAL, "a GUID" },
	{ "guid", "\"9fd5bb6e-\"", EINVAL, "a GUID" },
	{ "address", "\"10.0.0.1/24\"", EINVAL, "an IP address such as" },
	{ "address", "\"10.0.0.256\"", EINVAL, "an IP address" },
	{ "address", "\"fe80::1%eth0\"", EINVAL, "an IP address" },
	{ "ref", "{}", EINVAL, "{} is not the name of an object" },
	{ "set", "\"0\"", EINVAL, "VLAN IDs from 1 to 4094" },
	{ "set", "\"4095\"", EINVAL, "VLAN IDs" },
	{ "set", "\"10-5\"", EINVAL, "VLAN IDs" },
	{ "set", "\"1,\"", EINVAL, "VLAN IDs" },
	{ "set", "\"1-\"", EINVAL, "VLAN IDs" },
	{ "set", "\" 1\"", EINVAL, "VLAN IDs" },
	{ "set", "\"\"", EINVAL, "VLAN IDs" },
	{ "set", "\"99999999999999999999\"", EINVAL, "VLAN IDs" },
	{ "range", "\"0\"", EINVAL, "a port from 1 to 65535" },
	{ "range", "\"65536\"", EINVAL, "a port" },
	{ "range", "\"2-1\"", EINVAL, "a port" },
	{ "range", "\"80,81\"", EINVAL, "a port" },
	{ "range", "80", EINVAL, "80 is not a port" },
	{ "net", "\"10.0.0.1/8\"", EINVAL, "no bit set behind its length" },
	{ "net", "\"10.0.0.0/33\"", EINVAL, "an address prefix" },
	{ "net", "\"10.0.0/8\"", EINVAL, "an address prefix" },
	{ "net", "\"10.0.0.0/\"", EINVAL, "an address prefix" },
	{ "net", "\"fd00::/129\"", EINVAL, "an address prefix" },
	{ "net", "\"fd00::1/64\"", EINVAL, "an address prefix" },
	{ "net", "\"\"", EINVAL, "an address prefix" },
	{ "net", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:/1\"", EINVAL,
	  "an address prefix" },
};

static void bad_values_are_named(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct field *f = kind(bad[i].field);
		json_t *in = json_loads(bad[i].in, JSON_DECODE_ANY, NULL);
		uint64_t at[64] = {}, zero[64] = {};
		struct refusal r = {};

		assert_non_null(in);
		assert_int_equal(field_decode(f, in, at, &r), -bad[i].error);
		assert_memory_equal(at, zero, sizeof(at));
		assert_string_equal(r.field, f->name);
		if (!strstr(r.err.text, bad[i].says))
			fail_msg("'%s' does not say '%s'", r.err.text, bad[i].says);
		json_decref(in);
	}
}

static void typos_are_guessed(void **state)
{
	json_t *in = json_string("externl");
	unsigned int at;
	struct refusal r = {};

	assert_int_equal(field_decode(kind("e"), in, &at, &r), -EINVAL);
	assert_string_equal(r.hint, "did you mean 'external'?");
	json_decref(in);
	in = json_string("banana");
	assert_int_equal(field_decode(kind("e"), in, &at, &r), -EINVAL);
	assert_string_equal(r.hint, "");
	json_decref(in);
}

static void defaults_are_read_as_text(void **state)
{
	static const struct field f[] = {
		{ "b", FIELD_BOOL, .size = 1, .def = "true" },
		{ "u", FIELD_UINT, .size = 2, .def = "0x10" },
		{ "s", FIELD_STRING, .size = sizeof(char *), .def = "tap" },
		{ "p", FIELD_PREFIX, .size = sizeof(struct ip_prefix), .def = "10.0.0.0/8" },
	};
	uint64_t at[4];

	memset(at, 0xff, sizeof(at));
	assert_int_equal(field_default(&f[0], at), 0);
	assert_true(*(bool *)at);
	assert_int_equal(field_default(&f[1], at), 0);
	assert_int_equal(*(uint16_t *)at, 16);
	assert_int_equal(field_default(&f[2], at), 0);
	assert_string_equal(*(char **)at, "tap");
	field_free(&f[2], at);
	assert_int_equal(field_default(&f[3], at), 0);
	assert_int_equal(((struct ip_prefix *)at)->len, 8);
}

static void printers_stop_at_the_end(void **state)
{
	char text[8] = "xxxxxxx";
	struct vlan_set set;

	assert_true(vlan_set_parse("1,3,5,7,9,11", &set));
	assert_int_equal(vlan_set_print(&set, text, 4), 12);
	assert_string_equal(text, "1,3");
	assert_int_equal(text[4], 'x');
	for (uint16_t vid = 1; vid < 4095; vid += 2)
		vlan_set_add(&set, vid);
	assert_true(vlan_set_print(&set, text, sizeof(text)) < FIELD_TEXT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_values_come_back),
		cmocka_unit_test(bad_values_are_named),
		cmocka_unit_test(typos_are_guessed),
		cmocka_unit_test(defaults_are_read_as_text),
		cmocka_unit_test(printers_stop_at_the_end),
	};

	return cmocka_run_group_tests_name("control/field", tests, NULL, NULL);
}
