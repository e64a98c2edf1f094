/* Generous Tit For Tat (Martin Nowak, Karl Sigmund): Tit For Tat that lets one defection in three pass. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == D && wl_random_below(3) ? D : C; }
BOT(next)
