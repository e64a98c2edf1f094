// build: -matomics -mbulk-memory -msimd128 -fno-vectorize -fno-slp-vectorize -fno-strict-aliasing -fno-builtin -Wl,--import-memory -Wl,--shared-memory -Wl,--import-table -Wl,--initial-memory=4294901760 -Wl,--max-memory=4294901760 -Wl,-z,stack-size=16
/* hub: the mailboxes of a run, the turns of a wave and its commit, in WebAssembly.
 *
 * README.md beside this file has a picture of the memory. Rules:
 * - Everything lies in one imported memory. Where each part begins is in `control`, which the host writes.
 * - The host makes room: a function that finds none changes nothing and answers GROW, to be called again.
 * - What happens all the time is done here. What does not (faults, grants, state, spawning) stops `commit` with a
 *   `stop`; the host does it, by the same functions, and calls again. So effects happen in one order, whoever does them.
 * - Each worker has a log of its own for the letters of its agents, and nobody else touches it while workers run.
 * - No function uses the C stack's memory: instances on several threads share it.
 */
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

/* ---- mailboxes ---- */

/* Why a frame of so many bytes cannot go into a mailbox, 0 where it can. `more`: what it may hold past its bounds. */
static inline u32 refusal(const box_t *box, u32 bytes, u32 more_frames, u32 more_bytes) {
    if (box->ended) return AGENT_ENDED;
    if (bytes > box->room) return TOO_LARGE;
    const group_t *group = group_of(box);
    bool full = (u64)box->bytes + bytes > (u64)group->mailbox_bytes + more_bytes ||
                box->frames >= (u64)group->mailbox_frames + more_frames;
    return full ? MAILBOX_FULL : 0;
}

static inline bool takes(const log_t *log, u64 bytes) { return log->end + bytes <= log->limit; }

/* Space for a letter in a log, which takes it. */
static inline letter_t *new_letter(log_t *log, u32 bytes) {
    letter_t *letter = letter_at(log->end);
    log->end += sizeof(letter_t) + bytes;
    log->live += sizeof(letter_t) + bytes;
    letter->next = 0;
    letter->bytes = bytes;
    return letter;
}

/* A letter at the end of a mailbox; its frame is to be written. NULL where the log is full. */
static inline frame_t *append(u32 agent, box_t *box, log_t *log, u32 bytes) {
    if (!takes(log, sizeof(letter_t) + bytes)) return 0;
    letter_t *letter = new_letter(log, bytes);
    u32 place = (u32)(uintptr_t)letter;
    *(box->frames ? &letter_at(box->last)->next : &box->first) = place;
    box->last = place;
    box->frames++;
    box->bytes += bytes;
    AT(u8, control->ready)[agent] = 1;
    return (frame_t *)(letter + 1);
}

/* The same from outside `deliver`: into whichever worker's log. */
static inline frame_t *append_any(u32 agent, box_t *box, u32 bytes) {
    u32 home = home_of(agent);
    frame_t *frame = append(agent, box, log_of(home), bytes);
    if (!frame) control->full = home;
    return frame;
}

static inline void pop(box_t *box, log_t *log) {
    letter_t *letter = letter_at(box->first);
    log->live -= sizeof(letter_t) + letter->bytes;
    box->bytes -= letter->bytes;
    box->first = letter->next;
    box->frames--;
}

/* The frame of `bytes` in `scratch` into a mailbox. Answers 0, a reason, or -GROW. */
EXPORT(put) int32_t put(u32 agent, u32 bytes, u32 more_frames, u32 more_bytes) {
    box_t *box = box_of(agent);
    u32 reason = refusal(box, bytes, more_frames, more_bytes);
    if (reason) return (int32_t)reason;
    frame_t *frame = append_any(agent, box, bytes);
    if (!frame) return -GROW;
    copy(frame, AT(void, control->scratch), bytes);
    return 0;
}

/* TIME frames for the agents and tags in `scratch`, u32 each, from pair `first` on. Answers the first pair that is not
 * delivered: its agent's mailbox refuses it, or `full` says where room is missing. */
EXPORT(ring) u32 ring(u32 first, u32 count) {
    const u32 *pairs = AT(u32, control->scratch);
    control->full = UINT32_MAX;
    for (; first < count; first++) {
        u32 agent = pairs[2 * first];
        box_t *box = box_of(agent);
        if (refusal(box, sizeof(frame_t), 0, 0)) break;
        frame_t *frame = append_any(agent, box, sizeof(frame_t));
        if (!frame) break;
        *frame = (frame_t){0, TIME, 0, 0, pairs[2 * first + 1]};
    }
    return first;
}

/* The two frames in `scratch`, of `first` and `second` bytes, before all else in the mailboxes of `count` agents. Answers
 * how many it did: `full` says whose log has no room for more. */
EXPORT(greet) u32 greet(u32 agent, u32 count, u32 first, u32 second) {
    u32 begin = agent;
    for (u32 end = agent + count; agent < end; agent++) {
        box_t *box = box_of(agent);
        u32 home = home_of(agent);
        log_t *log = log_of(home);
        if (!takes(log, 2 * sizeof(letter_t) + first + second)) {
            control->full = home;
            break;
        }
        letter_t *one = new_letter(log, first), *other;
        copy(one + 1, AT(void, control->scratch), first);
        other = new_letter(log, second);
        copy(other + 1, AT(u8, control->scratch) + first, second);
        one->next = (u32)(uintptr_t)other;
        other->next = box->first;
        if (!box->frames) box->last = one->next;
        box->first = (u32)(uintptr_t)one;
        box->frames += 2;
        box->bytes += first + second;
        AT(u8, control->ready)[agent] = 1;
    }
    return agent - begin;
}

