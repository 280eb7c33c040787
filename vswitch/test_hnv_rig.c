// SPDX-License-Identifier: Apache-2.0
#include "vswitch/test_hnv_rig.h"

#include <rte_ring_elem.h>

struct hnv_rig *hrig;

static const struct mac router = { .b = { 2, 0, 0, 0, 0, 0xfe } };
static const struct encap_ops *const codecs[HNV_N_ENCAPS] = { &nvgre_ops, &vxlan_ops };

struct ip_address ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct ip_address){ 4, { a, b, c, d } };
}

struct ip_address customer4(uint16_t fid, uint8_t n)
{
	return ip4(10, 0, (uint8_t)(fid - BLUE + 1), n);
}

struct ip_address customer6(uint16_t fid, uint8_t n)
{
	struct ip_address a = { 6, { 0xfd, 0, 0, (uint8_t)(fid - BLUE + 1) } };

	a.b[15] = n;
	return a;
}

static struct ip_prefix prefix_of(struct ip_address a, uint8_t len)
{
	struct ip_prefix p = { .family = a.family, .len = len };

	memcpy(p.addr, a.b, sizeof(p.addr));
	return p;
}

static void make_subnet(uint16_t fid, uint32_t vsid, uint8_t encap)
{
	hrig->subnets[fid - BLUE] = (struct hnv_subnet){
		.fid = fid,
		.vsid = vsid,
		.encap = encap,
		.flow_id = -1,
		.prefix = { prefix_of(customer4(fid, 0), 24), prefix_of(customer6(fid, 0), 64) },
		.gateway = { customer4(fid, 1), customer6(fid, 1) },
	};
	hrig->by_fid[fid] = &hrig->subnets[fid - BLUE];
}

static void make_way(uint16_t way, uint8_t encap, uint8_t peer)
{
	struct way *w = &hrig->ways[way - WAY_FIRST];
	struct way_header *h = &hrig->headers[way - WAY_FIRST];
	struct encap_way e = {
		.src = hrig->provider.mac, .dst = host(peer), .ttl = 64, .udp_port = VXLAN_PORT
	};

	*w = (struct way){ .provider = ip4(192, 0, 2, peer), .encap = encap };
	memcpy(e.source, hrig->provider.address.b, 16);
	memcpy(e.destination, w->provider.b, 16);
	*h = (struct way_header){ .ops = codecs[encap], .uplink = UPLINK, .mtu = WAY_MTU };
	codecs[encap]->build(&e, &h->header);
	rcu_set(&w->now, h);
}

static void make_domain(uint16_t fid, const struct sw_member *members, uint16_t n)
{
	struct sw_domain *d = calloc(1, sizeof(*d) + n * sizeof(*members));

	d->fid = fid;
	d->n = n;
	memcpy(d->members, members, n * sizeof(*members));
	hrig->domains[fid - BLUE] = d;
	hrig->domain_table[fid] = d;
	fdb_domain_add(vswitch_fdb(rig->vs), fid);
}

static void make_network(void)
{
	struct hnv_network_route routes[4];
	struct hnv_network *network;

	for (int i = 0; i < 4; i++)
		routes[i] = (struct hnv_network_route){
			.prefix = hrig->subnets[i / 2].prefix[i % 2],
			.subnet = &hrig->subnets[i / 2],
		};
	network = hnv_network_create(routes, 4);
	hrig->subnets[0].network = hrig->subnets[1].network = network;
}

void hnv_rig_publish(void)
{
	static uint32_t gen = 1000;
	struct snapshot_ref *ref = (struct snapshot_ref *)vswitch_snapshot(rig->vs);

	for (int i = 0; i < RIG_PORTS; i++)
		hrig->ports[i].gen = ++gen;
	rcu_set(&ref->now, hrig->snap);
}

void hnv_rig_customer(uint16_t fid, uint8_t n, uint16_t place)
{
	struct ip_address a4 = customer4(fid, n), a6 = customer6(fid, n);
	struct fdb_where where = { .port = place, .tag = way_is(place) ? TAG_WAY : 0 };

	fdb_set(vswitch_fdb(rig->vs), fid, host(n), where, FDB_STATIC, true);
	hnv_neighbors_set(hrig->hnv.neighbors, fid, &a4, host(n));
	hnv_neighbors_set(hrig->hnv.neighbors, fid, &a6, host(n));
}

static void make_tables(void)
{
	const struct hnv_subnet *subnets[] = { &hrig->subnets[0], &hrig->subnets[1] };
	static const uint16_t numbers[] = { WAY_BLUE, WAY_RED };
	struct err err;

	hrig->hnv = (struct hnv){
		.router_mac = router,
		.vxlan_port = VXLAN_PORT,
		.codecs = { &nvgre_ops, &vxlan_ops },
		.by_fid = hrig->by_fid,
		.underlays = hrig->underlays,
		.ways = hrig->ways,
		.index = { hnv_index_create(subnets, 2, hrig->ways, numbers, 2) },
	};
	hrig->underlay.plain = hnv_plain_create(&(struct hnv_cfg){
		.providers = &hrig->provider,
		.n_providers = 1,
		.vxlan_port = VXLAN_PORT,
		.codecs = { &nvgre_ops, &vxlan_ops },
	});
	assert_int_equal(hnv_neighbors_create(rig->rcu, &hrig->hnv.neighbors, &err), 0);
}

