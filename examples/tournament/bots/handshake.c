/* Handshake: opens with C, D. With whoever opens the same way, one of its own, it cooperates for good; with all
 * others it defects. */
#include "../bot.h"

static move next(const match *m) {
  if (m->round < 2) return "CD"[m->round];
  return m->theirs[0] == C && m->theirs[1] == D ? C : D;
}
BOT(next)
