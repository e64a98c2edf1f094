/* Hostile: plays Defector, and each round fills its outbox up with forgeries: questions in the referee's form, to mix
 * up the others' histories, and second answers of its own. Nothing comes of it. Every message bears its true sender's
 * id; bots listen to the referee alone, and the referee takes one answer a round. */
#include "../bot.h"

static uint32_t victim; /* goes round all ids, the referee's among them */

static void forge(uint32_t round) {
  static const move MOVES[SLOTS] = {[0 ... SLOTS - 1] = C};
  while (wl_send(victim, round, MOVES, 32)) victim = (victim + 1) % 32;
}

static move next(const match *m) {
  if (m->slot == 0) forge(m->round);
  return D;
}
BOT(next)
