/* reader: turns lines of scans.csv into scans. A line is `number,digit,pixel,...` with 64 pixels of 0 to 16.
 * The configuration names the groups of classifiers, with spaces between: each scan goes to one agent of each. */
#include "digits.h"
WL_AGENT(16384, 65536) /* small enough that what all of its lines become fits into the outbox */

enum { CLASSIFIERS = 4 };
static wl_range classifiers[CLASSIFIERS], voters, reports;
static uint32_t groups;
static char names[CLASSIFIERS][64];

static void configure(const wl_frame *frame) {
  uint32_t length = 0;
  for (uint32_t i = 0; i < frame->len && groups < CLASSIFIERS; i++) {
    if (frame->data[i] != ' ' && length < sizeof names[0] - 1) names[groups][length++] = (char)frame->data[i];
    if ((frame->data[i] == ' ' || i + 1 == frame->len) && length) groups++, length = 0;
  }
}

static void look_up(const wl_frame *directory) {
  bool found = wl_find(directory, WL_GROUP, "voter", &voters) && wl_find(directory, WL_GROUP, "report", &reports);
  for (uint32_t i = 0; i < groups; i++) found = found && wl_find(directory, WL_GROUP, names[i], &classifiers[i]);
  if (!found || !groups) wl_fail(1);
}

/* The next number of a line and the comma after it; false for anything else, or a number above `most`. */
static bool number(const wl_frame *line, uint32_t *at, uint32_t most, uint32_t *value) {
  uint32_t start = *at, digit;
  for (*value = 0; *at < line->len && (digit = line->data[*at] - (uint32_t)'0') < 10 && *value <= most; ++*at)
    *value = *value * 10 + digit;
  bool good = *at > start && *value <= most;
  if (*at < line->len) good = good && line->data[(*at)++] == ',';
  return good;
}

static bool parse(const wl_frame *line, uint32_t *scan, truth_message *truth, scan_message *image) {
  uint32_t at = 0, value;
  if (!number(line, &at, SCANS - 1, scan) || !number(line, &at, DIGITS - 1, &value)) return false;
  truth->digit = (uint8_t)value;
  for (int i = 0; i < PIXELS; i++) {
    if (!number(line, &at, 16, &value)) return false;
    image->pixels[i] = (uint8_t)value;
  }
  return at == line->len && line->data[at - 1] != ',';
}

static void read_line(const wl_frame *line) {
  uint32_t scan;
  truth_message truth;
  scan_message image;
  if (!parse(line, &scan, &truth, &image)) {
    wl_log(WL_LOG_WARNING, "a line of the input is not a scan");
    wl_send(reports.id, 0, NULL, 0);
    return;
  }
  wl_send(one_of(voters, scan), scan, &truth, sizeof truth);
  for (uint32_t i = 0; i < groups; i++) wl_send(one_of(classifiers[i], scan), scan, &image, sizeof image);
}

static void turn(void) {
  wl_frame frame;
  while (wl_next(&frame)) {
    if (frame.kind == WL_START) configure(&frame);
    if (frame.kind == WL_DIRECTORY) look_up(&frame);
    if (frame.kind == WL_MESSAGE && frame.peer == WL_WORLD) read_line(&frame);
  }
}
WL_TURN(turn)
