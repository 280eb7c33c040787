// SPDX-License-Identifier: Apache-2.0
#include "dataplane/drop.h"

const char *const drop_names[DROP_N_REASONS] = {
#define X(symbol, name, text) [DROP_##symbol] = name,
	DROP_REASONS(X)
#undef X
};

const char *const drop_texts[DROP_N_REASONS] = {
#define X(symbol, name, text) [DROP_##symbol] = text,
	DROP_REASONS(X)
#undef X
};
