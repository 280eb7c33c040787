// SPDX-License-Identifier: Apache-2.0
#include "bench/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

// Header offsets and lengths, bytes. RFC 791, RFC 768, RFC 7348, RFC 7637.
enum { ETH = 14, TAG = 4, IP = 20, UDP = 8, VXLAN = 8, GRE = 8 };

struct number {
	const char *word;
	size_t offset;
	uint32_t min, max, preset;
};

#define WORD(member) #member, offsetof(struct bench_spec, member)
static const struct number numbers[] = {
	{ WORD(size), 60, 9600, 64 },     { WORD(flows), 1, 1 << 24, 1 },
	{ WORD(macs), 1, 1 << 24, 1 },    { WORD(dmacs), 0, 1 << 24, 0 },
	{ WORD(mix), 0, 1, 0 },           { WORD(side), 0, 1, 0 },
	{ WORD(vlan), 0, 4094, 0 },       { WORD(vlans), 1, 4094, 1 },
	{ WORD(vni), 0, 0xffffff, 100 },  { WORD(vnis), 1, 1 << 24, 1 },
	{ WORD(oside), 0, 1, 0 },         { WORD(flowid), 0, 1, 1 },
	{ WORD(rate), 0, UINT32_MAX, 0 }, { WORD(depth), 0, 1 << 16, 0 },
	{ WORD(offload), 0, 1, 1 },       { WORD(hold), 0, 1 << 24, 0 },
};

static const char *const orders[] = { "seq", "rand", "zipf", NULL };
static const char *const encaps[] = { "none", "vxlan", "nvgre", NULL };

