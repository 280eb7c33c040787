// SPDX-License-Identifier: Apache-2.0
#include "dataplane/port.h"

#include <string.h>

const struct port_ops *const port_kinds[] = {
	&port_tap, &port_ethdev, &port_pcap, &port_pair, &port_null, NULL,
};

const struct port_ops *port_kind_find(const char *kind)
{
	for (const struct port_ops *const *k = port_kinds; *k; k++)
		if (strcmp((*k)->kind, kind) == 0)
			return *k;
	return NULL;
}