static void make_snapshot(void)
{
	const struct snapshot *base = rcu_get(&vswitch_snapshot(rig->vs)->now);

	hrig->snap = malloc(sizeof(*hrig->snap));
	*hrig->snap = *base;
	hrig->snap->hnv = &hrig->hnv;
	hrig->snap->domains = hrig->domain_table;
	hrig->snap->n_domains = RED + 1;
	memcpy(hrig->domain_table, base->domains, base->n_domains * sizeof(*base->domains));
	for (int i = 0; i < RIG_PORTS; i++) {
		hrig->ports[i] = *base->ports[i];
		hrig->snap->ports[i] = &hrig->ports[i];
		hrig->ports[i].learning = false;
		if (i != UPLINK)
			hrig->ports[i].native_fid = i == 2 ? RED : BLUE;
	}
}

int hnv_rig_set_up(void **state)
{
	static const struct sw_member blue[] = { { 0, 0 }, { 1, 0 }, { WAY_BLUE, TAG_WAY } };
	static const struct sw_member red[] = { { 2, 0 }, { WAY_RED, TAG_WAY } };

	rig_set_up(state);
	hrig = calloc(1, sizeof(*hrig));
	hrig->provider = (struct hnv_provider_cfg){ .port = UPLINK,
						    .address = ip4(192, 0, 2, 1),
						    .prefix_bits = 24,
						    .mac = host(0xf0),
						    .mtu = 1500 };
	hrig->underlay = (struct hnv_underlay){ .n = 1, .providers = &hrig->provider };
	hrig->underlays[UPLINK] = &hrig->underlay;
	make_subnet(BLUE, BLUE_VSID, HNV_NVGRE);
	make_subnet(RED, RED_VSID, HNV_VXLAN);
	make_network();
	make_way(WAY_BLUE, HNV_NVGRE, 2);
	make_way(WAY_RED, HNV_VXLAN, 3);
	make_snapshot();
	make_domain(BLUE, blue, ARRAY_SIZE(blue));
	make_domain(RED, red, ARRAY_SIZE(red));
	make_tables();
	hnv_rig_customer(BLUE, 10, 0);
	hnv_rig_customer(BLUE, 11, 1);
	hnv_rig_customer(RED, 12, 2);
	hnv_rig_customer(BLUE, 20, WAY_BLUE);
	hnv_rig_customer(RED, 21, WAY_RED);
	hnv_rig_publish();
	return 0;
}

int hnv_rig_tear_down(void **state)
{
	int ret = rig_tear_down(state);

	free((void *)hrig->hnv.index.rcu_ptr);
	free((void *)hrig->underlay.plain);
	hnv_neighbors_destroy(hrig->hnv.neighbors);
	free((void *)hrig->subnets[0].network);
	free(hrig->domains[0]);
	free(hrig->domains[1]);
	free(hrig->snap);
	free(hrig);
	return ret;
}

// --- sending and looking -----------------------------------------------------------------------

void hnv_send(uint16_t port, struct rte_mbuf *m)
{
	struct learn_queue *q = vswitch_learn_queue(rig->vs, 0);
	struct learn_report r;

	rig_forget();
	pipeline_ops.input(rig->pipeline, &rig->out, port, &m, 1);
	hrig->n_reports = 0;
	while (rte_ring_sc_dequeue_elem(q->ring, &r, sizeof(r)) == 0) {
		assert_in_range(hrig->n_reports, 0, ARRAY_SIZE(hrig->reports) - 1);
		hrig->reports[hrig->n_reports++] = r;
	}
}

struct rte_mbuf *encapsulated(uint16_t way, uint32_t vsid, struct rte_mbuf *m)
{
	const struct way *w = &hrig->ways[way - WAY_FIRST];
	struct encap_header h;
	struct encap_way e = { .src = host(w->provider.b[3]), .dst = hrig->provider.mac, .ttl = 64,
			       .udp_port = VXLAN_PORT };

	memcpy(e.source, w->provider.b, 16);
	memcpy(e.destination, hrig->provider.address.b, 16);
	codecs[w->encap]->build(&e, &h);
	codecs[w->encap]->push(&h, m, vsid, 42, 0);
	return m;
}

struct rte_mbuf *expect_encapsulated(uint16_t way, uint16_t i, struct encap_info *info)
{
	const struct way *w = &hrig->ways[way - WAY_FIRST];
	struct rte_mbuf *m = rig->egress[UPLINK].pkts[i];
	struct encap_where where;

	assert_in_range(i, 0, rig->egress[UPLINK].n - 1);
	assert_int_equal(encap_find(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, VXLAN_PORT,
				    &where),
			 codecs[w->encap]->kind);
	assert_int_equal(codecs[w->encap]->pop(m, &where, info), ENCAP_OK);
	assert_memory_equal(info->source, hrig->provider.address.b, 16);
	assert_memory_equal(info->destination, w->provider.b, 16);
	return m;
}
