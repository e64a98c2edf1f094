/* floor: the least that a turn and its message can cost on wasmtime: a C loop over the engine's own library.
 *
 * Each agent's inbox is copied in, its turn called without a check, its outbox copied out and routed to its
 * destinations' next inboxes. Nothing is metered, digested, bounded or recorded, and nothing can go wrong.
 *
 * floor MODULE AGENTS SLOT_BYTES POOLED     then lines "WAVES" on stdin, each answered by nanoseconds on stdout
 *
 * The prototypes are those of wasmtime's C interface; the library comes without its headers in a Python wheel.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { size_t size; uint8_t *data; } bytes_t;
typedef struct { uint64_t store; size_t index; } instance_t;
typedef struct { uint64_t store; void *raw; } func_t;
typedef struct { struct { uint64_t store; uint32_t one; } a; uint32_t two; } memory_t;
typedef struct { uint8_t kind; union { func_t func; memory_t memory; uint8_t space[24]; } of; } extern_t;
typedef union { int32_t i32; int64_t i64; uint8_t v128[16]; } raw_t;

void *wasm_config_new(void);
void *wasm_engine_new_with_config(void *config);
void *wasmtime_store_new(void *engine, void *data, void (*finalizer)(void *));
void *wasmtime_store_context(void *store);
void wasmtime_store_limiter(void *store, int64_t memory, int64_t elements, int64_t instances, int64_t tables, int64_t memories);
void *wasmtime_module_new(void *engine, const uint8_t *wasm, size_t size, void **module);
void *wasmtime_instance_new(void *context, const void *module, const extern_t *imports, size_t count, instance_t *instance, void **trap);
bool wasmtime_instance_export_get(void *context, const instance_t *instance, const char *name, size_t length, extern_t *item);
uint8_t *wasmtime_memory_data(const void *context, const memory_t *memory);
void *wasmtime_func_call_unchecked(void *context, const func_t *func, raw_t *values, size_t count, void **trap);
void wasmtime_config_memory_init_cow_set(void *config, bool enable);
void wasmtime_config_memory_reservation_set(void *config, uint64_t bytes);
void wasmtime_config_memory_guard_size_set(void *config, uint64_t bytes);
void *wasmtime_pooling_allocation_config_new(void);
void wasmtime_pooling_allocation_config_total_memories_set(void *pool, uint32_t count);
void wasmtime_pooling_allocation_config_total_core_instances_set(void *pool, uint32_t count);
void wasmtime_pooling_allocation_config_total_tables_set(void *pool, uint32_t count);
void wasmtime_pooling_allocation_config_max_memory_size_set(void *pool, size_t bytes);
void wasmtime_pooling_allocation_strategy_set(void *config, const void *pool);

typedef struct { uint32_t length; uint16_t kind, flags; uint32_t peer, tag; } frame_t;
typedef struct { uint64_t wave, time, entropy; uint32_t self, frames; } header_t;
typedef struct { func_t turn; uint8_t *inbox, *outbox; } agent_t;

static void check(void *failure, const char *what) {
    if (failure) { fprintf(stderr, "floor: %s failed\n", what); exit(1); }
}

static uint8_t *slots[2];
static uint32_t *used[2];
static size_t slot_bytes;

static void post(int side, uint32_t to, frame_t frame, const void *payload) {
    uint8_t *slot = slots[side] + slot_bytes * to;
    uint32_t size = sizeof frame + ((frame.length + 7) & ~7u);
    if (used[side][to] + size > slot_bytes) { fprintf(stderr, "floor: an inbox is full\n"); exit(1); }
    memcpy(slot + used[side][to], &frame, sizeof frame);
    memcpy(slot + used[side][to] + sizeof frame, payload, size - sizeof frame);
    used[side][to] += size;
    ((header_t *)slot)->frames++;
}

int main(int count, char **words) {
    if (count != 5) { fprintf(stderr, "usage: floor MODULE AGENTS SLOT_BYTES POOLED\n"); return 2; }
    uint32_t agents = (uint32_t)atoi(words[2]);
    slot_bytes = (size_t)atoi(words[3]);
    FILE *file = fopen(words[1], "rb");
    if (!file) { perror(words[1]); return 1; }
    static uint8_t wasm[1 << 20];
    size_t size = fread(wasm, 1, sizeof wasm, file);
    void *config = wasm_config_new();
    if (atoi(words[4])) {
        void *pool = wasmtime_pooling_allocation_config_new();
        wasmtime_pooling_allocation_config_total_memories_set(pool, agents);
        wasmtime_pooling_allocation_config_total_core_instances_set(pool, agents);
        wasmtime_pooling_allocation_config_total_tables_set(pool, agents);
        wasmtime_pooling_allocation_config_max_memory_size_set(pool, 65536);
        wasmtime_config_memory_init_cow_set(config, false);
        wasmtime_config_memory_reservation_set(config, 65536);
        wasmtime_config_memory_guard_size_set(config, 0);
        wasmtime_pooling_allocation_strategy_set(config, pool);
    }
    void *engine = wasm_engine_new_with_config(config), *module, *trap = 0;
    void *store = wasmtime_store_new(engine, 0, 0), *context = wasmtime_store_context(store);
    wasmtime_store_limiter(store, -1, -1, 1 << 30, 1 << 30, 1 << 30);
    check(wasmtime_module_new(engine, wasm, size, &module), "the module");
    agent_t *all = calloc(agents, sizeof *all);
    for (int side = 0; side < 2; side++) {
        slots[side] = calloc(agents, slot_bytes);
        used[side] = calloc(agents, sizeof(uint32_t));
    }
    struct { uint8_t what, zero; uint16_t name; uint32_t id, count; char text[4]; } row = {1, 0, 4, 0, agents, "ring"};
    for (uint32_t at = 0; at < agents; at++) {
        instance_t instance;
        check(wasmtime_instance_new(context, module, 0, 0, &instance, &trap), "an instance");
        extern_t memory, abi, turn;
        wasmtime_instance_export_get(context, &instance, "memory", 6, &memory);
        wasmtime_instance_export_get(context, &instance, "wavelock_abi", 12, &abi);
        wasmtime_instance_export_get(context, &instance, "wavelock_turn", 13, &turn);
        raw_t value[2] = {0};
        check(wasmtime_func_call_unchecked(context, &abi.of.func, value, 1, &trap), "wavelock_abi");
        uint8_t *data = wasmtime_memory_data(context, &memory.of.memory);
        uint32_t *record = (uint32_t *)(data + value[0].i32);
        all[at] = (agent_t){turn.of.func, data + record[1], data + record[3]};
        used[0][at] = used[1][at] = sizeof(header_t);
        ((header_t *)(slots[0] + slot_bytes * at))->self = ((header_t *)(slots[1] + slot_bytes * at))->self = at;
        post(0, at, (frame_t){sizeof row, 8, 0, 0, 0}, &row);
    }
    int side = 0;
    uint64_t wave = 0;
    for (unsigned long waves; scanf("%lu", &waves) == 1;) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (; waves; waves--, wave++, side = !side)
            for (uint32_t at = 0; at < agents; at++) {
                uint8_t *slot = slots[side] + slot_bytes * at;
                header_t *header = (header_t *)slot;
                if (!header->frames) continue;
                header->wave = wave;
                header->entropy = (wave << 32 ^ at) * 0x9E3779B97F4A7C15ull;
                uint32_t length = used[side][at];
                memcpy(all[at].inbox, slot, length);
                used[side][at] = sizeof *header;
                header->frames = 0;
                raw_t value[2] = {{.i32 = (int32_t)length}};
                if (wasmtime_func_call_unchecked(context, &all[at].turn, value, 1, &trap) || trap) exit(1);
                for (int32_t from = 0; from < value[0].i32;) {
                    frame_t frame = *(frame_t *)(all[at].outbox + from);
                    uint32_t to = frame.peer;
                    frame.kind = 2;
                    frame.peer = at;
                    post(!side, to, frame, all[at].outbox + from + sizeof frame);
                    from += (int32_t)(sizeof frame + ((frame.length + 7) & ~7u));
                }
            }
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000ll + (end.tv_nsec - begin.tv_nsec));
        fflush(stdout);
    }
    return 0;
}
