/* Hostile: plays along for 49 rounds, then never gives the turn back. Its fuel ends, and with it the bot. */
#include "../bot.h"

static move next(const match *m) {
  if (m->round == 49)
    for (;;) {
    }
  return C;
}
BOT(next)
