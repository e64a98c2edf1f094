/* Hostile: plays along for 99 rounds, then takes page after page of memory until it is refused one, and gives up. */
#include "../bot.h"

static void eat(void) {
  int32_t page;
  while ((page = (int32_t)__builtin_wasm_memory_grow(0, 1)) != -1) *(volatile uint8_t *)((uint32_t)page << 16) = 1;
  __builtin_trap();
}

static move next(const match *m) {
  if (m->round == 99) eat();
  return C;
}
BOT(next)
