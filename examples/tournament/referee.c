/* The referee: asks, waits, scores; in the end prints the table and stores every result.
 *
 * Rules it keeps:
 * - What a bot plays is what came from that bot's own id, for this round, once. All else is ignored.
 * - The clock is a timer of two waves: one for the bots to read the question, one for their answers to arrive.
 * - A bot without a proper answer when the timer rings is out. All its matches are annulled: they count for nobody.
 * - Nothing of an annulled match has to be taken back: matches are added up only in the end.
 */
#include "game.h"

#define ROUNDS 200
#define ROUND_WAVES 2
#define NAME_BYTES 32

/* Room for all that SLOTS bots can write in a wave (1 KiB each), and for a report on as many. */
WL_AGENT(131072, 262144)

typedef struct {
  char name[NAME_BYTES];
  uint32_t id;
  bool answered;       /* in this round */
  const char *out_why; /* NULL while it plays */
  uint32_t out_round;
  move moves[SLOTS];   /* this round's, one for each opponent */
} player;

/* One side of a match, and also one row of the table: the sum over a player's matches. */
typedef struct {
  uint32_t points, rounds, cooperations, wins;
} tally;

static player players[SLOTS];
static tally tallies[SLOTS][SLOTS], totals[SLOTS];
static uint32_t count, round;

static bool plays(uint32_t a, uint32_t b) { return a != b && !players[a].out_why && !players[b].out_why; }

/* ---- the roster ---- */

static bool refuse(const char *what, const char *name) {
  wl_text line = {0};
  wl_add(&line, what), wl_add(&line, name);
  wl_log(WL_LOG_ERROR, line.at);
  wl_exit(1);
  return false;
}

/* One name of the configuration; answers where it ends. */
static uint32_t read_name(const wl_frame *config, uint32_t at, char *name) {
  uint32_t len = 0;
  while (at < config->len && config->data[at] <= ' ') at++;
  for (; at < config->len && config->data[at] > ' '; at++)
    if (len + 1 < NAME_BYTES) name[len++] = (char)config->data[at];
  return at;
}

/* The configuration names the groups that play, with space between them; the directory knows their ids. */
static bool read_roster(const wl_frame *config, const wl_frame *directory) {
  wl_range found;
  for (uint32_t at = 0; at < config->len;) {
    if (count == SLOTS) return refuse("too many bots: SLOTS in game.h is the limit", "");
    player *p = &players[count];
    at = read_name(config, at, p->name);
    if (!p->name[0]) break;
    if (!wl_find(directory, WL_GROUP, p->name, &found)) return refuse("no group of agents has the name ", p->name);
    if (found.count != 1) return refuse("a bot is one agent, not a group of several: ", p->name);
    p->id = found.id, count++;
  }
  return count >= 2 || refuse("the configuration must name two bots or more", "");
}

/* ---- a round ---- */

static void ask(void) {
  for (uint32_t a = 0; a < count; a++) {
    if (players[a].out_why) continue;
    uint8_t *question = wl_emit(WL_OUT_SEND, players[a].id, round, count);
    if (!question) return wl_fail(1);
    for (uint32_t b = 0; b < count; b++)
      question[b] = (uint8_t)(!plays(a, b) ? NONE : round == 0 ? FIRST : players[b].moves[a]);
  }
  for (uint32_t a = 0; a < count; a++) players[a].answered = false;
}

/* The player with this id; NULL for anyone else. */
static player *sender(uint32_t id) {
  for (uint32_t a = 0; a < count; a++)
    if (players[a].id == id) return &players[a];
  return NULL;
}

static bool proper(const wl_frame *answer, uint32_t a) {
  if (answer->len != count) return false;
  for (uint32_t b = 0; b < count; b++)
    if (plays(a, b) && answer->data[b] != C && answer->data[b] != D) return false;
  return true;
}

static void forfeit(player *p, const char *why) {
  p->out_why = why, p->out_round = round + 1;
  /* Tell it, so that a bot which only slept knows; and where it is dead, this comes back and says so. */
  wl_send(p->id, round, NULL, 0);
}

