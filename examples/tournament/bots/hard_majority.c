/* Hard Go By Majority: does what the other did more often so far; when level, defects. */
#include "../bot.h"

static move next(const match *m) { return 2 * m->their_defections >= m->round ? D : C; }
BOT(next)
