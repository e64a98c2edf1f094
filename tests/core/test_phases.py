"""What a run is told to have taken: memory."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from wavelock.core import resident
from wavelock.core.phases import MANY, PhaseTimes
from wavelock.core.resident import resident_bytes

SIZE = 64 << 20


@pytest.fixture
def take() -> Iterator[Callable[[], None]]:
    """Takes so much memory that nobody had before."""
    with ExitStack() as stack:

        def run() -> None:
            taken = stack.enter_context(mmap.mmap(-1, SIZE))
            for page in range(0, SIZE, mmap.PAGESIZE):
                taken[page] = 1

        yield run


def test_memory_that_is_touched_is_resident(take: Callable[[], None]) -> None:
    before = resident_bytes()
    take()
    after = resident_bytes()
    assert before is not None
    assert after is not None
    assert SIZE * 0.9 < after - before < SIZE * 1.5


@pytest.mark.parametrize("error", [OSError, ValueError, IndexError])
def test_a_system_that_does_not_tell(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise error

    monkeypatch.setattr(resident, "_told", refuse)
    assert resident_bytes() is None
    phases = PhaseTimes()
    with phases.making(MANY):
        pass
    assert (phases.made, phases.agent_bytes) == (MANY, None)


def test_the_first_agents_tell_what_one_takes(take: Callable[[], None]) -> None:
    phases = PhaseTimes()
    with phases.making(MANY):
        take()
    first = phases.agent_bytes
    assert first is not None
    assert SIZE * 0.9 < first * MANY < SIZE * 1.5
    with phases.making(MANY):
        take()
    assert (phases.made, phases.agent_bytes) == (2 * MANY, first)


def test_few_agents_tell_nothing() -> None:
    phases = PhaseTimes()
    with phases.making(MANY - 1):
        pass
    assert phases.agent_bytes is None
