/* The turns of one worker, and a first look at their outboxes. */
#pragma once
#include "mailboxes.h"
#include "outboxes.h"

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
