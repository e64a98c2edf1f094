/* Tester (David Gladstein): opens with D. At the first defection it apologises with C and plays Tit For Tat from then
 * on; as long as there is none, it plays D, C, C, D, C, D, ... */
#include "../bot.h"

static bool polite[SLOTS];

static move next(const match *m) {
  if (m->round == 0) return D;
  if (polite[m->slot]) return theirs(m, 1);
  if (theirs(m, 1) == D) {
    polite[m->slot] = true;
    return C;
  }
  return m->round <= 2 ? C : opposite(mine(m, 1));
}
BOT(next)
