/* n nodes of a tree and a list shuffled over memory: built, searched and walked, one dependent load after another. */
#include "kernel.h"

#define MOST (1 << 16)
typedef struct node {
    struct node *left, *right, *next;
    uint32_t key, seen;
} node_t;
static node_t nodes[MOST];

static NOINLINE node_t *insert(node_t *root, node_t *node) {
    node_t **at = &root;
    while (*at) at = node->key < (*at)->key ? &(*at)->left : &(*at)->right;
    *at = node;
    return root;
}

static NOINLINE node_t *find(node_t *root, uint32_t key) {
    while (root && root->key != key) root = key < root->key ? root->left : root->right;
    return root;
}

static NOINLINE int64_t height(const node_t *node) {
    if (!node) return 0;
    int64_t left = height(node->left), right = height(node->right);
    return 1 + (left > right ? left : right);
}

EXPORT(run) int64_t run(int32_t n) {
    if (n > MOST) n = MOST;
    random_t random = random_new(31);
    node_t *root = NULL;
    for (int32_t i = 0; i < n; i++) {
        nodes[i] = (node_t){NULL, NULL, &nodes[(i * 40503u + 1) % (uint32_t)n], random_next(&random), 0};
        root = insert(root, &nodes[i]);
    }
    int64_t sum = height(root);
    for (int32_t i = 0; i < n; i++) {
        node_t *found = find(root, nodes[(uint32_t)i * 7919u % (uint32_t)n].key ^ (i % 5 == 0));
        if (found) found->seen++;
    }
    const node_t *node = nodes;
    for (int32_t i = 0; i < 4 * n; i++) {
        sum = mix(sum, node->key + node->seen);
        node = node->next;
    }
    return sum;
}
