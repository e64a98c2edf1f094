/* Davis (Morton Davis, 8th in Axelrod's first tournament): cooperates for ten rounds, then plays Grudger. */
#include "../bot.h"

static move next(const match *m) { return m->round >= 10 && m->their_defections ? D : C; }
BOT(next)
