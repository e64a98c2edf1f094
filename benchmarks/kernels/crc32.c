/* CRC-32 (IEEE 802.3), one table, one byte at a time, over 64 KiB n times: a dependent load in a tiny loop. */
#include "kernel.h"

#define BYTES 65536
static uint32_t table[256];
static uint8_t data[BYTES];

EXPORT(run) int64_t run(int32_t n) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int k = 0; k < 8; k++) value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
        table[i] = value;
    }
    random_t random = random_new(3);
    for (int i = 0; i < BYTES; i++) data[i] = (uint8_t)random_next(&random);
    uint32_t crc = 0xFFFFFFFFu;
    for (int32_t round = 0; round < n; round++)
        for (int i = 0; i < BYTES; i++) crc = table[(crc ^ data[i]) & 255] ^ (crc >> 8);
    return crc ^ 0xFFFFFFFFu;
}
