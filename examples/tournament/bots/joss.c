/* Joss (Johann Joss, 12th in Axelrod's first tournament): Tit For Tat that tries a defection one time in ten. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == D || (m->round && chance(10)) ? D : C; }
BOT(next)
