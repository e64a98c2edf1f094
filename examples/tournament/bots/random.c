/* Random: tosses a coin. The coin is the turn's entropy, so the same seed tosses the same. */
#include "../bot.h"

static move next(const match *m) {
  (void)m;
  return chance(50) ? C : D;
}
BOT(next)
