/* Two Tits For Tat: answers each defection with two. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == D || theirs(m, 2) == D ? D : C; }
BOT(next)
