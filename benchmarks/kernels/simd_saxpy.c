// build: -msimd128
/* y = a x + y and x . y over 4,096 f32, n times: f32x4 streams with a load, a multiply, an add and a store. */
#include "kernel.h"
#include <wasm_simd128.h>

#define COUNT 4096
static float x[COUNT], y[COUNT];

static NOINLINE void saxpy(float factor) {
    v128_t factors = wasm_f32x4_splat(factor);
    for (int i = 0; i < COUNT; i += 4)
        wasm_v128_store(y + i, wasm_f32x4_add(wasm_f32x4_mul(factors, wasm_v128_load(x + i)), wasm_v128_load(y + i)));
}

static NOINLINE float dot(void) {
    v128_t one = wasm_f32x4_splat(0), other = one;
    for (int i = 0; i < COUNT; i += 8) {
        one = wasm_f32x4_add(one, wasm_f32x4_mul(wasm_v128_load(x + i), wasm_v128_load(y + i)));
        other = wasm_f32x4_add(other, wasm_f32x4_mul(wasm_v128_load(x + i + 4), wasm_v128_load(y + i + 4)));
    }
    v128_t sum = wasm_f32x4_add(one, other);
    return wasm_f32x4_extract_lane(sum, 0) + wasm_f32x4_extract_lane(sum, 1) + wasm_f32x4_extract_lane(sum, 2) +
           wasm_f32x4_extract_lane(sum, 3);
}

EXPORT(run) int64_t run(int32_t n) {
    random_t random = random_new(17);
    for (int i = 0; i < COUNT; i++) x[i] = (float)random_unit(&random) - 0.5f, y[i] = 0;
    int64_t sum = 0;
    float factor = 0.75f;
    for (int32_t round = 0; round < n; round++) {
        saxpy(factor);
        float product = dot();
        sum = mix_f32(sum, product);
        factor = product > 0 ? -0.5f : 0.75f;
    }
    return sum;
}
