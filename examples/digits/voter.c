/* voter: adds up what the classifiers say of a scan; the digit with the highest sum wins, the lower one of two alike.
 * Its configuration is the number of classifiers that answer for each scan. */
#include "digits.h"
WL_AGENT(65536, 65536)

typedef struct {
  float sums[DIGITS];
  uint8_t truth, votes, refused, known;
} ballot;

static ballot ballots[SCANS];
static uint32_t voices;
static wl_range reports;

static uint8_t winner(const ballot *it) {
  uint8_t best = 0;
  if (it->refused) return NO_DIGIT;
  for (uint8_t digit = 1; digit < DIGITS; digit++)
    if (it->sums[digit] > it->sums[best]) best = digit;
  return best;
}

static void count(ballot *it, const wl_frame *frame) {
  if (frame->len == sizeof(truth_message)) {
    it->truth = frame->data[0], it->known = 1;
    return;
  }
  it->votes++;
  if (frame->len != sizeof(probabilities_message)) {
    it->refused = 1;
    return;
  }
  const probabilities_message *voice = (const void *)frame->data;
  for (int digit = 0; digit < DIGITS; digit++) it->sums[digit] += voice->of[digit];
}

static void take(const wl_frame *frame) {
  if (frame->tag >= SCANS) return;
  ballot *it = &ballots[frame->tag];
  count(it, frame);
  if (!it->known || it->votes < voices) return;
  verdict_message verdict = {it->truth, winner(it)};
  wl_send(reports.id, frame->tag, &verdict, sizeof verdict);
  *it = (ballot){0};
}

static void turn(void) {
  wl_frame frame;
  while (wl_next(&frame)) {
    if (frame.kind == WL_START)
      for (uint32_t i = 0; i < frame.len; i++) voices = voices * 10 + (frame.data[i] - (uint32_t)'0');
    if (frame.kind == WL_DIRECTORY && !wl_find(&frame, WL_GROUP, "report", &reports)) wl_fail(1);
    if (frame.kind == WL_MESSAGE) take(&frame);
  }
}
WL_TURN(turn)
