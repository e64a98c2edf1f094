// build: -matomics -mbulk-memory -msimd128 -fno-vectorize -fno-slp-vectorize -fno-strict-aliasing -fno-builtin -Wl,--import-memory -Wl,--shared-memory -Wl,--import-table -Wl,--initial-memory=4294901760 -Wl,--max-memory=4294901760 -Wl,-z,stack-size=16
/* hub: the mailboxes of a run, the turns of a wave and its commit, in WebAssembly.
 *
 * README.md beside this file has a picture of the memory. Rules:
 * - Everything lies in one imported memory. Where each part begins is in `control`, which the host writes.
 * - The host makes room: a function that finds none changes nothing and answers GROW, to be called again.
 * - What happens all the time is done here. What does not (faults, grants, state, spawning) stops `commit` with a
 *   `stop`; the host does it, by the same functions, and calls again. So effects happen in one order, whoever does them.
 * - Each worker has a log of its own for the letters of its agents, and nobody else touches it while workers run.
 * - No function uses the C stack's memory: instances on several threads share it.
 */
#include "turns.h"
#include "deliver.h"

enum { SPINS = 2000 }; /* before a thread sleeps */

/* Wait until a word is no longer what it was, or for so long; a negative time is no bound. */
static inline void wait_while(u32 *word, u32 value, int64_t timeout_ns) {
    for (u32 spin = 0; spin < SPINS; spin++)
        if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value) return;
    __builtin_wasm_memory_atomic_wait32((int *)word, (int)value, timeout_ns);
}

/* A worker has done what it was told. */
EXPORT(finish) void finish(worker_t *worker) {
    worker->doing = 0;
    if (__atomic_sub_fetch(&gate->busy, 1, __ATOMIC_SEQ_CST) == 0) __builtin_wasm_memory_atomic_notify((int *)&gate->busy, 1);
}

/* Do what the orchestrator tells all workers, wave after wave, until it says LEAVE. Stops as `turns` and `deliver` do; to
 * be called again once the host has done its part. */
EXPORT(serve) u32 serve(worker_t *worker) {
    for (;;) {
        if (!worker->doing) {
            while (__atomic_load_n(&gate->command, __ATOMIC_SEQ_CST) == worker->seen) wait_while(&gate->command, worker->seen, -1);
            worker->seen++;
            worker->doing = gate->what;
        }
        u32 stop = worker->doing == TURNS ? turns(worker) : worker->doing == DELIVER ? deliver(worker) : DONE;
        if (stop) return stop;
        bool leaves = worker->doing == LEAVE;
        finish(worker);
        if (leaves) return DONE;
    }
}

/* Tell so many workers to do something. */
EXPORT(tell) void tell(u32 what, u32 workers) {
    gate->what = what;
    __atomic_store_n(&gate->busy, workers, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&gate->command, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify((int *)&gate->command, UINT32_MAX);
}

/* Wait until all have done it, or for so long. Answers how many have not. */
EXPORT(wait) u32 wait(u64 timeout_ns) {
    u32 busy = __atomic_load_n(&gate->busy, __ATOMIC_SEQ_CST);
    if (busy) wait_while(&gate->busy, busy, (int64_t)timeout_ns);
    return __atomic_load_n(&gate->busy, __ATOMIC_SEQ_CST);
}
