/* Gradual (Beaufils, Delahaye, Mathieu): answers the n-th defection with n defections, then two cooperations to calm
 * things down. While it punishes or calms down it does not react. */
#include "../bot.h"

static struct {
  uint32_t punish, calm;
} left[SLOTS];

static move next(const match *m) {
  uint32_t *punish = &left[m->slot].punish, *calm = &left[m->slot].calm;
  if (*punish) return --*punish, D;
  if (*calm) return --*calm, C;
  if (theirs(m, 1) != D) return C;
  *punish = m->their_defections - 1, *calm = 2;
  return D;
}
BOT(next)
