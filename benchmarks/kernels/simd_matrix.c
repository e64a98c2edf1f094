// build: -msimd128
/* The product of two n by n matrices of f32, four columns and four rows at a time: f32x4 multiply-adds. */
#include "kernel.h"
#include <wasm_simd128.h>

#define MOST 512
static float a[MOST * MOST], b[MOST * MOST], c[MOST * MOST];

static NOINLINE void product(int32_t n) {
    for (int32_t i = 0; i < n; i += 4)
        for (int32_t k = 0; k < n; k += 4) {
            v128_t sums[4] = {wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0), wasm_f32x4_splat(0)};
            for (int32_t m = 0; m < n; m++) {
                v128_t row = wasm_v128_load(b + m * n + k);
                for (int r = 0; r < 4; r++)
                    sums[r] = wasm_f32x4_add(sums[r], wasm_f32x4_mul(wasm_v128_load32_splat(a + (i + r) * n + m), row));
            }
            for (int r = 0; r < 4; r++) wasm_v128_store(c + (i + r) * n + k, sums[r]);
        }
}

EXPORT(run) int64_t run(int32_t n) {
    n &= ~3;
    if (n > MOST) n = MOST;
    random_t random = random_new(13);
    for (int32_t i = 0; i < n * n; i++) a[i] = (float)random_unit(&random), b[i] = (float)random_unit(&random);
    product(n);
    int64_t sum = 0;
    for (int32_t i = 0; i < n * n; i++) sum = mix_f32(sum, c[i]);
    return sum;
}
