/* A stack machine whose operators are functions in a table, running a program of n rounds: indirect calls. */
#include "kernel.h"

typedef struct {
    int64_t stack[64];
    int64_t locals[8];
    int32_t top, at;
} machine_t;

typedef struct {
    int32_t operator, operand;
} instruction_t;

typedef void (*operator_t)(machine_t *, int32_t);

static void push(machine_t *m, int32_t value) { m->stack[m->top++] = value; }
static void load(machine_t *m, int32_t local) { m->stack[m->top++] = m->locals[local]; }
static void store(machine_t *m, int32_t local) { m->locals[local] = m->stack[--m->top]; }
static void add(machine_t *m, int32_t unused) {
    (void)unused;
    m->top--;
    m->stack[m->top - 1] += m->stack[m->top];
}
static void multiply(machine_t *m, int32_t unused) {
    (void)unused;
    m->top--;
    m->stack[m->top - 1] *= m->stack[m->top];
}
static void exclusive_or(machine_t *m, int32_t unused) {
    (void)unused;
    m->top--;
    m->stack[m->top - 1] ^= m->stack[m->top];
}
static void shift(machine_t *m, int32_t by) { m->stack[m->top - 1] = (int64_t)((uint64_t)m->stack[m->top - 1] >> by); }
static void jump_if(machine_t *m, int32_t target) {
    if (m->stack[--m->top]) m->at = target;
}
static void jump_unless_odd(machine_t *m, int32_t target) {
    if (!(m->stack[--m->top] & 1)) m->at = target;
}
static void halt(machine_t *m, int32_t unused) {
    (void)unused;
    m->at = -1;
}

enum { PUSH, LOAD, STORE, ADD, MULTIPLY, XOR, SHIFT, JUMP_IF, JUMP_UNLESS_ODD, HALT };
static const operator_t operators[] = {push,         load,  store,   add,             multiply,
                                       exclusive_or, shift, jump_if, jump_unless_odd, halt};

/* Local 0 counts down, local 1 is a linear congruential generator, local 2 a sum of its odd numbers' high bits. */
static const instruction_t PROGRAM[] = {
    {LOAD, 1}, {PUSH, 1664525}, {MULTIPLY, 0}, {PUSH, 1013904223}, {ADD, 0},   {STORE, 1},    {LOAD, 1},  {SHIFT, 7},
    {JUMP_UNLESS_ODD, 14}, {LOAD, 2}, {LOAD, 1}, {SHIFT, 16}, {XOR, 0}, {STORE, 2}, {LOAD, 0}, {PUSH, -1},
    {ADD, 0}, {STORE, 0}, {LOAD, 0}, {JUMP_IF, 0}, {HALT, 0},
};

static NOINLINE void execute(machine_t *m, const instruction_t *program) {
    while (m->at >= 0) {
        const instruction_t *next = &program[m->at++];
        operators[next->operator](m, next->operand);
    }
}

EXPORT(run) int64_t run(int32_t n) {
    machine_t machine = {.locals = {n, 42, 0}};
    execute(&machine, PROGRAM);
    return mix(mix(0, machine.locals[1]), machine.locals[2]);
}
