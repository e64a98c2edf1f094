"""The works in Python, and their waves: for frameworks whose agents are Python objects.

An agent is the same in all of them; how it is reached differs. In a wave the driver hands every agent that has mail, or
that asked for another turn, its mail, waits for all, and keeps what they sent for the next wave.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from .protocol import Done, Task, total

EVERYBODY = -1
SINKS = 1
"""`all-to-one` has one sink here, agent 0: peers have no more agents than it can take the messages of."""


class Answer(NamedTuple):
    """What a turn came to. sent: receiver and message. again: whether the agent wants a turn without mail."""

    sent: list[tuple[int, bytes]]
    again: bool = False


class Agent:
    """One agent of any work."""

    def __init__(self, task: Task, number: int) -> None:
        self._number, self._agents = number, task.agents
        self._first = (number + 1).to_bytes(8, "little") + bytes(task.bytes - 8)
        self._seen = 0
        self._chance = random.Random(number)  # noqa: S311 - whom a message goes to
        turns: dict[str, Callable[[int, list[bytes]], Answer]] = {
            "ring": self._ring,
            "random": self._random,
            "all-to-one": self._all_to_one,
            "broadcast": self._broadcast,
        }
        self._turn = turns[task.work]

    def turn(self, wave: int, mail: list[bytes]) -> Answer:
        """One turn. The first is wave 0, without mail."""
        for message in mail:
            self._seen += int.from_bytes(message[:8], "little")
        return self._turn(wave, mail if wave else [self._first])

    def _ring(self, _wave: int, mail: list[bytes]) -> Answer:
        following = (self._number + 1) % self._agents
        return Answer([(following, message) for message in mail])

    def _random(self, _wave: int, mail: list[bytes]) -> Answer:
        return Answer([(self._chance.randrange(self._agents), message) for message in mail])

    def _all_to_one(self, _wave: int, _mail: list[bytes]) -> Answer:
        return Answer([(0, self._first)], again=True) if self._number >= SINKS else Answer([])

    def _broadcast(self, wave: int, _mail: list[bytes]) -> Answer:
        return Answer([(EVERYBODY, self._first)] if self._number == 0 else [])


class Waves:
    """All agents' mail. turns: wave and mail by agent to their answers, in the same order."""

    def __init__(self, agents: int, turns: Callable[[int, dict[int, list[bytes]]], list[Answer]]) -> None:
        self._agents = agents
        self._mail: dict[int, list[bytes]] = {number: [] for number in range(agents)}
        self._turns = turns
        self._wave = 0

    def run(self, waves: int) -> Done:
        """Run so many waves."""
        return total(self._run_wave() for _ in range(waves))

    def _run_wave(self) -> Done:
        answers = self._turns(self._wave, self._mail)
        following: dict[int, list[bytes]] = {}
        messages = 0
        for number, answer in zip(self._mail, answers, strict=True):
            sent, again = answer
            if again:
                following.setdefault(number, [])
            for to, message in sent:
                receivers = range(self._agents) if to == EVERYBODY else (to,)
                for receiver in receivers:
                    following.setdefault(receiver, []).append(message)
                messages += len(receivers)
        turns = len(self._mail)
        self._mail = following
        self._wave += 1
        return turns, messages
