"""The state that agents share: keys to values, and who watches which prefix."""

from __future__ import annotations

from collections.abc import Iterator


class Store:
    """Keys, values and watches. size_bytes: of all keys and values.

    Watches are found by looking up every prefix of a key of a length that some watch has: the cost of a put depends on
    how many lengths there are, not on how many watches.
    """

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.size_bytes = 0
        self._watches: dict[bytes, dict[int, int]] = {}
        self._lengths: dict[int, int] = {}

    def growth(self, key: bytes, value: bytes) -> int:
        """By how many bytes a put would grow the store."""
        old = self.values.get(key)
        return len(key) + len(value) if old is None else len(value) - len(old)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a value."""
        self.size_bytes += self.growth(key, value)
        self.values[key] = value

    def watch(self, prefix: bytes, agent: int, tag: int) -> bool:
        """Watch a prefix; a second watch of it by the same agent changes the tag. Answers whether it is new."""
        watchers = self._watches.setdefault(prefix, {})
        new = agent not in watchers
        if len(watchers) == 0:
            self._lengths[len(prefix)] = self._lengths.get(len(prefix), 0) + 1
        watchers[agent] = tag
        return new

    def unwatch(self, prefix: bytes, agent: int) -> None:
        """Take a watch back."""
        watchers = self._watches[prefix]
        del watchers[agent]
        if not watchers:
            del self._watches[prefix]
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]

    def watch_rows(self) -> list[tuple[bytes, list[tuple[int, int]]]]:
        """Every prefix and its (agent, tag), in order of watching."""
        return [(prefix, list(watchers.items())) for prefix, watchers in self._watches.items()]

    def watchers(self, key: bytes) -> Iterator[tuple[int, int]]:
        """(agent, tag) of every watch that a key falls under: shorter prefixes first, then in order of watching."""
        for length in sorted(self._lengths):
            if length <= len(key):
                yield from self._watches.get(key[:length], {}).items()
