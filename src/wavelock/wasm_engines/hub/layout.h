/* What lies where in the memory of the hub, as structs: layout.py has the same as arrays. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef u64 wide_t __attribute__((vector_size(16), aligned(8)));

#define EXPORT(name) __attribute__((export_name(#name)))

/* As in the ABI: kinds of effect, kinds of inbound frame, reasons. */
enum { SEND = 1, PUBLISH, INFER, PUT, GET, SPAWN, STOP, TIMER, LOG, YIELD, EXIT, WATCH };
enum { MESSAGE = 2, TIME, UNDELIVERABLE = 6 };
enum { AGENT_ENDED = 2, MAILBOX_FULL = 3, TOO_LARGE = 4 };
#define LAST_WAVE (1ull << 62) /* a timer past it is refused */

/* Why a function stopped; layout.py and shard.py have the same numbers. */
enum stop { DONE, GROW, BOUNCE, FAULT, MALFORMED, GRANTS, EFFECT, LOST, EXITED, STALE, ABSENT, BAD_RESULT, GROW_TIMERS };

/* What an outbox is, seen soon after its turn. SPILLED: a worker's errands had no room. */
enum mark { FOR_KERNEL = 1, IS_MALFORMED = 2, WITH_GRANTS = 4, PUBLISHES = 8, FAILED = 16, SPILLED = 32 };

/* One agent: its mailbox, a list of letters, and its instance. A cache line; some words are read two at a time. */
typedef struct {
    u32 first, frames; /* of the letters; where `frames` is 0 the first and the last are any */
    u32 bytes;
    u32 room; /* what its inbox takes, without the turn header */
    u32 last;
    u32 group;
    u32 ended;
    u32 seat; /* in its courier.wat */
    u32 inbox, outbox, outbox_bytes; /* its buffers, in its own memory */
    u32 courier; /* `carry` of its courier.wat in the table of its worker's store, `touch` follows; 0: it has no instance
                  * that can take a turn */
    u64 spent;         /* fuel that its start used, before its first turn */
    u32 timers;        /* those that it waits for */
    u32 work;          /* of its turns since the host set it to 0, in WORK of fuel and one more a turn */
} box_t;
enum { WORK = 256, MOST_WORK = 1 << 24 };

/* What a group's agents may do. */
typedef struct {
    u32 message;       /* bytes of a payload */
    u32 mailbox_bytes; /* bounds of a mailbox */
    u32 mailbox_frames;
    u32 flags;
    u64 fuel; /* of a turn */
    u32 timers;
    u32 unused;
} group_t;
enum { DROPS_OLDEST = 1, DENIED_IS_FAULT = 2 };

typedef struct {
    u32 len;
    u16 kind, flags;
    u32 peer, tag;
} frame_t;

/* A frame in a log, header and padded payload behind it. */
typedef struct {
    u32 next;
    u32 bytes;
} letter_t;

/* The letters of one worker's agents, from `begin` on. live: bytes of those that are in mailboxes. A cache line. */
typedef struct {
    u32 begin, limit, end, live;
    u32 unused[12];
} log_t;

/* A timer that an agent set in this wave. */
typedef struct {
    u64 waves;
    u32 agent, tag;
    u32 turn; /* its place in the plan */
    u32 unused;
} timer_t;

/* A growing row of them. */
typedef struct {
    u32 begin, limit, end;
} timers_t;

typedef struct {
    u64 wave, time_ns, entropy;
    u32 self, frames;
} header_t;

typedef struct {
    /* Where the parts are: addresses, and sizes in entries. */
    u32 agents, boxes, ready, homes, was_ready;
    u32 groups, topics, grants, lists, members;
    u32 logs, rows, workers;
    u32 plan, turns, lengths, faults, details, fuel, marks, hashes, outs;
    u32 inboxes, scratch;
    u32 hashing; /* whether outboxes are to be hashed */
    u32 sorting; /* whether errands are to be written, of so many for each worker at most */
    /* How far `pack` or `commit` has come. */
    u32 turn, stage, at, end, frame, member;
    u32 filled, taken;
    u32 exiting, stale;
    u32 receiver, reason;
    u32 messages;
    u32 full; /* whose log has no room, for GROW */
    u32 ends; /* agents that ended since the host set it to 0 */
    u32 least_message, least_bytes, least_frames; /* the least of all groups' bounds of a payload and of a mailbox */
    timers_t timers;
    u32 looked; /* what `look_at_receivers` saw: kept, or it would be left out */
    u64 wave, time_ns, entropy;
} control_t;