static void take_answer(const wl_frame *answer) {
  player *p = sender(answer->peer);
  if (!p || p->out_why || p->answered || answer->tag != round) return;
  if (!proper(answer, (uint32_t)(p - players))) return forfeit(p, "answered nonsense");
  memcpy(p->moves, answer->data, count);
  p->answered = true;
}

/* A question or a notice came back: is nobody there any more? */
static void take_return(const wl_frame *returned) {
  player *p = sender(returned->peer);
  if (!p || returned->len < 4 || wl_u32(returned->data) != WL_AGENT_ENDED) return;
  if (!p->out_why) forfeit(p, "");
  p->out_why = "ended by the runtime";
}

static void score(uint32_t a, uint32_t b) {
  static const uint8_t POINTS[2][2] = {{3, 0}, {5, 1}}; /* [I defect][they defect] */
  bool defect = players[a].moves[b] == D, defected = players[b].moves[a] == D;
  tallies[a][b].points += POINTS[defect][defected];
  tallies[a][b].cooperations += !defect;
  tallies[a][b].rounds++;
}

static void settle(void) {
  for (uint32_t a = 0; a < count; a++)
    if (!players[a].out_why && !players[a].answered) forfeit(&players[a], "did not answer");
  for (uint32_t a = 0; a < count; a++)
    for (uint32_t b = 0; b < count; b++)
      if (plays(a, b)) score(a, b);
}

/* ---- the report ---- */

static void add_up(uint32_t a) {
  for (uint32_t b = 0; b < count; b++) {
    if (!plays(a, b)) continue;
    const tally *ours = &tallies[a][b];
    totals[a].points += ours->points, totals[a].rounds += ours->rounds;
    totals[a].cooperations += ours->cooperations, totals[a].wins += ours->points > tallies[b][a].points;
  }
}

/* Players still in come first, then more points, then names in order. */
static bool before(uint32_t a, uint32_t b) {
  if (!players[a].out_why != !players[b].out_why) return !players[a].out_why;
  if (totals[a].points != totals[b].points) return totals[a].points > totals[b].points;
  return memcmp(players[a].name, players[b].name, NAME_BYTES) < 0;
}

static void rank(uint32_t order[SLOTS]) {
  for (uint32_t a = 0; a < count; a++) {
    uint32_t at = a;
    for (; at > 0 && before(a, order[at - 1]); at--) order[at] = order[at - 1];
    order[at] = a;
  }
}

/* `text`, ending before column `end`. */
static void add_right(wl_text *line, uint32_t end, const char *text) {
  wl_pad(line, end - (uint32_t)strlen(text));
  wl_add(line, text);
}

static void add_number(wl_text *line, uint32_t end, uint32_t value) {
  wl_text number = {0};
  wl_add_int(&number, value);
  add_right(line, end, number.at);
}

/* value / of, rounded to two decimals. In whole numbers, as a habit: floats would be as deterministic here. */
static void add_ratio(wl_text *line, uint32_t end, uint32_t value, uint32_t of) {
  wl_text number = {0};
  uint32_t hundredths = of ? (uint32_t)((200ull * value + of) / (2ull * of)) : 0;
  wl_add_int(&number, hundredths / 100), wl_add_char(&number, '.');
  wl_add_int(&number, hundredths / 10 % 10), wl_add_int(&number, hundredths % 10);
  add_right(line, end, number.at);
}

/* Where columns end; BOT is where that one begins. */
enum { RANK = 3, BOT = 5, POINTS = 36, AVERAGE = 47, WINS = 53, COOPERATION = 66 };

static void print_head(uint32_t left) {
  wl_text line = {0}, columns = {0};
  wl_add_int(&line, left * (left - 1) / 2), wl_add(&line, " matches of "), wl_add_int(&line, ROUNDS);
  wl_add(&line, " rounds between "), wl_add_int(&line, left), wl_add(&line, " bots");
  if (left < count) wl_add(&line, "; "), wl_add_int(&line, count - left), wl_add(&line, " forfeited");
  wl_print(line.at);
  add_right(&columns, RANK, "#"), wl_pad(&columns, BOT), wl_add(&columns, "bot");
  add_right(&columns, POINTS, "points"), add_right(&columns, AVERAGE, "per round");
  add_right(&columns, WINS, "wins"), add_right(&columns, COOPERATION, "cooperation");
  wl_print(columns.at);
}

