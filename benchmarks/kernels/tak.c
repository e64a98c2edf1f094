/* Takeuchi's function (n, 2n / 3, n / 3) as Vardi and McCarthy wrote it: deeper recursion, three parameters. */
#include "kernel.h"

static NOINLINE int32_t tak(int32_t x, int32_t y, int32_t z) {
    if (y >= x) return z;
    return tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

EXPORT(run) int64_t run(int32_t n) { return tak(n, 2 * n / 3, n / 3); }
