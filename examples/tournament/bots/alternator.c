/* Alternator: C, D, C, D, ... whatever the other does. */
#include "../bot.h"

static move next(const match *m) { return m->round % 2 ? D : C; }
BOT(next)