/* What came of starting an agent: fuel left, its ABI record (zeros where it lies outside its memory), its memory's size. */
typedef struct {
    u64 left;
    u32 record[5], pages;
} started_t;
enum { MOST_AGENTS = 16 }; /* of one courier.wat */

/* One effect, for the worker whose agents it concerns: its place in the plan, and where it is in its worker's `out`. */
typedef struct {
    u32 place, at;
} errand_t;

/* The errands that one worker has for another: so many, of which the other has done so many. */
typedef struct {
    u32 begin, count, done, unused;
} errands_t;

/* What one worker is at: turns of the plan at `places`, or at `place` and on where that is 0; later its part of the
 * commit. Outboxes go behind one another to `out`. */
typedef struct {
    u32 places, place, turns, turn;
    u32 out, out_bytes, at;
    u32 starts; /* bits: which of its agents courier.wat is to start, each with `budget` */
    u64 left;   /* fuel, after a turn */
    u64 wave, time_ns; /* what all turn headers of a wave begin with */
    u64 budget;
    u32 started; /* how many of them it has started */
    u32 number;
    u32 doing, seen; /* the command at hand, and the number of the last one */
    u32 marks;       /* of all its outboxes */
    u32 errands;         /* errands_t for each worker */
    u32 sender, member;  /* whose errands `deliver` is at, and how far in a topic's list */
    u32 messages, refused;
    u32 failed; /* it gave up */
    timers_t timers;
    u32 looked;   /* as in control_t */
    u32 examined; /* so many turns' outboxes */
    started_t of[MOST_AGENTS];
} worker_t;
enum { ROW = ((sizeof(worker_t) + 63) / 64 + 1) * 64 }; /* so that no two are on one cache line */

/* What workers wait for, and are waited for with: each on a cache line of its own. */
typedef struct {
    u32 command, what, unused[14];
    u32 busy, unused_too[15];
} gate_t;
enum command { TURNS = 1, DELIVER, LEAVE };

#define gate ((gate_t *)512)
#define control ((control_t *)1024)
#define AT(type, address) ((type *)(uintptr_t)(address))

EXPORT(layout) u32 layout(void) {
    return sizeof(control_t) << 24 | sizeof(worker_t) / 8 << 16 | sizeof(box_t) << 8 | sizeof(group_t);
}

enum {
    AHEAD = 16,            /* so many turns or effects are looked at together, before the first of them */
    MANY_AGENTS = 1 << 15, /* with fewer, a processor keeps all mailboxes close, and receivers' are not looked at */
};

/* Two words, the first one in the lower half. */
static inline u64 pair(const u32 *words) { return *(const u64 *)words; }
static inline box_t *box_of(u32 agent) { return AT(box_t, control->boxes) + agent; }
static inline group_t *group_of(const box_t *box) { return AT(group_t, control->groups) + box->group; }
static inline letter_t *letter_at(u32 address) { return AT(letter_t, address); }
static inline u32 home_of(u32 agent) { return AT(u16, control->homes)[agent]; }
static inline log_t *log_of(u32 worker) { return AT(log_t, control->logs) + worker; }
static inline worker_t *row_of(u32 worker) { return (worker_t *)(AT(u8, control->rows) + worker * ROW); }

/* A multiple of 8 bytes. A loop for what is short: a bulk copy is a call into the engine. */
static inline void copy(void *to, const void *from, u32 bytes) {
    if (bytes > 256) {
        __builtin_memcpy(to, from, bytes);
        return;
    }
    u8 *target = to, *half = target + (bytes & ~15u);
    const u8 *source = from;
    for (; target < half; target += 16, source += 16) *(wide_t *)target = *(const wide_t *)source;
    if (bytes & 8) *(u64 *)target = *(const u64 *)source;
}

/* splitmix64's finaliser (Steele, Lea, Flood, 2014). */
static inline u64 mix(u64 value) {
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ value >> 27) * 0x94D049BB133111EBull;
    return value ^ value >> 31;
}
#define GOLDEN 0x9E3779B97F4A7C15ull
