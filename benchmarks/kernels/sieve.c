/* The primes below n by Eratosthenes' sieve, one byte a number: short inner loops of one store. */
#include "kernel.h"

#define MOST (1 << 23)
static uint8_t composite[MOST];

EXPORT(run) int64_t run(int32_t n) {
    if (n > MOST) n = MOST;
    __builtin_memset(composite, 0, (size_t)n);
    int64_t count = 0, sum = 0;
    for (int32_t i = 2; i < n; i++) {
        if (composite[i]) continue;
        count++;
        sum = mix(sum, i);
        if (i < 46341)
            for (int32_t k = i * i; k < n; k += i) composite[k] = 1;
    }
    return mix(sum, count);
}
