/* floor: the least that a turn and its message can cost on wasmtime: a C loop over the engine's own library.
 *
 * Each agent's inbox is copied in, its turn called without a check, its outbox copied out and routed to its
 * destinations' next inboxes. Nothing is metered, digested, bounded or recorded, and nothing can go wrong.
 *
 *   floor POOLED PAGES GROUP [GROUP]        GROUP: MODULE COUNT SLOT_BYTES
 *
 * PAGES: of the largest memory. A line on stdout when all agents are made, {"agents": N}; then for each line WAVES on
 * stdin a line "NANOSECONDS TURNS MESSAGES". At the end of stdin a line with a checksum of what the agents saw.
 *
 * Every agent listens to the one topic there is. An agent that yielded has bit 0 set in its slot's length, which is
 * otherwise a multiple of 8.
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
void wasmtime_error_message(const void *error, bytes_t *message);
void wasm_trap_message(const void *trap, bytes_t *message);
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
typedef struct { const char *module; uint32_t count; size_t slot_bytes; } group_t;

enum { SEND = 1, PUBLISH = 2, MESSAGE = 2, DIRECTORY = 8, YIELD = 10, YIELDED = 1, SEEN_BEFORE_INBOX = 40, BOARD_BYTES = 1 << 16 };

/* Two sides: what is read in this wave and what is written for the next. Slots of the first group come first. */
static uint8_t *slots[2], *second[2], board[2][BOARD_BYTES];
static uint32_t *used[2], board_used[2], board_frames[2], first_count;
static size_t first_bytes, second_bytes;
static uint64_t messages;

static void fail(const char *what, void *error, void *trap) {
    bytes_t text = {0, 0};
    if (error) wasmtime_error_message(error, &text);
    else if (trap) wasm_trap_message(trap, &text);
    fprintf(stderr, "%s: %.*s\n", what, (int)text.size, text.data ? (char *)text.data : "");
    exit(1);
}

static inline uint8_t *slot_of(int side, uint32_t agent) {
    return agent < first_count ? slots[side] + first_bytes * agent : second[side] + second_bytes * (agent - first_count);
}

static inline uint32_t frame_bytes(uint32_t length) { return (uint32_t)sizeof(frame_t) + ((length + 7) & ~7u); }

static inline void put(uint8_t *to, frame_t frame, const void *payload) {
    memcpy(to, &frame, sizeof frame);
    memcpy(to + sizeof frame, payload, frame_bytes(frame.length) - sizeof frame);
}

static inline void post(int side, uint32_t to, frame_t frame, const void *payload) {
    uint8_t *slot = slot_of(side, to);
    uint32_t at = used[side][to] & ~7u, size = frame_bytes(frame.length);
    if (at + size > (to < first_count ? first_bytes : second_bytes)) fail("an inbox is full", 0, 0);
    put(slot + at, frame, payload);
    used[side][to] += size;
    ((header_t *)slot)->frames++;
}

static void publish(int side, frame_t frame, const void *payload) {
    if (board_used[side] + frame_bytes(frame.length) > BOARD_BYTES) fail("the board is full", 0, 0);
    put(board[side] + board_used[side], frame, payload);
    board_used[side] += frame_bytes(frame.length);
    board_frames[side]++;
}

static void *make_engine(bool pooled, uint32_t agents, size_t memory_bytes) {
    void *config = wasm_config_new();
    if (pooled) {
        void *pool = wasmtime_pooling_allocation_config_new();
        wasmtime_pooling_allocation_config_total_memories_set(pool, agents);
        wasmtime_pooling_allocation_config_total_core_instances_set(pool, agents);
        wasmtime_pooling_allocation_config_total_tables_set(pool, agents);
        wasmtime_pooling_allocation_config_max_memory_size_set(pool, memory_bytes);
        wasmtime_config_memory_init_cow_set(config, false); /* an image is a mapping for each instance */
        wasmtime_config_memory_reservation_set(config, memory_bytes);
        wasmtime_config_memory_guard_size_set(config, 0);
        wasmtime_pooling_allocation_strategy_set(config, pool);
    }
    return wasm_engine_new_with_config(config);
}

static void *load(void *engine, const char *path) {
    static uint8_t wasm[1 << 20];
    void *module;
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    size_t size = fread(wasm, 1, sizeof wasm, file);
    fclose(file);
    void *error = wasmtime_module_new(engine, wasm, size, &module);
    if (error) fail(path, error, 0);
    return module;
}

static agent_t make_agent(void *context, void *module, uint32_t number, uint32_t agents) {
    char what[64];
    snprintf(what, sizeof what, "instance %u of %u", number + 1, agents);
    instance_t instance;
    extern_t memory, abi, turn;
    void *trap = 0, *error = wasmtime_instance_new(context, module, 0, 0, &instance, &trap);
    if (error || trap) fail(what, error, trap);
    wasmtime_instance_export_get(context, &instance, "memory", 6, &memory);
    wasmtime_instance_export_get(context, &instance, "wavelock_abi", 12, &abi);
    wasmtime_instance_export_get(context, &instance, "wavelock_turn", 13, &turn);
    raw_t value[2] = {0};
    error = wasmtime_func_call_unchecked(context, &abi.of.func, value, 1, &trap);
    if (error || trap) fail(what, error, trap);
    uint8_t *data = wasmtime_memory_data(context, &memory.of.memory);
    uint32_t *record = (uint32_t *)(data + value[0].i32);
    return (agent_t){turn.of.func, data + record[1], data + record[3]};
}

