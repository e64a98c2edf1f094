/* Outboxes: what the ABI says of them, and their hashes. */
#pragma once
#include "layout.h"

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
