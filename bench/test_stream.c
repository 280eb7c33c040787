// SPDX-License-Identifier: Apache-2.0
// Streams: what a specification may say, and what the frames then are.
#include "bench/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static struct bench_stream make(const char *text)
{
	struct bench_stream s;
	struct bench_spec spec;
	struct err err = { 0 };

	assert_int_equal(bench_spec_parse(text, &spec, &err), 0);
	assert_int_equal(bench_stream_init(&s, &spec), 0);
	return s;
}

static void test_spec_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "name of a port" },
		{ ":size=64", "name of a port" },
		{ "p:size=59", "size=59: must be 60…9600" },
		{ "p:flows=0", "flows=0: must be 1…" },
		{ "p:flows=12x", "flows=12x" },
		{ "p:flows=", "flows=: must be" },
		{ "p:side=2", "side=2: must be 0…1" },
		{ "p:colour=red", "colour=red: no such word" },
		{ "p:order=random", "order=random" },
		{ "p:flows", "expected word=value" },
		{ "p:depth=3", "power of two" },
		{ "p:flows=10,hold=11", "hold=11" },
		{ "a-name-of-more-than-thirty-two-letters:size=64", "name of a port" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench_spec spec;
		struct err err = { 0 };

		assert_int_equal(bench_spec_parse(rows[i].text, &spec, &err), -EINVAL);
		if (!strstr(err.text, rows[i].says))
			fail_msg("\"%s\" says: %s", rows[i].text, err.text);
	}
}

static void test_spec_ends_at_semicolon(void **state)
{
	struct bench_spec spec;

	assert_int_equal(bench_spec_parse("a:macs=7;b:nonsense", &spec, NULL), 0);
	assert_string_equal(spec.port, "a");
	assert_int_equal(spec.macs, 7);
	assert_int_equal(spec.dmacs, 7); // as many as macs unless told
	assert_int_equal(spec.size, 64);
}

// One's complement sum over whole 16-bit words; a right IPv4 header gives 0xffff.
static uint32_t sum(const uint8_t *p, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i < len; i += 2)
		s += be16_to_cpu(load_be16(p + i));
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void test_frame_plain(void **state)
{
	static const uint8_t expected[] = {
		0x02, 0x00, 0x10, 0x00, 0x00, 0x03, 0x02, 0x00, 0x00, 0x00, 0x00, 0x03, 0x08, 0x00,
		0x45, 0x00, 0x00, 0x32, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x26, 0xac, 10,   1,
		0x00, 0x0d, 10,   2,    0x00, 0x00, 0x27, 0x10, 0x0c, 0xea, 0x00, 0x1e, 0x00, 0x00,
	};
	struct bench_stream s = make("p:flows=100,macs=10");
	uint8_t frame[BENCH_HEAD_BYTES] = { 0 };

	bench_stream_write(&s, 13, frame);
	assert_memory_equal(frame, expected, sizeof(expected));
	bench_stream_fini(&s);
}

static void test_frames_answer_each_other(void **state)
{
	struct bench_stream a = make("p:side=0,flows=100,macs=10"),
			    b = make("p:side=1,flows=100,macs=10");
	uint8_t there[BENCH_HEAD_BYTES], back[BENCH_HEAD_BYTES];

	bench_stream_write(&a, 42, there);
	bench_stream_write(&b, 42, back);
	assert_memory_equal(there, back + 6, 6);
	assert_memory_equal(there + 6, back, 6);
	bench_stream_fini(&a);
	bench_stream_fini(&b);
}