static int parse_choice(const char *value, const char *const *choices, uint32_t *out)
{
	for (uint32_t i = 0; choices[i]; i++) {
		if (strcmp(value, choices[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_number(const struct number *n, const char *value, struct bench_spec *spec,
			struct err *err)
{
	char *end;
	unsigned long long v = strtoull(value, &end, 0);

	if (end == value || *end || v < n->min || v > n->max)
		return err_set(err, EINVAL, "%s=%s: must be %u…%u", n->word, value, n->min, n->max);
	*(uint32_t *)((char *)spec + n->offset) = (uint32_t)v;
	return 0;
}

static int parse_word(const char *word, const char *value, struct bench_spec *spec, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (strcmp(word, numbers[i].word) == 0)
			return parse_number(&numbers[i], value, spec, err);
	if (strcmp(word, "order") == 0 && !parse_choice(value, orders, &spec->order))
		return 0;
	if (strcmp(word, "encap") == 0 && !parse_choice(value, encaps, &spec->encap))
		return 0;
	if (strcmp(word, "odmac") == 0 && strlen(value) < sizeof(spec->odmac)) {
		strcpy(spec->odmac, value);
		return 0;
	}
	if (strcmp(word, "dump") == 0 && strlen(value) < sizeof(spec->dump)) {
		strcpy(spec->dump, value);
		return 0;
	}
	return err_set(err, EINVAL, "%s=%s: no such word or value", word, value);
}

int bench_spec_parse(const char *text, struct bench_spec *spec, struct err *err)
{
	char copy[512], *save, *word;
	size_t len = strcspn(text, ";");
	char *colon;

	if (len >= sizeof(copy))
		return err_set(err, EINVAL, "more than %zu characters for a port",
			       sizeof(copy) - 1);
	memcpy(copy, text, len);
	copy[len] = 0;
	*spec = (struct bench_spec){ .odmac = "02:00:00:00:ee:01" };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		*(uint32_t *)((char *)spec + numbers[i].offset) = numbers[i].preset;
	colon = strchr(copy, ':');
	if (colon)
		*colon = 0;
	if (!*copy || strlen(copy) >= sizeof(spec->port))
		return err_set(err, EINVAL, "\"%s\": no name of a port before ':'", copy);
	strcpy(spec->port, copy);
	word = colon ? strtok_r(colon + 1, ",", &save) : NULL;
	for (; word; word = strtok_r(NULL, ",", &save)) {
		char *value = strchr(word, '=');
		int ret;

		if (!value)
			return err_set(err, EINVAL, "%s: expected word=value", word);
		*value++ = 0;
		ret = parse_word(word, value, spec, err);
		if (ret)
			return ret;
	}
	if (spec->depth & (spec->depth - 1))
		return err_set(err, EINVAL, "depth=%u: must be a power of two", spec->depth);
	if (spec->hold > spec->flows)
		return err_set(err, EINVAL, "hold=%u: must not exceed flows=%u", spec->hold,
			       spec->flows);
	if (!spec->dmacs)
		spec->dmacs = spec->macs;
	return 0;
}

static void put16(uint8_t *p, uint32_t v) { store_be16(p, cpu_to_be16((uint16_t)v)); }

static void put24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	put16(p + 1, v);
}

static uint32_t sum16(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += be16_to_cpu(load_be16(p + i));
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

// An IPv4 header of `len` bytes in total; the checksum is left zero.
static void build_ip(uint8_t *ip, uint32_t len, uint8_t protocol, const uint8_t addresses[8])
{
	ip[0] = 0x45;
	put16(ip + 2, len);
	ip[6] = 0x40; // DF
	ip[8] = 64;   // TTL
	ip[9] = protocol;
	memcpy(ip + 12, addresses, 8);
}

static void build_inner(struct bench_stream *s)
{
	const struct bench_spec *spec = &s->spec;
	uint8_t *eth = s->head + s->inner, *ip = s->head + s->ip;
	uint8_t near = spec->side ? 2 : 1, far = spec->side ? 1 : 2;
	uint32_t ip_bytes = s->inner + spec->size - s->ip;

	eth[0] = eth[6] = 2;
	eth[2] = spec->side ? 0x00 : 0x10;
	eth[8] = spec->side ? 0x10 : 0x00;
	if (spec->vlan) {
		put16(eth + 12, 0x8100);
		put16(eth + 14, spec->vlan);
	}
	put16(ip - 2, 0x0800);
	build_ip(ip, ip_bytes, 17, (const uint8_t[8]){ 10, near, 0, 0, 10, far, 0, 0 });
	s->ip_sum = sum16(ip, IP);
	put16(ip + IP + 4, ip_bytes - IP);
}

static void build_outer(struct bench_stream *s)
{
	const struct bench_spec *spec = &s->spec;
	uint8_t *eth = s->head, *ip = s->head + ETH, *l4 = ip + IP;
	uint8_t near = (uint8_t)(1 + spec->oside), far = (uint8_t)(2 - spec->oside);
	bool vxlan = spec->encap == BENCH_ENCAP_VXLAN;

	sscanf(spec->odmac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &eth[0], &eth[1], &eth[2], &eth[3],
	       &eth[4], &eth[5]);
	memcpy(eth + 6, (const uint8_t[6]){ 2, 0, 0, 0, 0xee, (uint8_t)(0x10 + spec->oside) }, 6);
	put16(eth + 12, 0x0800);
	build_ip(ip, s->frame_bytes - ETH, vxlan ? 17 : 47,
		 (const uint8_t[8]){ 192, 168, 100, near, 192, 168, 100, far });
	put16(ip + 10, fold(sum16(ip, IP)));
	if (vxlan) {
		put16(l4 + 2, 4789);
		put16(l4 + 4, s->frame_bytes - ETH - IP);
		l4[UDP] = 0x08; // the VNI is valid
	} else {
		put16(l4, 0x2000); // a key is present
		put16(l4 + 2, 0x6558);
	}
}

// A well-mixed 64-bit value; the same sequence in every run.
static uint64_t scramble(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15u;
	x ^= x >> 29;
	x *= 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

static void shuffle(uint32_t *order, uint32_t n, uint64_t seed)
{
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(scramble(seed + i) % (i + 1)), held = order[i];

		order[i] = order[j];
		order[j] = held;
	}
}

// Lays out each flow by its share of the harmonic sum, then shuffles.
static void fill_zipf(uint32_t *order, uint32_t n, uint32_t flows)
{
	double total = 0, sum = 0;
	uint32_t at = 0;

	for (uint32_t i = 0; i < flows; i++)
		total += 1.0 / (i + 1);
	for (uint32_t i = 0; i < flows; i++) {
		sum += 1.0 / (i + 1);
		while (at < n && at < sum / total * n)
			order[at++] = i;
	}
	while (at < n)
		order[at++] = 0;
}

int bench_stream_init(struct bench_stream *s, const struct bench_spec *spec)
{
	static const uint32_t outer[] = { 0, ETH + IP + UDP + VXLAN, ETH + IP + GRE };
	uint32_t flows = spec->flows, n;

	*s = (struct bench_stream){ .spec = *spec, .order_entries = flows };
	s->inner = outer[spec->encap];
	s->ip = s->inner + ETH + (spec->vlan ? TAG : 0);
	s->head_bytes = s->ip + IP + UDP;
	s->frame_bytes = s->inner + spec->size;
	build_inner(s);
	if (spec->encap)
		build_outer(s);
	if (spec->order == BENCH_ORDER_SEQ || flows == 1)
		return 0;
	n = (BENCH_ORDER_ENTRIES + flows - 1) / flows * flows;
	s->order = malloc(n * sizeof(*s->order));
	if (!s->order)
		return -ENOMEM;
	s->order_entries = n;
	if (spec->order == BENCH_ORDER_ZIPF)
		fill_zipf(s->order, n, flows);
	else
		for (uint32_t i = 0; i < n; i++)
			s->order[i] = i % flows;
	shuffle(s->order, n, (uint64_t)spec->side << 40);
	return 0;
}

void bench_stream_fini(struct bench_stream *s)
{
	free(s->order);
	s->order = NULL;
}

static void write_outer(const struct bench_stream *s, uint32_t flow, uint32_t hash, uint8_t *frame)
{
	const struct bench_spec *spec = &s->spec;
	uint8_t *l4 = frame + ETH + IP;
	uint32_t vni = spec->vni + (spec->vnis > 1 ? flow % spec->vnis : 0);

	put24(l4 + (spec->encap == BENCH_ENCAP_VXLAN ? UDP + 4 : 4), vni);
	if (spec->encap == BENCH_ENCAP_VXLAN)
		put16(l4, 49152 + (hash & 0x3fff));
	else if (spec->flowid)
		l4[7] = (uint8_t)hash;
}

uint32_t bench_stream_write(const struct bench_stream *s, uint32_t flow, uint8_t *frame)
{
	static const uint16_t services[8] = { 80, 443, 53, 22, 8080, 3306, 5201, 6081 };
	const struct bench_spec *spec = &s->spec;
	uint32_t near = flow & 0xffff, far = flow >> 4 & 0xffff;
	uint32_t hash = (uint32_t)scramble(flow + ((uint64_t)spec->side << 32));
	uint8_t *eth = frame + s->inner, *ip = frame + s->ip;

	memcpy(frame, s->head, 64);
	if (s->head_bytes > 64)
		memcpy(frame + 64, s->head + 64, 64);
	put24(eth + 3, (spec->mix ? flow + flow / spec->dmacs : flow) % spec->dmacs);
	put24(eth + 9, flow % spec->macs);
	if (spec->vlans > 1)
		put16(eth + ETH, spec->vlan + flow % spec->vlans);
	put16(ip + 10, fold(s->ip_sum + near + far));
	put16(ip + 14, near);
	put16(ip + 18, far);
	put16(ip + IP, 10000 + (flow >> 16));
	put16(ip + IP + 2, services[flow & 7]);
	if (spec->encap)
		write_outer(s, flow, hash, frame);
	return hash;
}

uint32_t bench_stream_ask(const struct bench_stream *s, uint8_t *frame)
{
	const uint8_t *mac = s->head + 6, *address = s->head + ETH + 12;

	memset(frame, 0, 60);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	put16(frame + 12, 0x0806);
	memcpy(frame + ETH, (const uint8_t[8]){ 0, 1, 0x08, 0x00, 6, 4, 0, 1 }, 8);
	memcpy(frame + ETH + 8, mac, 6);
	memcpy(frame + ETH + 14, address, 4);
	memcpy(frame + ETH + 24, address + 4, 4);
	return 60;
}
