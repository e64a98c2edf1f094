/* Escape times of an n by n picture of the Mandelbrot set, f64: a float loop that stays in registers. */
#include "kernel.h"

EXPORT(run) int64_t run(int32_t n) {
    int64_t sum = 0;
    for (int32_t row = 0; row < n; row++)
        for (int32_t column = 0; column < n; column++) {
            double cr = 3.0 * column / n - 2.25, ci = 2.5 * row / n - 1.25, zr = 0, zi = 0;
            int32_t steps = 0;
            while (steps < 200 && zr * zr + zi * zi <= 4) {
                double following = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = following;
                steps++;
            }
            sum = mix_f64(sum, zr + steps);
        }
    return sum;
}
