/* Punisher: after a defection it defects for a while, the longer the larger the other's share of defections so far
 * (20 rounds for 100 %), and then forgets. */
#include "../bot.h"

static struct {
  bool grudge;
  uint32_t since, length;
} memory[SLOTS];

static move next(const match *m) {
  uint32_t *since = &memory[m->slot].since, *length = &memory[m->slot].length;
  bool *grudge = &memory[m->slot].grudge;
  if (*since >= *length) *since = 0, *grudge = false;
  if (*grudge) return ++*since, D;
  if (theirs(m, 1) != D) return C;
  *grudge = true, *length = 20 * m->their_defections / m->round;
  return D;
}
BOT(next)
