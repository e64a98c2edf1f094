/* Commit by all workers at once, where it comes to the same.
 *
 * Each worker does all errands for its own agents, in plan order, so that every mailbox is filled as by one. Where
 * somebody's mailbox refuses something, an answer would have to come in between: then all is taken back and done again by
 * one. */
#pragma once
#include "commit.h"

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
