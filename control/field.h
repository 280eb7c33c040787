// SPDX-License-Identifier: Apache-2.0
// One field of an object type, and the work on its value: JSON in, JSON out, compare, copy, free.
//
// An object is a plain C struct; a table of `struct field` says what lies where. The same table
// makes describe, help, CLI tables and the stored file, so a field is written down once.
// Used by object.c; modules write tables with the FIELD macro. Pure functions, any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/types.h"
#include "base/values.h"
#include "control/refusal.h"

// Type, its C member, its JSON form. Every type but bool and enum has a "not given" state, which
// is not printed; JSON null sets a field back to its default.
enum field_type {
	FIELD_BOOL,       // bool                  true / false
	FIELD_UINT,       // uint8_t … uint64_t    integer, min…max; 0 with min > 0: not given
	FIELD_ENUM,       // unsigned or enum      one of words[]; the value is its index
	FIELD_STRING,     // char *, owned         text of at most `max` bytes; NULL: not given
	FIELD_MAC,        // struct mac            "00:15:5d:00:00:01" (or -); zero: not given
	FIELD_GUID,       // struct guid           "9fd5bb6e-…"; zero: not given
	FIELD_REF,        // char *, owned         name of an object of type `ref`; NULL: not given
	FIELD_VLAN_SET,   // struct vlan_set       "1-10,20"; empty: not given
	FIELD_PORT_RANGE, // struct port_range     "80" or "1000-2000"; 0-0: not given
	FIELD_PREFIX,     // struct ip_prefix      "10.0.0.0/8", "fd00::/8"; family 0: not given
	FIELD_ADDRESS,    // struct ip_address     "10.0.0.1", "fd00::1"; family 0: not given
};

enum field_flag {
	FIELD_REQUIRED = 1 << 0,  // must be given when the object is added
	FIELD_READ_ONLY = 1 << 1, // live, filled by the type's status hook; has no C member
	FIELD_GENERATED = 1 << 2, // if not given, the type's generate hook fills it; then it stays
	FIELD_IMMUTABLE = 1 << 3, // cannot change after add
	FIELD_UNIQUE = 1 << 4,    // no two objects of the type may have the same value
	FIELD_DETAIL = 1 << 5,    // left out of tables of many objects
};

struct field {
	const char *name;
	enum field_type type;
	uint32_t flags;           // enum field_flag bits
	uint32_t offset, size;    // of the C member, bytes
	uint64_t min, max;        // UINT: range, max 0: what the member holds
				  // STRING: longest text in bytes, max 0: 255
	const char *def;          // default, as a person would write it; NULL: zero or not given
	const char *const *words; // ENUM: the words, NULL at the end
	const char *ref;          // REF: name of the object type it points to
	const char *unit;         // "frames/s", "bytes"; NULL: none
	const char *help;         // one sentence without full stop
};

// FIELD(struct port_obj, vlan, FIELD_UINT, .min = 1, .max = 4094, .help = "access VLAN")
#define FIELD(strct, member, kind, ...)                                                            \
	{                                                                                          \
		.name = #member, .type = kind, .offset = offsetof(strct, member),                  \
		.size = sizeof(((strct *)0)->member), __VA_ARGS__                                  \
	}
// FIELD_LIVE(link, FIELD_STRING, .help = "state of the link"): a read-only field.
#define FIELD_LIVE(member, kind, ...)                                                              \
	{                                                                                          \
		.name = #member, .type = kind, .flags = FIELD_READ_ONLY, __VA_ARGS__               \
	}

extern const char *const field_type_names[]; // "bool", "unsigned", …, by enum field_type

// Writes the value of JSON `v` into the member at `at` (freeing a string that was there). Returns
// 0, -EINVAL or -ERANGE with a sentence that names field, value and what is allowed, or -ENOMEM.
// On failure the member is as it was.
int field_decode(const struct field *f, const json_t *v, void *at, struct refusal *r);

// Writes the default into the member, which holds nothing that must be freed. Returns 0 or
// -ENOMEM; a default that does not parse is the programmer's mistake (assert).
int field_default(const struct field *f, void *at);

// The value as JSON, or NULL if it is not given (or memory is short). The caller owns it.
json_t *field_encode(const struct field *f, const void *at);

bool field_given(const struct field *f, const void *at); // bool and enum always are
int field_compare(const struct field *f, const void *a, const void *b); // <0, 0, >0: some order
int field_copy(const struct field *f, void *to, const void *from); // 0 or -ENOMEM
void field_free(const struct field *f, void *at); // frees what the member owns

// Text ↔ value. Parsers return false on anything but exactly one value, and leave *out alone
// then; printers write at most `size` bytes with the NUL and return the length of the whole text.
bool mac_parse(const char *text, struct mac *out);
bool guid_parse(const char *text, struct guid *out);
bool vlan_set_parse(const char *text, struct vlan_set *out);     // IDs 1…4094
bool port_range_parse(const char *text, struct port_range *out); // ports 1…65535
bool ip_prefix_parse(const char *text, struct ip_prefix *out);   // host bits must be zero
bool ip_address_parse(const char *text, struct ip_address *out);
size_t mac_print(struct mac mac, char *buf, size_t size);
size_t guid_print(const struct guid *guid, char *buf, size_t size);
size_t vlan_set_print(const struct vlan_set *set, char *buf, size_t size);
size_t port_range_print(struct port_range range, char *buf, size_t size);
size_t ip_prefix_print(const struct ip_prefix *prefix, char *buf, size_t size);
size_t ip_address_print(const struct ip_address *address, char *buf, size_t size);

#define FIELD_TEXT_MAX (4096 * 5) // room for the longest of them: a VLAN set with no runs
