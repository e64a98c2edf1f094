/* Suspicious Tit For Tat: Tit For Tat that opens with D. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == C ? C : D; }
BOT(next)