/* Drop frames from the front until one of `bytes` fits. Answers how many. */
EXPORT(drop_oldest) u32 drop_oldest(u32 agent, u32 bytes) {
    box_t *box = box_of(agent);
    const group_t *group = group_of(box);
    u32 dropped = 0;
    if (bytes > group->mailbox_bytes) return 0;
    for (; box->frames && refusal(box, bytes, 0, 0) == MAILBOX_FULL; dropped++) pop(box, log_of(home_of(agent)));
    return dropped;
}

EXPORT(take_first) void take_first(u32 agent) { pop(box_of(agent), log_of(home_of(agent))); }

/* Empty a mailbox. */
EXPORT(clear) void clear(u32 agent) {
    box_t *box = box_of(agent);
    log_of(home_of(agent))->live -= box->bytes + sizeof(letter_t) * box->frames;
    box->first = box->frames = box->bytes = 0;
}

/* Move all letters of a log to another place, each mailbox's together, without what was taken. */
EXPORT(move_log) void move_log(u32 worker, u32 begin, u32 bytes) {
    log_t *log = log_of(worker);
    u32 end = begin;
    for (u32 agent = 0; agent < control->agents; agent++) {
        if (home_of(agent) != worker) continue;
        box_t *box = box_of(agent);
        u32 place = box->first;
        for (u32 left = box->frames; left; left--) {
            const letter_t *old = letter_at(place);
            letter_t *letter = letter_at(end);
            u32 size = sizeof(letter_t) + old->bytes;
            copy(letter, old, size);
            place = old->next;
            letter->next = left > 1 ? end + size : 0;
            if (left == box->frames) box->first = end;
            box->last = end;
            end += size;
        }
    }
    log->begin = begin;
    log->limit = begin + bytes;
    log->end = end;
}

/* ---- inboxes ---- */

/* splitmix64's finaliser (Steele, Lea, Flood, 2014). */
static inline u64 mix(u64 value) {
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ value >> 27) * 0x94D049BB133111EBull;
    return value ^ value >> 31;
}
#define GOLDEN 0x9E3779B97F4A7C15ull

/* How many bytes the inboxes of the plan take at most. */
EXPORT(inbox_bytes) u64 inbox_bytes(void) {
    const u32 *plan = AT(u32, control->plan);
    u64 bytes = 0;
    for (u32 turn = 0; turn < control->turns; turn++) {
        const box_t *box = box_of(plan[turn]);
        bytes += sizeof(header_t) + (box->bytes < box->room ? box->bytes : box->room);
    }
    return bytes;
}

/* Take each planned agent's frames off its mailbox into its inbox, as many as fit; one that never will is a BOUNCE. */
EXPORT(pack) u32 pack(void) {
    const u32 *plan = AT(u32, control->plan);
    u32 *lengths = AT(u32, control->lengths);
    u8 *ready = AT(u8, control->ready);
    for (; control->turn < control->turns; control->turn++) {
        u32 agent = plan[control->turn];
        box_t *box = box_of(agent);
        log_t *log = log_of(home_of(agent));
        u8 *inbox = AT(u8, control->inboxes + control->at);
        header_t *header = (header_t *)inbox;
        while (box->frames) {
            const letter_t *letter = letter_at(box->first);
            if (letter->bytes > box->room) return BOUNCE;
            if (letter->bytes > box->room - control->filled) break;
            copy(inbox + sizeof(header_t) + control->filled, letter + 1, letter->bytes);
            control->filled += letter->bytes;
            control->taken++;
            pop(box, log);
        }
        ready[agent] = box->frames != 0;
        header->wave = control->wave;
        header->time_ns = control->time_ns;
        header->entropy = mix((control->entropy + agent) * GOLDEN + GOLDEN);
        header->self = agent;
        header->frames = control->taken;
        lengths[control->turn] = sizeof(header_t) + control->filled;
        control->at += sizeof(header_t) + control->filled;
        control->filled = control->taken = 0;
    }
    for (log_t *log = log_of(0), *last = log_of(control->workers); log < last; log++)
        if (!log->live) log->end = log->begin;
    return DONE;
}

/* ---- outboxes ---- */

static inline u32 frame_end(u32 at) { return at + sizeof(frame_t) + ((AT(frame_t, at)->len + 7) & ~7u); }

static inline bool may_publish(const box_t *box, u32 topic) {
    return topic < control->topics && AT(u8, control->grants)[box->group * control->topics + topic];
}

/* How many waves from this one a timer is due. */
static inline u64 waves_of(const frame_t *effect) {
    u64 waves = *(const u64 *)(effect + 1);
    return waves ? waves : 1;
}

static inline bool is_too_far(const frame_t *effect) {
    return control->wave >= LAST_WAVE || waves_of(effect) > LAST_WAVE - control->wave;
}

