/* Tit For 2 Tats (John Maynard Smith): defects only after two defections in a row. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == D && theirs(m, 2) == D ? D : C; }
BOT(next)
