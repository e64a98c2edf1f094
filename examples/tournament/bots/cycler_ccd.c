/* Cycler CCD: C, C, D and again from the start. */
#include "../bot.h"

static move next(const match *m) { return m->round % 3 == 2 ? D : C; }
BOT(next)
