/* Fibonacci's n-th number by two recursive calls: nothing but calls. */
#include "kernel.h"

static NOINLINE int64_t fib(int32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

EXPORT(run) int64_t run(int32_t n) { return fib(n); }
