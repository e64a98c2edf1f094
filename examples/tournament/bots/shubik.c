/* Shubik (Martin Shubik, 5th in Axelrod's first tournament): answers a defection with defections, one more of them
 * each time that the other breaks the peace anew. */
#include "../bot.h"

static struct {
  uint32_t left, length;
} retaliation[SLOTS];

static move next(const match *m) {
  uint32_t *left = &retaliation[m->slot].left, *length = &retaliation[m->slot].length;
  if (*left) return --*left, D;
  if (theirs(m, 1) != D || mine(m, 1) != C) return C;
  *left = (*length)++;
  return D;
}
BOT(next)
