/* Prober: opens with D, C, C. Against those who cooperate in rounds 2 and 3 all the same it defects for good; with
 * others it plays Tit For Tat. */
#include "../bot.h"

static move next(const match *m) {
  if (m->round < 3) return "DCC"[m->round];
  bool meek = m->theirs[1] == C && m->theirs[2] == C;
  return meek || theirs(m, 1) == D ? D : C;
}
BOT(next)
