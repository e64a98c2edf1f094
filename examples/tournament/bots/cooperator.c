/* Cooperator: always cooperates. */
#include "../bot.h"

static move next(const match *m) {
  (void)m;
  return C;
}
BOT(next)
