/* report: writes each scan's digit into the run's state, and prints the table when all scans are in.
 * Its configuration is how many lines the input has. */
#include "digits.h"
WL_AGENT(16384, 65536)

static uint32_t expected, seen, right, unread, unanswered;
static uint32_t table[DIGITS][DIGITS]; /* [what it shows][what was said] */

static void note(uint32_t scan, const verdict_message *verdict) {
  wl_text key = {0};
  wl_add(&key, "predictions/"), wl_add_int(&key, scan);
  if (verdict->guess == NO_DIGIT) {
    unanswered++;
    wl_put(key.at, "?", 1);
    return;
  }
  uint8_t digit = (uint8_t)('0' + verdict->guess);
  wl_put(key.at, &digit, 1);
  table[verdict->truth % DIGITS][verdict->guess % DIGITS]++;
  right += verdict->truth == verdict->guess;
}

static void print_sums(void) {
  wl_text line = {0};
  uint32_t permille = seen ? (right * 2000 + seen) / (2 * seen) : 0;
  wl_add_int(&line, right), wl_add(&line, " of "), wl_add_int(&line, seen), wl_add(&line, " scans right (");
  wl_add_int(&line, permille / 10), wl_add_char(&line, '.'), wl_add_int(&line, permille % 10), wl_add(&line, " %)");
  if (unanswered) wl_add(&line, ", "), wl_add_int(&line, unanswered), wl_add(&line, " without an answer");
  if (unread) wl_add(&line, ", "), wl_add_int(&line, unread), wl_add(&line, " lines that are no scan");
  wl_print(line.at);
}

/* A count in a column of four; a dot for zero, so that the mistakes stand out. */
static void add_cell(wl_text *line, uint32_t value) {
  uint32_t column = line->len + 4, digits = 1;
  for (uint32_t rest = value; rest >= 10; rest /= 10) digits++;
  wl_pad(line, column - digits);
  if (value) wl_add_int(line, value);
  else wl_add_char(line, '.');
}

static void print_table(void) {
  wl_text head = {0};
  wl_add(&head, "shows   said:");
  wl_print(head.at);
  for (int truth = -1; truth < DIGITS; truth++) {
    wl_text line = {0};
    if (truth >= 0) wl_add(&line, "    "), wl_add_int(&line, truth);
    wl_pad(&line, 5);
    for (int said = 0; said < DIGITS; said++) {
      if (truth >= 0) add_cell(&line, table[truth][said]);
      else wl_add(&line, "   "), wl_add_int(&line, said);
    }
    wl_print(line.at);
  }
}

static void turn(void) {
  wl_frame frame;
  uint32_t before = seen + unread;
  while (wl_next(&frame)) {
    if (frame.kind == WL_START)
      for (uint32_t i = 0; i < frame.len; i++) expected = expected * 10 + (frame.data[i] - (uint32_t)'0');
    if (frame.kind != WL_MESSAGE) continue;
    if (frame.len == sizeof(verdict_message)) seen++, note(frame.tag, (const void *)frame.data);
    else unread++;
  }
  if (seen + unread == before || seen + unread < expected) return;
  print_sums(), print_table();
}
WL_TURN(turn)
