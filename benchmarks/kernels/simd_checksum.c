// build: -msimd128
/* Adler-32 (RFC 1950) of 64 KiB, n times, sixteen bytes at a time: widening integer lanes and horizontal sums. */
#include "kernel.h"
#include <wasm_simd128.h>

#define BYTES 65536
#define BASE 65521
#define STRIPE 4096 /* bytes after which the sums are reduced: they cannot overflow before */
static uint8_t data[BYTES] __attribute__((aligned(16)));

static inline uint32_t total(v128_t lanes) {
    return wasm_u32x4_extract_lane(lanes, 0) + wasm_u32x4_extract_lane(lanes, 1) + wasm_u32x4_extract_lane(lanes, 2) +
           wasm_u32x4_extract_lane(lanes, 3);
}

static NOINLINE void stripe(const uint8_t *p, uint32_t *low, uint32_t *high) {
    const v128_t first = wasm_i16x8_make(16, 15, 14, 13, 12, 11, 10, 9), last = wasm_i16x8_make(8, 7, 6, 5, 4, 3, 2, 1);
    const v128_t ones = wasm_i16x8_splat(1);
    v128_t sums = wasm_i32x4_splat(0), weighted = sums, before = sums;
    for (int i = 0; i < STRIPE; i += 16) {
        v128_t bytes = wasm_v128_load(p + i);
        before = wasm_i32x4_add(before, sums);
        v128_t low_half = wasm_u16x8_extend_low_u8x16(bytes), high_half = wasm_u16x8_extend_high_u8x16(bytes);
        sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(wasm_i16x8_add(low_half, high_half), ones));
        weighted = wasm_i32x4_add(weighted, wasm_i32x4_dot_i16x8(low_half, first));
        weighted = wasm_i32x4_add(weighted, wasm_i32x4_dot_i16x8(high_half, last));
    }
    *high = (uint32_t)((*high + (uint64_t)*low * STRIPE + 16ull * total(before) + total(weighted)) % BASE);
    *low = (*low + total(sums)) % BASE;
}

EXPORT(run) int64_t run(int32_t n) {
    random_t random = random_new(19);
    for (int i = 0; i < BYTES; i++) data[i] = (uint8_t)random_next(&random);
    uint32_t low = 1, high = 0;
    for (int32_t round = 0; round < n; round++)
        for (int at = 0; at < BYTES; at += STRIPE) stripe(data + at, &low, &high);
    return (int64_t)high << 16 | low;
}
