"""Dependencies between named things: order and cycles, for `after` in profiles and for the dag scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def edges_of(after: Mapping[str, Sequence[str]]) -> list[list[int]]:
    """For each name, the indices of those that it follows; names that are not keys are passed over."""
    index_of = {name: index for index, name in enumerate(after)}
    return [[index_of[name] for name in names if name in index_of] for names in after.values()]


def find_cycle(after: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """A cycle, or None. Each name in the answer is `after` the next one, and the last is the first: ("a", "b", "a").

    The cycle begins at that of its names that stands first in `after`; the same mapping answers the same cycle.
    """
    _, cycle = walk(edges_of(after))
    if not cycle:
        return None
    names = list(after)
    start = cycle.index(min(cycle))
    return tuple(names[index] for index in (*cycle[start:], *cycle[: start + 1]))


def walk(edges: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Depth-first along `edges`: the indices in order, each behind those it follows, and the first cycle met.

    The order is whole where the cycle is empty. With a stack of its own: a chain may be longer than Python's stack.
    """
    done = [False] * len(edges)
    order: list[int] = []
    for root in range(len(edges)):
        if done[root]:
            continue
        path = {root: iter(edges[root])}  # a dict keeps its order: the way from the root to here
        while path:
            here = next(reversed(path))
            before = _next_open(path[here], done)
            if before is None:
                path.popitem()
                done[here] = True
                order.append(here)
            elif before in path:
                way = list(path)
                return order, way[way.index(before) :]
            else:
                path[before] = iter(edges[before])
    return order, []


def _next_open(edges: Iterator[int], done: list[bool]) -> int | None:
    return next((index for index in edges if not done[index]), None)
