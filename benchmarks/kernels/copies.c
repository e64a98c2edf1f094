/* n bulk copies and fills of 1 to 4,096 bytes within 1 MiB, overlapping ones among them: memory.copy and memory.fill. */
#include "kernel.h"

#define BYTES (1 << 20)
static uint8_t data[BYTES + 8192];

EXPORT(run) int64_t run(int32_t n) {
    random_t random = random_new(29);
    for (int i = 0; i < BYTES; i++) data[i] = (uint8_t)(i * 31 >> 3);
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits = random_next(&random), from = random_next(&random) % BYTES, to = random_next(&random) % BYTES;
        size_t length = 1 + (random_next(&random) & ((16u << bits % 9) - 1));
        if (bits & 0x10000) to = from + (bits >> 20) % 512;
        if ((bits >> 17) % 4 == 0)
            __builtin_memset(data + to, (int)(bits >> 24), length);
        else
            __builtin_memmove(data + to, data + from, length);
    }
    int64_t sum = 0;
    for (int i = 0; i < BYTES; i += 8) sum = mix(sum, *(const int64_t *)(const void *)(data + i));
    return sum;
}
