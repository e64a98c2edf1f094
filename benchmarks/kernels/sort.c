/* n numbers sorted twice: quicksort (Hoare's partition, median of three, insertion sort at the end), then heapsort. */
#include "kernel.h"

#define MOST (1 << 18)
static uint32_t one[MOST], other[MOST];

static void insertion(uint32_t *a, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        uint32_t x = a[i];
        int32_t k = i;
        for (; k > 0 && a[k - 1] > x; k--) a[k] = a[k - 1];
        a[k] = x;
    }
}

static inline uint32_t median(uint32_t a, uint32_t b, uint32_t c) {
    if (a < b) return b < c ? b : a < c ? c : a;
    return a < c ? a : b < c ? c : b;
}

static NOINLINE void quicksort(uint32_t *a, int32_t n) {
    while (n > 12) {
        uint32_t pivot = median(a[0], a[n / 2], a[n - 1]);
        int32_t i = -1, k = n;
        for (;;) {
            while (a[++i] < pivot) {}
            while (a[--k] > pivot) {}
            if (i >= k) break;
            uint32_t swapped = a[i];
            a[i] = a[k];
            a[k] = swapped;
        }
        quicksort(a, k + 1);
        a += k + 1;
        n -= k + 1;
    }
    insertion(a, n);
}

static void sift(uint32_t *a, int32_t root, int32_t n) {
    uint32_t x = a[root];
    for (int32_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && a[child] < a[child + 1]) child++;
        if (a[child] <= x) break;
        a[root] = a[child];
    }
    a[root] = x;
}

static NOINLINE void heapsort(uint32_t *a, int32_t n) {
    for (int32_t i = n / 2 - 1; i >= 0; i--) sift(a, i, n);
    for (int32_t i = n - 1; i > 0; i--) {
        uint32_t top = a[0];
        a[0] = a[i];
        a[i] = top;
        sift(a, 0, i);
    }
}

EXPORT(run) int64_t run(int32_t n) {
    if (n > MOST) n = MOST;
    random_t random = random_new(7);
    for (int32_t i = 0; i < n; i++) one[i] = other[i] = random_next(&random);
    quicksort(one, n);
    heapsort(other, n);
    int64_t sum = 0;
    for (int32_t i = 0; i < n; i++) sum = mix(sum, (int64_t)one[i] + (one[i] == other[i]) + (i && one[i - 1] <= one[i]));
    return sum;
}