/* What the ABI says of a frame of some other kind than SEND, and its marks. */
static u32 survey_frame(const box_t *box, const frame_t *frame) {
    const u8 *payload = (const u8 *)(frame + 1);
    bool sound = true, here = false;
    u32 marks = 0;
    switch (frame->kind) {
    case PUBLISH:
        here = may_publish(box, frame->peer) && frame->len <= group_of(box)->message;
        marks = WITH_GRANTS | PUBLISHES;
        break;
    case INFER:
    case SPAWN:
        marks = WITH_GRANTS;
        break;
    case PUT:
        sound = !frame->peer && frame->len >= 2 && 2u + (payload[0] | payload[1] << 8) <= frame->len;
        marks = WITH_GRANTS;
        break;
    case GET:
    case WATCH:
        sound = !frame->peer;
        marks = WITH_GRANTS;
        break;
    case STOP:
        sound = !frame->len;
        marks = WITH_GRANTS;
        break;
    case TIMER:
        sound = !frame->peer && frame->len == 8;
        here = sound && !is_too_far(frame);
        break;
    case LOG:
        sound = frame->peer < 5;
        break;
    case YIELD:
        sound = !frame->peer && !frame->len;
        here = true;
        break;
    case EXIT:
        sound = !frame->peer && frame->len == 4;
        break;
    default:
        sound = false;
    }
    return sound ? marks | (here ? 0 : FOR_KERNEL) : IS_MALFORMED;
}

/* The marks of an outbox: FOR_KERNEL where some effect cannot be done here, whatever its receivers say. */
static inline u32 survey(const box_t *box, u32 at, u32 end) {
    u32 marks = 0;
    while (at < end) {
        const frame_t *frame = AT(frame_t, at);
        u32 room = end - at - sizeof(frame_t);
        if (end - at < sizeof(frame_t) || frame->len > room || frame->flags) return IS_MALFORMED;
        u32 padded = (frame->len + 7) & ~7u;
        if (padded > room) return IS_MALFORMED;
        at += sizeof(frame_t) + padded;
        if (frame->len & 7 && *AT(u64, at - 8) >> 8 * (frame->len & 7)) return IS_MALFORMED;  /* its padding is zeros */
        if (frame->kind == SEND) {
            if (frame->peer >= control->agents || frame->len > group_of(box)->message) marks |= FOR_KERNEL;
            continue;
        }
        u32 found = survey_frame(box, frame);
        if (found & IS_MALFORMED) return IS_MALFORMED;
        marks |= found;
    }
    return marks;
}

/* The hash of an outbox that run files keep: as `core/turnrows.py` has it. */
static inline u32 hash_of(u32 at, u32 bytes) {
    u64 sum = 0, key = GOLDEN, word;
    if (bytes == 32) { /* a message of 16 bytes: the compiler knows these keys */
        sum = AT(u64, at)[0] * mix(GOLDEN) + AT(u64, at)[1] * mix(2 * GOLDEN);
        return (sum + AT(u64, at)[2] * mix(3 * GOLDEN) + AT(u64, at)[3] * mix(4 * GOLDEN)) >> 32;
    }
    for (; bytes >= 8; at += 8, bytes -= 8, key += GOLDEN) sum += *AT(u64, at) * mix(key);
    for (word = 0; bytes; bytes--) word = word << 8 | AT(u8, at)[bytes - 1];
    return (sum + word * mix(key)) >> 32;
}

/* Mark all outboxes of the plan, which lie one after the other from `at` on. */
EXPORT(survey_all) void survey_all(u32 at) {
    const u32 *plan = AT(u32, control->plan), *lengths = AT(u32, control->lengths);
    const int32_t *faults = AT(int32_t, control->faults);
    u32 *outs = AT(u32, control->outs);
    u8 *marks = AT(u8, control->marks);
    for (u32 turn = 0; turn < control->turns; turn++) {
        outs[turn] = at;
        marks[turn] = faults[turn] ? FAILED : (u8)survey(box_of(plan[turn]), at, at + lengths[turn]);
        at += lengths[turn];
    }
}

/* ---- turns ---- */

/* courier.wat: a turn of one agent, from the letters to the outbox. Answers what the turn answers. Of pairs of words the
 * first is in the lower half: letters and frames, inbox and outbox. */
typedef int32_t (*carry_t)(u32 seat, u64 mail, u64 buffers, u64 budget, u64 entropy, u32 self, u32 most, u32 to);
/* courier.wat: looks at buffers of some of its agents. */
typedef u64 (*touch_t)(u32 agents, u32 inbox, u32 outbox);

/* How many of an agent's frames its inbox takes now, with their bytes in `filled`; -1 where one never fits. */
static inline int32_t fitting(const box_t *box, u32 *filled) {
    u32 place = box->first, frames = 0, bytes = 0;
    for (; frames < box->frames; frames++) {
        const letter_t *letter = letter_at(place);
        if (letter->bytes > box->room) return -1;
        if (letter->bytes > box->room - bytes) break;
        bytes += letter->bytes;
        place = letter->next;
    }
    *filled = bytes;
    return (int32_t)frames;
}

