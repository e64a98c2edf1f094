/* Grudger (James Friedman): cooperates until the other defects once, then never again. */
#include "../bot.h"

static move next(const match *m) { return m->their_defections ? D : C; }
BOT(next)
