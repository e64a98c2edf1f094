/* game.h: what the referee and the bots agree on.
 *
 * The game is the iterated prisoner's dilemma. In every round both sides of a match choose at once:
 *
 *                      they cooperate   they defect
 *     I cooperate           3 : 3          0 : 5
 *     I defect              5 : 0          1 : 1
 *
 * All matches run side by side. Each round takes two waves and one message each way per bot:
 *
 *     referee -> bot   tag: the round; one byte a slot, a slot being one of the bot's matches:
 *                      FIRST: make your first move; C or D: what they just played, make your next move;
 *                      NONE: there is no match in this slot (any more)
 *     bot -> referee   tag: the same round; one byte a slot: C, D, or NONE where it was asked nothing
 *
 * A bot that does not answer in the wave after the question, or not in this form, forfeits all its matches.
 */
#ifndef GAME_H
#define GAME_H

#include "wavelock.h"

#define SLOTS 64        /* the most matches of one bot, so also the most bots */
#define REFEREE "referee" /* the name of the referee's group in the profile */

typedef char move;
enum { C = 'C', D = 'D', FIRST = '?', NONE = '-' };

#endif