/* Take the frame off a mailbox that made `turns` answer BOUNCE. Answers its letter's place; it lies there still. */
EXPORT(take_bounced) u32 take_bounced(worker_t *worker, u32 agent) {
    box_t *box = box_of(agent);
    u32 before = 0, place = box->first;
    while (letter_at(place)->bytes <= box->room) {
        before = place;
        place = letter_at(place)->next;
    }
    letter_t *letter = letter_at(place);
    if (before)
        letter_at(before)->next = letter->next;
    else
        box->first = letter->next;
    if (box->last == place) box->last = before;
    box->frames--;
    box->bytes -= letter->bytes;
    log_of(worker->number)->live -= sizeof(letter_t) + letter->bytes;
    return place;
}

enum { AHEAD = 16 }; /* turns */

/* Touch what the turns from one to before another will read, so that memory brings it all at once: a turn by itself waits
 * for its mailbox, its letters, its courier, its instance and its inbox, one after the other. */
static inline u64 look_ahead(const u32 *plan, const u32 *places, u32 turn, u32 end) {
    u64 sum = 0;
    while (turn < end) {
        const box_t *box = box_of(plan[places ? places[turn] : turn]);
        u32 courier = box->courier, agents = 0;
        u64 buffers = pair(&box->inbox);
        do {
            sum += letter_at(box->first)->bytes; /* where there is none, something at the memory's beginning */
            agents |= 1u << box->seat;
            if (++turn == end) break;
            box = box_of(plan[places ? places[turn] : turn]);
        } while (box->courier == courier && pair(&box->inbox) == buffers);
        if (courier) sum += ((touch_t)(uintptr_t)(courier + 1))(agents, (u32)buffers, (u32)(buffers >> 32));
    }
    return sum;
}

/* Take some frames off a mailbox whose inbox does not hold all. Answers how many; -1 where one never fits. */
static int32_t take_some(box_t *box, log_t *log) {
    u32 bytes, left = box->frames;
    int32_t some = fitting(box, &bytes);
    if (some < 0) return some;
    log->live -= bytes + sizeof(letter_t) * (u32)some;
    for (int32_t at = some; at; at--) box->first = letter_at(box->first)->next;
    box->frames = left - (u32)some;
    box->bytes -= bytes;
    return some;
}

/* The marks of an outbox; most send something, or yield, and need no closer look. */
static inline u32 glance(u32 agent, u32 from, u32 to) {
    for (u32 at = from; at < to;) {
        const frame_t *frame = AT(frame_t, at);
        if (to - at < sizeof(frame_t)) return survey(box_of(agent), from, to);
        u32 room = to - at - sizeof(frame_t), len = frame->len, padded = (len + 7) & ~7u;
        if (len > room || padded > room) return survey(box_of(agent), from, to);
        u32 kind = *(const u32 *)&frame->kind; /* and flags */
        if (kind == SEND) {
            if (frame->peer >= control->agents || len > control->least_message) return survey(box_of(agent), from, to);
        } else if (kind != YIELD || len || frame->peer) {
            return survey(box_of(agent), from, to);
        }
        at += sizeof(frame_t) + padded;
        if (len & 7 && *AT(u64, at - 8) >> 8 * (len & 7)) return IS_MALFORMED; /* its padding is zeros */
    }
    return 0;
}

static inline void add_errand(worker_t *worker, u32 home, u32 place, u32 at) {
    errands_t *errands = AT(errands_t, worker->errands) + home;
    if (errands->count == control->sorting) {
        worker->marks |= SPILLED;
        return;
    }
    AT(errand_t, errands->begin)[errands->count++] = (errand_t){place, at};
}

/* Write down whose agents the effects of a well-formed outbox concern. */
static inline void sort(worker_t *worker, u32 place, u32 at, u32 end) {
    for (u32 next; at < end; at = next) {
        const frame_t *effect = AT(frame_t, at);
        next = frame_end(at);
        if (effect->kind == PUBLISH) {
            for (u32 home = 0; home < control->workers; home++) add_errand(worker, home, place, at - worker->out);
        } else {
            add_errand(worker, effect->kind == SEND ? home_of(effect->peer) : worker->number, place, at - worker->out);
        }
    }
}

/* Mark the outboxes of a worker's turns before `end`, hash them, and write errands. Not right after each turn: processors
 * would wait for what it stored. */
static inline void examine(worker_t *worker, const u32 *places, u32 end) {
    const u32 *plan = AT(u32, control->plan), *lengths = AT(u32, control->lengths), *outs = AT(u32, control->outs);
    u32 *hashes = AT(u32, control->hashes), all = 0;
    u8 *marks = AT(u8, control->marks);
    for (u32 turn = worker->examined; turn < end; turn++) {
        u32 place = places ? places[turn] : worker->place + turn, out = outs[place], bytes = lengths[place];
        u32 found = glance(plan[place], out, out + bytes);
        if (found) {
            marks[place] = (u8)found;
            all |= found;
        }
        if (control->hashing) hashes[place] = hash_of(out, bytes);
        if (control->sorting && !(found & (FOR_KERNEL | IS_MALFORMED))) sort(worker, place, out, out + bytes);
    }
    worker->examined = end;
    worker->marks |= all;
}

