/* wavelock.h: Agent ABI 1 for C. No libc needed.
 *
 *   #include "wavelock.h"
 *   WL_AGENT(65536, 65536)                      // inbox and outbox bytes; also exports wavelock_abi
 *
 *   static void turn(void) {                    // called once a wave in which this agent is planned
 *     wl_frame frame;
 *     while (wl_next(&frame))
 *       if (frame.kind == WL_MESSAGE) wl_send(frame.peer, frame.tag, frame.data, frame.len);
 *   }
 *   WL_TURN(turn)                               // exports wavelock_turn
 *
 * Build: python -m ziglang cc -target wasm32-freestanding -O2 -nostdlib -Wl,--no-entry -I guests/c agent.c -o agent.wasm
 */
#ifndef WAVELOCK_H
#define WAVELOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WL_ABI_VERSION 1u
#define WL_WORLD 0xFFFFFFFFu /* the peer that stands for the world outside */

enum wl_inbound {
  WL_START = 1,         /* payload: the agent's configuration */
  WL_MESSAGE = 2,       /* peer: source; flags: 0, or the topic's id + 1 */
  WL_TIMER = 3,         /* tag: as set */
  WL_INFERENCE = 4,     /* peer: model; payload: tensors, or with WL_ERROR a u32 wl_reason */
  WL_STATE = 5,         /* payload: the value of a get; with WL_WATCHED u16 key_len, key, value */
  WL_UNDELIVERABLE = 6, /* peer: destination; flags: the effect's kind; payload: u32 wl_reason */
  WL_CHILD_ENDED = 7,   /* peer: child; tag: the spawn's; payload: u32 wl_end */
  WL_DIRECTORY = 8      /* payload: rows, see wl_find; tag: the spawn's, where it answers one */
};

enum wl_outbound {
  WL_OUT_SEND = 1, WL_OUT_PUBLISH, WL_OUT_INFER, WL_OUT_PUT, WL_OUT_GET, WL_OUT_SPAWN,
  WL_OUT_STOP, WL_OUT_TIMER, WL_OUT_LOG, WL_OUT_YIELD, WL_OUT_EXIT, WL_OUT_WATCH
};

enum wl_flag { WL_ERROR = 1, WL_ABSENT = 1, WL_WATCHED = 2 };

enum wl_reason {
  WL_NO_SUCH_AGENT = 1, WL_AGENT_ENDED, WL_MAILBOX_FULL, WL_TOO_LARGE, WL_DENIED, WL_LIMIT, WL_NO_SUCH_ID,
  WL_BAD_TENSOR = 16, WL_BAD_DTYPE, WL_BAD_SHAPE, WL_NOT_FINITE, WL_MODEL_FAILED
};

enum wl_end { WL_EXITED = 1, WL_FAULTED, WL_STOPPED };
enum wl_what { WL_GROUP = 1, WL_TOPIC, WL_MODEL, WL_MODULE, WL_CHILD };
enum wl_level { WL_LOG_ERROR, WL_LOG_WARNING, WL_LOG_INFO, WL_LOG_DEBUG, WL_LOG_TRACE };
enum wl_dtype { WL_F16, WL_F32, WL_F64, WL_U8, WL_I32, WL_I64 };

/* One received frame. `data` points into the inbox and is valid until the turn ends. */
typedef struct {
  uint32_t len;
  uint16_t kind, flags;
  uint32_t peer, tag;
  const uint8_t *data;
} wl_frame;

/* What wl_find found: ids run from `id` to `id + count - 1`. */
typedef struct {
  uint32_t id, count;
} wl_range;

extern uint8_t wl_inbox[], wl_outbox[];
extern const uint32_t wl_outbox_cap;

static struct {
  uint64_t wave, time_ns, random;
  uint32_t self, frames, read, in_end, written;
} wl;

#define WL_EXPORT(name) __attribute__((export_name(name), used))

/* The two buffers and the record that tells the host where they are. Once in a program. */
#define WL_AGENT(inbox_bytes, outbox_bytes)                                          \
  _Alignas(8) uint8_t wl_inbox[inbox_bytes];                                         \
  _Alignas(8) uint8_t wl_outbox[outbox_bytes];                                       \
  const uint32_t wl_outbox_cap = (outbox_bytes);                                     \
  static uint32_t wl_record[5];                                                      \
  WL_EXPORT("wavelock_abi") int32_t wavelock_abi(void) {                             \
    wl_record[0] = WL_ABI_VERSION;                                                   \
    wl_record[1] = (uint32_t)(uintptr_t)wl_inbox, wl_record[2] = (inbox_bytes);      \
    wl_record[3] = (uint32_t)(uintptr_t)wl_outbox, wl_record[4] = (outbox_bytes);    \
    return (int32_t)(uintptr_t)wl_record;                                            \
  }

