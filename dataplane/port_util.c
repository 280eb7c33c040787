// SPDX-License-Identifier: Apache-2.0
#include "dataplane/port_util.h"

#include <string.h>

// Makes `need` bytes of room behind what the first segment holds, using its headroom if it must.
static bool head_make_room(struct rte_mbuf *m, uint16_t need)
{
	char *start = m->buf_addr;

	if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1 || m->buf_len < need + m->data_len)
		return false;
	if (rte_pktmbuf_tailroom(m) < need) {
		memmove(start, start + m->data_off, m->data_len);
		m->data_off = 0;
	}
	return true;
}

bool port_pull_head(struct rte_mbuf *m)
{
	uint16_t want = (uint16_t)RTE_MIN(m->pkt_len, PORT_HEADER_BYTES);

	if (m->data_len >= want)
		return true;
	if (!head_make_room(m, want - m->data_len))
		return false;
	while (m->data_len < want && m->next) {
		struct rte_mbuf *next = m->next;
		uint16_t n = RTE_MIN(next->data_len, (uint16_t)(want - m->data_len));

		memcpy(rte_pktmbuf_mtod_offset(m, char *, m->data_len),
		       rte_pktmbuf_mtod(next, char *), n);
		m->data_len += n;
		next->data_off += n;
		next->data_len -= n;
		if (next->data_len == 0) {
			m->next = next->next;
			m->nb_segs--;
			rte_pktmbuf_free_seg(next);
		}
	}
	return m->data_len >= want;
}

uint16_t port_rx_fix(struct rte_mbuf **pkts, uint16_t n, uint64_t keep)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		m->ol_flags = port_clean_flags(m->ol_flags, keep);
		if (unlikely(!port_head_contiguous(m) && !port_pull_head(m)))
			rte_pktmbuf_free(m);
		else
			pkts[kept++] = m;
	}
	return kept;
}