/* `turns`, made for a worker with places in the plan and for one without. */
static inline __attribute__((always_inline)) u32 run_turns(worker_t *worker, const u32 *places) {
    u32 first = places ? 0 : worker->place;
    const u32 *plan = AT(u32, control->plan) + first;
    u32 *lengths = AT(u32, control->lengths) + first, *outs = AT(u32, control->outs) + first;
    u64 *fuel = AT(u64, control->fuel) + first;
    u8 *ready = AT(u8, control->ready);
    log_t *log = log_of(worker->number);
    u32 turn = worker->turn, count = worker->turns, seen = turn;
    u32 at = worker->at;
    bool several = control->workers > 1;
    enum stop stop = DONE;
    worker->wave = control->wave;
    worker->time_ns = control->time_ns;
    for (; turn < count; turn++) {
        if (turn == seen) {
            examine(worker, places, turn);
            seen = count - turn > AHEAD ? turn + AHEAD : count;
            worker->left = look_ahead(plan, places, turn, seen); /* kept, or it would be left out */
        }
        u32 place = places ? places[turn] : turn, agent = plan[place];
        box_t *box = box_of(agent);
        if (box->outbox_bytes > worker->out_bytes - at) {
            stop = GROW;
            break;
        }
        u64 mail = pair(&box->first), held = pair(&box->bytes);
        if ((u32)held <= held >> 32) {
            log->live -= (u32)held + sizeof(letter_t) * (u32)(mail >> 32);
            *(u64 *)&box->first = 0;
            box->bytes = 0;
            ready[agent] = 0;
        } else {
            int32_t some = take_some(box, log);
            if (some < 0) {
                stop = BOUNCE;
                break;
            }
            mail = (u32)mail | (u64)(u32)some << 32;
            ready[agent] = box->frames != 0;
        }
        worker->turn = turn;
        worker->at = at;
        if (!box->courier) {
            stop = ABSENT;
            break;
        }
        u64 budget = group_of(box)->fuel, given = budget - box->spent;
        box->spent = 0;
        u64 entropy = mix((control->entropy + agent) * GOLDEN + GOLDEN);
        u32 most = box->outbox_bytes, out = worker->out + at;
        carry_t carry = (carry_t)(uintptr_t)box->courier;
        u32 result = (u32)carry(box->seat, mail, pair(&box->inbox), given, entropy, agent, most, out);
        u64 used = budget - worker->left;
        fuel[place] = used;
        lengths[place] = result;
        if (result > most) {
            stop = BAD_RESULT;
            break;
        }
        outs[place] = out;
        at += result;
        if (several) { /* who shares work by it */
            u64 work = 1 + used / WORK;
            box->work += work < MOST_WORK ? (u32)work : MOST_WORK;
        }
    }
    examine(worker, places, turn);
    worker->turn = turn;
    worker->at = at;
    if (!stop && !log->live) log->end = log->begin;
    return stop;
}

/* Let a worker's agents take their turns, from where it stopped last. A trap leaves `turn` at the agent that caused it,
 * whose mail is taken by then. */
EXPORT(turns) u32 turns(worker_t *worker) {
    return worker->places ? run_turns(worker, AT(u32, worker->places)) : run_turns(worker, 0);
}

/* ---- commit, by one worker or several ---- */

/* Answer an effect that could not be done. */
static inline bool refuse(u32 agent, const frame_t *effect, u32 reason) {
    box_t *box = box_of(agent);
    u32 bytes = sizeof(frame_t) + 8;
    if (refusal(box, bytes, 0, 0) || !takes(log_of(home_of(agent)), sizeof(letter_t) + bytes)) return false;
    frame_t *frame = append_any(agent, box, bytes);
    *frame = (frame_t){4, UNDELIVERABLE, effect->kind, effect->peer, effect->tag};
    *(u64 *)(frame + 1) = reason;
    return true;
}

/* The message that an effect makes, into the place of its letter. */
static inline void write_message(frame_t *frame, u32 from, const frame_t *effect, u16 flags, u32 bytes) {
    ((u64 *)frame)[0] = effect->len | (u64)MESSAGE << 32 | (u64)flags << 48;
    ((u64 *)frame)[1] = from | (u64)effect->tag << 32;
    copy(frame + 1, effect + 1, bytes - sizeof(frame_t));
}

static inline bool add_timer(timers_t *timers, u32 agent, const frame_t *effect, u32 turn) {
    if (timers->end + sizeof(timer_t) > timers->limit) return false;
    *AT(timer_t, timers->end) = (timer_t){waves_of(effect), agent, effect->tag, turn, 0};
    timers->end += sizeof(timer_t);
    box_of(agent)->timers++;
    return true;
}

enum { MANY_AGENTS = 1 << 15 }; /* whose boxes are more than a processor keeps close */

/* Touch the mailboxes that the next outboxes write to, as `look_ahead` does. Answers before which turn to do it again. */
static inline u32 look_at_receivers(u32 turn) {
    if (control->agents < MANY_AGENTS) return UINT32_MAX;
    const u32 *lengths = AT(u32, control->lengths), *outs = AT(u32, control->outs);
    const u8 *marks = AT(u8, control->marks);
    u32 end = control->turns - turn > AHEAD ? turn + AHEAD : control->turns, sum = 0;
    for (; turn < end; turn++) {
        if (marks[turn] & IS_MALFORMED) continue;
        for (u32 at = outs[turn], last = at + lengths[turn]; at < last; at = frame_end(at)) {
            const frame_t *effect = AT(frame_t, at);
            if (effect->kind == SEND && effect->peer < control->agents) sum += box_of(effect->peer)->bytes;
        }
    }
    control->looked = sum;
    return end;
}

