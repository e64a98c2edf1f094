"""Where two runs part: the first place, named by wave, agent and what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wavelock.core.capture import AgentRow, RunState, encode
from wavelock.core.digest import wave_digest
from wavelock.core.wave import Answered, Birth, Input, WaveRecord
from wavelock.testing.differences import Place, first_difference, state_difference
from wavelock.testing.trace import Trace

U32, U64, I32 = np.uint32, np.uint64, np.int32


def record(wave: int, **changes: Any) -> WaveRecord:
    """Three turns; the second writes 24 bytes, the third faults."""
    plain: dict[str, Any] = {
        "inputs": [Input(1, 7, b"abc", "rows")],
        "answers": [Answered(0, 0, 0, 2, 0, 9, 0, b"tensor")],
        "plan": np.array([2, 0, 1], U32),
        "fuel": np.array([10, 20, 30], U64),
        "fault_codes": np.array([0, 0, 33], I32),
        "fault_details": np.array([0, 0, -5], I32),
        "outbox_bytes": np.array([0, 24, 0], U32),
        "outboxes": [bytes(range(24))],
    }
    return WaveRecord(wave, **{**plain, **changes})


def trace(*records: WaveRecord, ended: str = "quiet", header: bytes = bytes(32)) -> Trace:
    digest = header
    for each in records:
        digest = each.digest = wave_digest(digest, each)
    if records:
        records[0].births[:] = [Birth(at, 1, "a", at, -1) for at in range(3)]
    return Trace(header, list(records), ended)


def test_the_same_run_is_the_same() -> None:
    assert first_difference(trace(record(0), record(1)), trace(record(0), record(1))) is None
    assert first_difference(trace(), trace()) is None


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (
            {"inputs": [Input(1, 7, b"abd", "rows")]},
            Place(1, "a/1", "inputs", "for #1, tag 7: 616264 (3 bytes)", "for #1, tag 7: 616263 (3 bytes)"),
        ),
        ({"inputs": []}, Place(1, "a/1", "inputs", "nothing", "for #1, tag 7: 616263 (3 bytes)")),
        (
            {"answers": [Answered(0, 0, 0, 2, 0, 9, 17, b"")]},
            Place(1, "a/2", "answers", "for #2, tag 9:  (0 bytes)", "for #2, tag 9: 7465 6e736f72 (6 bytes)"),
        ),
        ({"plan": np.array([2, 1, 0], U32)}, Place(1, "a/0", "plan", "a/1", "a/0")),
        ({"fuel": np.array([10, 21, 30], U64)}, Place(1, "a/0", "fuel", "21", "20")),
        (
            {"fault_codes": np.array([0, 0, 16], I32), "fuel": np.array([10, 20, 31], U64)},
            Place(1, "a/1", "fault", "fuel", "agent code"),
        ),
        ({"fault_codes": np.array([99, 0, 33], I32)}, Place(1, "a/2", "fault", "99", "none")),
        ({"fault_details": np.array([0, 0, -6], I32)}, Place(1, "a/1", "detail", "-6", "-5")),
        (
            {"outboxes": [bytes(range(20)), b"\xff", bytes(range(21, 24))]},
            Place(
                1, "a/0", "outbox", "offset 16: 10111213 ff151617 (24 bytes)", "offset 16: 10111213 14151617 (24 bytes)"
            ),
        ),
        (
            {"outboxes": [bytes(range(16))], "outbox_bytes": np.array([0, 16, 0], U32)},
            Place(1, "a/0", "outbox", "offset 16: the end (16 bytes)", "offset 16: 10111213 14151617 (24 bytes)"),
        ),
        (
            {"outboxes": [bytes(range(24))], "outbox_bytes": np.array([24, 0, 0], U32)},
            Place(1, "a/2", "outbox", "offset 0: 00010203 04050607 (24 bytes)", "offset 0: the end (0 bytes)"),
        ),
    ],
)
def test_the_first_place_in_a_wave(changes: dict[str, Any], place: Place) -> None:
    expected = trace(record(0), record(1), record(2))
    assert first_difference(trace(record(0), record(1, **changes), record(2)), expected) == place


def test_the_earlier_turn_counts() -> None:
    both = {"fuel": np.array([10, 21, 30], U64), "plan": np.array([2, 0, 3], U32)}
    place = first_difference(trace(record(0, **both)), trace(record(0)))
    assert place == Place(0, "a/0", "fuel", "21", "20")


def shorter(expected: Trace) -> Trace:
    return Trace(expected.header, expected.records[:1], expected.ended)


def later(expected: Trace) -> Trace:
    return trace(record(0), record(5))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (shorter, Place(1, "", "waves", "1 waves", "2 waves")),
        (later, Place(1, "", "waves", "wave 5", "wave 1")),
        (lambda expected: replace(expected, ended="exited"), Place(None, "", "ended", "exited", "quiet")),
        (
            lambda expected: replace(expected, header=b"\1" * 32),
            Place(None, "", "header", "01" * 32, "00" * 32),
        ),
    ],
)
def test_places_that_are_no_turns(change: Callable[[Trace], Trace], place: Place) -> None:
    expected = trace(record(0), record(1))
    assert first_difference(change(expected), expected) == place


def test_a_digest_that_no_turn_explains() -> None:
    """What is in the digest and not compared here would show as that."""
    expected, found = trace(record(0)), trace(record(0))
    found.records[0].digest = b"\2" * 32
    assert first_difference(found, expected) == Place(0, "", "digest", "02" * 32, expected.digest.hex())


def test_an_agent_that_no_wave_bore_has_a_number() -> None:
    assert trace(record(0)).name(9) == "#9"


# ---- captured states ----


def row(**changes: Any) -> AgentRow:
    plain: dict[str, Any] = {
        "group": 0, "index": 0, "config": b"", "mail": [], "room": 100, "parent": -1, "parent_life": 0, "spawn_tag": 0,
        "depth": 0, "life": 0, "restarts": 0, "timers": 0, "watches": [], "children": [], "ended": 0, "ready": 1,
        "instance": bytes(range(20)),
    }  # fmt: skip
    return AgentRow(**{**plain, **changes})


def state(*agents: AgentRow, **changes: Any) -> bytes:
    plain: dict[str, Any] = {
        "header": bytes(32), "wave": 4, "digest": b"d", "scheduler": b"s", "births": [],
        "drops": [], "timers": [], "timer_number": 0, "values": [], "watches": [], "batches": [], "streams": [],
        "posts": [], "totals": [],
    }  # fmt: skip
    return encode(RunState(agents=list(agents), **{**plain, **changes}))


@pytest.mark.parametrize(
    ("found", "place"),
    [
        (state(row(), row()), None),
        (
            state(row(), row(instance=bytes(range(17)) + b"\xff\x12\x13")),
            Place(
                4,
                "a/1",
                "state",
                "instance: offset 16: 10ff1213 (20 bytes)",
                "instance: offset 16: 10111213 (20 bytes)",
            ),
        ),
        (
            state(row(), row(instance=None)),
            Place(4, "a/1", "state", "instance: None", f"instance: {bytes(range(20))!r:.60}"),
        ),
        (state(row(mail=[b"m"]), row()), Place(4, "a/0", "state", "mail: [b'm']", "mail: []")),
        (state(row()), Place(4, "a/1", "state", "nothing", "an agent")),
        (state(row(), row(), timer_number=3), Place(4, "", "state", "timer_number: 3", "timer_number: 0")),
        (
            state(row(), row(), scheduler=b"t"),
            Place(4, "", "state", "scheduler: offset 0: 74 (1 bytes)", "scheduler: offset 0: 73 (1 bytes)"),
        ),
    ],
)
def test_the_first_place_in_a_state(found: bytes, place: Place | None) -> None:
    assert state_difference(found, state(row(), row()), trace(record(0))) == place
