"""The waves of agents that are modules, as a loop and lists: for peers that call a module."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable

from .protocol import Done, total

HEADER = struct.Struct("<QQQII")
FRAME = struct.Struct("<IHHII")
MASK = 2**64 - 1
SEND, PUBLISH, YIELD, MESSAGE, DIRECTORY = 1, 2, 10, 2, 8
FIRST_WAVE = 0
SEEN = 24
"""Where an agent adds up the first words that it saw."""


class Waves:
    """All agents' mail. call: agent and inbox to its outbox. first_group: the agents of the directory's first row."""

    def __init__(self, agents: int, first_group: int, call: Callable[[int, bytes], bytes]) -> None:
        row = struct.pack("<BBHII4s", 1, 0, 4, 0, first_group, b"wave")
        directory = FRAME.pack(len(row), DIRECTORY, 0, 0, 0) + row
        self._mail: list[list[bytes]] = [[directory] for _ in range(agents)]
        self._awake: set[int] = set()
        self._call = call
        self._chance = random.Random(1).getrandbits  # noqa: S311 - entropy of turns
        self._wave = FIRST_WAVE

    def run(self, waves: int) -> Done:
        """Run so many waves."""
        return total(self._run_wave() for _ in range(waves))

    def _run_wave(self) -> Done:
        mail, awake, call = self._mail, self._awake, self._call
        following: list[list[bytes]] = [[] for _ in mail]
        self._mail, self._awake = following, set()
        turns = messages = 0
        for number, frames in enumerate(mail):
            if not frames and number not in awake:
                continue
            turns += 1
            header = HEADER.pack(self._wave, 0, self._chance(64), number, len(frames))
            written = call(number, header + b"".join(frames))
            at = 0
            while at < len(written):
                size, kind, _, peer, tag = FRAME.unpack_from(written, at)
                end = at + 16 + (size + 7 & ~7)
                if kind == YIELD:
                    self._awake.add(number)
                else:
                    frame = FRAME.pack(size, MESSAGE, 0, number, tag) + written[at + 16 : end]
                    receivers = following if kind == PUBLISH else following[peer : peer + 1]
                    for box in receivers:
                        box.append(frame)
                    messages += len(receivers)
                at = end
        self._wave += 1
        return turns, messages


def checksum(seen: Iterable[bytes]) -> int:
    """One number for what all agents saw: eight bytes each, by number, at SEEN."""
    return sum(int.from_bytes(word, "little") * (2 * number + 1) for number, word in enumerate(seen)) & MASK