/* A message into a mailbox that has room for it by everybody's bounds; false: it needs a closer look. */
static inline bool send_plainly(log_t *log, u32 from, const frame_t *effect, u32 bytes) {
    u32 to = effect->peer;
    box_t *box = box_of(to);
    if (box->ended || bytes > box->room) return false;
    if (box->bytes + bytes > control->least_bytes || box->frames >= control->least_frames) return false;
    frame_t *frame = append(to, box, log, bytes);
    if (!frame) return false;
    write_message(frame, from, effect, 0, bytes);
    return true;
}

/* ---- commit by one, in plan order, with a stop for whatever is not done here ---- */

static inline enum stop do_send(u32 agent, const frame_t *effect, u32 bytes) {
    u32 to = effect->peer;
    if (to >= control->agents || effect->len > group_of(box_of(agent))->message) return EFFECT;
    box_t *box = box_of(to);
    u32 reason = refusal(box, bytes, 0, 0);
    if (!reason) {
        frame_t *frame = append_any(to, box, bytes);
        if (!frame) return GROW;
        write_message(frame, agent, effect, 0, bytes);
        control->messages++;
        return DONE;
    }
    if (reason == MAILBOX_FULL && group_of(box)->flags & DROPS_OLDEST) return EFFECT;
    return refuse(agent, effect, reason) ? DONE : EFFECT;
}

static inline enum stop do_publish(u32 agent, const frame_t *effect, u32 bytes) {
    const box_t *own = box_of(agent);
    if (!may_publish(own, effect->peer) || effect->len > group_of(own)->message) return EFFECT;
    if (control->stale) return STALE;
    const u32 *list = AT(u32, control->lists) + 2 * effect->peer * (control->workers + 1);
    const u32 *members = AT(u32, control->members) + list[0];
    while (control->member < list[1]) {
        u32 to = members[control->member];
        box_t *box = box_of(to);
        u32 reason = refusal(box, bytes, 0, 0);
        if (!reason) {
            frame_t *frame = append_any(to, box, bytes);
            if (!frame) return GROW;
            write_message(frame, agent, effect, (u16)(effect->peer + 1), bytes);
            control->messages++;
        }
        control->member++;
        if (reason) {
            control->receiver = to;
            control->reason = reason;
            return LOST;
        }
    }
    control->member = 0;
    return DONE;
}

static inline enum stop do_timer(u32 agent, const frame_t *effect) {
    const box_t *box = box_of(agent);
    if (box->timers >= group_of(box)->timers || is_too_far(effect)) return EFFECT;
    return add_timer(&control->timers, agent, effect, control->turn) ? DONE : GROW_TIMERS;
}

static inline enum stop do_effect(u32 agent, const frame_t *effect, u32 bytes) {
    switch (effect->kind) {
    case SEND:
        return do_send(agent, effect, bytes);
    case PUBLISH:
        return do_publish(agent, effect, bytes);
    case TIMER:
        return do_timer(agent, effect);
    case YIELD:
        AT(u8, control->ready)[agent] = 1;
        return DONE;
    default:
        return EFFECT;
    }
}

enum stage { BEGIN, APPLY, NEXT };

/* Send and yield for turns that ask for nothing else, until something stands against it: `commit` then goes on there. For
 * as long as nobody ended. seen: the turn before which receivers are to be looked at; answers it anew. */
static inline u32 commit_plain(u32 seen) {
    const u32 *plan = AT(u32, control->plan), *lengths = AT(u32, control->lengths), *outs = AT(u32, control->outs);
    const u8 *marks = AT(u8, control->marks);
    u32 turn = control->turn, messages = 0, begin = 0, end = 0;
    bool several = control->workers > 1;
    for (; turn < control->turns && !marks[turn]; turn++) {
        if (turn >= seen) seen = look_at_receivers(turn);
        u32 from = plan[turn];
        for (begin = outs[turn], end = begin + lengths[turn]; begin < end;) {
            const frame_t *effect = AT(frame_t, begin);
            u32 next = frame_end(begin);
            if (effect->kind == SEND) {
                if (!send_plainly(log_of(several ? home_of(effect->peer) : 0), from, effect, next - begin)) goto stopped;
                messages++;
            } else if (effect->kind == YIELD) {
                AT(u8, control->ready)[from] = 1;
            } else {
                goto stopped;
            }
            begin = next;
        }
    }
stopped:
    control->messages += messages;
    control->turn = turn;
    if (begin < end) {
        control->at = begin;
        control->end = end;
        control->stage = APPLY;
    }
    return seen;
}

