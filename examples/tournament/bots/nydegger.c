/* Nydegger (Rudy Nydegger, 3rd in Axelrod's first tournament): opens like Tit For Tat, then looks up the last three
 * rounds in a table. A round counts 2 for the other's defection and 1 for its own, and weighs 16, 4, 1 going back. */
#include "../bot.h"

static const uint8_t DEFECT_AT[] = {1, 6, 7, 17, 22, 23, 26, 29, 30, 31, 33, 38, 39, 45, 49, 54, 55, 58, 61};

static uint32_t outcome(const match *m, uint32_t ago) { return 2u * (theirs(m, ago) == D) + (mine(m, ago) == D); }

static move next(const match *m) {
  if (m->round == 2 && m->theirs[0] == D && m->theirs[1] == C) return D;
  if (m->round < 3) return theirs(m, 1) == D ? D : C;
  uint32_t sum = 16 * outcome(m, 1) + 4 * outcome(m, 2) + outcome(m, 3);
  for (uint32_t i = 0; i < sizeof DEFECT_AT; i++)
    if (DEFECT_AT[i] == sum) return D;
  return C;
}
BOT(next)
