/* classifier: asks one model about each scan and passes on the probabilities. Its configuration is the model's name. */
#include "digits.h"
WL_AGENT(16384, 65536) /* a scan of 80 bytes becomes a request of 288: all that fits in goes out */

static char name[64];
static wl_range model, voters;

static void configure(const wl_frame *frame) {
  for (uint32_t i = 0; i < frame->len && i < sizeof name - 1; i++) name[i] = (char)frame->data[i];
}

static void look_up(const wl_frame *directory) {
  if (!wl_find(directory, WL_MODEL, name, &model) || !wl_find(directory, WL_GROUP, "voter", &voters)) wl_fail(1);
}

/* One row of the model's batch: the model takes (n, 64), and a request may leave the n out. */
static void ask(const wl_frame *frame) {
  const uint32_t dims[1] = {PIXELS};
  float pixels[PIXELS];
  for (int i = 0; i < PIXELS; i++) pixels[i] = (float)((const scan_message *)(const void *)frame->data)->pixels[i];
  wl_infer(model.id, frame->tag, WL_F32, dims, 1, pixels, sizeof pixels);
}

static void answer(const wl_frame *frame) {
  uint32_t bytes = 0;
  const void *probabilities = wl_tensor(frame, &bytes);
  if (!probabilities || bytes != sizeof(probabilities_message)) {
    wl_log(WL_LOG_WARNING, "the model gave no probabilities");
    probabilities = NULL, bytes = 0;
  }
  wl_send(one_of(voters, frame->tag), frame->tag, probabilities, bytes);
}

static void turn(void) {
  wl_frame frame;
  while (wl_next(&frame)) {
    if (frame.kind == WL_START) configure(&frame);
    if (frame.kind == WL_DIRECTORY) look_up(&frame);
    if (frame.kind == WL_MESSAGE && frame.len == sizeof(scan_message)) ask(&frame);
    if (frame.kind == WL_INFERENCE) answer(&frame);
  }
}
WL_TURN(turn)