/* Zeros that are given as they are touched, aligned to a cache line. */
static void *room(size_t bytes) {
    uint8_t *found = calloc(1, bytes + 64);
    if (!found) fail("no memory is left", 0, 0);
    return found + (-(uintptr_t)found & 63);
}

static uint64_t run(void *context, const agent_t *all, uint32_t agents, uint64_t wave, unsigned long waves) {
    uint64_t turns = 0;
    void *trap = 0;
    for (; waves; waves--, wave++) {
        int side = wave & 1;
        uint32_t heard = board_used[side];
        for (uint32_t at = 0; at < agents; at++) {
            uint32_t length = used[side][at];
            if (length == sizeof(header_t) && !heard) continue;
            length &= ~7u;
            uint8_t *slot = slot_of(side, at), *inbox = all[at].inbox, *outbox = all[at].outbox;
            header_t *header = (header_t *)slot;
            header->wave = wave;
            uint64_t mixed = (wave << 32 ^ at) * 0x9E3779B97F4A7C15ull;
            header->entropy = mixed ^ mixed >> 32; /* without the high bits in the low ones, receivers would be uneven */
            if (heard) header->frames += board_frames[side];
            memcpy(inbox, slot, length);
            if (heard) memcpy(inbox + length, board[side], heard);
            used[side][at] = sizeof *header;
            header->frames = 0;
            raw_t value[2] = {{.i32 = (int32_t)(length + heard)}};
            if (wasmtime_func_call_unchecked(context, &all[at].turn, value, 1, &trap) || trap) fail("a turn failed", 0, trap);
            turns++;
            for (int32_t from = 0; from < value[0].i32;) {
                frame_t frame = *(frame_t *)(outbox + from);
                uint8_t *payload = outbox + from + sizeof frame;
                uint32_t kind = frame.kind, to = frame.peer;
                frame.kind = MESSAGE;
                frame.peer = at;
                if (kind == SEND) {
                    post(!side, to, frame, payload);
                    messages++;
                } else if (kind == PUBLISH) {
                    publish(!side, frame, payload);
                    messages += agents;
                } else {
                    used[!side][at] |= YIELDED;
                }
                from += (int32_t)frame_bytes(frame.length);
            }
        }
        board_used[side] = board_frames[side] = 0;
    }
    return turns;
}

int main(int count, char **words) {
    if (count != 6 && count != 9) { fprintf(stderr, "usage: floor POOLED PAGES MODULE COUNT SLOT_BYTES [MODULE COUNT SLOT_BYTES]\n"); return 2; }
    group_t groups[2] = {{0}};
    int kinds = (count - 3) / 3;
    uint32_t agents = 0;
    for (int at = 0; at < kinds; at++) {
        char **of = words + 3 + 3 * at;
        groups[at] = (group_t){of[0], (uint32_t)atoi(of[1]), (size_t)atoll(of[2])};
        agents += groups[at].count;
    }
    void *engine = make_engine(atoi(words[1]), agents, (size_t)atoll(words[2]) << 16);
    void *store = wasmtime_store_new(engine, 0, 0), *context = wasmtime_store_context(store);
    wasmtime_store_limiter(store, -1, -1, 1 << 30, 1 << 30, 1 << 30);
    first_count = groups[0].count, first_bytes = groups[0].slot_bytes, second_bytes = groups[1].slot_bytes;
    for (int side = 0; side < 2; side++) {
        slots[side] = room(first_bytes * first_count);
        second[side] = room(second_bytes * groups[1].count);
        used[side] = room(agents * sizeof(uint32_t));
    }
    agent_t *all = room(agents * sizeof *all);
    /* As much of a directory as these works read: its first row, the first group. */
    struct { uint8_t what, zero; uint16_t name; uint32_t id, count; char text[4]; } row = {1, 0, 4, 0, first_count, "wave"};
    for (uint32_t at = 0, group = 0; group < (uint32_t)kinds; group++) {
        void *module = load(engine, groups[group].module);
        for (uint32_t end = at + groups[group].count; at < end; at++) {
            all[at] = make_agent(context, module, at, agents);
            used[0][at] = used[1][at] = sizeof(header_t);
            ((header_t *)slot_of(0, at))->self = ((header_t *)slot_of(1, at))->self = at;
            post(0, at, (frame_t){sizeof row, DIRECTORY, 0, 0, 0}, &row);
        }
    }
    printf("{\"agents\": %u}\n", agents);
    fflush(stdout);
    uint64_t wave = 0;
    for (unsigned long waves; scanf("%lu", &waves) == 1; wave += waves) {
        struct timespec begin, end;
        messages = 0;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        uint64_t turns = run(context, all, agents, wave, waves);
        clock_gettime(CLOCK_MONOTONIC, &end);
        long long ns = (end.tv_sec - begin.tv_sec) * 1000000000ll + (end.tv_nsec - begin.tv_nsec);
        printf("%lld %llu %llu\n", ns, (unsigned long long)turns, (unsigned long long)messages);
        fflush(stdout);
    }
    uint64_t sum = 0;
    for (uint32_t at = 0; at < agents; at++) sum += *(uint64_t *)(all[at].inbox - SEEN_BEFORE_INBOX) * (2ull * at + 1);
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
