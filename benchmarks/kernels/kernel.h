/* What the kernels share. Each exports `run: (i32 n) -> i64`: n is the amount of work, the result a checksum that
 * depends on all of it; floats enter it as their bits. Nothing else goes in or out. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define NOINLINE __attribute__((noinline))

/* xorshift64*: the same numbers at each call. */
typedef struct {
    uint64_t state;
} random_t;

static inline random_t random_new(uint64_t seed) { return (random_t){seed * 2 + 1}; }

static inline uint32_t random_next(random_t *random) {
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return (uint32_t)((x * 0x2545F4914F6CDD1Dull) >> 32);
}

/* In [0, 1). */
static inline double random_unit(random_t *random) { return random_next(random) * (1.0 / 4294967296.0); }

static inline int64_t mix(int64_t sum, int64_t value) {
    uint64_t x = (uint64_t)sum ^ (uint64_t)value;
    x *= 0x9E3779B97F4A7C15ull;
    return (int64_t)(x ^ (x >> 29));
}

static inline int64_t mix_f64(int64_t sum, double value) { return mix(sum, __builtin_bit_cast(int64_t, value)); }

static inline int64_t mix_f32(int64_t sum, float value) { return mix(sum, __builtin_bit_cast(int32_t, value)); }

#endif
