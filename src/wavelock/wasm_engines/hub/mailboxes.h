/* Mailboxes: lists of letters in the log of their agent's worker. */
#pragma once
#include "layout.h"

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

/* ---- inboxes that the host sends to workers ---- */

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