/* Do the effects of all turns from where it stopped last. Of an EFFECT, `frame` is its address and `at` its end. */
EXPORT(commit) u32 commit(void) {
    const u32 *plan = AT(u32, control->plan), *lengths = AT(u32, control->lengths), *outs = AT(u32, control->outs);
    const int32_t *faults = AT(int32_t, control->faults);
    const u8 *marks = AT(u8, control->marks);
    u32 seen = control->turn; /* before this turn's receivers were looked at */
    for (;; control->turn++, control->stage = BEGIN) {
        if (control->stage == BEGIN && !control->ends) seen = commit_plain(seen);
        if (control->turn == control->turns) return DONE;
        if (control->turn >= seen) seen = look_at_receivers(control->turn);
        u32 agent = plan[control->turn];
        if (control->stage == BEGIN) {
            control->at = outs[control->turn];
            control->end = control->at + lengths[control->turn];
            control->stage = NEXT;
            if (faults[control->turn]) return FAULT;
            u32 found = marks[control->turn];
            if (found & IS_MALFORMED) return MALFORMED;
            control->stage = APPLY;
            if (found & WITH_GRANTS && group_of(box_of(agent))->flags & DENIED_IS_FAULT) return GRANTS;
        }
        if (control->stage == APPLY && !box_of(agent)->ended) {
            while (control->at < control->end) {
                const frame_t *effect = AT(frame_t, control->at);
                u32 following = frame_end(control->at);
                enum stop stop = do_effect(agent, effect, following - control->at);
                if (stop == EFFECT) {
                    control->frame = control->at;
                    control->at = following;
                }
                if (stop) return stop;
                control->at = following;
            }
        }
        if (control->exiting) {
            control->exiting = 0;
            control->stage = NEXT;
            return EXITED;
        }
    }
}

/* ---- commit by all workers at once, where it comes to the same ----
 *
 * Each worker does all errands for its own agents, in plan order, so that every mailbox is filled as by one. Where
 * somebody's mailbox refuses something, an answer would have to come in between: then all is taken back and done again by
 * one. */

/* Where a topic's members among a worker's agents are in `members`, and how many. */
static inline const u32 *list_of(const worker_t *worker, u32 topic) {
    return AT(u32, control->lists) + 2 * (topic * (control->workers + 1) + 1 + worker->number);
}

static inline u32 deliver_publication(worker_t *worker, u32 agent, const frame_t *effect, u32 bytes) {
    const u32 *list = list_of(worker, effect->peer), *members = AT(u32, control->members) + list[0];
    log_t *log = log_of(worker->number);
    for (; worker->member < list[1]; worker->member++) {
        u32 to = members[worker->member];
        box_t *box = box_of(to);
        if (refusal(box, bytes, 0, 0)) {
            worker->refused = 1;
            return DONE;
        }
        frame_t *frame = append(to, box, log, bytes);
        if (!frame) return GROW;
        write_message(frame, agent, effect, (u16)(effect->peer + 1), bytes);
        worker->messages++;
    }
    worker->member = 0;
    return DONE;
}

/* What was no plain sending: a publication, something for the agent itself, or a mailbox to be looked at closer. */
static u32 deliver_effect(worker_t *worker, u32 place, const frame_t *effect, u32 bytes) {
    u32 agent = AT(u32, control->plan)[place];
    switch (effect->kind) {
    case SEND:
        if (!refusal(box_of(effect->peer), bytes, 0, 0)) {
            frame_t *frame = append(effect->peer, box_of(effect->peer), log_of(worker->number), bytes);
            if (!frame) return GROW;
            write_message(frame, agent, effect, 0, bytes);
            worker->messages++;
            return DONE;
        }
        break;
    case PUBLISH:
        return deliver_publication(worker, agent, effect, bytes);
    case YIELD:
        AT(u8, control->ready)[agent] = 1;
        return DONE;
    default: /* a timer */
        if (box_of(agent)->timers < group_of(box_of(agent))->timers)
            return add_timer(&worker->timers, agent, effect, place) ? DONE : GROW_TIMERS;
    }
    worker->refused = 1;
    return DONE;
}

static inline errands_t *errands_from(u32 sender, const worker_t *worker) {
    return AT(errands_t, row_of(sender)->errands) + worker->number;
}

/* Touch the mailboxes of a worker's next errands. Answers before which one to do it again. */
static inline u32 look_at_errands(worker_t *worker, const errand_t *errands, u32 out, u32 next, u32 count) {
    if (control->agents < MANY_AGENTS) return UINT32_MAX;
    u32 end = count - next > AHEAD ? next + AHEAD : count, sum = 0;
    for (; next < end; next++) {
        const frame_t *effect = AT(frame_t, out + errands[next].at);
        if (effect->kind == SEND) sum += box_of(effect->peer)->bytes;
    }
    worker->looked = sum;
    return end;
}

/* The errands from one sender, until the plan comes to `place`. */
static inline u32 deliver_until(worker_t *worker, errands_t *from, u32 place) {
    const u32 *plan = AT(u32, control->plan);
    const errand_t *errands = AT(errand_t, from->begin);
    log_t *log = log_of(worker->number);
    u32 out = row_of(worker->sender)->out, next = from->done, seen = next, messages = 0, stop = DONE;
    for (; next < from->count && errands[next].place < place; next++) {
        if (next == seen) seen = look_at_errands(worker, errands, out, next, from->count);
        u32 at = out + errands[next].at, bytes = frame_end(at) - at;
        const frame_t *effect = AT(frame_t, at);
        if (effect->kind == SEND && send_plainly(log, plan[errands[next].place], effect, bytes)) {
            messages++;
            continue;
        }
        stop = deliver_effect(worker, errands[next].place, effect, bytes);
        if (stop || worker->refused) break;
    }
    worker->messages += messages;
    from->done = next;
    return stop;
}

