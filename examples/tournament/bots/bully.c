/* Bully: opens with D, then does the opposite of the other's last move. Who yields is exploited, who resists is courted. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == D ? C : D; }
BOT(next)
