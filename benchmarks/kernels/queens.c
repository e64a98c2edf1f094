/* All ways to put n queens on an n by n board, by backtracking over an array: recursion with loops in it. */
#include "kernel.h"

static int8_t columns[16];
static int64_t sum;

static NOINLINE int32_t safe(int32_t row, int32_t column) {
    for (int32_t above = 0; above < row; above++) {
        int32_t away = columns[above] - column;
        if (away == 0 || away == row - above || away == above - row) return 0;
    }
    return 1;
}

static NOINLINE int32_t place(int32_t row, int32_t n) {
    if (row == n) {
        for (int32_t i = 0; i < n; i++) sum = mix(sum, columns[i]);
        return 1;
    }
    int32_t found = 0;
    for (int32_t column = 0; column < n; column++) {
        if (!safe(row, column)) continue;
        columns[row] = (int8_t)column;
        found += place(row + 1, n);
    }
    return found;
}

EXPORT(run) int64_t run(int32_t n) {
    sum = 0;
    int32_t found = place(0, n > 16 ? 16 : n);
    return mix(sum, found);
}
