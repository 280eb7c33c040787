// SPDX-License-Identifier: Apache-2.0
// From configured objects to the description that the switch core compiles. control.
#pragma once

#include "daemon/numbering.h"
#include "vswitch/vswitch_ctl.h"

// The numbers by which one configuration's objects are known.
struct numbers {
	struct numbering switches, ports, rules, networks, subnets;
};

// All of them, beside those in force; resting_ports[PORT_MAX] are indices not to be given out. 0,
// or -errno with a sentence.
int numbers_make(const struct model *model, const struct numbers *old, const bool *resting_ports,
		 struct numbers *out, struct err *err);
void numbers_free(struct numbers *n);

// Calls vswitch_prepare with what `model` wishes.
int wishes_prepare(struct vswitch *vs, const struct model *model, const struct numbers *numbers,
		   struct vswitch_plan **plan, struct err *err);

// The rule that a drop's rule id names, or NULL.
const char *wishes_rule_name(const struct numbers *numbers, uint32_t rule_id);
