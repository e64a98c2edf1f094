"""Engines that do one thing wrong, on top of one that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wavelock.testing.fuzz.subjects import Open, Outcome, Prepared, State, Subject, Tables


@dataclass
class Broken:
    """A `Subject` whose outcomes, states and tables go through functions."""

    sound: Subject
    outcome: Callable[[str, Outcome], Outcome] = lambda name, sound: sound
    change_state: Callable[[State], State] = lambda sound: sound
    change_tables: Callable[[Tables], Tables] = lambda sound: sound
    keeps_state: bool = True

    def start(self, fuel: int) -> Outcome:
        return self.outcome("", self.sound.start(fuel))

    def call(self, name: str, arguments: Sequence[int], fuel: int) -> Outcome:
        return self.outcome(name, self.sound.call(name, arguments, fuel))

    def memory(self) -> memoryview:
        return self.sound.memory()

    def state(self) -> State:
        return self.change_state(self.sound.state())

    def tables(self) -> Tables:
        return self.change_tables(self.sound.tables())

    def moved(self, make: Callable[[], Subject]) -> Subject:
        fresh = make()
        assert isinstance(fresh, Broken)
        if self.keeps_state:
            fresh.sound = self.sound.moved(lambda: fresh.sound)
        else:
            self.sound.close()
        return fresh

    def close(self) -> None:
        self.sound.close()


def broken(
    sound: Open,
    *,
    outcome: Callable[[str, Outcome], Outcome] = lambda name, sound: sound,
    state: Callable[[State], State] = lambda sound: sound,
    tables: Callable[[Tables], Tables] = lambda sound: sound,
    keeps_state: bool = True,
) -> Open:
    """An engine that is `sound` but for what the functions change."""

    def opened(prepared: Prepared) -> Callable[[], Subject] | None:
        make = sound(prepared)
        if make is None:
            return None
        return lambda: Broken(make(), outcome, state, tables, keeps_state)

    return opened
