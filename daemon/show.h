// SPDX-License-Identifier: Apache-2.0
// What the parts of the live views share. control.
#pragma once

#include "daemon/daemon.h"

#define SHOW_MAX_ROWS 10000 // of one live list

static inline void show_uint(json_t *obj, const char *key, uint64_t value)
{
	json_object_set_new(obj, key, json_integer((json_int_t)value));
}

// text: NULL is "?".
static inline void show_text(json_t *obj, const char *key, const char *text)
{
	json_object_set_new(obj, key, json_string(text ? text : "?"));
}

// A way's name: encapsulation and provider, as `weft show way` lists it.
void show_way(const struct daemon *d, uint16_t way, char *text, size_t size);

// Adds "port" or "way" to a row: what an FDB slot leads to.
void show_place(const struct daemon *d, uint16_t port, json_t *row);
