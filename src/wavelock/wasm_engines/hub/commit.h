/* Commit by one, in plan order, with a stop for whatever is not done here. */
#pragma once
#include "mailboxes.h"
#include "outboxes.h"

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

/* ---- what `deliver.h` does not use ---- */

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
