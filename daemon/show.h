// SPDX-License-Identifier: Apache-2.0
// What the parts of the live views share. control.
#pragma once

#include "daemon/daemon.h"

#define SHOW_MAX_ROWS 10000 // of one live list

// A way's name: encapsulation and provider, as `weft show way` lists it.
void show_way(const struct daemon *d, uint16_t way, char *text, size_t size);

// Adds "port" or "way" to a row: what an FDB slot leads to.
void show_place(const struct daemon *d, uint16_t port, json_t *row);
