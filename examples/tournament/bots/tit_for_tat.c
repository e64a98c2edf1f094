/* Tit For Tat (Anatol Rapoport): opens with C, then repeats the other's last move. It won both of Axelrod's
 * tournaments, and never wins a single match: at best it draws level. */
#include "../bot.h"

static move next(const match *m) { return theirs(m, 1) == D ? D : C; }
BOT(next)
