/* A fast Fourier transform of 4,096 complex f64, forward and back, n times: butterflies, strided loads and stores. */
#include "kernel.h"

#define POINTS 4096
static double re[POINTS], im[POINTS], cosine[POINTS / 2], sine[POINTS / 2];

/* Twiddle factors without a library: each half angle's from the whole one's, then sums of angles. */
static void make_twiddles(void) {
    cosine[0] = 1, sine[0] = 0;
    double c = -1, s = 0; /* of the angle pi */
    for (int step = POINTS / 2; step > 1; step /= 2) {
        double half_c = __builtin_sqrt((1 + c) / 2), half_s = __builtin_sqrt((1 - c) / 2);
        c = half_c, s = half_s;
        for (int i = step / 2; i < POINTS / 2; i += step) {
            double wc = cosine[i - step / 2], ws = sine[i - step / 2];
            cosine[i] = wc * c - ws * s;
            sine[i] = wc * s + ws * c;
        }
    }
}

static NOINLINE void reorder(void) {
    for (int i = 1, k = 0; i < POINTS; i++) {
        int bit = POINTS >> 1;
        for (; k & bit; bit >>= 1) k ^= bit;
        k ^= bit;
        if (i < k) {
            double r = re[i], m = im[i];
            re[i] = re[k], im[i] = im[k];
            re[k] = r, im[k] = m;
        }
    }
}

static NOINLINE void transform(double sign) {
    reorder();
    for (int size = 2; size <= POINTS; size *= 2) {
        int half = size / 2, step = POINTS / size;
        for (int from = 0; from < POINTS; from += size)
            for (int k = 0; k < half; k++) {
                double wr = cosine[k * step], wi = sign * sine[k * step];
                int a = from + k, b = a + half;
                double r = re[b] * wr - im[b] * wi, m = re[b] * wi + im[b] * wr;
                re[b] = re[a] - r, im[b] = im[a] - m;
                re[a] += r, im[a] += m;
            }
    }
}

EXPORT(run) int64_t run(int32_t n) {
    make_twiddles();
    random_t random = random_new(9);
    for (int i = 0; i < POINTS; i++) re[i] = random_unit(&random) - 0.5, im[i] = 0;
    int64_t sum = 0;
    for (int32_t round = 0; round < n; round++) {
        transform(-1);
        sum = mix_f64(mix_f64(sum, re[round % POINTS]), im[round % POINTS]);
        transform(1);
        for (int i = 0; i < POINTS; i++) re[i] *= 1.0 / POINTS, im[i] *= 1.0 / POINTS;
    }
    for (int i = 0; i < POINTS; i++) sum = mix_f64(sum, re[i]);
    return sum;
}
