/* Defector: always defects. */
#include "../bot.h"

static move next(const match *m) {
  (void)m;
  return D;
}
BOT(next)