static void print_standing(uint32_t place, const player *p, const tally *total) {
  wl_text line = {0};
  add_number(&line, RANK, place), wl_pad(&line, BOT), wl_add(&line, p->name);
  add_number(&line, POINTS, total->points), add_ratio(&line, AVERAGE, total->points, total->rounds);
  add_number(&line, WINS, total->wins), add_ratio(&line, COOPERATION, total->cooperations, total->rounds);
  wl_print(line.at);
}

static void print_forfeit(const player *p) {
  wl_text line = {0};
  add_right(&line, RANK, "-"), wl_pad(&line, BOT), wl_add(&line, p->name);
  add_right(&line, POINTS, "0"), wl_add(&line, "  out in round "), wl_add_int(&line, p->out_round);
  wl_add(&line, ": "), wl_add(&line, p->out_why);
  wl_print(line.at);
}

/* The numbers as text: whoever reads the run file needs no tool for it. */
static void put_numbers(const char *key, const uint32_t *numbers, uint32_t n) {
  wl_text value = {0};
  for (uint32_t i = 0; i < n; i++) {
    if (i) wl_add_char(&value, ' ');
    wl_add_int(&value, numbers[i]);
  }
  if (!wl_put(key, value.at, value.len)) wl_fail(2);
}

static wl_text key_of(const char *prefix, const player *p) {
  wl_text key = {0};
  wl_add(&key, prefix), wl_add(&key, p->name);
  return key;
}

static void put_scores(uint32_t a) {
  for (uint32_t b = a + 1; b < count; b++) {
    if (!plays(a, b)) continue;
    wl_text key = key_of("scores/", &players[a]);
    wl_add(&key, "/"), wl_add(&key, players[b].name);
    put_numbers(key.at, (uint32_t[]){tallies[a][b].points, tallies[b][a].points}, 2);
  }
}

static void put_standing(uint32_t place, const player *p, const tally *t) {
  wl_text key = key_of("standings/", p);
  put_numbers(key.at, (uint32_t[]){place, t->points, t->rounds, t->wins, t->cooperations}, 5);
}

static void put_forfeit(const player *p) {
  wl_text key = key_of("forfeits/", p), value = {0};
  wl_add_int(&value, p->out_round), wl_add(&value, " "), wl_add(&value, p->out_why);
  wl_put(key.at, value.at, value.len);
}

static void report_player(uint32_t place, uint32_t a) {
  if (players[a].out_why) {
    print_forfeit(&players[a]);
    put_forfeit(&players[a]);
  } else {
    print_standing(place, &players[a], &totals[a]);
    put_standing(place, &players[a], &totals[a]);
    put_scores(a);
  }
}

static void report(void) {
  uint32_t order[SLOTS], left = 0;
  for (uint32_t a = 0; a < count; a++) add_up(a), left += !players[a].out_why;
  rank(order);
  print_head(left);
  for (uint32_t i = 0; i < count; i++) report_player(i + 1, order[i]);
  wl_exit(0);
}

/* ---- the turn ---- */

/* One wait more after the last round: what was sent to a bot that ended in it has to come back first. */
static void ring(void) {
  if (round == ROUNDS) return report();
  settle();
  if (++round < ROUNDS) ask();
  wl_timer(ROUND_WAVES, round);
}

static void turn(void) {
  wl_frame frame, config = {0};
  while (wl_next(&frame)) switch (frame.kind) {
      case WL_START: config = frame; break;
      case WL_DIRECTORY: if (read_roster(&config, &frame)) ask(), wl_timer(ROUND_WAVES, round); break;
      case WL_MESSAGE: take_answer(&frame); break;
      case WL_UNDELIVERABLE: take_return(&frame); break;
      case WL_TIMER: ring(); break;
    }
}
WL_TURN(turn)
