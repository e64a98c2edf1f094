/* bot.h: all of a bot but its strategy.
 *
 *   #include "../bot.h"
 *
 *   static move next(const match *m) { return theirs(m, 1) == D ? D : C; }
 *   BOT(next)
 *
 * `next` is called once a round for each of the bot's matches, and knows no more than that match: who the opponent
 * is and how long the match will be stays with the referee. What a strategy wants to remember beyond the two
 * histories it keeps in an array of its own with SLOTS elements, one for each `m->slot`; it starts as zeros.
 */
#ifndef BOT_H
#define BOT_H

#include "game.h"

#define HISTORY 1024 /* the longest match that fits, in rounds */

/* The sizes decide what a flood can do: SLOTS - 1 bots that all write their 1 KiB to one other still leave room in
 * its inbox for the referee's question. So nobody can be made late for an answer. */
WL_AGENT(65536, 1024)

/* One match as this bot sees it. */
typedef struct {
  uint32_t slot;              /* which of the bot's matches this is */
  uint32_t round;             /* rounds played so far */
  uint32_t their_defections;  /* in these rounds */
  move mine[HISTORY], theirs[HISTORY];
} match;

/* The move `ago` rounds back, 1 being the last; NONE before the first round. */
static inline move mine(const match *m, uint32_t ago) { return ago <= m->round ? m->mine[m->round - ago] : NONE; }
static inline move theirs(const match *m, uint32_t ago) { return ago <= m->round ? m->theirs[m->round - ago] : NONE; }

static inline move opposite(move m) { return m == C ? D : C; }

/* True in `percent` of 100 cases. The entropy is the turn's own: the same run seed gives the same tournament. */
static inline bool chance(uint32_t percent) { return wl_random_below(100) < percent; }

typedef move strategy(const match *m);

static struct {
  uint32_t referee;
  match matches[SLOTS];
} bot;

static inline void bot_record(match *m, move their_move) {
  m->theirs[m->round++] = their_move;
  m->their_defections += their_move == D;
}

static inline move bot_reply(match *m, move asked, strategy *next) {
  if (asked == NONE) return NONE;
  if (asked != FIRST) bot_record(m, asked);
  if (m->round == HISTORY) return wl_fail(1), NONE;
  return m->mine[m->round] = next(m);
}

static inline void bot_answer(const wl_frame *question, strategy *next) {
  uint8_t *answer = question->len <= SLOTS ? wl_emit(WL_OUT_SEND, bot.referee, question->tag, question->len) : NULL;
  if (!answer) return wl_fail(2);
  for (uint32_t slot = 0; slot < question->len; slot++) {
    bot.matches[slot].slot = slot;
    answer[slot] = (uint8_t)bot_reply(&bot.matches[slot], (move)question->data[slot], next);
  }
}

/* Anyone may send a bot a message, and the runtime says truthfully who did: only the referee's count. */
static inline void bot_turn(strategy *next) {
  wl_frame frame;
  wl_range found;
  while (wl_next(&frame)) {
    if (frame.kind == WL_DIRECTORY && wl_find(&frame, WL_GROUP, REFEREE, &found)) bot.referee = found.id;
    if (frame.kind == WL_MESSAGE && frame.peer == bot.referee) bot_answer(&frame, next);
  }
}

#define BOT(next)                                   \
  static void turn(void) { bot_turn(next); }        \
  WL_TURN(turn)

#endif
