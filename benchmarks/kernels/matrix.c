/* The product of two n by n matrices of f64, rows by transposed columns: a multiply-add loop over two streams. */
#include "kernel.h"

#define MOST 512
static double a[MOST * MOST], b[MOST * MOST];

static NOINLINE double dot(const double *x, const double *y, int32_t n) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

EXPORT(run) int64_t run(int32_t n) {
    if (n > MOST) n = MOST;
    random_t random = random_new(5);
    for (int32_t i = 0; i < n * n; i++) a[i] = random_unit(&random) - 0.5, b[i] = random_unit(&random) - 0.5;
    int64_t sum = 0;
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < n; k++) sum = mix_f64(sum, dot(a + i * n, b + k * n, n));
    return sum;
}
