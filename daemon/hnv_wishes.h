// SPDX-License-Identifier: Apache-2.0
// From objects to the plain description of virtual networks that the switch core compiles. control.
#pragma once

#include "daemon/wishes.h"
#include "vswitch/hnv.h"

// Fills in cfg, whose arrays are then the caller's (hnv_wishes_free, also after an error). Returns
// whether there is anything: 1 or 0, or -errno with a sentence.
int hnv_wishes_make(const struct model *model, const struct numbers *numbers, struct hnv_cfg *cfg,
		    struct err *err);
void hnv_wishes_free(struct hnv_cfg *cfg);