/* The turn: `function` is `void f(void)`. A turn that wants to fail returns through wl_fail. */
#define WL_TURN(function)                                                            \
  WL_EXPORT("wavelock_turn") int32_t wavelock_turn(int32_t inbox_len) {              \
    wl_begin(inbox_len);                                                             \
    function();                                                                      \
    return wl_finish();                                                              \
  }

/* Compilers call these for copies of structs and loops; weak, so that a libc's own win. */
#define WL_PLAIN __attribute__((weak, no_builtin))
WL_PLAIN void *memcpy(void *to, const void *from, size_t n) {
  for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
  return to;
}
WL_PLAIN void *memset(void *to, int byte, size_t n) {
  for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = (uint8_t)byte;
  return to;
}
WL_PLAIN void *memmove(void *to, const void *from, size_t n) {
  if ((uintptr_t)to <= (uintptr_t)from) return memcpy(to, from, n);
  while (n--) ((uint8_t *)to)[n] = ((const uint8_t *)from)[n];
  return to;
}
WL_PLAIN int memcmp(const void *a, const void *b, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (((const uint8_t *)a)[i] != ((const uint8_t *)b)[i])
      return ((const uint8_t *)a)[i] - ((const uint8_t *)b)[i];
  return 0;
}
WL_PLAIN size_t strlen(const char *text) {
  size_t n = 0;
  while (text[n]) n++;
  return n;
}

static inline uint32_t wl_u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static inline uint16_t wl_u16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static inline void wl_set_u32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

static int32_t wl_fault_code;

static inline void wl_begin(int32_t inbox_len) {
  const uint64_t *head = (const uint64_t *)(const void *)wl_inbox;
  wl.wave = head[0], wl.time_ns = head[1], wl.random = head[2];
  wl.self = wl_u32(wl_inbox + 24), wl.frames = wl_u32(wl_inbox + 28);
  wl.read = 32, wl.in_end = (uint32_t)inbox_len, wl.written = 0, wl_fault_code = 0;
}
static inline int32_t wl_finish(void) { return wl_fault_code ? wl_fault_code : (int32_t)wl.written; }

/* End this turn as a fault with the agent's own code (made negative); none of its effects happen. */
static inline void wl_fail(int32_t code) { wl_fault_code = code > 0 ? -code : code ? code : -1; }

/* ---- the inbox ---- */

/* The next frame of the inbox; false at its end. */
static inline bool wl_next(wl_frame *frame) {
  if (wl.read >= wl.in_end) return false;
  const uint8_t *at = wl_inbox + wl.read;
  frame->len = wl_u32(at), frame->kind = wl_u16(at + 4), frame->flags = wl_u16(at + 6);
  frame->peer = wl_u32(at + 8), frame->tag = wl_u32(at + 12), frame->data = at + 16;
  wl.read += 16 + ((frame->len + 7) & ~7u);
  return true;
}

/* Look up a name in a WL_DIRECTORY frame; false where it has no such row. */
static inline bool wl_find(const wl_frame *frame, uint8_t what, const char *name, wl_range *found) {
  size_t want = strlen(name);
  for (uint32_t at = 0; at + 12 <= frame->len;) {
    const uint8_t *row = frame->data + at;
    uint16_t len = wl_u16(row + 2);
    if (row[0] == what && len == want && !memcmp(row + 12, name, len)) {
      found->id = wl_u32(row + 4), found->count = wl_u32(row + 8);
      return true;
    }
    at += 12 + ((len + 3u) & ~3u);
  }
  return false;
}

/* ---- the outbox: each answers false, and writes nothing, where the outbox is full ---- */

/* Room for a frame's payload, to be filled in place; NULL where the outbox is full. */
static inline uint8_t *wl_emit(uint16_t kind, uint32_t peer, uint32_t tag, uint32_t len) {
  uint64_t size = 16 + (((uint64_t)len + 7) & ~7ull);
  if (wl.written + size > wl_outbox_cap) return NULL;
  uint8_t *at = wl_outbox + wl.written;
  wl_set_u32(at, len);
  wl_set_u32(at + 4, kind);
  wl_set_u32(at + 8, peer);
  wl_set_u32(at + 12, tag);
  for (uint32_t i = len; i < size - 16; i++) at[16 + i] = 0;
  wl.written += (uint32_t)size;
  return at + 16;
}

static inline bool wl_write(uint16_t kind, uint32_t peer, uint32_t tag, const void *data, uint32_t len) {
  uint8_t *at = wl_emit(kind, peer, tag, len);
  if (!at) return false;
  memcpy(at, data, len);
  return true;
}

static inline bool wl_keyed(uint16_t kind, uint32_t tag, const char *key, const void *value, uint32_t len) {
  uint32_t key_len = (uint32_t)strlen(key);
  uint8_t *at = wl_emit(kind, 0, tag, 2 + key_len + len);
  if (!at) return false;
  at[0] = (uint8_t)key_len, at[1] = (uint8_t)(key_len >> 8);
  memcpy(at + 2, key, key_len);
  memcpy(at + 2 + key_len, value, len);
  return true;
}

