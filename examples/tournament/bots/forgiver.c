/* Forgiver: defects while the other's share of defections is over 10 %. */
#include "../bot.h"

static move next(const match *m) { return 10 * m->their_defections > m->round ? D : C; }
BOT(next)
