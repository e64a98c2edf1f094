/* The spectral norm of an infinite matrix cut at n (the Benchmarks Game's): divisions, and integers made floats. */
#include "kernel.h"

#define MOST 2048
static double u[MOST], v[MOST], half[MOST];

static inline double entry(int32_t i, int32_t k) { return 1.0 / ((i + k) * (i + k + 1) / 2 + i + 1); }

static NOINLINE void times(const double *x, double *y, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        double sum = 0;
        for (int32_t k = 0; k < n; k++) sum += entry(i, k) * x[k];
        y[i] = sum;
    }
}

static NOINLINE void transposed_times(const double *x, double *y, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        double sum = 0;
        for (int32_t k = 0; k < n; k++) sum += entry(k, i) * x[k];
        y[i] = sum;
    }
}

EXPORT(run) int64_t run(int32_t n) {
    if (n > MOST) n = MOST;
    for (int32_t i = 0; i < n; i++) u[i] = 1;
    for (int round = 0; round < 4; round++) {
        times(u, half, n);
        transposed_times(half, v, n);
        times(v, half, n);
        transposed_times(half, u, n);
    }
    double vbv = 0, vv = 0;
    for (int32_t i = 0; i < n; i++) vbv += u[i] * v[i], vv += v[i] * v[i];
    return mix_f64(0, __builtin_sqrt(vbv / vv));
}