/* A worker's part of a commit, from where it stopped last; until something is refused. */
EXPORT(deliver) u32 deliver(worker_t *worker) {
    for (;;) {
        u32 first = UINT32_MAX, second = UINT32_MAX; /* places of the next errand, and of the next from somebody else */
        for (u32 sender = 0; sender < control->workers; sender++) {
            const errands_t *from = errands_from(sender, worker);
            if (from->done == from->count) continue;
            u32 place = AT(errand_t, from->begin)[from->done].place;
            if (place < first) {
                second = first;
                first = place;
                worker->sender = sender;
            } else if (place < second) {
                second = place;
            }
        }
        if (first == UINT32_MAX) return DONE;
        u32 stop = deliver_until(worker, errands_from(worker->sender, worker), second);
        if (stop || worker->refused) return stop;
    }
}

/* Where the effect is at which a worker's part of a commit stopped. */
EXPORT(stopped_at) u32 stopped_at(worker_t *worker) {
    const errands_t *from = errands_from(worker->sender, worker);
    return row_of(worker->sender)->out + AT(errand_t, from->begin)[from->done].at;
}

/* Take the newest `bytes` off the counts of a mailbox; `mend` then cuts its list. */
static inline void unsend(worker_t *worker, u32 to, u32 bytes) {
    box_t *box = box_of(to);
    box->frames--;
    box->bytes -= bytes;
    log_of(worker->number)->live -= sizeof(letter_t) + bytes;
}

static inline void mend(u32 to) {
    box_t *box = box_of(to);
    u32 place = box->first;
    for (u32 left = box->frames; left > 1; left--) place = letter_at(place)->next;
    box->last = place;
    if (!box->frames) box->first = 0;
}

/* One effect that `deliver` did whole, or of a publication as much as it did, taken back; `mending`: the lists. */
static inline void withdraw_effect(worker_t *worker, bool mending, const frame_t *effect, u32 bytes, u32 most) {
    u32 begin = 0, end = effect->kind == SEND;
    const u32 *receivers = &effect->peer;
    if (effect->kind == PUBLISH) {
        const u32 *list = list_of(worker, effect->peer);
        receivers = AT(u32, control->members) + list[0];
        end = list[1] < most ? list[1] : most;
    }
    for (; begin < end; begin++) {
        if (mending)
            mend(receivers[begin]);
        else
            unsend(worker, receivers[begin], bytes);
    }
}

/* Take back all that a worker delivered of this wave. Who is ready, the host restores. */
EXPORT(withdraw) void withdraw(worker_t *worker) {
    for (u32 mending = 0; mending < 2; mending++) {
        for (u32 sender = 0; sender < control->workers; sender++) {
            const errands_t *from = errands_from(sender, worker);
            bool halfway = sender == worker->sender && worker->member;
            for (u32 done = 0; done < from->done + halfway; done++) {
                u32 at = row_of(sender)->out + AT(errand_t, from->begin)[done].at;
                u32 most = done < from->done ? UINT32_MAX : worker->member;
                withdraw_effect(worker, mending, AT(frame_t, at), frame_end(at) - at, most);
            }
        }
    }
    for (u32 at = worker->timers.begin; at < worker->timers.end; at += sizeof(timer_t)) box_of(AT(timer_t, at)->agent)->timers--;
    worker->timers.end = worker->timers.begin;
    log_t *log = log_of(worker->number);
    if (!log->live) log->end = log->begin;
}

/* ---- workers that wait ---- */

enum { SPINS = 2000 }; /* before a thread sleeps */

/* Wait until a word is no longer what it was, or for so long; a negative time is no bound. */
static inline void wait_while(u32 *word, u32 value, int64_t timeout_ns) {
    for (u32 spin = 0; spin < SPINS; spin++)
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value) return;
    __builtin_wasm_memory_atomic_wait32((int *)word, (int)value, timeout_ns);
}

/* A worker has done what it was told. */
EXPORT(finish) void finish(worker_t *worker) {
    worker->doing = 0;
    if (__atomic_sub_fetch(&gate->busy, 1, __ATOMIC_SEQ_CST) == 0) __builtin_wasm_memory_atomic_notify((int *)&gate->busy, 1);
}

/* Do what the orchestrator tells all workers, wave after wave, until it says LEAVE. Stops as `turns` and `deliver` do; to
 * be called again once the host has done its part. */
EXPORT(serve) u32 serve(worker_t *worker) {
    for (;;) {
        if (!worker->doing) {
            while (__atomic_load_n(&gate->command, __ATOMIC_SEQ_CST) == worker->seen) wait_while(&gate->command, worker->seen, -1);
            worker->seen++;
            worker->doing = gate->what;
        }
        u32 stop = worker->doing == TURNS ? turns(worker) : worker->doing == DELIVER ? deliver(worker) : DONE;
        if (stop) return stop;
        bool leaves = worker->doing == LEAVE;
        finish(worker);
        if (leaves) return DONE;
    }
}

/* Tell so many workers to do something. */
EXPORT(tell) void tell(u32 what, u32 workers) {
    gate->what = what;
    __atomic_store_n(&gate->busy, workers, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&gate->command, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify((int *)&gate->command, UINT32_MAX);
}

/* Wait until all have done it, or for so long. Answers how many have not. */
EXPORT(wait) u32 wait(u64 timeout_ns) {
    u32 busy = __atomic_load_n(&gate->busy, __ATOMIC_SEQ_CST);
    if (busy) wait_while(&gate->busy, busy, (int64_t)timeout_ns);
    return __atomic_load_n(&gate->busy, __ATOMIC_SEQ_CST);
}
