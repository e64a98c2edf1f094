// build: -matomics -mbulk-memory -fno-builtin -Wl,--import-memory -Wl,--shared-memory -Wl,--import-table -Wl,--initial-memory=4294901760 -Wl,--max-memory=4294901760 -Wl,-z,stack-size=16
/* hub: the mailboxes of a run, the turns of a wave and its commit, in WebAssembly.
 *
 * README.md beside this file has a picture of the memory. Rules:
 * - Everything lies in one imported memory. Where each part begins is in `control`, which the host writes.
 * - The host makes room: a function that finds none changes nothing and answers GROW, to be called again.
 * - What happens all the time is done here. What does not (faults, grants, state, spawning) stops `commit` with a
 *   `stop`; the host does it, by the same functions, and calls again. So effects happen in one order, whoever does them.
 * - No function uses the C stack's memory: instances on several threads share it.
 */
#include <stdbool.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define EXPORT(name) __attribute__((export_name(#name)))

/* As in the ABI: kinds of effect, kinds of inbound frame, reasons. */
enum { SEND = 1, PUBLISH, INFER, PUT, GET, SPAWN, STOP, TIMER, LOG, YIELD, EXIT, WATCH };
enum { MESSAGE = 2, UNDELIVERABLE = 6 };
enum { AGENT_ENDED = 2, MAILBOX_FULL = 3, TOO_LARGE = 4 };

/* Why `pack`, `turns` and `commit` stopped; mailboxes.py and shard.py have the same numbers. */
enum stop { DONE, GROW, BOUNCE, FAULT, MALFORMED, GRANTS, EFFECT, LOST, EXITED, STALE, ABSENT, BAD_RESULT };

/* One agent: its mailbox, a list of letters, and its instance. A cache line. */
typedef struct {
    u32 first, last; /* places in the log, in bytes from its beginning; 0 is none */
    u32 frames, bytes;
    u32 room; /* what its inbox takes, without the turn header */
    u32 group;
    u32 ended;
    u32 courier; /* its place in the table of its worker's store; 0: it has no instance that can take a turn */
    u32 inbox, outbox, outbox_bytes; /* its buffers, in its own memory */
    u32 unused;
    u64 spent; /* fuel that its start used, before its first turn */
    u64 unused_too;
} box_t;

/* What a group's agents may do. */
typedef struct {
    u32 message;       /* bytes of a payload */
    u32 mailbox_bytes; /* bounds of a mailbox */
    u32 mailbox_frames;
    u32 flags;
    u64 fuel; /* of a turn */
} group_t;
enum { DROPS_OLDEST = 1, DENIED_IS_FAULT = 2 };

typedef struct {
    u32 len;
    u16 kind, flags;
    u32 peer, tag;
} frame_t;

/* A frame in the log, header and padded payload behind it. */
typedef struct {
    u32 next;
    u32 bytes;
} letter_t;

typedef struct {
    u64 wave, time_ns, entropy;
    u32 self, frames;
} header_t;

typedef struct {
    /* Where the parts are: addresses, and sizes in entries or bytes. */
    u32 agents, boxes, ready;
    u32 groups, topics, grants, lists, members;
    u32 log, log_bytes, log_end, live;
    u32 plan, turns, lengths, inboxes;
    u32 faults, details, fuel, outboxes, scratch;
    /* How far `pack` or `commit` has come. */
    u32 turn, stage, at, end, frame, member;
    u32 filled, taken;
    u32 exiting, stale;
    u32 receiver, reason;
    u32 messages;
    u64 wave, time_ns, entropy;
} control_t;

/* What came of starting an agent: fuel left, its ABI record (zeros where it lies outside its memory), its memory's size. */
typedef struct {
    u64 left;
    u32 record[5], pages;
} started_t;
enum { MOST_AGENTS = 16 }; /* of one courier */

/* What one worker is at: turns of the plan at `places`, one after the other. Outboxes go behind one another to `out`. */
typedef struct {
    u32 places, turns, turn;
    u32 out, out_bytes, at;
    u32 taken; /* bytes of the log that its agents have read */
    u32 starts; /* bits: which of its agents courier.wat is to start, each with `budget` */
    u64 left;   /* fuel, after a turn */
    header_t header;
    u64 budget;
    u32 started, unused; /* how many of them it has started */
    started_t of[MOST_AGENTS];
} worker_t;

#define control ((control_t *)1024)
#define AT(type, address) ((type *)(uintptr_t)(address))

EXPORT(layout) u32 layout(void) {
    return sizeof(control_t) << 24 | sizeof(worker_t) / 8 << 16 | sizeof(box_t) << 8 | sizeof(group_t);
}