static void test_checksums(void **state)
{
	static const struct {
		const char *text;
		uint32_t ip, outer; // offsets of the IPv4 headers; outer 0: none
	} rows[] = {
		{ "p:flows=2000000", 14, 0 },
		{ "p:flows=2000000,side=1,vlan=7,size=1514", 18, 0 },
		{ "p:flows=2000000,encap=vxlan", 50 + 14, 14 },
		{ "p:flows=2000000,encap=nvgre,vlan=9,size=9000", 42 + 18, 14 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench_stream s = make(rows[i].text);
		uint8_t frame[BENCH_HEAD_BYTES];

		for (uint32_t flow = 0; flow < 2000000; flow += 12345) {
			bench_stream_write(&s, flow, frame);
			assert_int_equal(sum(frame + rows[i].ip, 20), 0xffff);
			if (rows[i].outer)
				assert_int_equal(sum(frame + rows[i].outer, 20), 0xffff);
		}
		bench_stream_fini(&s);
	}
}

static void test_tunnel_headers(void **state)
{
	struct bench_stream v = make("p:encap=vxlan,vni=0x123456"),
			    n = make("p:encap=nvgre,vni=0x123456,flowid=0");
	static const uint8_t vxlan[] = { 0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0 };
	static const uint8_t gre[] = { 0x20, 0, 0x65, 0x58, 0x12, 0x34, 0x56, 0 };
	uint8_t frame[BENCH_HEAD_BYTES];

	bench_stream_write(&v, 0, frame);
	assert_int_equal(v.frame_bytes, 64 + 50);
	assert_memory_equal(frame + 42, vxlan, sizeof(vxlan));
	bench_stream_write(&n, 0, frame);
	assert_int_equal(n.frame_bytes, 64 + 42);
	assert_memory_equal(frame + 34, gre, sizeof(gre));
	bench_stream_fini(&v);
	bench_stream_fini(&n);
}

// Walks the whole order once; n[flow] is how often each came.
static uint32_t *histogram(const struct bench_stream *s)
{
	uint32_t *n = calloc(s->spec.flows, sizeof(*n)), cursor = 0;

	assert_non_null(n);
	for (uint32_t i = 0; i < s->order_entries; i++)
		n[bench_stream_next(s, &cursor, s->order_entries)]++;
	assert_int_equal(cursor, 0); // round once
	return n;
}

static void test_rand_is_even(void **state)
{
	struct bench_stream s = make("p:flows=1000,order=rand");
	uint32_t *n = histogram(&s);

	for (uint32_t i = 1; i < 1000; i++)
		assert_int_equal(n[i], n[0]);
	assert_int_not_equal(s.order[1], s.order[0] + 1); // shuffled at all
	free(n);
	bench_stream_fini(&s);
}

static void test_zipf_falls(void **state)
{
	struct bench_stream s = make("p:flows=1000,order=zipf");
	uint32_t *n = histogram(&s);

	assert_in_range(n[0], 1.9 * n[1], 2.1 * n[1]);
	assert_in_range(n[9], 9 * n[99], 11 * n[99]);
	free(n);
	bench_stream_fini(&s);
}

static void test_hold_goes_round(void **state)
{
	struct bench_stream s = make("p:flows=10,hold=3");
	uint32_t cursor = 0, seen[7];

	for (int i = 0; i < 7; i++)
		seen[i] = bench_stream_next(&s, &cursor, i < 4 ? s.spec.hold : s.order_entries);
	assert_memory_equal(seen, ((uint32_t[]){ 0, 1, 2, 0, 1, 2, 3 }), sizeof(seen));
	bench_stream_fini(&s);
}

static void test_question(void **state)
{
	static const uint8_t want[60] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0xee, 0x11, 0x08, 0x06, // Ethernet
		0, 1, 0x08, 0, 6, 4, 0, 1,                                               // question
		2, 0, 0, 0, 0xee, 0x11, 192, 168, 100, 2,                                // who asks
		0, 0, 0, 0, 0, 0, 192, 168, 100, 1,                                      // for whom
	};
	struct bench_stream s = make("p:encap=vxlan,oside=1");
	uint8_t frame[BENCH_HEAD_BYTES];

	assert_int_equal(bench_stream_ask(&s, frame), sizeof(want));
	assert_memory_equal(frame, want, sizeof(want));
	bench_stream_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_refused),
		cmocka_unit_test(test_spec_ends_at_semicolon),
		cmocka_unit_test(test_frame_plain),
		cmocka_unit_test(test_frames_answer_each_other),
		cmocka_unit_test(test_checksums),
		cmocka_unit_test(test_tunnel_headers),
		cmocka_unit_test(test_question),
		cmocka_unit_test(test_rand_is_even),
		cmocka_unit_test(test_zipf_falls),
		cmocka_unit_test(test_hold_goes_round),
	};

	return cmocka_run_group_tests_name("bench/stream", tests, NULL, NULL);
}
