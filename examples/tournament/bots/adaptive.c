/* Adaptive: six times C, five times D, then the move that has earned it more points in all. */
#include "../bot.h"

static struct {
  uint32_t by_c, by_d;
} points[SLOTS];

static void learn(const match *m) {
  if (mine(m, 1) == C) points[m->slot].by_c += theirs(m, 1) == C ? 3 : 0;
  if (mine(m, 1) == D) points[m->slot].by_d += theirs(m, 1) == C ? 5 : 1;
}

static move next(const match *m) {
  learn(m);
  if (m->round < 11) return m->round < 6 ? C : D;
  return points[m->slot].by_c > points[m->slot].by_d ? C : D;
}
BOT(next)
