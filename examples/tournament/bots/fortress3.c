/* Fortress3 (Wendy Ashlock, Daniel Ashlock): an automaton with a secret knock. It defects; two defections of the
 * other in a row open the gate, and then it cooperates until the other defects again. */
#include "../bot.h"

enum { CLOSED, KNOCKED, OPEN };
static uint8_t gates[SLOTS];

static move next(const match *m) {
  uint8_t *gate = &gates[m->slot];
  bool defected = theirs(m, 1) == D;
  switch (*gate) {
    case CLOSED: *gate = defected ? KNOCKED : CLOSED; break;
    case KNOCKED: *gate = defected ? OPEN : CLOSED; break;
    case OPEN: *gate = defected ? CLOSED : OPEN; break;
  }
  return *gate == OPEN ? C : D;
}
BOT(next)
