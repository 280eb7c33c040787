// SPDX-License-Identifier: Apache-2.0
#include "vswitch/test_rig.h"

#define N_MBUFS 4096

struct rig *rig;
struct reassembly *rig_reassembly;
uint32_t rig_entries = 4096;
const struct mac broadcast = { .b = { 255, 255, 255, 255, 255, 255 } };

void rig_publish(void)
{
	struct sw_port_cfg ports[RIG_PORTS];
	struct vswitch_cfg cfg = {
		.switches = &rig->sw, .ports = ports, .n_switches = 1, .n_ports = RIG_PORTS
	};
	struct vswitch_plan *plan;
	struct err err;

	memcpy(ports, rig->ports, sizeof(ports));
	for (int i = 0; i < RIG_PORTS; i++) // policies move into the switch
		rig->ports[i].n_in = rig->ports[i].n_out = 0;
	assert_int_equal(vswitch_prepare(rig->vs, &cfg, &plan, &err), 0);
	vswitch_publish(rig->vs, plan);
	rcu_poll(rig->rcu);
}

void rig_second(void)
{
	pipeline_ops.tick(rig->pipeline, rig->now += RIG_TSC_HZ);
}

int rig_set_up(void **state)
{
	static const struct port_dev up;
	struct pipeline_cfg cfg = { .cache = { .entries = rig_entries, .tsc_hz = RIG_TSC_HZ,
					      .reassembly = rig_reassembly } };
	struct err err;

	rig = calloc(1, sizeof(*rig));
	rig->pools.small = test_pool_create(N_MBUFS, TEST_SMALL_ROOM);
	rig->pools.large = rig->pools.small;
	rig->rcu = rcu_create();
	assert_int_equal(vswitch_create(rig->rcu, 1, -1, &rig->vs, &err), 0);
	cfg.cache.snapshot = vswitch_snapshot(rig->vs);
	cfg.cache.fdb = vswitch_fdb(rig->vs);
	cfg.cache.learn = vswitch_learn_queue(rig->vs, 0);
	assert_int_equal(pipeline_create(&cfg, &rig->pipeline, &err), 0);
	rig->plan = calloc(1, sizeof(*rig->plan));
	rig->out.plan = rig->plan;
	rig->out.pools = &rig->pools;
	rig->sw = (struct sw_switch_cfg){ .flood_unknown = true, .ageing_s = 300 };
	for (uint16_t i = 0; i < RIG_PORTS; i++) {
		rig->egress[i].dev = &up; // nothing looks behind it
		rig->egress[i].port = i;
		rig->egress[i].counters = &rig->counters[i];
		rig->plan->egress[i] = &rig->egress[i];
		rig->ports[i] = (struct sw_port_cfg){ .index = i, .ready = true, .learning = true,
						      .takes_untagged = true, .max_macs = 1000,
						      .move_limit = 1000, .miss_budget = 100000 };
	}
	rig_publish();
	rig_second();
	return 0;
}

static uint32_t waiting(void)
{
	uint32_t n = 0;

	for (int i = 0; i < RIG_PORTS; i++)
		n += rig->egress[i].n;
	return n;
}

static void add_counters(const struct port_counters *c, uint64_t *in, uint64_t *out)
{
	*in += c->rx_packets + c->created;
	for (int r = 0; r < DROP_N_REASONS; r++)
		*out += c->drops[DROP_RX][r] + c->drops[DROP_TX][r];
	*out += c->consumed;
}

// Nothing may get lost uncounted, whatever the test did.
static void check_conservation(void)
{
	uint64_t in = 0, out = rig->n_sent + waiting() + pipeline_ops.held(rig->pipeline);

	add_counters(&rig->out.spare, &in, &out);
	for (int i = 0; i < RIG_PORTS; i++)
		add_counters(&rig->counters[i], &in, &out);
	assert_int_equal(in, out);
}

void rig_forget(void)
{
	for (int i = 0; i < RIG_PORTS; i++) {
		rig->n_sent += rig->egress[i].n;
		for (uint16_t j = 0; j < rig->egress[i].n; j++)
			rte_pktmbuf_free(rig->egress[i].pkts[j]);
		rig->egress[i].n = 0;
	}
	rig->out.dirty = NULL;
}

int rig_tear_down(void **state)
{
	check_conservation();
	rig_forget();
	pipeline_destroy(rig->pipeline);
	rcu_destroy(rig->rcu);
	vswitch_destroy(rig->vs);
	test_pool_destroy(rig->pools.small);
	free(rig->plan);
	free(rig);
	return 0;
}

// --- sending and looking -----------------------------------------------------------------------

struct mac host(uint8_t n)
{
	return (struct mac){ .b = { 2, 0, 0, 0, 0, n } };
}

struct rte_mbuf *frame_with(const struct test_frame *f, struct mac src, struct mac dst)
{
	struct rte_mbuf *m = test_frame_build(rig->pools.small, f);

	memcpy(rte_pktmbuf_mtod(m, uint8_t *), dst.b, 6);
	memcpy(rte_pktmbuf_mtod(m, uint8_t *) + 6, src.b, 6);
	return m;
}

struct rte_mbuf *frame(struct mac src, struct mac dst)
{
	return frame_with(&(struct test_frame){ .payload_bytes = 40 }, src, dst);
}

struct rte_mbuf *tagged(struct mac src, struct mac dst, uint16_t vid)
{
	struct rte_mbuf *m = frame_with(&(struct test_frame){ .n_tags = 1, .payload_bytes = 40 },
					src, dst);

	store_be16(rte_pktmbuf_mtod_offset(m, uint8_t *, 14), cpu_to_be16(0xa000 | vid));
	return m;
}

// One frame in from `port`, and what was learnt taken in.
void rig_send(uint16_t port, struct rte_mbuf *m)
{
	rig_forget();
	pipeline_ops.input(rig->pipeline, &rig->out, port, &m, 1);
	vswitch_learn(rig->vs);
}

// "12": exactly ports 1 and 2 got one frame each.
void expect_at(const char *ports)
{
	for (int i = 0; i < RIG_PORTS; i++)
		assert_int_equal(rig->egress[i].n, strchr(ports, '0' + i) ? 1 : 0);
}

uint64_t drops(uint16_t port, enum drop_dir dir, enum drop reason)
{
	return rig->counters[port].drops[dir][reason];
}

uint16_t tag_of(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

	if (load_be16(p + 12) != BE16(ETH_TYPE_VLAN))
		return 0;
	return TAG_PRESENT | (be16_to_cpu(load_be16(p + 14)) & VID_MASK);
}
