/* A lexer and evaluator of arithmetic text, n passes: one big switch, small blocks, recursion for parentheses. */
#include "kernel.h"

#define BYTES 16384
static char text[BYTES + 1];

typedef struct {
    const char *at;
    int32_t depth;
} parser_t;

static void make_text(void) {
    random_t random = random_new(23);
    int open = 0, at = 0;
    while (at < BYTES - 64) {
        while (open < 6 && random_next(&random) % 4 == 0) text[at++] = '(', open++;
        for (uint32_t digits = 1 + random_next(&random) % 4; digits; digits--)
            text[at++] = (char)('1' + random_next(&random) % 9);
        while (open && random_next(&random) % 3 == 0) text[at++] = ')', open--;
        if (random_next(&random) % 3 == 0) text[at++] = ' ';
        text[at++] = "+-*/%&|^"[random_next(&random) % 8];
    }
    text[at++] = '1';
    while (open--) text[at++] = ')';
    text[at] = 0;
}

static int64_t expression(parser_t *p);

static int64_t value(parser_t *p) {
    for (;;) {
        char c = *p->at++;
        switch (c) {
            case ' ': continue;
            case '(': return expression(p);
            case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': {
                int64_t number = c - '0';
                while (*p->at >= '0' && *p->at <= '9') number = number * 10 + (*p->at++ - '0');
                return number;
            }
            default: return -1;
        }
    }
}

static NOINLINE int64_t expression(parser_t *p) {
    int64_t result = value(p);
    for (;;) {
        char c = *p->at;
        if (c == 0) return result;
        p->at++;
        switch (c) {
            case ' ': break;
            case ')': return result;
            case '+': result += value(p); break;
            case '-': result -= value(p); break;
            case '*': result *= value(p); break;
            case '/': result /= (value(p) & 1023) + 1; break;
            case '%': result %= (value(p) & 1023) + 1; break;
            case '&': result &= value(p); break;
            case '|': result |= value(p); break;
            case '^': result ^= value(p); break;
            default: return -1;
        }
    }
}

EXPORT(run) int64_t run(int32_t n) {
    make_text();
    int64_t sum = 0;
    for (int32_t pass = 0; pass < n; pass++) {
        parser_t parser = {text + pass % 8, 0};
        while (*parser.at) sum = mix(sum, expression(&parser));
    }
    return sum;
}
