/* LZ77 with a hash of three bytes over n bytes of made-up text, then decompressed and compared: small branchy blocks. */
#include "kernel.h"

#define MOST (1 << 21)
#define BITS 13
static uint8_t text[MOST], packed[2 * MOST], unpacked[MOST + 64];
static int32_t heads[1 << BITS];

static void make_text(int32_t n) {
    static const char words[16][9] = {"agent", "wave", "inbox", "the", "of", "message", "and", "turn",
                                      "a", "to", "journal", "is", "fuel", "shard", "in", "commit"};
    random_t random = random_new(11);
    for (int32_t at = 0; at < n;) {
        const char *word = words[random_next(&random) & random_next(&random) & 15];
        for (; *word && at < n; word++) text[at++] = (uint8_t)*word;
        if (at < n) text[at++] = random_next(&random) % 9 ? ' ' : (uint8_t)('0' + random_next(&random) % 10);
    }
}

static inline uint32_t hash(const uint8_t *p) {
    return ((uint32_t)(p[0] | p[1] << 8 | p[2] << 16) * 2654435761u) >> (32 - BITS);
}

static NOINLINE int32_t pack(int32_t n) {
    int32_t out = 0, at = 0;
    for (int i = 0; i < 1 << BITS; i++) heads[i] = -1;
    while (at < n) {
        int32_t length = 0, from = -1;
        if (at + 3 < n) {
            uint32_t slot = hash(text + at);
            from = heads[slot];
            heads[slot] = at;
            if (from >= 0 && at - from < 65536)
                while (length < 130 && at + length < n && text[from + length] == text[at + length]) length++;
        }
        if (length >= 4) {
            packed[out++] = (uint8_t)(125 + length);
            packed[out++] = (uint8_t)(at - from);
            packed[out++] = (uint8_t)((at - from) >> 8);
            at += length;
        } else {
            packed[out++] = text[at++] & 127;
        }
    }
    return out;
}

static NOINLINE int32_t unpack(int32_t n) {
    int32_t out = 0;
    for (int32_t at = 0; at < n;) {
        uint8_t code = packed[at++];
        if (code < 128) {
            unpacked[out++] = code;
            continue;
        }
        int32_t from = out - (packed[at] | packed[at + 1] << 8);
        at += 2;
        for (int32_t k = 0; k < code - 125; k++) unpacked[out++] = unpacked[from + k];
    }
    return out;
}

EXPORT(run) int64_t run(int32_t n) {
    if (n > MOST) n = MOST;
    make_text(n);
    int32_t size = pack(n);
    int64_t sum = mix(size, unpack(size));
    for (int32_t i = 0; i < n; i++)
        if (text[i] != unpacked[i]) return -1;
    for (int32_t i = 0; i < size; i++) sum = mix(sum, packed[i]);
    return sum;
}
