/* n random additions to a table of 4 MiB (as in HPC Challenge's RandomAccess), then a counting sort: stores all over. */
#include "kernel.h"

#define WORDS (1 << 19)
static uint64_t table[WORDS];
static uint32_t counts[256], order[WORDS];

EXPORT(run) int64_t run(int32_t n) {
    for (int i = 0; i < WORDS; i++) table[i] = (uint64_t)i;
    uint64_t value = 1;
    for (int32_t i = 0; i < n; i++) {
        value = (value << 1) ^ ((int64_t)value < 0 ? 7 : 0);
        table[(value * 0x9E3779B97F4A7C15ull) >> 45] ^= value;
    }
    for (int i = 0; i < 256; i++) counts[i] = 0;
    for (int i = 0; i < WORDS; i++) counts[table[i] >> 5 & 255]++;
    for (uint32_t i = 0, from = 0; i < 256; i++) {
        uint32_t count = counts[i];
        counts[i] = from;
        from += count;
    }
    for (int i = 0; i < WORDS; i++) order[counts[table[i] >> 5 & 255]++] = (uint32_t)i;
    int64_t sum = 0;
    for (int i = 0; i < WORDS; i += 4) sum = mix(sum, (int64_t)table[order[i]]);
    return sum;
}
