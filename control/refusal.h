// SPDX-License-Identifier: Apache-2.0
// Why a request was refused, for a person and for a program: the sentence of base/err.h, the
// field it is about, and what might be meant instead. Travels as "data" of a JSON-RPC error.
#pragma once

#include "base/err.h"

struct refusal {
	struct err err;  // the whole sentence
	char field[64];  // field or parameter it is about; empty: none
	char hint[160];  // how to mend it ("did you mean 'vlan'?"); empty: none
};

// Writes the sentence and the field (NULL: none), clears the hint. Returns -error, as err_set.
int refuse(struct refusal *r, int error, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

// Adds the hint. Returns `ret` unchanged.
int refuse_hint(struct refusal *r, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

// Hints at the nearest of words[n] ("did you mean 'vlan'?") if one is near enough to `given`.
// Returns `ret` unchanged.
int refuse_suggest(struct refusal *r, int ret, const char *given, const char *const *words,
		   unsigned int n);