static inline box_t *box_of(u32 agent) { return AT(box_t, control->boxes) + agent; }
static inline group_t *group_of(const box_t *box) { return AT(group_t, control->groups) + box->group; }
static inline letter_t *letter_at(u32 place) { return AT(letter_t, control->log + place); }

/* A loop for what is short: a bulk copy is a call into the engine. */
static inline void copy(void *to, const void *from, u32 bytes) {
    if (bytes > 256) {
        __builtin_memcpy(to, from, bytes);
        return;
    }
    u64 *target = to;
    const u64 *source = from;
    for (u32 at = 0; at < bytes / 8; at++) target[at] = source[at];
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

static inline bool log_takes(u64 bytes) { return control->log_end + bytes <= control->log_bytes; }

/* Space for a letter in the log, which takes it. */
static inline letter_t *new_letter(u32 bytes) {
    letter_t *letter = letter_at(control->log_end);
    control->log_end += sizeof(letter_t) + bytes;
    control->live += sizeof(letter_t) + bytes;
    letter->next = 0;
    letter->bytes = bytes;
    return letter;
}

/* A letter at the end of a mailbox; its frame is to be written. NULL where the log is full. */
static inline frame_t *append(u32 agent, box_t *box, u32 bytes) {
    if (!log_takes(sizeof(letter_t) + bytes)) return 0;
    u32 place = control->log_end;
    letter_t *letter = new_letter(bytes);
    if (box->frames)
        letter_at(box->last)->next = place;
    else
        box->first = place;
    box->last = place;
    box->frames++;
    box->bytes += bytes;
    AT(u8, control->ready)[agent] = 1;
    return (frame_t *)(letter + 1);
}

static inline void pop(box_t *box) {
    letter_t *letter = letter_at(box->first);
    control->live -= sizeof(letter_t) + letter->bytes;
    box->bytes -= letter->bytes;
    box->first = letter->next;
    if (!--box->frames) box->last = 0;
}

/* The frame of `bytes` in `scratch` into a mailbox. Answers 0, a reason, or -GROW. */
EXPORT(put) int32_t put(u32 agent, u32 bytes, u32 more_frames, u32 more_bytes) {
    box_t *box = box_of(agent);
    u32 reason = refusal(box, bytes, more_frames, more_bytes);
    if (reason) return (int32_t)reason;
    frame_t *frame = append(agent, box, bytes);
    if (!frame) return -GROW;
    copy(frame, AT(void, control->scratch), bytes);
    return 0;
}

/* The two frames in `scratch`, of `first` and `second` bytes, before all else in the mailboxes of `count` agents. */
EXPORT(greet) u32 greet(u32 agent, u32 count, u32 first, u32 second) {
    u64 each = 2 * sizeof(letter_t) + first + second;
    if (!log_takes(each * count)) return GROW;
    for (u32 end = agent + count; agent < end; agent++) {
        box_t *box = box_of(agent);
        u32 place = control->log_end;
        letter_t *one = new_letter(first);
        copy(one + 1, AT(void, control->scratch), first);
        one->next = control->log_end;
        letter_t *other = new_letter(second);
        copy(other + 1, AT(u8, control->scratch) + first, second);
        other->next = box->first;
        if (!box->frames) box->last = one->next;
        box->first = place;
        box->frames += 2;
        box->bytes += first + second;
        AT(u8, control->ready)[agent] = 1;
    }
    return DONE;
}

/* Drop frames from the front until one of `bytes` fits. Answers how many. */
EXPORT(drop_oldest) u32 drop_oldest(u32 agent, u32 bytes) {
    box_t *box = box_of(agent);
    const group_t *group = group_of(box);
    u32 dropped = 0;
    if (bytes > group->mailbox_bytes) return 0;
    for (; box->frames && refusal(box, bytes, 0, 0) == MAILBOX_FULL; dropped++) pop(box);
    return dropped;
}

EXPORT(take_first) void take_first(u32 agent) { pop(box_of(agent)); }

/* Empty a mailbox. */
EXPORT(clear) void clear(u32 agent) {
    box_t *box = box_of(agent);
    control->live -= box->bytes + sizeof(letter_t) * box->frames;
    box->first = box->last = box->frames = box->bytes = 0;
}

/* Move all letters to another place for the log, each mailbox's together, without what was taken. */
EXPORT(move_log) void move_log(u32 log, u32 bytes) {
    u32 end = sizeof(letter_t);
    for (u32 agent = 0; agent < control->agents; agent++) {
        box_t *box = box_of(agent);
        u32 place = box->first;
        for (u32 left = box->frames; left; left--) {
            const letter_t *old = letter_at(place);
            letter_t *letter = AT(letter_t, log + end);
            u32 size = sizeof(letter_t) + old->bytes;
            copy(letter, old, size);
            place = old->next;
            letter->next = left > 1 ? end + size : 0;
            if (left == box->frames) box->first = end;
            box->last = end;
            end += size;
        }
    }
    control->log = log;
    control->log_bytes = bytes;
    control->log_end = end;
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
        u8 *inbox = AT(u8, control->inboxes + control->at);
        header_t *header = (header_t *)inbox;
        while (box->frames) {
            const letter_t *letter = letter_at(box->first);
            if (letter->bytes > box->room) return BOUNCE;
            if (letter->bytes > box->room - control->filled) break;
            copy(inbox + sizeof(header_t) + control->filled, letter + 1, letter->bytes);
            control->filled += letter->bytes;
            control->taken++;
            pop(box);
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
    if (!control->live) control->log_end = sizeof(letter_t);
    return DONE;
}

/* ---- turns ---- */

/* courier.wat: a turn of one agent, from the letters to the outbox. Answers what the turn answers. */
typedef int32_t (*courier_t)(u32 log, u32 letter, u32 frames, u32 inbox, u32 outbox, u32 most, u32 to, u64 budget);

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
    worker->taken += sizeof(letter_t) + letter->bytes;
    return place;
}

/* Let a worker's agents take their turns, from where it stopped last. A trap leaves `turn` at the agent that caused it,
 * whose mail is taken by then. */
EXPORT(turns) u32 turns(worker_t *worker) {
    const u32 *plan = AT(u32, control->plan), *places = AT(u32, worker->places);
    u32 *lengths = AT(u32, control->lengths);
    u64 *fuel = AT(u64, control->fuel);
    u8 *ready = AT(u8, control->ready);
    for (; worker->turn < worker->turns; worker->turn++) {
        u32 place = places[worker->turn], agent = plan[place];
        box_t *box = box_of(agent);
        if (worker->at + box->outbox_bytes > worker->out_bytes) return GROW;
        u32 letter = box->first, frames = box->frames;
        if (box->bytes <= box->room) {
            worker->taken += box->bytes + sizeof(letter_t) * frames;
            box->first = box->last = box->frames = box->bytes = 0;
            ready[agent] = 0;
        } else {
            u32 bytes, left = box->frames;
            int32_t some = fitting(box, &bytes);
            if (some < 0) return BOUNCE;
            frames = (u32)some;
            worker->taken += bytes + sizeof(letter_t) * frames;
            for (u32 at = frames; at; at--) box->first = letter_at(box->first)->next;
            box->frames = left - frames;
            box->bytes -= bytes;
            if (!box->frames) box->last = 0;
            ready[agent] = box->frames != 0;
        }
        if (!box->courier) return ABSENT;
        worker->header.wave = control->wave;
        worker->header.time_ns = control->time_ns;
        worker->header.entropy = mix((control->entropy + agent) * GOLDEN + GOLDEN);
        worker->header.self = agent;
        worker->header.frames = frames;
        u64 budget = group_of(box)->fuel;
        u64 given = budget - box->spent;
        box->spent = 0;
        courier_t carry = (courier_t)(uintptr_t)box->courier;
        int32_t result = carry(control->log, letter, frames, box->inbox, box->outbox, box->outbox_bytes,
                               worker->out + worker->at, given);
        fuel[place] = budget - worker->left;
        if ((u32)result > box->outbox_bytes) {
            lengths[place] = (u32)result;
            return BAD_RESULT;
        }
        lengths[place] = (u32)result;
        worker->at += (u32)result;
    }
    return DONE;
}

/* ---- commit ---- */

/* Whether the frame between `at` and `end` is one that the ABI allows. */
static inline bool is_frame(u32 at, u32 end) {
    if (end - at < sizeof(frame_t)) return false;
    const frame_t *frame = AT(frame_t, at);
    const u8 *payload = (u8 *)(frame + 1);
    u32 length = frame->len, room = end - at - sizeof(frame_t);
    if (length > room || ((length + 7) & ~7u) > room || frame->flags) return false;
    for (u32 pad = length; pad & 7; pad++)
        if (payload[pad]) return false;
    switch (frame->kind) {
    case SEND:
    case PUBLISH:
    case INFER:
    case SPAWN:
        return true;
    case PUT:
        return !frame->peer && length >= 2 && 2u + (payload[0] | payload[1] << 8) <= length;
    case GET:
    case WATCH:
        return !frame->peer;
    case STOP:
        return !length;
    case TIMER:
        return !frame->peer && length == 8;
    case LOG:
        return frame->peer < 5;
    case YIELD:
        return !frame->peer && !length;
    case EXIT:
        return !frame->peer && length == 4;
    default:
        return false;
    }
}

static inline u32 frame_end(u32 at) { return at + sizeof(frame_t) + ((AT(frame_t, at)->len + 7) & ~7u); }

/* What an outbox is: malformed, or whether it has effects that take a grant. */
static inline enum stop survey(u32 at, u32 end) {
    enum stop found = DONE;
    for (; at < end; at = frame_end(at)) {
        if (!is_frame(at, end)) return MALFORMED;
        u16 kind = AT(frame_t, at)->kind;
        if (kind != SEND && kind != TIMER && kind != LOG && kind != YIELD && kind != EXIT) found = GRANTS;
    }
    return found;
}

/* Answer an effect that could not be done. */
static inline bool refuse(u32 agent, const frame_t *effect, u32 reason) {
    box_t *box = box_of(agent);
    u32 bytes = sizeof(frame_t) + 8;
    if (refusal(box, bytes, 0, 0) || !log_takes(sizeof(letter_t) + bytes)) return false;
    frame_t *frame = append(agent, box, bytes);
    *frame = (frame_t){4, UNDELIVERABLE, effect->kind, effect->peer, effect->tag};
    *(u64 *)(frame + 1) = reason;
    return true;
}

/* The message that an effect at `at` makes, into a mailbox that takes it. */
static inline bool deliver(u32 to, box_t *box, u32 from, const frame_t *effect, u16 flags, u32 bytes) {
    frame_t *frame = append(to, box, bytes);
    if (!frame) return false;
    *frame = (frame_t){effect->len, MESSAGE, flags, from, effect->tag};
    copy(frame + 1, effect + 1, bytes - sizeof(frame_t));
    control->messages++;
    return true;
}

static inline enum stop do_send(u32 agent, const frame_t *effect, u32 bytes) {
    u32 to = effect->peer;
    if (to >= control->agents || effect->len > group_of(box_of(agent))->message) return EFFECT;
    box_t *box = box_of(to);
    u32 reason = refusal(box, bytes, 0, 0);
    if (!reason) return deliver(to, box, agent, effect, 0, bytes) ? DONE : GROW;
    if (reason == MAILBOX_FULL && group_of(box)->flags & DROPS_OLDEST) return EFFECT;
    return refuse(agent, effect, reason) ? DONE : EFFECT;
}

static inline enum stop do_publish(u32 agent, const frame_t *effect, u32 bytes) {
    u32 topic = effect->peer;
    const box_t *own = box_of(agent);
    if (topic >= control->topics || effect->len > group_of(own)->message) return EFFECT;
    if (!AT(u8, control->grants)[own->group * control->topics + topic]) return EFFECT;
    if (control->stale) return STALE;
    const u32 *list = AT(u32, control->lists) + 2 * topic;
    const u32 *members = AT(u32, control->members) + list[0];
    while (control->member < list[1]) {
        u32 to = members[control->member];
        box_t *box = box_of(to);
        u32 reason = refusal(box, bytes, 0, 0);
        if (!reason && !deliver(to, box, agent, effect, topic + 1, bytes)) return GROW;
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

static inline enum stop do_effect(u32 agent, const frame_t *effect, u32 bytes) {
    switch (effect->kind) {
    case SEND:
        return do_send(agent, effect, bytes);
    case PUBLISH:
        return do_publish(agent, effect, bytes);
    case YIELD:
        AT(u8, control->ready)[agent] = 1;
        return DONE;
    default:
        return EFFECT;
    }
}

enum stage { BEGIN, APPLY, NEXT };

/* Do the effects of all turns from where it stopped last. Of an EFFECT, `frame` is its address and `at` its end. */
EXPORT(commit) u32 commit(void) {
    const u32 *plan = AT(u32, control->plan), *lengths = AT(u32, control->lengths);
    const int32_t *faults = AT(int32_t, control->faults);
    for (; control->turn < control->turns; control->turn++, control->stage = BEGIN) {
        u32 agent = plan[control->turn];
        if (control->stage == BEGIN) {
            control->end = control->at + lengths[control->turn];
            control->stage = NEXT;
            if (faults[control->turn]) {
                control->at = control->end;
                return FAULT;
            }
            enum stop found = survey(control->at, control->end);
            if (found == MALFORMED) return MALFORMED;
            control->stage = APPLY;
            if (found == GRANTS && group_of(box_of(agent))->flags & DENIED_IS_FAULT) return GRANTS;
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
        control->at = control->end;
        if (control->exiting) {
            control->exiting = 0;
            control->stage = NEXT;
            return EXITED;
        }
    }
    return DONE;
}
