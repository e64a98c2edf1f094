/* Handshake: opens with C, D. Whoever opens the same way is one of its own, and it cooperates for good; else it defects. */
#include "../bot.h"

static move next(const match *m) {
  if (m->round < 2) return "CD"[m->round];
  return m->theirs[0] == C && m->theirs[1] == D ? C : D;
}
BOT(next)
