"""The protocol of lines: what children answer, and every way in which they fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from wavelock.bench.children import Child, Lap, LeftOut

READY = 'import sys; print(\'{"agents": 3, "versions": {"it": "1"}}\', flush=True)\n'
Started = Callable[..., Child]


@pytest.fixture
def start() -> Iterator[Started]:
    """Starts a program in Python as a child."""
    with ExitStack() as stack:

        def run(program: str, **timeouts: float) -> Child:
            child = Child("it", [sys.executable, "-c", program], **timeouts)  # type: ignore[arg-type]
            stack.callback(child.close)
            return child

        yield run


def test_waves_and_a_checksum(start: Started) -> None:
    child = start(READY + "for line in sys.stdin: print(int(line) * 100, int(line) * 3, 7, flush=True)\nprint(2**63)")
    assert child.ready == {"agents": 3, "versions": {"it": "1"}}
    assert child.run(5) == Lap(500, 15, 7)
    assert child.run(1) == Lap(100, 3, 7)
    assert child.run(1).ns_per_turn == pytest.approx(100 / 3)
    assert child.close() == 2**63
    assert child.close() is None, "closed twice without harm"


def test_no_checksum(start: Started) -> None:
    assert start(READY + "sys.stdin.read()").close() is None


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise ValueError('no luck')", "it ended with 1: ValueError: no luck"),
        ("pass", "it ended with 0: it said nothing"),
        ("print('hello')", "it: found 'hello' as its first line, expected a JSON object with agents"),
        ("print('[3]')", "it: found '[3]' as its first line, expected a JSON object with agents"),
        ("print('{}')", "it: found '{}' as its first line, expected a JSON object with agents"),
    ],
)
def test_no_start(start: Started, program: str, said: str) -> None:
    with pytest.raises(LeftOut) as caught:
        start(program)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("input(); sys.exit('out of luck')", "it ended with 1: out of luck"),
        ("input(); print('x', 1, 2)", "it: found 'x 1 2', expected nanoseconds, turns and messages"),
        ("input(); print(1, 2)", "it: found '1 2', expected nanoseconds, turns and messages"),
        ("input(); print(1, 0, 0)", "it: found '1 0 0', expected nanoseconds, turns and messages"),
        ("input(); print(-1, 2, 3)", "it: found '-1 2 3', expected nanoseconds, turns and messages"),
        ("sys.exit('gone before')", "it ended with 1: gone before"),
    ],
)
def test_no_answer(start: Started, program: str, said: str) -> None:
    child = start(READY + program)
    with pytest.raises(LeftOut) as caught:
        child.run(4)
    assert str(caught.value) == said


def test_too_late(start: Started) -> None:
    wait = "import time; time.sleep(600)"
    with pytest.raises(LeftOut, match=r"^it: no answer within 0\.2 s$"):
        start(wait, start_timeout_s=0.2)
    child = start(READY + wait, answer_timeout_s=0.2)
    with pytest.raises(LeftOut, match=r"^it: no answer within 0\.2 s$"):
        child.run(1)


def test_no_program() -> None:
    with pytest.raises(LeftOut, match=r"^it cannot be started: .*No such file"):
        Child("it", ["/nowhere/it"])


def test_a_long_reason_is_cut(start: Started) -> None:
    with pytest.raises(LeftOut) as caught:
        start("raise SystemExit('x' * 10_000)")
    assert len(str(caught.value)) < 400


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
def test_what_a_child_started_ends_with_it(start: Started, tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    command = ["sh", "-c", f"exec 3>{held}; exec sleep 600"]
    child = start(f"import subprocess; subprocess.Popen({command!r}, stdout=2)\n{READY}sys.stdin.read()")
    with held.open("rb") as pipe:
        child.close()
        assert pipe.read() == b"", "its end was the last one"
