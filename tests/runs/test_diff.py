"""Diff: what differs between two run files, and where first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wavelock import diff
from wavelock.core.errors import RunFileError

if TYPE_CHECKING:
    from runs.conftest import Kit

Command = Callable[..., tuple[int, str, str]]


def first(path: Path, other: Path) -> str:
    """What differs first, in words."""
    report = diff(path, other)
    assert not report.identical
    return str(report.first_divergence)


def test_a_run_made_twice_is_identical(kit: Kit, rich: Path, wavelock: Command) -> None:
    kit.write_rich()
    path = kit.run()
    code, output, _ = wavelock("diff", path, rich, "--json")
    found = json.loads(output)
    assert (code, found["identical"], found["waves"], found["turns"]) == (0, True, 12, 35)
    assert (found["run_file"], found["other"], found["first_divergence"]) == (str(path), str(rich), None)
    assert wavelock("diff", path, rich)[1].startswith(f"{path}, {rich}: identical: 12 waves")
    assert diff(path, path).identical


def test_what_no_agent_notices_makes_no_difference(kit: Kit, rich: Path) -> None:
    kit.write_rich()
    settings = ["workers.use=threads", "workers.count=3", "record.turns=false", "limits.journal=1000000", "run.name=b"]
    path = kit.run("run.wavelock", *settings, "run.waves=4611")
    assert diff(path, rich).identical
    assert diff(rich, path).identical


def test_seeds_and_other_keys_are_named(kit: Kit, rich: Path, wavelock: Command) -> None:
    kit.write_rich()
    path = kit.run("run.wavelock", "run.seed=8", "limits.inbox=40000", "agents[3].restart=never", "workers.count=1")
    code, output, _ = wavelock("diff", path, rich)
    assert code == 3
    for shown in ("their profiles differ in ", "run.seed (8, 7)", "agents[3].restart (never, fresh)",
                  "limits.inbox (40000, absent)"):  # fmt: skip
        assert shown in output
    assert "workers" not in output
    assert "wave" not in output.split("not identical")[1]


def test_many_keys_are_counted(kit: Kit, rich: Path) -> None:
    kit.write_rich()
    settings = [
        f"limits.{key}=100000" for key in ("inbox", "outbox", "message", "mailbox", "timers", "watches", "state")
    ]
    assert first(kit.run("run.wavelock", *settings), rich).endswith(" and 2 more")


def test_other_modules_are_named(kit: Kit) -> None:
    kit.write_one(kit.agent([kit.say("x")]))
    one = kit.run("one.wavelock")
    kit.write_one(kit.agent([kit.say("y")]))
    assert first(one, kit.run("two.wavelock")) == "the runs began differently: their modules differ"


def test_another_version_is_named(kit: Kit, rich: Path) -> None:
    path = kit.copy(rich)
    kit.change(path, "UPDATE run SET value = '9.9' WHERE key = 'wavelock'")
    kit.change(path, "UPDATE run SET value = zeroblob(32) WHERE key = 'header'")
    kit.rechecksum(path, "run", ("key",))
    assert "written by 9.9 and " in first(path, rich)


def test_a_run_that_goes_on_longer_is_named(kit: Kit, rich: Path) -> None:
    kit.write_rich()
    short = kit.run("short.wavelock", "run.waves=5")
    assert first(short, rich) == f"wave 5: only {rich} has this wave; {short} ends before it"
    assert first(rich, short) == f"wave 5: only {rich} has this wave; {short} ends before it"
    assert diff(rich, short).waves == 5


def posted(kit: Kit, name: str, *posts: tuple[str, bytes]) -> Path:
    """A run into which this was posted after its first waves."""
    kit.write_one(kit.agent([kit.YIELD, kit.YIELD], echo=True), count=3)
    with kit.open(name) as runtime:
        runtime.run(waves=2)
        for agent, payload in posts:
            runtime.post(agent, payload)
        runtime.run()
    return kit.folder / name


def test_other_inputs_name_wave_and_agent(kit: Kit) -> None:
    one = posted(kit, "one.wavelock", ("a/0", b"x"), ("a/1", b"y"))
    same = posted(kit, "same.wavelock", ("a/0", b"x"), ("a/1", b"y"))
    other = posted(kit, "other.wavelock", ("a/0", b"x"), ("a/1", b"z"))
    fewer = posted(kit, "fewer.wavelock", ("a/0", b"x"))
    moved = posted(kit, "moved.wavelock", ("a/0", b"x"), ("a/2", b"y"))
    assert diff(one, same).identical
    assert first(one, other) == "wave 2, agent a/1: different outside inputs entered before this wave"
    assert first(one, fewer) == first(fewer, one) == first(one, moved) == first(one, other)


def test_other_answers_name_wave_and_agent(kit: Kit, monkeypatch: pytest.MonkeyPatch, rich: Path) -> None:
    from wavelock.core.ports import InferenceAnswer

    kit.write_rich()
    with kit.open() as runtime:
        real = runtime._parts.inference.collect

        def collect(wave: int, model: int) -> list[InferenceAnswer]:
            answers = real(wave, model)
            return [InferenceAnswer(0, b"12345678"), *answers[1:]] if wave == 1 else answers

        monkeypatch.setattr(runtime._parts.inference, "collect", collect)
        runtime.run()
    path = kit.folder / "run.wavelock"
    assert first(path, rich) == "wave 3, agent asker/0: different inference answers entered before this wave"
    assert diff(path, rich).waves == 3


def test_turns_that_differ_name_the_agent(kit: Kit, rich: Path) -> None:
    path = kit.copy(rich)
    for column, value, shown in (
        ("fuel", 1, "wave 3, agent asker/0: fuel first "),
        ("fault", 16, "wave 3, agent asker/0: fault first fuel, second none"),
        ("outbox_bytes", 8, "wave 3, agent asker/0: outbox bytes first 8, second "),
        ("outbox_hash", 0, "wave 3, agent asker/0: outboxes of the same length differ (hashes 00000000, "),
        ("agent", 0, "wave 3, agent talker/0: first the turn of talker/0, second asker/0"),
    ):
        change_turn(kit, path, rich, column, value)
        assert shown in first(path, rich)


def change_turn(kit: Kit, path: Path, whole: Path, column: str, value: int) -> None:
    """Change the last turn of wave 3, and the wave's digest."""
    from wavelock.core.turnrows import pack_turns, read_turns

    rows = read_turns(kit.query(whole, "SELECT detail FROM waves WHERE wave = 3")[0][0]).copy()
    asker = rows["agent"].tolist().index(3)
    rows[column][asker] = value
    detail = pack_turns(rows)
    kit.change(path, "UPDATE waves SET detail = ?, digest = zeroblob(32) WHERE wave = 3", detail)
    kit.rechecksum(path, "waves", ("wave",))


def test_without_turn_details_the_wave_is_named(kit: Kit, rich: Path) -> None:
    path = kit.copy(rich)
    kit.change(path, "UPDATE waves SET detail = NULL, digest = zeroblob(32) WHERE wave = 3")
    kit.rechecksum(path, "waves", ("wave",))
    assert first(path, rich) == "wave 3: the digests differ; record.turns was off, so no agent can be named"


def test_a_run_with_a_gap_is_named(kit: Kit, rich: Path) -> None:
    path = kit.copy(rich)
    kit.change(path, "DELETE FROM waves WHERE wave = 4")
    assert first(path, rich) == "wave 4: wave 5 against wave 4"


def test_files_without_a_wave_have_nothing_to_compare(kit: Kit, rich: Path) -> None:
    kit.write_rich()
    with kit.open():
        pass
    for pair in ((rich, kit.folder / "run.wavelock"), (kit.folder / "run.wavelock", rich)):
        with pytest.raises(RunFileError, match=r"run\.wavelock: holds no committed wave"):
            diff(*pair)
