/* Appeaser: opens with C and changes its move each time the other defects. */
#include "../bot.h"

static move next(const match *m) {
  if (m->round == 0) return C;
  return theirs(m, 1) == D ? opposite(mine(m, 1)) : mine(m, 1);
}
BOT(next)
