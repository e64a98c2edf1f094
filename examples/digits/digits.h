/* What the example's agents tell each other. The tag of every message is the scan's number. */
#ifndef DIGITS_H
#define DIGITS_H

#include "wavelock.h"

enum { SCANS = 2048, PIXELS = 64, DIGITS = 10, NO_DIGIT = 255 };

/* reader to classifier: the pixels.                reader to voter: what the scan really shows.
 * classifier to voter: probabilities, or nothing when the model refused.
 * voter to report: a verdict.                      reader to report: nothing, for a line that is no scan. */
typedef struct {
  uint8_t pixels[PIXELS];
} scan_message;

typedef struct {
  uint8_t digit;
} truth_message;

typedef struct {
  float of[DIGITS];
} probabilities_message;

typedef struct {
  uint8_t truth, guess; /* guess: NO_DIGIT where a model gave no answer */
} verdict_message;

/* The agent of a group that handles a scan: the scans are spread evenly. */
static inline uint32_t one_of(wl_range group, uint32_t scan) { return group.id + scan % group.count; }

#endif
