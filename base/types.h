// SPDX-License-Identifier: Apache-2.0
// Integers whose byte order is part of their type, and unaligned access to them.
//
// VMBus is little endian, the wire is big endian; a mistake between the two is an error under
// sparse (`__bitwise`), and costs nothing otherwise. Called from everywhere, calls nothing.
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __CHECKER__
#define BITWISE __attribute__((bitwise))
#define FORCE __attribute__((force))
#else
#define BITWISE
#define FORCE
#endif

typedef uint16_t BITWISE be16;
typedef uint32_t BITWISE be32;
typedef uint64_t BITWISE be64;
typedef uint16_t BITWISE le16;
typedef uint32_t BITWISE le32;
typedef uint64_t BITWISE le64;

static inline uint16_t be16_to_cpu(be16 v) { return __builtin_bswap16((FORCE uint16_t)v); }
static inline uint32_t be32_to_cpu(be32 v) { return __builtin_bswap32((FORCE uint32_t)v); }
static inline uint64_t be64_to_cpu(be64 v) { return __builtin_bswap64((FORCE uint64_t)v); }
static inline be16 cpu_to_be16(uint16_t v) { return (FORCE be16)__builtin_bswap16(v); }
static inline be32 cpu_to_be32(uint32_t v) { return (FORCE be32)__builtin_bswap32(v); }
static inline be64 cpu_to_be64(uint64_t v) { return (FORCE be64)__builtin_bswap64(v); }

// The host is little endian (x86-64): these change the type only.
static inline uint16_t le16_to_cpu(le16 v) { return (FORCE uint16_t)v; }
static inline uint32_t le32_to_cpu(le32 v) { return (FORCE uint32_t)v; }
static inline uint64_t le64_to_cpu(le64 v) { return (FORCE uint64_t)v; }
static inline le16 cpu_to_le16(uint16_t v) { return (FORCE le16)v; }
static inline le32 cpu_to_le32(uint32_t v) { return (FORCE le32)v; }
static inline le64 cpu_to_le64(uint64_t v) { return (FORCE le64)v; }

// A big-endian constant that may stand in a case label or an initialiser.
#define BE16(v) ((FORCE be16)(uint16_t)((((v) & 0xff) << 8) | (((v) >> 8) & 0xff)))

// Unaligned loads and stores; compilers turn each into one move.
static inline uint16_t load_u16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t load_u32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t load_u64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline be16 load_be16(const void *p) { return (FORCE be16)load_u16(p); }
static inline be32 load_be32(const void *p) { return (FORCE be32)load_u32(p); }
static inline void store_u16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void store_u32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void store_be16(void *p, be16 v) { memcpy(p, &v, 2); }
static inline void store_be32(void *p, be32 v) { memcpy(p, &v, 4); }

// A MAC address as the wire has it.
struct mac {
	uint8_t b[6];
};

// The address in the low 48 bits, first byte highest, so that numbers sort as text does.
static inline uint64_t mac_to_u64(struct mac m)
{
	uint64_t v = 0;

	for (int i = 0; i < 6; i++)
		v = v << 8 | m.b[i];
	return v;
}

static inline struct mac mac_from_u64(uint64_t v)
{
	struct mac m;

	for (int i = 5; i >= 0; i--, v >>= 8)
		m.b[i] = (uint8_t)v;
	return m;
}

static inline bool mac_equal(struct mac a, struct mac b) { return memcmp(&a, &b, 6) == 0; }
static inline bool mac_is_group(struct mac m) { return m.b[0] & 1; }
static inline bool mac_is_zero(struct mac m) { return mac_to_u64(m) == 0; }

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CACHE_LINE 64
#define CACHE_ALIGNED __attribute__((aligned(CACHE_LINE)))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#ifndef container_of // DPDK has the same
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#endif
