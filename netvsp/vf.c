// SPDX-License-Identifier: Apache-2.0
#include "netvsp/vf.h"

#include "netvsp/nvsp.h"

// The guest knows the VF that is on offer.
static bool is_known(const struct netvsp_vf *vf)
{
	return vf->serial && (vf->told == vf->serial || vf->saying == vf->serial);
}

enum netvsp_vf_state netvsp_vf_state(const struct netvsp_vf *vf)
{
	if (is_known(vf))
		return vf->switched ? NETVSP_VF_SWITCHED : NETVSP_VF_OFFERED;
	return netvsp_vf_is_free(vf) ? NETVSP_VF_UNAVAILABLE : NETVSP_VF_RESTORING;
}

void netvsp_vf_offer(struct netvsp_vf *vf, uint32_t serial)
{
	vf->serial = serial;
}

void netvsp_vf_withdraw(struct netvsp_vf *vf)
{
	vf->serial = 0;
}

bool netvsp_vf_is_free(const struct netvsp_vf *vf)
{
	bool knows_other = (vf->told && vf->told != vf->serial) ||
			   (vf->saying && vf->saying != vf->serial);

	return !knows_other && (!vf->switched || is_known(vf));
}

bool netvsp_vf_switch(struct netvsp_vf *vf, uint32_t path)
{
	bool was_switched = vf->switched;

	if (path == NVSP_PATH_SYNTHETIC)
		vf->switched = false;
	else if (path == NVSP_PATH_VF && is_known(vf))
		vf->switched = true;
	return vf->switched != was_switched;
}

bool netvsp_vf_next_word(struct netvsp_vf *vf, struct netvsp_vf_word *out)
{
	if (vf->told && vf->told != vf->serial) {
		*out = (struct netvsp_vf_word){ false, vf->told };
		return true;
	}
	// A guest that still uses another VF must come back first.
	if (!vf->serial || vf->told || vf->switched)
		return false;
	vf->saying = vf->serial;
	*out = (struct netvsp_vf_word){ true, vf->serial };
	return true;
}

void netvsp_vf_said(struct netvsp_vf *vf, const struct netvsp_vf_word *word)
{
	vf->told = word->allocated ? word->serial : 0;
	vf->saying = 0;
}

void netvsp_vf_reset(struct netvsp_vf *vf)
{
	vf->told = 0;
	vf->saying = 0;
	vf->switched = false;
}