static inline bool wl_send(uint32_t to, uint32_t tag, const void *data, uint32_t len) {
  return wl_write(WL_OUT_SEND, to, tag, data, len);
}
static inline bool wl_publish(uint32_t topic, uint32_t tag, const void *data, uint32_t len) {
  return wl_write(WL_OUT_PUBLISH, topic, tag, data, len);
}
static inline bool wl_put(const char *key, const void *value, uint32_t len) {
  return wl_keyed(WL_OUT_PUT, 0, key, value, len);
}
static inline bool wl_get(const char *key, uint32_t tag) {
  return wl_write(WL_OUT_GET, 0, tag, key, (uint32_t)strlen(key));
}
static inline bool wl_watch(const char *prefix, uint32_t tag) {
  return wl_write(WL_OUT_WATCH, 0, tag, prefix, (uint32_t)strlen(prefix));
}
static inline bool wl_spawn(uint32_t module, uint32_t tag, const void *config, uint32_t len) {
  return wl_write(WL_OUT_SPAWN, module, tag, config, len);
}
static inline bool wl_stop(uint32_t child) { return wl_write(WL_OUT_STOP, child, 0, NULL, 0); }
static inline bool wl_timer(uint64_t waves, uint32_t tag) { return wl_write(WL_OUT_TIMER, 0, tag, &waves, 8); }
static inline bool wl_yield(void) { return wl_write(WL_OUT_YIELD, 0, 0, NULL, 0); }
static inline bool wl_exit(int32_t code) { return wl_write(WL_OUT_EXIT, 0, 0, &code, 4); }
static inline bool wl_log(uint32_t level, const char *text) {
  return wl_write(WL_OUT_LOG, level, 0, text, (uint32_t)strlen(text));
}
/* One line of output: what the run shows to the world. */
static inline bool wl_print(const char *text) {
  return wl_write(WL_OUT_SEND, WL_WORLD, 0, text, (uint32_t)strlen(text));
}

/* Ask a model: one tensor of `rank` dimensions; the elements follow in `data`. */
static inline bool wl_infer(uint32_t model, uint32_t tag, uint8_t dtype, const uint32_t *dims, uint8_t rank,
                            const void *data, uint32_t data_len) {
  uint32_t head = 8 + ((4u * rank + 7) & ~7u);
  uint8_t *at = wl_emit(WL_OUT_INFER, model, tag, head + data_len);
  if (!at) return false;
  memset(at, 0, head);
  at[0] = dtype, at[1] = rank;
  for (uint8_t i = 0; i < rank; i++) wl_set_u32(at + 8 + 4u * i, dims[i]);
  memcpy(at + head, data, data_len);
  return true;
}

/* The elements of the first tensor of a WL_INFERENCE frame; NULL for an error answer. */
static inline const void *wl_tensor(const wl_frame *frame, uint32_t *bytes) {
  if (frame->kind != WL_INFERENCE || frame->flags & WL_ERROR || frame->len < 8) return NULL;
  uint32_t head = 8 + ((4u * frame->data[1] + 7) & ~7u);
  if (head > frame->len) return NULL;
  *bytes = frame->len - head;
  return frame->data + head;
}

/* ---- randomness: splitmix64 (Steele, Lea, Flood 2014) from the turn's entropy; another stream each turn ---- */

static inline uint64_t wl_random(void) {
  uint64_t z = (wl.random += 0x9E3779B97F4A7C15ull);
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}
/* Uniform in 0 .. bound - 1 without bias (rejection); 0 for a bound of 0. */
static inline uint64_t wl_random_below(uint64_t bound) {
  if (!bound) return 0;
  uint64_t floor = -bound % bound, value;
  do value = wl_random();
  while (value < floor);
  return value % bound;
}

/* ---- text without a libc: append, then print or log ---- */

typedef struct {
  char at[256];
  uint32_t len;
} wl_text;

static inline void wl_add_char(wl_text *text, char c) {
  if (text->len + 1 < sizeof text->at) text->at[text->len++] = c;
  text->at[text->len] = 0;
}
static inline void wl_add(wl_text *text, const char *more) {
  while (*more) wl_add_char(text, *more++);
}
static inline void wl_add_int(wl_text *text, int64_t value) {
  char digits[20];
  int n = 0;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do digits[n++] = (char)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0) wl_add_char(text, '-');
  while (n) wl_add_char(text, digits[--n]);
}
/* Spaces up to column `width`. */
static inline void wl_pad(wl_text *text, uint32_t width) {
  while (text->len < width && text->len + 1 < sizeof text->at) wl_add_char(text, ' ');
}

#endif
