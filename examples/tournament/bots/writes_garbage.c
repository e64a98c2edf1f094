/* Hostile: plays along for 149 rounds, then overwrites the header of its answer with noise. */
#include "../bot.h"

static move next(const match *m) {
  if (m->round == 149) memset(wl_outbox, 0xA5, 16);
  return C;
}
BOT(next)
