/* Bully: opens with D, then does the opposite of the other's last move. It exploits who yields and yields to who
 * strikes back. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == D ? C : D; }
BOT(next)
