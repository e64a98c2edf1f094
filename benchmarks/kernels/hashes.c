/* A hash table with open addressing: n insertions, look-ups and removals (with shifting back), half of them hits. */
#include "kernel.h"

#define SLOTS (1 << 15)
static uint32_t keys[SLOTS], values[SLOTS];

static inline uint32_t home(uint32_t key) { return (key * 2654435769u) >> 17; }

static NOINLINE uint32_t slot_of(uint32_t key) {
    uint32_t slot = home(key);
    while (keys[slot] && keys[slot] != key) slot = (slot + 1) % SLOTS;
    return slot;
}

static NOINLINE void take_out(uint32_t hole) {
    for (uint32_t slot = (hole + 1) % SLOTS; keys[slot]; slot = (slot + 1) % SLOTS) {
        if ((slot - home(keys[slot])) % SLOTS < (slot - hole) % SLOTS) continue;
        keys[hole] = keys[slot];
        values[hole] = values[slot];
        hole = slot;
    }
    keys[hole] = 0;
}

EXPORT(run) int64_t run(int32_t n) {
    for (int i = 0; i < SLOTS; i++) keys[i] = values[i] = 0;
    random_t random = random_new(37);
    int64_t sum = 0;
    int32_t used = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t key = 1 + random_next(&random) % SLOTS, slot = slot_of(key);
        if (!keys[slot]) {
            if (used >= SLOTS / 2) continue;
            keys[slot] = key;
            values[slot] = (uint32_t)i;
            used++;
        } else if (i % 4 == 0) {
            sum = mix(sum, values[slot]);
            take_out(slot);
            used--;
        } else {
            values[slot] += key;
        }
    }
    return mix(sum, used);
}
